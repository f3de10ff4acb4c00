"""When the schedule of the learning rate acted."""

from collections.abc import Mapping
from typing import Any

from bregman_nas.report.read import PROTOCOLS, Run
from bregman_nas.report.words import DASH


def schedule(runs: Mapping[str, Run]) -> dict[str, Any]:
    """By protocol in how many searches the learning rate was changed, and when first.

    Args:
        runs: by name, `<protocol>-<experiment>`.

    Returns:
        For each protocol `searches`, `changed` (in how many of them), `any`, `first`: the first
        epoch of all that was trained with another learning rate than the epoch before; and
        `by_run`: the same counts for each run with any such search.
    """
    return {protocol: _of_protocol(protocol, runs) for protocol in PROTOCOLS}


def _of_protocol(protocol: str, runs: Mapping[str, Run]) -> dict[str, Any]:
    of_runs = {name: run for name, run in runs.items() if name.startswith(f"{protocol}-")}
    changes = {name: first_changes(run) for name, run in of_runs.items()}
    first = [epoch for found in changes.values() for epoch in found]
    return {
        "searches": str(sum(len(run.converged) for run in of_runs.values())),
        "changed": str(len(first)),
        "any": len(first) > 0,
        "first": str(min(first)) if first else DASH,
        "by_run": [
            {"run": name, "changed": str(len(found)), "searches": str(len(of_runs[name].converged))}
            for name, found in changes.items()
            if found
        ],
    }


def first_changes(run: Run) -> list[int]:
    """For each converged seed whose learning rate changed, the first epoch with another one."""
    found: list[int] = []
    for _, history in run.history.sort_values("epoch").groupby("seed"):
        other = history["learning_rate"] != history["learning_rate"].iloc[0]
        found += history["epoch"][other].head(1).tolist()
    return found
