"""The schema of params.yaml, and the one place that reads it."""

import difflib
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

#: How a network comes about: `search` is by Bregman iterations; `found`, `uniform`, `random` and
#: `dense` train an architecture anew (`baselines.architectures`); the others compete with a search.
Method = Literal["search", "found", "uniform", "random", "dense", "proximal-adam", "pruned"]

#: A larger number of seeds is a slip of the finger.
MOST_SEEDS = 1000


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
    """Restoring digits with the multi-layer perceptron (2.5).

    Attributes:
        relu_slope: of the nonlinearity for negative values; 0 is ReLU.
        inactive_biases: `frozen` keeps the bias of a row as it is while the row is not active, so
            that a row with a positive bias cannot die before it switches on.
    """

    network: Literal["mlp"]
    dataset: Literal["mnist", "fashion-mnist"]
    skips: bool
    noise_std: NotNegative
    blur: Blur | None
    relu_slope: Annotated[float, Field(ge=0, lt=1)] = 0.0
    inactive_biases: Literal["learned", "frozen"] = "learned"


class DenseNetExperiment(_Experiment):
    """Classifying with the DenseNet of section 4.2."""

    network: Literal["densenet"]
    dataset: Literal["mnist", "fashion-mnist"]
    growth: Count


Experiment = Annotated[MLPExperiment | DenseNetExperiment, Field(discriminator="network")]


def _refuse_unknown(where: str, key: str, known: Iterable[str]) -> None:
    if key not in known:
        raise ValueError(f"{where} = {key!r}: must be {' or '.join(known)}")


def _are_of_folders(names: Iterable[str]) -> None:
    wrong = [name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)]
    if wrong:
        raise ValueError(
            f"must have names of small letters, digits and single hyphens, unlike {wrong[0]!r}"
        )


