"""How much of an architecture is due to the setting, the task, the network, and the seed.

A design crosses factors, such as two protocols x two tasks, with the same n seeds in each cell. The
effects of the factors are fixed, and the variance of a network drawn at random from the design is
split as in the analysis of variance. With the mean y_c of each of the C cells, the mean y_a over
the cells of level a of factor A, the grand mean y, and the variance s^2 within a cell (n - 1),
averaged over the cells:

    seed      V_0 = s^2
    factor A  V_A = mean_a (y_a - y)^2 - (A - 1) s^2 / (n C)
    together  V_T = mean_c (y_c - y)^2 - sum_A mean_a (y_a - y)^2 - D s^2 / (n C),
              D = C - 1 - sum_A (A - 1)

These are estimates by the method of moments: means of n seeds scatter by s^2 / n, which the last
terms subtract. `together` stands for all interactions of the factors. A negative estimate counts as
0; a share is one of these variances divided by the sum of all (omega squared).

Intervals are 95% percentile intervals over resampled seeds, the same in each cell, because a seed
has the same noise and order of images in all cells. A cell's deviations from its mean are first
scaled by sqrt(n / (n - 1)), the factor by which those of a sample are too small.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd

from bregman_nas.report.cells import threshold_x_scale
from bregman_nas.report.claims.rules import ENOUGH_SEEDS
from bregman_nas.report.data import NETWORKS, PROTOCOLS, TASKS, Array, Run, Study
from bregman_nas.report.measures import GENERATOR_SEED, LAYERS, RESAMPLES, coding_layers
from bregman_nas.report.stats import CONFIDENCE

TOGETHER, SEED = "together", "seed"
COLUMNS = ["design", "measure", "component", "variance", "share", "low", "high", "seeds"]
NARROWEST = "width of the narrowest layer"
ROWS = "number of active rows"
PLACE = "place of the narrowest layer"
#: The measures of widths [networks, L]; the narrowest layer is the narrowest hidden one.
MEASURES: dict[str, Callable[[Array], Array]] = {
    **{f"width of layer {l}": lambda widths, l=l: widths[:, l - 1] for l in range(1, LAYERS + 1)},  # type: ignore[misc]
    ROWS: lambda widths: widths.sum(1),
    NARROWEST: lambda widths: widths[:, :-1].min(1),
    PLACE: coding_layers,
}


@dataclass(frozen=True)
class Design:
    """Crossed factors, and a run for each cell.

    Attributes:
        name: such as `residual autoencoders`.
        factors: the name of each, and its levels.
        cells: the run of each combination of levels; None if not run.
    """

    name: str
    factors: Mapping[str, tuple[str, ...]]
    cells: Mapping[tuple[str, ...], Run | None]

    @property
    def components(self) -> list[str]:
        """The factors, their interactions, and the seed."""
        return [*self.factors, TOGETHER, SEED]

    @cached_property
    def seeds(self) -> list[int]:
        """Those that converged in all cells; none if a cell is not run, or of another depth."""
        runs = [run for run in self.cells.values() if run is not None and run.depth == LAYERS]
        if not runs or len(runs) < len(self.cells):
            return []
        return sorted(set.intersection(*(set(run.converged) for run in runs)))

    def widths(self) -> Array:
        """Active rows, [networks, L]: cell by cell, the seeds of each ascending."""
        runs = [run for run in self.cells.values() if run is not None]
        return np.concatenate([run.rows()[np.isin(run.converged, self.seeds)] for run in runs])


def designs(study: Study) -> list[Design]:
    """The protocols' own runs on MNIST, those of each network alone, and threshold x scale."""
    crossed = {"setting": PROTOCOLS, "task": TASKS}
    factors = {"network": NETWORKS, **crossed}
    every: dict[tuple[str, ...], Run | None]
    every = {(n, p, t): study.run(p, f"{n}-{t}") for n, p, t in product(*factors.values())}
    found = [Design("both networks", factors, every)]
    for network, name in zip(NETWORKS, ("autoencoders", "residual autoencoders"), strict=True):
        cells = {at[1:]: run for at, run in every.items() if at[0] == network}
        found.append(Design(name, crossed, cells))
    thresholds, scales, changed = threshold_x_scale(study)
    levels = {"threshold": thresholds, "scale": scales}
    return [*found, Design("residual autoencoders, denoising", levels, changed)]


def components(values: Array, factors: int) -> Array:
    """The variances of the module's equations, [..., factors + 2]; negative ones are 0.

    Args:
        values: [..., levels of each factor, seeds].
        factors: how many axes before the last are levels.
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


def shares(variances: Array) -> Array:
    """Of the sum over the last axis; NaN where nothing varies."""
    total = variances.sum(-1, keepdims=True)
    return np.where(total > 0, variances / np.where(total > 0, total, 1), np.nan)


def resampled(values: Array) -> Array:
    """Bootstrap samples of the seeds, [RESAMPLES, ...], with the variance of the sample.

    Args:
        values: [..., seeds].
    """
    seeds = values.shape[-1]
    mean = values.mean(-1, keepdims=True)
    scaled = mean + (values - mean) * np.sqrt(seeds / (seeds - 1))
    drawn = np.random.default_rng(GENERATOR_SEED).integers(seeds, size=(RESAMPLES, seeds))
    return np.moveaxis(scaled[..., drawn], -2, 0)


def taken_apart(study: Study) -> pd.DataFrame:
    """A row for each design, measure and component, of the designs that have enough seeds.

    Columns: `design`, `measure`, `component`, `variance`, `share` of the sum with `low` and `high`,
    `seeds` in each cell. The share is empty where nothing varies.
    """
    parts, tail = [pd.DataFrame(columns=COLUMNS)], (1 - CONFIDENCE) / 2
    for design in designs(study):
        seeds, factors = len(design.seeds), len(design.factors)
        if seeds < ENOUGH_SEEDS:
            continue
        for name, measure in MEASURES.items():
            values = measure(design.widths()).reshape([*map(len, design.factors.values()), seeds])
            variances = components(values, factors)
            share = low = high = shares(variances)
            if not np.isnan(share).any():
                of_samples = shares(components(resampled(values), factors))
                low, high = np.nanquantile(of_samples, [tail, 1 - tail], axis=0)
            where = {"design": design.name, "measure": name, "component": design.components}
            numbers = {"variance": variances, "share": share, "low": low, "high": high}
            parts.append(pd.DataFrame({**where, **numbers, "seeds": seeds}))
    return pd.concat(parts[1:] or parts, ignore_index=True)
