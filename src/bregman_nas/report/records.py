"""Models of the JSON files under results/ and data/, and the readers of these and of tables."""

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pandas as pd
import pydantic
from pydantic import AliasChoices, Field

from bregman_nas.errors import UserError

Model = TypeVar("Model", bound=pydantic.BaseModel)

MEND = "`git restore` brings the committed file back, `dvc repro` makes it anew"


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)


class Epoch(_Part):
    """One line of a record's history."""

    epoch: int
    learning_rate: float
    train_loss: float
    held_out_loss: float
    active: list[int] = Field(validation_alias=AliasChoices("active_rows", "active_kernels"))
    living: list[int] = Field(validation_alias=AliasChoices("living_rows", "living_channels"))
    switched_on: list[int]
    switched_off: list[int]
    skips: list[list[float]] = []


class Restoration(_Part):
    """The outcome of a search with the multi-layer perceptron."""

    test_mse: float
    held_out_mse: float
    test_baselines: dict[str, float]
    held_out_baselines: dict[str, float]
    active: list[int] = Field(validation_alias="active_rows")
    effective: list[int] = Field(validation_alias="effective_rows")
    output_rows: list[Annotated[int, Field(ge=0, lt=784)]] = []
    skips: list[list[float]] = []


class Classification(_Part):
    """The outcome of a search with the DenseNet."""

    test_loss: float
    held_out_loss: float
    test_accuracy: float
    held_out_accuracy: float
    active: list[int] = Field(validation_alias="active_kernels")
    kernel_norms: list[list[list[float]]]
    skips: list[list[float]] = []


class Host(_Part):
    """A machine."""

    processor: str
    device: str


class Provenance(_Part):
    """How a record was made."""

    seconds: float
    host: Host
    versions: dict[str, str]
    in_lockstep: list[int] = []


class Digests(_Part):
    """What decided the numbers of a record."""

    all: str


class Trained(_Part):
    """The outcome of an arm: a network that a searched one is compared with."""

    test_mse: float
    dead: bool
    parameters: int


class _OfSeed(_Part):
    run: str
    seed: int
    digests: Digests
    settings: dict[str, Any]
    data: dict[str, str]
    provenance: Provenance


class ArmRecord(_OfSeed):
    """What is kept of one seed of an arm."""

    result: Trained
    history: list[dict[str, Any]] = Field(min_length=1)


class Record(_OfSeed):
    """What is kept of one seed of a search; early ones do not say which groups are active."""

    result: Restoration | Classification
    active_groups: dict[str, Any] = {}
    history: list[Epoch] = Field(min_length=1)

    @pydantic.model_validator(mode="after")
    def _agrees_with_itself(self) -> "Record":
        if [entry.epoch for entry in self.history] != [*range(1, len(self.history) + 1)]:
            raise ValueError("the epochs of its history are not 1, 2, 3 ...")
        depth, last = len(self.result.active), self.history[-1]
        shape = [*range(1, depth + 1)] if self.result.skips else []
        for entry in self.history:
            counts = (entry.active, entry.living, entry.switched_on, entry.switched_off)
            if {len(count) for count in counts} != {depth} or [*map(len, entry.skips)] != shape:
                raise ValueError(f"epoch {entry.epoch} of its history does not have {depth} layers")
        effective = getattr(self.result, "effective", last.active)
        if (self.result.active, self.result.skips) != (last.active, last.skips) or len(
            effective
        ) != depth:
            raise ValueError("its result is not that of the last epoch of its history")
        return self


class Pixels(_Part):
    """Of the training images: the share of values, and how many pixels, that are not zero."""

    nonzero_share: float
    ever_nonzero: int
    nonzero_in_one_per_thousand: int
    nonzero_in_one_per_hundred: int


class _Mnist(_Part):
    pixels: Pixels | None = None


class _Datasets(_Part):
    mnist: _Mnist = _Mnist()


class Manifest(_Part):
    """`data/manifest.json`."""

    datasets: _Datasets


class SmallNetwork(_Part):
    """`results/networks/<run>/seed-00.json`, less what the table does not show."""

    run: str
    seed: int
    record: str
    parameters: dict[str, int]
    multiply_adds: dict[str, int]
    difference: dict[str, float]


def read(path: Path, model: type[Model]) -> Model:
    """Read a JSON file.

    Raises:
        UserError: if it is missing or not as the model says.
    """
    try:
        return model.model_validate(json.loads(path.read_text("utf-8")))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; {MEND}") from error
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise UserError(f"{path} cannot be used: {reason}; {MEND}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be used: {error}; {MEND}") from error


def read_table(path: Path, names: list[str], **chosen: str) -> pd.DataFrame:
    """Some columns of numbers of a CSV file.

    Args:
        path: of the file.
        names: of the columns.
        chosen: what other columns must say in the lines that are wanted.

    Raises:
        UserError: if it is no such file.
    """
    try:
        table = pd.read_csv(path)
        for column, value in chosen.items():
            table = table[table[column] == value]
        return table[names].astype(float)
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"{path} cannot be used: {error}; {MEND}") from error
