"""The readers of single files under results/ and data/."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pydantic
from pydantic import AliasPath, Field

from bregman_nas.errors import UserError

Model = TypeVar("Model", bound=pydantic.BaseModel)

MEND = "`git restore` brings the committed file back, `dvc repro` makes it anew"


class Pixels(pydantic.BaseModel):
    """Counts on the training images: the share of values, and how many pixels, are not zero."""

    nonzero_share: float
    ever_nonzero: int
    nonzero_in_one_per_thousand: int
    nonzero_in_one_per_hundred: int


class Manifest(pydantic.BaseModel):
    """`data/manifest.json`, as far as the report needs it."""

    pixels: Pixels | None = Field(None, validation_alias=AliasPath("datasets", "mnist", "pixels"))


class SmallNetwork(pydantic.BaseModel):
    """`results/networks/<run>/seed-00.json`, as far as the table shows it."""

    run: str
    seed: int
    record: str
    parameters: dict[str, int]
    multiply_adds: dict[str, int]
    difference: dict[str, float]


@contextmanager
def readable(path: Path, mend: str = MEND) -> Iterator[None]:
    """Report any fault of a file as a `UserError` that names the file and says what to do."""
    try:
        if path.is_fifo():
            raise ValueError("it is a pipe, which may never end")
        yield
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} cannot be used: {where}: {first['msg']}; {mend}") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} cannot be used: {error}; {mend}") from error
    except UserError as error:
        raise UserError(f"{error}; {mend}") from error


def read(path: Path, model: type[Model]) -> Model:
    """Read a JSON file; raises `UserError` if it is missing or does not fit the model."""
    with readable(path):
        return model.model_validate(json.loads(path.read_text("utf-8")))
