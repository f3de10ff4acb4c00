"""The versions of the code that give the same numbers, each with the evidence for it.

A record stays valid while the code changes, as long as the digest of the code that made it and that
of the code that runs are both in the list. `acceptance` makes the evidence and adds the entries.
"""

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("accepted.json")


@cache
def entries() -> dict[str, list[dict[str, Any]]]:
    """By network, and `lockstep`: what was accepted, oldest first."""
    text = resources.files("bregman_nas.search").joinpath("accepted.json").read_text("utf-8")
    found: dict[str, list[dict[str, Any]]] = json.loads(text)
    return found


def are_equivalent(network: str, then: str | None, now: str | None) -> bool:
    """Whether two versions of the code for a network give the same numbers.

    Args:
        network: as in the settings, or `lockstep`.
        then: the digest of one.
        now: that of the other; None for any that was accepted.
    """
    accepted = [entry["code"] for entry in entries().get(network, [])]
    return then is not None and (then == now or (then in accepted and now in (None, *accepted)))
