"""What the searches cost, from the records of their seeds."""

import statistics
from pathlib import Path
from typing import Any

from bregman_nas.report.paper.missing import entry, read_json

MADE_BY = "bregman-nas search"


def cost(project: Path, runs: dict[str, list[int]]) -> dict[str, Any]:
    """Hours in all, minutes of a search for each run, and on what.

    Seeds in lockstep share the time of their batch evenly; `lockstep` says whether there are any.

    Args:
        project: the repository.
        runs: the seeds of each run that has any; each has its record in
            `results/<run>/records/`.

    Raises:
        PaperError: if a record is missing or does not say how long it took.
    """
    by_run, machines, versions = [], set(), set()
    total, lockstep = 0.0, False
    for run, seeds in runs.items():
        minutes = []
        for seed in seeds:
            path = project / "results" / run / "records" / f"seed-{seed:02d}.json"
            record = read_json(path, f"{MADE_BY} {run}")
            told = entry(record, path, f"{MADE_BY} {run}", "provenance")
            seconds, host, version = (
                entry(told, path, f"{MADE_BY} {run}", key)
                for key in ("seconds", "host", "versions")
            )
            batch = told.get("in_lockstep")
            lockstep |= batch is not None
            minutes.append(seconds / 60 / (len(batch) if batch else 1))
            machines.add((host["processor"], host["device"]))
            versions.add(version["torch"])
        total += sum(minutes)
        by_run.append(
            {
                "run": run,
                "searches": str(len(minutes)),
                "mean": f"{statistics.fmean(minutes):.1f}",
                "least": f"{min(minutes):.1f}",
                "most": f"{max(minutes):.1f}",
                "hours": f"{sum(minutes) / 60:.1f}",
            }
        )
    return {
        "hours": f"{total / 60:.1f}",
        "machines": [f"{processor} ({device})" for processor, device in sorted(machines)],
        "torch": sorted(versions),
        "lockstep": lockstep,
        "runs": by_run,
    }
