"""The schema of params.yaml, and the one place that reads it."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Density = Annotated[float, Field(gt=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]

#: How a search is computed: `compact` is fast, `textbook` its readable reference, `lockstep` that
#: of many seeds as one batch, for a GPU.
Engine = Literal["compact", "textbook", "lockstep"]

#: The runs of the ablation are named `ablation/<variant>`, which is also their folder.
ABLATION = "ablation"


class SettingsError(Exception):
    """A mistake in params.yaml, in words for the user."""


class _Block(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class Data(_Block):
    """Which images: the published files in full, or the committed sample."""

    source: Literal["full", "sample"]


class Optimizer(_Block):
    """AdaBreg's constants, named as in Algorithm 1."""

    learning_rate: Positive
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)]
    eps: Positive
    delta: Positive


class Constant(_Block):
    """The learning rate stays."""

    kind: Literal["constant"]


class Plateau(_Block):
    """Multiply the learning rate by `factor` when the training loss stops falling.

    Stops falling: `patience` epochs in a row have passed, and one more does, without a loss below
    (1 - threshold) times the lowest one so far; torch's `ReduceLROnPlateau`.
    """

    kind: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Annotated[int, Field(ge=0)] = 5
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.01


class Protocol(_Block):
    """The choices in which the article and its code part."""

    skip_threshold: NotNegative
    schedule: Annotated[Constant | Plateau, Field(discriminator="kind")]
    initial_scale: Positive | Literal["1/sqrt(density)"]
    first_moment: Literal["corrected", "uncorrected"]
    held_out: Annotated[int, Field(ge=1, le=59_999)]
    noise: Literal["once", "every-epoch"]
    logits: Literal["linear", "relu"]


class Blur(_Block):
    """A Gaussian filter of `size` by `size` pixels."""

    size: Annotated[int, Field(ge=1, le=27)]
    std: Positive

    @pydantic.field_validator("size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("must be odd, so that the filter has a centre")
        return size


class _Experiment(_Block):
    mu: NotNegative
    density: Density
    depth: Count
    input_mean: Annotated[float, Field(allow_inf_nan=False)]
    input_std: Positive
    epochs: Count


class MLPExperiment(_Experiment):
    """Restoring digits with the multi-layer perceptron (2.5)."""

    network: Literal["mlp"]
    dataset: Literal["mnist", "fashion-mnist"]
    skips: bool
    noise_std: NotNegative
    blur: Blur | None


class DenseNetExperiment(_Experiment):
    """Classifying with the DenseNet of section 4.2."""

    network: Literal["densenet"]
    dataset: Literal["mnist", "fashion-mnist"]
    growth: Count


Experiment = Annotated[MLPExperiment | DenseNetExperiment, Field(discriminator="network")]


class Variant(_Block):
    """A protocol in which one choice is another: `change` maps its key to its value."""

    base: str
    change: dict[str, Any]

    @pydantic.field_validator("change")
    @classmethod
    def _alone(cls, change: dict[str, Any]) -> dict[str, Any]:
        if len(change) != 1:
            raise ValueError("must be one choice of a protocol, such as {schedule: ...}")
        return change


def _are_of_folders(names: Iterable[str]) -> None:
    wrong = [name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)]
    if wrong:
        raise ValueError(
            f"must have names of small letters, digits and single hyphens, unlike {wrong[0]!r}"
        )


class Ablation(_Block):
    """One experiment, searched again for each choice that is changed alone."""

    experiment: str
    epochs: Count
    seeds: Annotated[int, Field(ge=0)]
    variants: dict[str, Variant]

    @pydantic.field_validator("variants")
    @classmethod
    def _names_are_of_folders(cls, variants: dict[str, Variant]) -> dict[str, Variant]:
        _are_of_folders(variants)
        return variants


class Run(_Block):
    """One experiment under one protocol: what a search stage works off, for all its seeds."""

    name: str
    source: Literal["full", "sample"]
    optimizer: Optimizer
    batch_size: Count
    protocol: Protocol
    experiment: Experiment
    seeds: Annotated[int, Field(ge=0)]

    def decisive(self) -> dict[str, Any]:
        """What decides the numbers of one seed.

        All but the name, the number of seeds, and what the protocol says of the other network.
        """
        foreign = {"logits"} if self.experiment.network == "mlp" else {"skip_threshold", "noise"}
        return self.model_dump(
            mode="json", exclude={"name": True, "seeds": True, "protocol": foreign}
        )


