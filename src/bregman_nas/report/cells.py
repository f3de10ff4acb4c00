"""Threshold of the skips x scale of the initial weights: the runs in which these alone differ."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from bregman_nas.report.data import NETWORKS, Run, Study
from bregman_nas.report.measures import LAYERS, coding_layers, coding_width
from bregman_nas.report.stats import Summary, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT

PROTOCOL, TASK = "paper", "denoising"
FACTORS = {"skip_threshold", "initial_scale"}
MEASURES = ("ten_mse", "narrowest", "place", *(f"width_{l}" for l in range(1, LAYERS + 1)))


class Cell(NamedTuple):
    """A threshold and a scale.

    Attributes:
        network: one of `NETWORKS`.
        threshold: in multiples of mu; None without skips.
        scale: factor on the Kaiming standard deviation.
        planned: how many seeds there are to be.
        run: None if not run, or of another depth.
    """

    network: str
    threshold: float | None
    scale: float
    planned: int
    run: Run | None

    @property
    def numbers(self) -> dict[str, Summary]:
        """`MEASURES` over the seeds: the loss alone if all diverged, nothing if not run."""
        if self.run is None:
            return {}
        found = [summarize(self.run.scores()["mse"], ARTICLE_UNIT)]
        if len(rows := self.run.rows()):
            found += map(summarize, (coding_width(self.run), coding_layers(rows), *rows.T))
        return dict(zip(MEASURES, found, strict=False))


def cells(study: Study) -> list[Cell]:
    """All cells of denoising under `paper`, by network, threshold and scale."""
    settings, found = study.settings, []
    for network in NETWORKS:
        for name, row in settings.runs.items():
            of = (row.protocol, row.experiment, row.epochs)
            if of == (PROTOCOL, f"{network}-{TASK}", None) and row.change.keys() <= FACTORS:
                planned = settings.run(name)
                scale = planned.protocol.initial_scale
                if isinstance(scale, str):
                    scale = 1 / math.sqrt(planned.experiment.density)
                threshold = planned.protocol.skip_threshold if network == "residual" else None
                run = study.runs.get(name)
                run = run if run is not None and run.depth == LAYERS else None
                found.append(Cell(network, threshold, scale, row.planned or len(row.seeds), run))
    return sorted(found, key=lambda cell: (cell.network, cell.threshold or 0, cell.scale))


def threshold_x_scale(
    study: Study,
) -> tuple[tuple[str, ...], tuple[str, ...], dict[tuple[str, ...], Run | None]]:
    """Thresholds, the scales that go with each of them, and the runs, None for those not made."""
    residual = [cell for cell in cells(study) if cell.network == "residual"]
    found = {(f"{cell.threshold:g}", f"{cell.scale:g}"): cell.run for cell in residual}
    thresholds = tuple(dict.fromkeys(t for t, _ in found))
    scales = tuple(
        s for s in dict.fromkeys(s for _, s in found) if all((t, s) in found for t in thresholds)
    )
    return thresholds, scales, {(t, s): found[t, s] for t in thresholds for s in scales}


def rows(found: Iterable[Cell]) -> Iterator[dict[str, Any]]:
    """A line for each cell and each of `MEASURES`."""
    for cell in found:
        for measure in MEASURES:
            summary = cell.numbers.get(measure, summarize([]))
            yield {
                "network": cell.network,
                "threshold": cell.threshold,
                "scale": cell.scale,
                "planned": cell.planned,
                "measure": measure,
                "seeds": summary.seeds,
                "nan_seeds": summary.nan_seeds,
                **summary.named(),
            }
