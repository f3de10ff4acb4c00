"""The ablation's table, from `results/ablation.json`."""

from pathlib import Path
from typing import Any

from bregman_nas.report.paper.missing import entry, read_json
from bregman_nas.report.paper.words import DASH, interval, mean_std

MADE_BY = "bregman-nas ablation"
# What the table shows of each run beside the loss, and with how many digits.
SHAPE = {"coding_width": 0, "coding_layer": 1, "skips_on": 1, "largest_skip": 2}


def ablation(path: Path) -> dict[str, Any] | None:
    """Experiment, epoch, and a line for each run; None as long as no choice has been changed.

    Args:
        path: of results/ablation.json, which need not be there.

    Raises:
        PaperError: if it is there and an entry is missing.
    """
    if not path.exists():
        return None
    content = read_json(path, MADE_BY)
    runs = entry(content, path, MADE_BY, "runs")
    if all(run["change"] is None or run["measures"] is None for run in runs.values()):
        return None
    return {
        "experiment": entry(content, path, MADE_BY, "experiment"),
        "epoch": str(entry(content, path, MADE_BY, "epoch")),
        "rows": [_row(run, path) for run in runs.values()],
    }


def _row(run: dict[str, Any], path: Path) -> list[str]:
    cells = [run["protocol"], run["words"]]
    if run["measures"] is None:
        return [*cells, "not run", *[""] * (2 + len(SHAPE))]
    measures = {key: entry(run, path, MADE_BY, "measures", key) for key in ("ten_mse", *SHAPE)}
    loss = measures["ten_mse"]
    apart = loss["difference"]
    difference = "" if apart is None else f"{mean_std(apart, 4)}; {interval(apart, 4)}"
    return [
        *cells,
        str(loss["seeds"]),
        mean_std(loss, 4),
        difference.replace(f"{DASH} ({DASH}); {DASH}", DASH),
        *(mean_std(measures[key], digits) for key, digits in SHAPE.items()),
    ]
