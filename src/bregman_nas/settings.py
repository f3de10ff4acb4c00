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

from bregman_nas.errors import UserError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]  # a larger one is a slip of the finger
Density = Annotated[float, Field(gt=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]

#: Of protocols, experiments and runs: small letters, digits and single hyphens. Folders have these
#: names, and a shell sees them.
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]

#: How a search is computed: `compact` is fast, `textbook` its readable reference, `lockstep` does
#: many seeds as one batch, for a GPU.
Engine = Literal["compact", "textbook", "lockstep"]

#: How the networks of an arm are made: `found`, `uniform`, `random` and `dense` train an
#: architecture anew (`baselines.architectures`), the others compete with the search.
ArmMethod = Literal["found", "uniform", "random", "dense", "proximal-adam", "pruned"]
Method = Literal["search"] | ArmMethod

MOST_SEEDS = 1000
MOST_VALUES = 100_000


def _seed_numbers(value: object) -> object:
    match = re.fullmatch(r"(\d{1,9})-(\d{1,9})", str(value))
    first, end = (int(match[1]), int(match[2]) + 1) if match else (0, value)
    if type(end) is not int or not 0 <= end - first <= MOST_SEEDS:
        raise ValueError(f"must be a number of seeds up to {MOST_SEEDS} or a range such as 10-19")
    return tuple(range(first, end))


#: Seeds as they are written in params.yaml: 10 stands for 0 to 9, "10-19" for these.
Seeds = Annotated[tuple[int, ...], pydantic.BeforeValidator(_seed_numbers)]


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

    As torch's `ReduceLROnPlateau`: after `patience` + 1 epochs in a row without a loss below
    (1 - threshold) times the lowest one so far.
    """

    kind: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Annotated[int, Field(ge=0)] = 5
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.01


class Protocol(_Block):
    """The choices in which the article and its code differ."""

    skip_threshold: NotNegative
    schedule: Annotated[Constant | Plateau, Field(discriminator="kind")]
    initial_scale: Positive | Literal["1/sqrt(density)"]
    first_moment: Literal["corrected", "uncorrected"]
    held_out: Annotated[int, Field(ge=1, le=59_999)]
    noise: Literal["once", "every-epoch"]
    logits: Literal["linear", "relu"]


class Blur(_Block):
    """A Gaussian filter of `size` by `size` pixels."""

    size: Literal[1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27]  # odd: it has a centre
    std: Positive


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


class RunRow(_Block):
    """An experiment under a protocol.

    Attributes:
        change: other values for keys of the protocol, the experiment or the optimizer.
        epochs: another number of epochs than the experiment's.
        planned: how many seeds there are to be, if `seeds` are not all.
    """

    protocol: str
    experiment: str
    change: dict[str, Any] = {}
    epochs: Count | None = None
    seeds: Seeds
    planned: Count | None = None


class StartRow(_Block):
    """The first steps of the run `of`; `change` and `seeds` are as in `RunRow`."""

    of: str
    change: dict[str, Any] = {}
    seeds: Seeds


class ArmRow(StartRow):
    """Networks that those of the run `of` are compared with, on its images, noise and batches.

    The records of that run say which architecture each seed found; all `seeds` are of that run.
    """

    method: ArmMethod
    planned: Count | None = None


class FirstSteps(_Block):
    """The first steps alone of many searches with the DenseNet; `steps` is how many."""

    steps: Count
    starts: dict[Name, StartRow]


class Run(_Block):
    """A row of params.yaml with all its settings; `of` is the run that an arm is compared with."""

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
        """Which code it runs: by the network of a search, or the method of an arm."""
        if self.method == "search":
            return self.experiment.network
        return "competitor" if self.method in ("proximal-adam", "pruned") else "retraining"

    def decisive(self) -> dict[str, Any]:
        """The settings that decide the numbers of one seed.

        Left out are the name, the seeds, what the protocol says of the other network, and options
        that stand at their defaults, so that a new option leaves old records valid.
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
    """All of params.yaml."""

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
            self._check_change(f"runs.{name}", row, row.change)
        for block, rows, network in (
            ("first_steps.starts", self.first_steps.starts, "densenet"),
            ("arms", self.arms, "mlp"),
        ):
            for name, start in rows.items():
                where = f"{block}.{name}"
                _check_key(f"{where}.of", start.of, self.runs)
                if self.run(start.of).experiment.network != network:
                    raise ValueError(f"{where}.of = {start.of!r}: its network must be {network!r}")
                self._check_change(where, self.runs[start.of], start.change)
        for name in self.arms:
            if name in self.runs:
                raise ValueError(f"arms.{name}: there is a run of that name; choose another")
            made = self.run(name).experiment.model_dump()
            if made["relu_slope"] or made["inactive_biases"] == "frozen":
                options = "relu_slope and inactive_biases are options of searches"
                raise ValueError(f"arms.{name}: {options}; an arm must not have them, nor its run")
        return self

    def _check_change(self, where: str, row: RunRow, change: dict[str, Any]) -> None:
        keys = [key for block in self._blocks(row) for key in block]
        for key in change:
            if key not in keys:
                raise ValueError(f"{where}.change.{key}: no such key; there are {', '.join(keys)}")
        try:
            self._made("", row, change)
        except pydantic.ValidationError as error:
            raise ValueError("\n  ".join(_lines(error, change, f"{where}.change."))) from error

    @property
    def names(self) -> list[str]:
        """Of all runs and arms."""
        return [*self.runs, *self.arms]

    def run(self, name: str) -> Run:
        """The run or arm of that name, with all its settings.

        Raises:
            UserError: if there is none.
        """
        if name in self.runs:
            return self._made(name, self.runs[name], {})
        if name not in self.arms:
            near = difflib.get_close_matches(name, self.names, n=1)
            known = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.names)}"
            raise UserError(f"there is no run {name!r} in params.yaml; {known}")
        arm = self.arms[name]
        own = {"method": arm.method, "of": arm.of, "seeds": arm.seeds}
        return self._made(name, self.runs[arm.of], arm.change).model_copy(update=own)

    @property
    def starts(self) -> list[Run]:
        """The searches of which only the first steps are made."""
        return [
            self._made(name, self.runs[row.of], row.change).model_copy(update={"seeds": row.seeds})
            for name, row in self.first_steps.starts.items()
        ]

    def _made(self, name: str, row: RunRow, change: dict[str, Any]) -> Run:
        """The run of a row with more changes."""
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
        content = YAML(typ="safe", pure=True).load(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; is {path.parent} the top of the repository?"
        ) from error
    except (YAMLError, RecursionError) as error:
        reason = str(error).partition("\n\n")[0]  # what follows is about ruamel
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
    """What pydantic says, a line for each error: the key as it is in the file, value and reason."""
    lines = []
    for one in error.errors(include_url=False):
        where = before + ".".join(_keys(one["loc"], content))
        if one["type"] not in ("missing", "extra_forbidden") and one["loc"]:
            where += f" = {one['input']!r}"
        reason = one["msg"].removeprefix("Value error, ")
        lines.append(f"{where}: {reason}" if where else reason)
    return lines


def _keys(location: tuple[str | int, ...], content: object) -> list[str]:
    """The path of keys in the file; pydantic's own also names the members of unions."""
    keys = []
    for part in location:
        if isinstance(content, dict) and (part in content or part == location[-1]):
            content = content.get(part)
        elif isinstance(content, list) and isinstance(part, int):
            content = None  # lists are of numbers alone
        else:
            continue
        keys.append(str(part))
    return keys
