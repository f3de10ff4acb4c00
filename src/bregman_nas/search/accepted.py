"""The versions of the code that give the same numbers, each with the evidence for it.

A record stays valid while the digest of the code that made it and that of the code that runs are
both in the list. `acceptance` makes the evidence and adds the entries.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("accepted.json")


@cache
def entries() -> list[dict[str, Any]]:
    """What was accepted, oldest first: the `code` of a `kind`, which is `Run.kind` or `lockstep`.

    The evidence of each: it came first and made so many `records`, or it gives the committed
    `trajectories` (their digest) and the records of `seeds` that were searched again, bit for bit
    as far as they went; `no_seeds` says why there are none.
    """
    accepted: list[dict[str, Any]] = json.loads(PATH.read_text("utf-8"))
    return accepted


def are_equivalent(kind: str, then: str | None, now: str | None) -> bool:
    """Whether code gives the numbers of the code that runs `now`, or of any accepted if None."""
    accepted = {entry["code"] for entry in entries() if entry["kind"] == kind}
    return then is not None and (then == now or (then in accepted and now in {None, *accepted}))
