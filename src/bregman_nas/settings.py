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

from bregman_nas.atomic import read_text
from bregman_nas.errors import UserError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]  # a larger one is a slip of the finger
Density = Annotated[float, Field(gt=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


def _is_of_a_folder(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError("must be a name of small letters, digits and single hyphens")
    return name


#: Names of protocols, experiments and runs: a folder has them, and a shell sees them.
Name = Annotated[str, pydantic.AfterValidator(_is_of_a_folder)]

#: How a search is computed: `compact` is fast, `textbook` its readable reference, `lockstep` that
#: of many seeds as one batch, for a GPU.
Engine = Literal["compact", "textbook", "lockstep"]

#: How a network comes about: `search` is by Bregman iterations; `found`, `uniform`, `random` and
#: `dense` train an architecture anew (`baselines.architectures`); the others compete with a search.
Method = Literal["search", "found", "uniform", "random", "dense", "proximal-adam", "pruned"]

MOST_SEEDS = 1000
MOST_VALUES = 100_000


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


def _seed_numbers(value: object) -> object:
    """Seeds as they are written in params.yaml: 10 stands for 0 to 9, "10-19" for these."""
    match = re.fullmatch(r"(\d{1,9})-(\d{1,9})", str(value))
    first, end = (int(match[1]), int(match[2]) + 1) if match else (0, value)
    if type(end) is not int or not 0 <= end - first <= MOST_SEEDS:
        raise ValueError(f"must be a number of seeds up to {MOST_SEEDS} or a range such as 10-19")
    return tuple(range(first, end))


class RunRow(_Block):
    """A run: an experiment under a protocol, and what is changed.

    Attributes:
        protocol: a key of `protocols`.
        experiment: a key of `experiments`.
        change: other values for keys of the protocol, the experiment or the optimizer.
        epochs: another number of epochs than the experiment's.
        seeds: the numbers of the seeds.
        planned: how many seeds there are to be, if these are not all.
    """

    protocol: str
    experiment: str
    change: dict[str, Any] = {}
    epochs: Count | None = None
    seeds: Annotated[tuple[int, ...], pydantic.BeforeValidator(_seed_numbers)]
    planned: Count | None = None


class ArmRow(_Block):
    """Networks that those of a run are compared with, on its images, noise and batches.

    Attributes:
        of: a key of `runs`; its records say which architecture each seed found.
        method: how the networks come about.
        change: other values for keys of the protocol, the experiment or the optimizer.
        seeds: the numbers of the seeds, all of them searched in the run.
        planned: as in `RunRow`.
    """

    of: str
    method: Literal["found", "uniform", "random", "dense", "proximal-adam", "pruned"]
    change: dict[str, Any] = {}
    seeds: Annotated[tuple[int, ...], pydantic.BeforeValidator(_seed_numbers)]
    planned: Count | None = None


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


class StartRow(_Block):
    """The first steps of a run: `of`, its name; `change` and `seeds` as in `RunRow`."""

    of: str
    change: dict[str, Any] = {}
    seeds: Annotated[tuple[int, ...], pydantic.BeforeValidator(_seed_numbers)]


class FirstSteps(_Block):
    """Of many searches with the DenseNet the first steps alone; `steps` is how many."""

    steps: Count
    starts: dict[Name, StartRow]


class Settings(_Block):
    """The whole of params.yaml."""

    data: Data
    optimizer: Optimizer
    batch_size: Count
    protocols: dict[Name, Protocol]
    experiments: dict[Name, Experiment]
    runs: dict[Name, RunRow]
    arms: dict[Name, ArmRow] = {}
    first_steps: FirstSteps

    @pydantic.model_validator(mode="after")
    def _runs_can_be_made(self) -> "Settings":
        for name, row in self.runs.items():
            _check_key(f"runs.{name}.protocol", row.protocol, self.protocols)
            _check_key(f"runs.{name}.experiment", row.experiment, self.experiments)
            self._check_change(f"runs.{name}.change", row, row.change)
        for name, start in self.first_steps.starts.items():
            where = f"first_steps.starts.{name}"
            _check_key(f"{where}.of", start.of, self.runs)
            if self.run(start.of).experiment.network != "densenet":
                raise ValueError(f"{where}.of = {start.of!r}: must be a run with the DenseNet")
            self._check_change(f"{where}.change", self.runs[start.of], start.change)
        for name, arm in self.arms.items():
            _check_key(f"arms.{name}.of", arm.of, self.runs)
            if name in self.runs:
                raise ValueError(f"arms.{name}: there is a run of that name; choose another")
            if self.run(arm.of).experiment.network != "mlp":
                raise ValueError(f"arms.{name}.of = {arm.of!r}: must be a run with the perceptron")
            self._check_change(f"arms.{name}.change", self.runs[arm.of], arm.change)
            made = self.run(name).experiment.model_dump()
            if made["relu_slope"] or made["inactive_biases"] == "frozen":
                options = "relu_slope and inactive_biases are options of searches"
                raise ValueError(f"arms.{name}: {options}; an arm must not have them, nor its run")
        return self

    def _check_change(self, where: str, row: RunRow, change: dict[str, Any]) -> None:
        keys = [key for block in self._blocks(row) for key in block]
        for key in change:
            if key not in keys:
                raise ValueError(f"{where}.{key}: no such key; there are {', '.join(keys)}")
        try:
            self._made("", row, change)
        except pydantic.ValidationError as error:
            raise ValueError("\n  ".join(_lines(error, change, f"{where}."))) from error

    @property
    def names(self) -> list[str]:
        """Of all runs and arms."""
        return [*self.runs, *self.arms]

    def run(self, name: str) -> Run:
        """The run or arm of that name, with all its settings.

        Raises:
            UserError: if there is none.
        """
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, n=1)
            known = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.names)}"
            raise UserError(f"there is no run {name!r} in params.yaml; {known}")
        arm = self.arms.get(name)
        if arm is None:
            return self._made(name, self.runs[name], {})
        made = self._made(name, self.runs[arm.of], arm.change)
        return made.model_copy(update={"method": arm.method, "of": arm.of, "seeds": arm.seeds})

    @property
    def starts(self) -> list[Run]:
        """The searches of which only the first steps are made."""
        return [
            self._made(name, self.runs[start.of], start.change).model_copy(
                update={"seeds": start.seeds}
            )
            for name, start in self.first_steps.starts.items()
        ]

    def _made(self, name: str, row: RunRow, change: dict[str, Any]) -> Run:
        """A run of a row with more changes."""
        optimizer, protocol, experiment = (
            {key: {**row.change, **change}.get(key, value) for key, value in block.items()}
            for block in self._blocks(row)
        )
        if row.epochs is not None:
            experiment["epochs"] = row.epochs
        return Run(
            name=name,
            source=self.data.source,
            optimizer=Optimizer.model_validate(optimizer),
            batch_size=self.batch_size,
            protocol=Protocol.model_validate(protocol),
            experiment=type(self.experiments[row.experiment]).model_validate(experiment),
            seeds=row.seeds,
        )

    def _blocks(self, row: RunRow) -> list[dict[str, Any]]:
        """The blocks that `change` can change; no key is in two of them."""
        blocks = (self.optimizer, self.protocols[row.protocol], self.experiments[row.experiment])
        return [block.model_dump() for block in blocks]


