"""The schema of params.yaml, and the one place that reads it."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import pydantic
from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bregman_nas.errors import UserError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]  # a larger one is a slip of the finger

Beta = Annotated[float, Field(ge=0, lt=1)]

#: Of protocols, experiments and runs. Folders have these names, and a shell sees them.
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]

#: How a search is computed: `compact` is fast, `textbook` its readable reference, `lockstep` does
#: many seeds as one batch, for a GPU.
Engine = Literal["compact", "textbook", "lockstep"]

#: How the networks of an arm are made: `found`, `uniform`, `random` and `dense` train an
#: architecture anew (`baselines.architectures`), the others compete with the search.
ArmMethod = Literal["found", "uniform", "random", "dense", "proximal-adam", "pruned"]
Method = Literal["search"] | ArmMethod

MOST_SEEDS = 1000

#: In the paths of pydantic's errors, but not of the file: members of unions.
_MEMBERS = re.compile(r"mlp|densenet|constant|plateau|constrained-float|literal\[.*\]")

Row = TypeVar("Row")


def seed_numbers(value: object) -> tuple[int, ...]:
    """Seeds as params.yaml has them: 10 stands for 0 to 9, "10-19" for these; or a ValueError."""
    match = re.fullmatch(r"(\d{1,9})-(\d{1,9})", str(value))
    first, end = (int(match[1]), int(match[2]) + 1) if match else (0, value)
    if type(end) is not int or not bool(match) <= end - first <= MOST_SEEDS:
        raise ValueError(f"must be a number of seeds up to {MOST_SEEDS} or a range such as 10-19")
    return tuple(range(first, end))


Seeds = Annotated[tuple[int, ...], pydantic.BeforeValidator(seed_numbers)]


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
    """Multiply the learning rate by `factor`, as `ReduceLROnPlateau` does.

    After `patience` + 1 epochs in a row without a loss below (1 - threshold) times the lowest.
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
    density: Annotated[float, Field(gt=0, le=1)]
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
    relu_slope: Annotated[float, Field(ge=0, lt=1)] = 0.0  # for negative values; 0 is ReLU
    #: `frozen` keeps the bias of a row as it is while the row is not active, so that a row with a
    #: positive bias cannot die before it switches on.
    inactive_biases: Literal["learned", "frozen"] = "learned"


class DenseNetExperiment(_Experiment):
    """Classifying with the DenseNet of section 4.2."""

    network: Literal["densenet"]
    dataset: Literal["mnist", "fashion-mnist"]
    growth: Count


Experiment = Annotated[MLPExperiment | DenseNetExperiment, Field(discriminator="network")]


class _Row(_Block):
    change: dict[str, Any] = {}  # other values for keys of protocol, experiment or optimizer
    seeds: Seeds


class RunRow(_Row):
    """An experiment under a protocol."""

    protocol: str
    experiment: str
    epochs: Count | None = None  # if not as many as the experiment's
    planned: Count | None = None  # how many seeds there are to be, if `seeds` are not all


class StartRow(_Row):
    """The first steps of the run `of`, with its seeds of these numbers."""

    network: ClassVar[str] = "densenet"
    of: str


class ArmRow(StartRow):
    """Networks that those of the run `of` are compared with, on its images, noise and batches.

    The records of that run say which architecture each seed found; all `seeds` are of that run.
    """

    network = "mlp"
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
        rest: Any = {"name": True, "seeds": True, "of": True, "protocol": foreign}
        content = self.model_dump(mode="json", exclude=rest, exclude_defaults=True)
        content["protocol"]["schedule"] = self.protocol.schedule.model_dump()
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
    def _rows_can_be_made(self) -> "Settings":
        named: dict[str, Mapping[str, RunRow | StartRow]] = {"runs": self.runs, "arms": self.arms}
        named["first_steps.starts"] = self.first_steps.starts
        for block, rows in named.items():
            for name, row in rows.items():
                try:
                    self._made(name, row)
                except (pydantic.ValidationError, UserError) as error:
                    raise ValueError(f"{block}.{name}: {_explained(error)}") from error
        for name in self.arms.keys() & self.runs:
            raise ValueError(f"arms.{name}: there is a run of that name; choose another")
        return self

    @property
    def names(self) -> list[str]:
        """Of all runs and arms."""
        return [*self.runs, *self.arms]

    def run(self, name: str) -> Run:
        """The run or arm of that name, with all its settings; a `UserError` if there is none."""
        rows: dict[str, RunRow | StartRow] = {**self.runs, **self.arms}
        return self._made(name, _find("run", name, rows))

    @property
    def starts(self) -> list[Run]:
        """The searches of which only the first steps are made."""
        return [self._made(name, row) for name, row in self.first_steps.starts.items()]

    def _made(self, name: str, row: RunRow | StartRow) -> Run:
        base = row if isinstance(row, RunRow) else _find("run", row.of, self.runs)
        blocks = {
            "optimizer": self.optimizer.model_dump(),
            "protocol": _find("protocol", base.protocol, self.protocols).model_dump(),
            "experiment": _find("experiment", base.experiment, self.experiments).model_dump(),
        }
        epochs = {} if base.epochs is None else {"epochs": base.epochs}
        for key, value in {**base.change, **epochs, **row.change}.items():
            kinds = {known: kind for kind, block in blocks.items() for known in block}
            blocks[_find("key", key, kinds)][key] = value
        arm = {"method": row.method, "of": row.of} if isinstance(row, ArmRow) else {}
        rest = {"name": name, "source": self.data.source, "batch_size": self.batch_size}
        run = Run.model_validate({**rest, **blocks, **arm, "seeds": row.seeds})
        if isinstance(row, StartRow) and run.experiment.network != row.network:
            raise UserError(f"the network of {row.of} must be {row.network!r}")
        options = run.experiment.model_dump(exclude_defaults=True)
        if arm and {"relu_slope", "inactive_biases"} & options.keys():
            raise UserError("remove relu_slope and inactive_biases from the arm and from its run")
        return run


def _find(what: str, name: str, known: Mapping[str, Row]) -> Row:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise UserError(f"there is no {what} {name!r} in params.yaml; {hint}")
    return known[name]


def load_settings(path: Path) -> Settings:
    """Read and check params.yaml.

    Raises:
        UserError: if the file cannot be read, or a key is unknown, missing or impossible; the
            message names every such key, its value, and what is allowed.
    """
    try:
        return Settings.model_validate(YAML(typ="safe", pure=True).load(path.read_text("utf-8")))
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; is {path.parent} the top of the repository?"
        ) from error
    except pydantic.ValidationError as error:
        raise UserError(f"{path} has values that cannot be used:\n  {_explained(error)}") from error
    except (YAMLError, ValueError) as error:
        reason = str(error).partition("\n\n")[0]  # what follows is about ruamel
        raise UserError(f"{path} is not valid YAML: {reason}") from error


def _explained(error: Exception) -> str:
    """A mistake; of pydantic's, a line for each: the key as it is in the file, value and reason."""
    if not isinstance(error, pydantic.ValidationError):
        return str(error)
    lines = []
    for one in error.errors(include_url=False):
        where = ".".join(part for part in map(str, one["loc"]) if not _MEMBERS.fullmatch(part))
        if one["type"] not in ("missing", "extra_forbidden") and where:
            where += f" = {one['input']!r}"
        reason = one["msg"].removeprefix("Value error, ")
        lines.append(f"{where}: {reason}" if where else reason)
    return "\n  ".join(lines)
