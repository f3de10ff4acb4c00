"""Layer widths: of all seeds in long form, for plots, and their means, for readers."""

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
from bregman_nas.report.statistics import summarize

COLUMNS = ["run", "seed", "layer", "width", "effective", "living", "added_by_hand"]

NO_SPREAD = "\N{EN DASH}"
NOTES = """\
Mean (standard deviation, n - 1) over the seeds that did not diverge. *Active*: rows of W that are
not zero, which the article's layer widths count. *Effective*: those that also respond to the test
images and can influence the output, biases and skips counted.
"""


def as_csv(project: Path) -> str:
    """One line for each restoration run, seed and layer, diverged seeds included.

    Columns: `run`; `seed`; `layer`, 0 for the input and then from 1; `width`, its active rows;
    `effective` and `living` rows, empty for the input; `added_by_hand`, 1 for the input, whose
    784 pixels are no result, else 0.
    """
    lines = [line for run in _runs(project) for line in _lines(run)]
    table = pd.DataFrame(lines, columns=COLUMNS).convert_dtypes()
    return table.to_csv(index=False, lineterminator="\n")


def as_markdown(project: Path) -> str:
    """Active and effective rows of each layer, two lines for each restoration run."""
    lines = ["# Layer widths", "", NOTES]
    runs = [run for run in _runs(project) if not run.converged.empty]
    layers = range(1, max((depth(run.seeds) for run in runs), default=0) + 1)
    header = ["Run", "Seeds", "Rows", *(f"Layer {layer}" for layer in layers)]
    lines += [f"| {' | '.join(header)} |", "|---" * len(header) + "|"] if runs else ["Not run."]
    for run in runs:
        for name, kind in (("active", "width"), ("effective", "effective")):
            summaries = [summarize(column) for column in rows_by_layer(run.converged, kind).T]
            cells = [
                f"{s.mean:.1f} ({NO_SPREAD if s.std is None else f'{s.std:.1f}'})"
                for s in summaries
            ]
            first = [run.folder.name, str(len(run.converged)), name]
            lines.append(f"| {' | '.join([*first, *cells])} |")
    return "\n".join([*lines, ""])


def _runs(project: Path) -> list[Run]:
    names = (f"{network}-{task}" for network in NETWORKS for task in TASKS)
    runs = [read_run(project, protocol, name) for name in names for protocol in PROTOCOLS]
    return [run for run in runs if run is not None]


def _lines(run: Run) -> list[tuple[str, int, int, float, float | None, float | None, int]]:
    kinds = [rows_by_layer(run.seeds, kind) for kind in ("width", "effective", "living")]
    lines: list[tuple[str, int, int, float, float | None, float | None, int]] = []
    for index, seed in enumerate(run.seeds["seed"]):
        lines.append((run.folder.name, seed, 0, PIXELS, None, None, 1))
        for layer in range(1, depth(run.seeds) + 1):
            width, effective, living = (float(kind[index, layer - 1]) for kind in kinds)
            lines.append((run.folder.name, seed, layer, width, effective, living, 0))
    return lines
