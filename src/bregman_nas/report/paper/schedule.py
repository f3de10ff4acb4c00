"""When the schedule of the learning rate acted."""

from collections.abc import Mapping
from typing import Any

from bregman_nas.report.paper.words import DASH
from bregman_nas.report.read import PROTOCOLS, Run


def schedule(runs: Mapping[str, Run]) -> dict[str, Any]:
    """By protocol in how many searches the learning rate was changed, and when first.

    Args:
        runs: by name, `<protocol>-<experiment>`.

    Returns:
        For each protocol `searches`, `changed` (in how many of them), `any`, and `first`: the first
        epoch of all that was trained with another learning rate than the epoch before.
    """
    return {protocol: _of_protocol(protocol, runs) for protocol in PROTOCOLS}


def _of_protocol(protocol: str, runs: Mapping[str, Run]) -> dict[str, Any]:
    searches, first = 0, []
    for name, run in runs.items():
        if not name.startswith(f"{protocol}-") or run.history.empty:
            continue
        for _, history in run.history.sort_values("epoch").groupby("seed"):
            searches += 1
            other = history["learning_rate"] != history["learning_rate"].iloc[0]
            first += history["epoch"][other].head(1).tolist()
    return {
        "searches": str(searches),
        "changed": str(len(first)),
        "any": len(first) > 0,
        "first": str(min(first)) if first else DASH,
    }
