"""How much of an architecture is due to the setting, the task, the network, and the seed.

A design crosses factors, such as two protocols x two tasks, with the same n seeds in each cell. The
effects of the factors are fixed, and the variance of a network drawn at random from the design is
split as in the analysis of variance. With the mean y_c of each of the C cells, the mean y_a over
the cells of level a of factor A, the grand mean y, and the variance s^2 within a cell (n - 1),
averaged over the cells:

    seed         V_0 = s^2
    factor A     V_A = mean_a (y_a - y)^2 - (A - 1) s^2 / (n C)
    interaction  V_I = mean_c (y_c - y)^2 - sum_A mean_a (y_a - y)^2 - D s^2 / (n C),
                 D = C - 1 - sum_A (A - 1)

These are estimates by the method of moments: means of n seeds scatter by s^2 / n, which the last
terms subtract. `interaction` stands for all interactions. A negative estimate counts as 0; a share
is one of these variances divided by the sum of all (omega squared). Intervals are 95% percentile
intervals over resampled seeds, the same in each cell, because a seed has the same noise and order
of images in all cells.
"""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from bregman_nas.report import measures
from bregman_nas.report.cells import Cells, threshold_x_scale
from bregman_nas.report.claims.rules import ENOUGH_SEEDS
from bregman_nas.report.data import NETWORKS, PROTOCOLS, TASKS, Array, Study
from bregman_nas.report.measures import LAYERS, ratio
from bregman_nas.report.stats import CONFIDENCE

INTERACTION, SEED = "interaction", "seed"
COLUMNS = ["design", "measure", "component", "variance", "share", "low", "high", "seeds"]
NARROWEST = "width of the narrowest layer"
ROWS = "number of active rows"
#: The words for some of `measures.numbers`.
MEASURES = {f"width_{l}": f"width of layer {l}" for l in range(1, LAYERS + 1)} | {
    "rows_on": ROWS,
    "coding_width": NARROWEST,
    "coding_layer": "place of the narrowest layer",
}


class Design(NamedTuple):
    """Crossed factors with their levels, and the run of each combination of levels."""

    name: str
    factors: Mapping[str, tuple[str, ...]]
    cells: Cells

    @property
    def components(self) -> list[str]:
        """The factors, their interactions, and the seed."""
        return [*self.factors, INTERACTION, SEED]

    @property
    def seeds(self) -> list[int]:
        """Those that converged in all cells; none if a cell is not run, or of another depth."""
        runs = [run for run in self.cells.values() if run is not None and run.depth == LAYERS]
        if not runs or len(runs) < len(self.cells):
            return []
        return sorted(set.intersection(*({*run.converged} for run in runs)))

    def numbers(self) -> dict[str, Array]:
        """Each of `MEASURES`, [levels of each factor, seeds]."""
        runs = [run for run in self.cells.values() if run is not None]
        found = pd.concat([measures.numbers(run).loc[self.seeds] for run in runs])
        shape = (*map(len, self.factors.values()), len(self.seeds))
        return {words: found[name].to_numpy().reshape(shape) for name, words in MEASURES.items()}


def designs(study: Study) -> list[Design]:
    """The protocols' own runs on MNIST, those of each network alone, and threshold x scale."""
    crossed = {"setting": PROTOCOLS, "task": TASKS}
    factors = {"network": NETWORKS, **crossed}
    every: Cells = {(n, p, t): study.run(p, f"{n}-{t}") for n, p, t in product(*factors.values())}
    found = [Design("both networks", factors, every)]
    for network, name in zip(NETWORKS, ("autoencoders", "residual autoencoders"), strict=True):
        cells = {at[1:]: run for at, run in every.items() if at[0] == network}
        found.append(Design(name, crossed, cells))
    thresholds, scales, changed = threshold_x_scale(study)
    levels = {"threshold": thresholds, "scale": scales}
    return [*found, Design("residual autoencoders, denoising", levels, changed)]


def components(values: Array, factors: int) -> Array:
    """The variances of the module's equations, [..., factors + 2]; negative ones are 0.

    Of values [..., levels of each factor, seeds]; so many axes are `factors`.
    """
    axes = tuple(range(-factors, 0))
    cells = values.mean(-1)
    within = values.var(-1, ddof=1).mean(axes)
    error = within / np.prod(values.shape[-factors - 1 :])
    apart = cells - cells.mean(axes, keepdims=True)
    found, rest, freedom = [], (apart**2).mean(axes), np.prod(cells.shape[-factors:]) - 1
    for axis in axes:
        others = tuple(other for other in axes if other != axis)
        of_levels = (apart.mean(others) ** 2).mean(-1)
        found.append(of_levels - (cells.shape[axis] - 1) * error)
        rest, freedom = rest - of_levels, freedom - (cells.shape[axis] - 1)
    variances = np.stack([*found, rest - freedom * error, within], axis=-1)
    return np.asarray(np.maximum(variances, 0))


def resampled(values: Array) -> Array:
    """Bootstrap samples of the seeds, [RESAMPLES, ...], of values [..., seeds].

    A cell's deviations from its mean are scaled by sqrt(n / (n - 1)), the factor by which those of
    a sample are too small.
    """
    seeds = values.shape[-1]
    mean = values.mean(-1, keepdims=True)
    scaled = mean + (values - mean) * np.sqrt(seeds / (seeds - 1))
    return np.moveaxis(scaled[..., measures.resamples(seeds)], -2, 0)


def taken_apart(study: Study) -> pd.DataFrame:
    """A row for each design, measure and component, of the designs that have enough seeds.

    Columns: `design`, `measure`, `component`, `variance`, `share` of the sum with `low` and `high`,
    `seeds` in each cell. The share is empty where nothing varies.
    """
    parts, tail = [], (1 - CONFIDENCE) / 2
    for design in designs(study):
        seeds, factors = len(design.seeds), len(design.factors)
        for name, values in (design.numbers() if seeds >= ENOUGH_SEEDS else {}).items():
            variances = components(values, factors)
            share = low = high = ratio(variances, variances.sum(), np.nan)
            if not np.isnan(share).any():
                samples = components(resampled(values), factors)
                of_samples = ratio(samples, samples.sum(-1, keepdims=True), np.nan)
                low, high = np.nanquantile(of_samples, [tail, 1 - tail], axis=0)
            columns = (design.name, name, design.components, variances, share, low, high, seeds)
            parts.append(pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
