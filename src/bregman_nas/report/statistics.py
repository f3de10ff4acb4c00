"""Mean, spread and tests over the seeds of a run."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """What the seeds of a run say about one number.

    Seeds whose number is not finite (the search diverged) are counted and otherwise left out.

    Attributes:
        seeds: all of them.
        nan_seeds: those whose number is not finite.
        mean: over the finite ones; None if there is none.
        std: their standard deviation, with n - 1; None if there are fewer than two.
        low: lower end of the 95% interval of the mean, by Student's t; None as `std`.
        high: its upper end.
    """

    seeds: int
    nan_seeds: int
    mean: float | None
    std: float | None
    low: float | None
    high: float | None

    @property
    def used(self) -> int:
        """The number of seeds behind `mean` and `std`."""
        return self.seeds - self.nan_seeds

    def scaled(self, factor: float) -> "Summary":
        """The same in a unit that is `factor` times smaller; `factor` is positive."""
        values = (self.mean, self.std, self.low, self.high)
        return Summary(
            self.seeds,
            self.nan_seeds,
            *(None if value is None else factor * value for value in values),
        )


@dataclass(frozen=True)
class Reference:
    """A published mean and standard deviation over a number of runs."""

    mean: float
    std: float
    seeds: int


@dataclass(frozen=True)
class Welch:
    """Welch's test of equal means: the statistic, positive if ours is larger; two-sided p."""

    t: float
    p: float


def summarize(values: Iterable[float]) -> Summary:
    """Summarize one number per seed.

    Args:
        values: one for each seed, NaN or infinite for a search that diverged.
    """
    everything = np.asarray(list(values), dtype=float)
    finite = everything[np.isfinite(everything)]
    seeds, used = len(everything), len(finite)
    if used == 0:
        return Summary(seeds, seeds, None, None, None, None)
    mean = float(finite.mean())
    if used == 1:
        return Summary(seeds, seeds - 1, mean, None, None, None)
    std = float(finite.std(ddof=1))
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, used - 1))
    half = quantile * std / math.sqrt(used)
    return Summary(seeds, seeds - used, mean, std, mean - half, mean + half)


def welch(ours: Summary, reference: Reference) -> Welch | None:
    """Welch's test of our mean against a published one, in the same unit.

    None where it is undefined: fewer than two finite seeds, or no spread on either side.
    """
    if ours.mean is None or ours.std is None or (ours.std == 0 and reference.std == 0):
        return None
    test = stats.ttest_ind_from_stats(
        ours.mean,
        ours.std,
        ours.used,
        reference.mean,
        reference.std,
        reference.seeds,
        equal_var=False,
    )
    return Welch(float(test.statistic), float(test.pvalue))