def _check_key(where: str, key: str, known: Iterable[str]) -> None:
    if key not in known:
        raise ValueError(f"{where} = {key!r}: must be one of {', '.join(known)}")


def load_settings(path: Path) -> Settings:
    """Read and check params.yaml.

    Raises:
        UserError: if the file cannot be read, or a key is unknown, missing or impossible; the
            message names every such key, its value, and what is allowed.
    """
    try:
        content = YAML(typ="safe", pure=True).load(read_text(path))
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; is {path.parent} the top of the repository?"
        ) from error
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).replace('"<unicode string>"', path.name).split("\n\n")[0]
        raise UserError(f"{path} is not valid YAML: {reason}") from error
    if _is_too_large(content):
        raise UserError(f"{path} has more than {MOST_VALUES} values, or one that contains itself")
    try:
        return Settings.model_validate(content)
    except pydantic.ValidationError as error:
        problems = "\n  ".join(_lines(error, content))
        raise UserError(f"{path} has values that cannot be used:\n  {problems}") from error


def _is_too_large(content: object) -> bool:
    """By aliases few lines of YAML can stand for billions of values, or a value contain itself."""
    to_do, seen = [content], 0
    while to_do and seen <= MOST_VALUES:
        seen += 1
        value = to_do.pop()
        if isinstance(value, dict):
            to_do += value.values()
        elif isinstance(value, list):
            to_do += value
    return seen > MOST_VALUES


def _lines(error: pydantic.ValidationError, content: object, before: str = "") -> list[str]:
    """What pydantic says, one line for each key of the file; of a union each member says its."""
    reasons: dict[str, list[str]] = {}
    for one in error.errors(include_url=False):
        keys = _keys(one["loc"], content)
        where = before + ".".join(keys) if keys else ""
        if one["type"] not in ("missing", "extra_forbidden") and where:
            where += f" = {one['input']!r}"
        reasons.setdefault(where, []).append(one["msg"].removeprefix("Value error, "))
    return [f"{k}: {'; or '.join(said)}" if k else said[0] for k, said in reasons.items()]


def _keys(location: tuple[str | int, ...], content: object) -> list[str]:
    """The path of keys in the file; pydantic's own also names members of unions."""
    keys = []
    for part in location:
        if isinstance(content, dict):
            if part not in content and part is not location[-1]:
                continue
            content = content.get(part)
        elif isinstance(content, list) and isinstance(part, int):
            content = content[part] if part < len(content) else None
        else:
            continue
        keys.append(str(part))
    return keys
