"""The versions of the code that give the same numbers, each with the evidence for it.

A record stays valid while the code changes, as long as the digest of the code that made it and that
of the code that runs are both in the list. `acceptance` makes the evidence and adds the entries.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Self

import pydantic
from pydantic import Field

PATH = Path(__file__).with_name("accepted.json")

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Block(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Seed(_Block):
    """A real seed that was searched again and gave its record, bit for bit, as far as it went."""

    run: str
    seed: int
    epochs: Annotated[int, Field(ge=1)]
    record: Digest


class Evidence(_Block):
    """What shows that code gives the numbers of the code before; see `acceptance`.

    Attributes:
        trajectories: the digest of the committed ones, which it gives.
        seeds: those of this kind that were searched again.
        no_seeds: why there are none.
    """

    trajectories: Digest
    seeds: tuple[Seed, ...]
    no_seeds: Annotated[str, Field(min_length=10)] | None = None

    @pydantic.model_validator(mode="after")
    def _explains_missing_seeds(self) -> Self:
        if bool(self.seeds) == bool(self.no_seeds):
            raise ValueError("either seeds were searched again, or no_seeds says why not")
        return self


class Origin(_Block):
    """The code came first: it made so many records."""

    records: Annotated[int, Field(ge=1)]


class Entry(_Block):
    """One version of the code."""

    code: Digest
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    date: str
    reason: Annotated[str, Field(min_length=10)]
    evidence: Evidence | Origin


#: By kind of code, `Run.kind` or `lockstep`, oldest first.
Entries = dict[str, list[Entry]]

_ENTRIES = pydantic.TypeAdapter(Entries)


def parse(text: str | bytes) -> Entries:
    """The list in a file; an entry whose evidence is missing is a `pydantic.ValidationError`."""
    return _ENTRIES.validate_json(text)


@cache
def entries() -> Entries:
    """What was accepted."""
    return parse(PATH.read_bytes())


def dump(accepted: Entries) -> bytes:
    """The content of the file for a list."""
    return _ENTRIES.dump_json(accepted, indent=1, exclude_none=True) + b"\n"


def are_equivalent(kind: str, then: str | None, now: str | None) -> bool:
    """Whether two versions of the code give the same numbers.

    Args:
        kind: as `Run.kind`, or `lockstep`.
        then: the digest of one.
        now: that of the other; None for any that was accepted.
    """
    accepted = [entry.code for entry in entries().get(kind, [])]
    return then is not None and (then == now or (then in accepted and now in (None, *accepted)))
