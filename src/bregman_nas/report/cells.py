"""Threshold of the skips x scale of the initial weights: the runs in which these alone differ."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from bregman_nas.report import measures
from bregman_nas.report.data import NETWORKS, Run, Study
from bregman_nas.report.measures import LAYERS
from bregman_nas.report.stats import Summary, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT

PROTOCOL, TASK = "paper", "denoising"
FACTORS = {"skip_threshold", "initial_scale"}
SHORT = {"coding_width": "narrowest", "coding_layer": "place"}
MEASURES = ("ten_mse", *SHORT.values(), *(f"width_{l}" for l in range(1, LAYERS + 1)))
Cells = dict[tuple[str, ...], Run | None]  # by threshold and scale; None if not run


class Cell(NamedTuple):
    """A run with so many planned seeds; None if not run, or of another depth.

    The threshold is in multiples of mu, None without skips; the scale is a factor on the Kaiming
    standard deviation.
    """

    network: str
    threshold: float | None
    scale: float
    planned: int
    run: Run | None

    @property
    def numbers(self) -> dict[str, Summary]:
        """`MEASURES` over the seeds, the loss on the test images; of no seeds if not run."""
        if self.run is None:
            return dict.fromkeys(MEASURES, summarize([]))
        found = measures.numbers(self.run).rename(columns=SHORT)
        found["ten_mse"] = ARTICLE_UNIT * self.run.scores()["mse"]
        return {name: summarize(found[name]) for name in MEASURES}


def cells(study: Study) -> list[Cell]:
    """All cells of denoising under `paper`, by network, threshold and scale."""
    found = []
    for name, row in study.settings.runs.items():
        network, _, task = row.experiment.partition("-")
        of = (row.protocol, task, row.epochs)
        if of == (PROTOCOL, TASK, None) and network in NETWORKS and row.change.keys() <= FACTORS:
            planned, run = study.settings.run(name), study.runs.get(name)
            scale = planned.protocol.initial_scale
            scale = 1 / math.sqrt(planned.experiment.density) if isinstance(scale, str) else scale
            threshold = planned.protocol.skip_threshold if network == "residual" else None
            run = run if run is not None and run.depth == LAYERS else None
            found.append(Cell(network, threshold, scale, row.planned or len(row.seeds), run))
    return sorted(found, key=lambda cell: (cell.network, cell.threshold or 0, cell.scale))


def threshold_x_scale(study: Study) -> tuple[tuple[str, ...], tuple[str, ...], Cells]:
    """Thresholds, the scales that go with each of them, and the residual networks."""
    residual = [cell for cell in cells(study) if cell.network == "residual"]
    found: Cells = {(f"{cell.threshold:g}", f"{cell.scale:g}"): cell.run for cell in residual}
    thresholds = tuple(dict.fromkeys(t for t, _ in found))
    scales = tuple(dict.fromkeys(s for _, s in found if all((t, s) in found for t in thresholds)))
    return thresholds, scales, {(t, s): found[t, s] for t in thresholds for s in scales}


def rows(found: Iterable[Cell]) -> Iterator[dict[str, Any]]:
    """A line for each cell and each of `MEASURES`."""
    for cell in found:
        about = {k: getattr(cell, k) for k in ("network", "threshold", "scale", "planned")}
        for measure, of in cell.numbers.items():
            yield {**about, "measure": measure, **of.counts(), **of.named()}