def _seed_numbers(value: object) -> object:
    """Seeds as they are written in params.yaml: 10 stands for 0 to 9, "10-19" for these."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)-(\d+)", value)
        if match is None or int(match[1]) > int(match[2]):
            raise ValueError(f"must be a number of seeds or a range such as 10-19, got {value!r}")
        return tuple(range(int(match[1]), int(match[2]) + 1))
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SEEDS:
        return tuple(range(value))
    raise ValueError(
        f"must be a number of seeds up to {MOST_SEEDS} or a range such as 10-19, got {value!r}"
    )


class RunRow(_Block):
    """A run: an experiment under a protocol, and what is changed.

    Attributes:
        protocol: a key of `protocols`.
        experiment: a key of `experiments`.
        change: other values for keys of the protocol, the experiment or the optimizer.
        epochs: another number of epochs than the experiment's.
        seeds: the numbers of the seeds.
    """

    protocol: str
    experiment: str
    change: dict[str, Any] = {}
    epochs: Count | None = None
    seeds: Annotated[tuple[int, ...], pydantic.BeforeValidator(_seed_numbers)]


class ArmRow(_Block):
    """Networks that those of a run are compared with, on its images, noise and batches.

    Attributes:
        of: a key of `runs`; its records say which architecture each seed found.
        method: how the networks come about.
        change: other values for keys of the protocol, the experiment or the optimizer.
        seeds: the numbers of the seeds, all of them searched in the run.
    """

    of: str
    method: Literal["found", "uniform", "random", "dense", "proximal-adam", "pruned"]
    change: dict[str, Any] = {}
    seeds: Annotated[tuple[int, ...], pydantic.BeforeValidator(_seed_numbers)]


class Run(_Block):
    """A row of params.yaml with all its settings: what one stage works off, for all its seeds.

    Attributes:
        of: of an arm, the run that it is compared with; None for a search.
    """

    name: str
    method: Method = "search"
    of: str | None = None
    source: Literal["full", "sample"]
    optimizer: Optimizer
    batch_size: Count
    protocol: Protocol
    experiment: Experiment
    seeds: tuple[int, ...]

    @property
    def kind(self) -> str:
        """What decides which code is run: the network of a search, or how it is trained."""
        if self.method == "search":
            return self.experiment.network
        return "competitor" if self.method in ("proximal-adam", "pruned") else "retraining"

    def decisive(self) -> dict[str, Any]:
        """The settings that decide the numbers of one seed.

        Left out are the name, the seeds, what the protocol says of the other network, and every
        option that stands at its default: a new option leaves old records valid.
        """
        foreign = {"logits"} if self.experiment.network == "mlp" else {"skip_threshold", "noise"}
        content = self.model_dump(
            mode="json",
            exclude={"name": True, "seeds": True, "of": True, "protocol": foreign},
        )
        if self.method == "search":
            del content["method"]
        for name in ("optimizer", "protocol", "experiment"):
            for key, field in type(getattr(self, name)).model_fields.items():
                if not field.is_required() and getattr(getattr(self, name), key) == field.default:
                    del content[name][key]
        return content


class Settings(_Block):
    """The whole of params.yaml."""

    data: Data
    optimizer: Optimizer
    batch_size: Count
    protocols: dict[str, Protocol]
    experiments: dict[str, Experiment]
    runs: dict[str, RunRow]
    arms: dict[str, ArmRow] = {}
    first_steps: Count

    @pydantic.field_validator("protocols", "experiments", "runs", "arms")
    @classmethod
    def _names_are_of_folders(cls, blocks: dict[str, Any]) -> dict[str, Any]:
        _are_of_folders(blocks)
        return blocks

    @pydantic.model_validator(mode="after")
    def _runs_can_be_made(self) -> "Settings":
        for name, row in self.runs.items():
            _refuse_unknown(f"runs.{name}.protocol", row.protocol, self.protocols)
            _refuse_unknown(f"runs.{name}.experiment", row.experiment, self.experiments)
            self._check_change(f"runs.{name}", name, row)
        for name, arm in self.arms.items():
            _refuse_unknown(f"arms.{name}.of", arm.of, self.runs)
            if name in self.runs:
                raise ValueError(f"arms.{name}: there is a run of that name; choose another")
            if self.run(arm.of).experiment.network != "mlp":
                raise ValueError(f"arms.{name}.of = {arm.of!r}: must be a run with the perceptron")
            self._check_change(f"arms.{name}", name, self.runs[arm.of], arm.change)
        return self

    def _check_change(
        self, where: str, name: str, row: RunRow, change: dict[str, Any] | None = None
    ) -> None:
        change = row.change if change is None else change
        keys = [key for block in self._blocks(row) for key in block]
        for key in change:
            if key not in keys:
                raise ValueError(
                    f"{where}.change.{key}: there is no such key; there are {', '.join(keys)}"
                )
        try:
            self.run(name)
        except pydantic.ValidationError as error:
            problems = _describe(error.errors(include_url=False), change)
            raise ValueError(f"{where}.change.{problems[0]}") from error

    @property
    def names(self) -> list[str]:
        """Of all runs and arms."""
        return [*self.runs, *self.arms]

    def run(self, name: str) -> Run:
        """The run or arm of that name, with all its settings.

        Raises:
            SettingsError: if there is none.
        """
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, n=1)
            known = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.names)}"
            raise SettingsError(f"there is no run {name!r} in params.yaml; {known}")
        arm = self.arms.get(name)
        row = self.runs[name if arm is None else arm.of]
        change = row.change if arm is None else {**row.change, **arm.change}
        optimizer, protocol, experiment = (
            {key: change.get(key, value) for key, value in block.items()}
            for block in self._blocks(row)
        )
        if row.epochs is not None:
            experiment["epochs"] = row.epochs
        return Run(
            name=name,
            method="search" if arm is None else arm.method,
            of=None if arm is None else arm.of,
            source=self.data.source,
            optimizer=Optimizer.model_validate(optimizer),
            batch_size=self.batch_size,
            protocol=Protocol.model_validate(protocol),
            experiment=type(self.experiments[row.experiment]).model_validate(experiment),
            seeds=row.seeds if arm is None else arm.seeds,
        )

    def _blocks(self, row: RunRow) -> list[dict[str, Any]]:
        """The blocks that `change` can change; no key is in two of them."""
        blocks = (self.optimizer, self.protocols[row.protocol], self.experiments[row.experiment])
        return [block.model_dump() for block in blocks]


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
