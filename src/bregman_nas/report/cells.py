"""Threshold of the skips x scale of the initial weights: the runs in which these alone differ."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from bregman_nas.report.claims.claim import LAYERS
from bregman_nas.report.claims.widths import coding_layers, coding_width
from bregman_nas.report.data import NETWORKS, Run, Study
from bregman_nas.report.stats import Summary, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT

PROTOCOL, TASK = "paper", "denoising"
FACTORS = {"skip_threshold", "initial_scale"}


@dataclass(frozen=True)
class Cell:
    """A threshold and a scale.

    Attributes:
        network: one of `NETWORKS`; one without skips has no threshold.
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
        """Over the seeds: the loss in Table 1's unit, widths, the narrowest hidden layer."""
        if self.run is None:
            return {}
        rows = self.run.rows()
        found = {"ten_mse": summarize(self.run.scores()["mse"], ARTICLE_UNIT)}
        if len(rows):
            found["narrowest"] = summarize(coding_width(self.run))
            found["place"] = summarize(coding_layers(rows))
            found |= {f"width_{l}": summarize(of) for l, of in enumerate(rows.T, start=1)}
        return found


def cells(study: Study) -> Iterator[Cell]:
    """All cells of denoising under `paper`, by network, threshold and scale."""
    settings = study.settings
    for network in NETWORKS:
        found = []
        for name, row in settings.runs.items():
            of = (row.protocol, row.experiment, row.epochs)
            if of == (PROTOCOL, f"{network}-{TASK}", None) and row.change.keys() <= FACTORS:
                run = settings.run(name)
                scale, skips = run.protocol.initial_scale, network == "residual"
                if isinstance(scale, str):
                    scale = 1 / math.sqrt(run.experiment.density)
                threshold = run.protocol.skip_threshold if skips else None
                made = study.runs.get(name)
                if made is not None and made.depth != LAYERS:
                    made = None
                planned = row.planned or len(row.seeds)
                found.append(Cell(network, threshold, scale, planned, made))
        yield from sorted(found, key=lambda cell: (cell.threshold or 0, cell.scale))


def threshold_x_scale(
    study: Study,
) -> tuple[tuple[str, ...], tuple[str, ...], dict[tuple[str, ...], Run | None]]:
    """Thresholds, the scales that go with each of them, and the runs, None for those not made."""
    residual = [cell for cell in cells(study) if cell.network == "residual"]
    found = {(f"{cell.threshold:g}", f"{cell.scale:g}"): cell.run for cell in residual}
    thresholds = tuple(dict.fromkeys(threshold for threshold, _ in found))
    scales = tuple(
        scale
        for scale in dict.fromkeys(scale for _, scale in found)
        if all((threshold, scale) in found for threshold in thresholds)
    )
    crossed: dict[tuple[str, ...], Run | None] = {
        (threshold, scale): found[threshold, scale] for threshold in thresholds for scale in scales
    }
    return thresholds, scales, crossed


def as_frame(found: list[Cell]) -> pd.DataFrame:
    """A row for each cell and number: `width_l`, `narrowest`, `place` (a layer), `ten_mse`."""
    names = ["ten_mse", "narrowest", "place", *(f"width_{l}" for l in range(1, LAYERS + 1))]
    nothing = summarize([])
    lines = [
        {
            "network": cell.network,
            "threshold": cell.threshold,
            "scale": cell.scale,
            "planned": cell.planned,
            "measure": name,
            "seeds": summary.seeds,
            "nan_seeds": summary.nan_seeds,
            **summary.moments,
        }
        for cell in found
        for name in names
        for summary in [cell.numbers.get(name, nothing)]
    ]
    return pd.DataFrame(lines)