class Settings(_Block):
    """The whole of params.yaml."""

    data: Data
    optimizer: Optimizer
    batch_size: Count
    protocols: dict[str, Protocol]
    experiments: dict[str, Experiment]
    seeds: dict[str, Annotated[int, Field(ge=0)]]
    ablation: Ablation
    first_steps: Count

    @pydantic.field_validator("protocols", "experiments")
    @classmethod
    def _names_are_of_folders(cls, blocks: dict[str, Any]) -> dict[str, Any]:
        _are_of_folders(blocks)
        return blocks

    @pydantic.model_validator(mode="after")
    def _runs_exist(self) -> "Settings":
        known = [f"{p}-{e}" for p in self.protocols for e in self.experiments]
        unknown = [name for name in self.seeds if name not in known]
        if unknown:
            raise ValueError(
                f"seeds.{', seeds.'.join(unknown)}: no such run; a run is named "
                f"<protocol>-<experiment>, which gives {', '.join(known)}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _variants_exist(self) -> "Settings":
        name = self.ablation.experiment
        possible = [e for e, experiment in self.experiments.items() if experiment.network == "mlp"]
        if name not in possible:
            raise ValueError(
                f"ablation.experiment = {name!r}: must be an experiment with the multi-layer "
                f"perceptron: {' or '.join(possible)}"
            )
        for name, variant in self.ablation.variants.items():
            where = f"ablation.variants.{name}"
            if variant.base not in self.protocols:
                raise ValueError(
                    f"{where}.base = {variant.base!r}: must be {' or '.join(self.protocols)}"
                )
            try:
                self._protocol_of(variant)
            except pydantic.ValidationError as error:
                problems = _describe(error.errors(include_url=False), variant.change)
                raise ValueError(f"{where}.change.{problems[0]}") from error
        return self

    @property
    def runs(self) -> list[str]:
        """The names of all runs: those that have seeds, then those of the ablation."""
        return [*self.seeds, *(f"{ABLATION}/{name}" for name in self.ablation.variants)]

    def run(self, name: str) -> Run:
        """The run `<protocol>-<experiment>` or `ablation/<variant>`.

        Raises:
            SettingsError: if it is not among `runs`.
        """
        if name not in self.runs:
            raise SettingsError(
                f"there is no run {name!r} in params.yaml; there are {', '.join(self.runs)}"
            )
        if name in self.seeds:
            base, experiment_name = next(
                (p, e) for p in self.protocols for e in self.experiments if f"{p}-{e}" == name
            )
            protocol, seeds = self.protocols[base], self.seeds[name]
            experiment = self.experiments[experiment_name]
        else:
            ablation = self.ablation
            protocol = self._protocol_of(ablation.variants[name.removeprefix(f"{ABLATION}/")])
            experiment = self.experiments[ablation.experiment].model_copy(
                update={"epochs": ablation.epochs}
            )
            seeds = ablation.seeds
        return Run(
            name=name,
            source=self.data.source,
            optimizer=self.optimizer,
            batch_size=self.batch_size,
            protocol=protocol,
            experiment=experiment,
            seeds=seeds,
        )

    def _protocol_of(self, variant: Variant) -> Protocol:
        base = self.protocols[variant.base].model_dump()
        return Protocol.model_validate({**base, **variant.change})


def load_settings(path: Path) -> Settings:
    """Read and check params.yaml.

    Raises:
        SettingsError: if the file cannot be read, or a key is unknown, missing or impossible; the
            message names every such key, its value, and what is allowed.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}; is {path.parent} the top of the repository?"
        ) from error
    except (YAMLError, UnicodeDecodeError) as error:
        reason = str(error).replace('"<unicode string>"', path.name).split("\n\n")[0]
        raise SettingsError(f"{path} is not valid YAML: {reason}") from error
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"is a {type(content).__name__}"
        raise SettingsError(f"{path} {found}; it must be a mapping with data, optimizer, ...")
    wrong = _not_words(content)
    if wrong:
        raise SettingsError(f"{path} has keys that are not words: {', '.join(wrong)}")
    try:
        return Settings.model_validate(content)
    except pydantic.ValidationError as error:
        problems = _describe(error.errors(include_url=False), content)
        raise SettingsError(
            f"{path} has values that cannot be used:\n" + "\n".join(f"  {p}" for p in problems)
        ) from error


def _not_words(content: object, before: str = "") -> list[str]:
    """The keys, at any depth, that YAML reads as something else: numbers, lists, null, true."""
    found = []
    if isinstance(content, dict):
        for key, value in content.items():
            if not isinstance(key, str):
                found.append(f"{before}{key!r}")
            found += _not_words(value, f"{before}{key}.")
    return found


def _describe(errors: list[Any], content: object) -> list[str]:
    """One line for each key, in the order of the errors."""
    reasons: dict[str, list[str]] = {}
    for error in errors:
        keys = _keys(error, content)
        kind, context = error["type"], error.get("ctx", {})
        if kind == "union_tag_invalid":
            keys.append(context["discriminator"].strip("'"))
            value = repr(context["tag"])
            allowed = context["expected_tags"].replace(", ", " or ")
            where, reason = f"{'.'.join(keys)} = {value}", f"must be {allowed}"
        elif kind == "union_tag_not_found":
            keys.append(context["discriminator"].strip("'"))
            where, reason = ".".join(keys), "is missing"
        elif kind == "missing":
            where, reason = ".".join(keys), "is missing"
        elif kind == "extra_forbidden":
            where, reason = ".".join(keys), "there is no such key; remove it or correct it"
        else:
            where = f"{'.'.join(keys)} = {error['input']!r}" if keys else ""
            reason = _reason(error)
        reasons.setdefault(where, []).append(reason)
    # Of a union each member says what it wants.
    lines = []
    for where, (first, *others) in reasons.items():
        reason = " or ".join([first, *(other.removeprefix("must be ") for other in others)])
        lines.append(f"{where}: {reason}" if where else reason)
    return lines


def _keys(error: Any, content: object) -> list[str]:
    """The path of keys in the file; pydantic's own also names members of unions."""
    keys: list[str] = []
    value = content
    for number, part in enumerate(error["loc"]):
        last = number == len(error["loc"]) - 1
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part] if part < len(value) else None
        elif not (last and error["type"] == "missing"):
            continue
        keys.append(str(part))
    return keys


def _reason(error: Any) -> str:
    message: str = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "must be a mapping of keys to values"
    if error["type"] in ("too_long", "too_short", "tuple_type"):
        return "must be a list of two numbers"
    return message
