"""Layer widths of all seeds in long form, for plots."""

from pathlib import Path

import pandas as pd

from bregman_nas.report.read import (
    NETWORKS,
    PIXELS,
    PROTOCOLS,
    TASKS,
    Run,
    depth,
    read_run,
    rows_by_layer,
)

COLUMNS = ["run", "seed", "layer", "width", "effective", "living", "added_by_hand"]


def as_csv(project: Path) -> str:
    """One line for each restoration run, seed and layer, diverged seeds included.

    Columns: `run`; `seed`; `layer`, 0 for the input and then from 1; `width`, its active rows;
    `effective` and `living` rows, empty for the input; `added_by_hand`, 1 for the input, whose
    784 pixels are no result, else 0.
    """
    names = (f"{network}-{task}" for network in NETWORKS for task in TASKS)
    runs = [read_run(project, protocol, name) for name in names for protocol in PROTOCOLS]
    lines = [line for run in runs if run is not None for line in _lines(run)]
    table = pd.DataFrame(lines, columns=COLUMNS).convert_dtypes()
    return table.to_csv(index=False, lineterminator="\n")


def _lines(run: Run) -> list[tuple[str, int, int, float, float | None, float | None, int]]:
    kinds = [rows_by_layer(run.seeds, kind) for kind in ("width", "effective", "living")]
    lines: list[tuple[str, int, int, float, float | None, float | None, int]] = []
    for index, seed in enumerate(run.seeds["seed"]):
        lines.append((run.folder.name, seed, 0, PIXELS, None, None, 1))
        for layer in range(1, depth(run.seeds) + 1):
            width, effective, living = (float(kind[index, layer - 1]) for kind in kinds)
            lines.append((run.folder.name, seed, layer, width, effective, living, 0))
    return lines
