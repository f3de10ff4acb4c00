"""The versions of the code that give the same numbers, each with the evidence for it.

A record stays valid while the digest of the code that made it and that of the code that runs are
both in the list. `acceptance` makes the evidence and adds the entries.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Self

import pydantic
from pydantic import Field

PATH = Path(__file__).with_name("accepted.json")

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Sentence = Annotated[str, Field(min_length=10)]
Count = Annotated[int, Field(ge=1)]


class _Block(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Seed(_Block):
    """A real seed that was searched again and gave its record, bit for bit, as far as it went."""

    run: str
    seed: int
    epochs: Count
    record: Digest


class Entry(_Block):
    """One version of the code of a kind: `Run.kind`, or `lockstep`.

    Its evidence: it came first and made so many `records`, or it gives the committed `trajectories`
    (their digest) and the records of `seeds`; `no_seeds` says why there are none.
    """

    kind: str
    code: Digest
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    date: str
    reason: Sentence
    records: Count | None = None
    trajectories: Digest | None = None
    seeds: tuple[Seed, ...] = ()
    no_seeds: Sentence | None = None

    @pydantic.model_validator(mode="after")
    def _has_evidence(self) -> Self:
        again = self.trajectories and bool(self.seeds) != bool(self.no_seeds)
        if not self.records and not again:
            raise ValueError("needs records, or trajectories with seeds or no_seeds")
        return self


@cache
def entries() -> list[Entry]:
    """What was accepted, oldest first."""
    return pydantic.TypeAdapter(list[Entry]).validate_json(PATH.read_bytes())


def are_equivalent(kind: str, then: str | None, now: str | None) -> bool:
    """Whether code gives the numbers of the code that runs `now`, or of any accepted if None."""
    accepted = {entry.code for entry in entries() if entry.kind == kind}
    return then is not None and (then == now or (then in accepted and now in {None, *accepted}))
