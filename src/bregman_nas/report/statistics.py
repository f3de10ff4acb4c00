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


def welch_of_printed(ours: Summary, printed: Reference, half_unit: float) -> Welch | None:
    """Welch's test against a mean and a deviation that are known only as they were printed.

    Of all means and deviations that print so, those that are most in favour of equality: the mean
    nearest to ours, and the deviation with the largest p. So no difference is due to rounding.

    Args:
        ours: the mean of our seeds, in the unit of `printed`.
        printed: as printed.
        half_unit: half of the last printed digit: 0.0005 for three decimals.

    Returns:
        The test; None where `welch` is undefined for all of them.
    """
    if ours.mean is None:
        return None
    nearest = min(max(ours.mean, printed.mean - half_unit), printed.mean + half_unit)
    deviations = np.linspace(max(printed.std - half_unit, 0.0), printed.std + half_unit, 101)
    tests = [
        welch(ours, Reference(nearest, float(std), printed.seeds)) for std in deviations.tolist()
    ]
    return max((test for test in tests if test is not None), key=lambda t: t.p, default=None)


def signed_rank(values: Iterable[float], low: float, high: float) -> float | None:
    """Two-sided p of Wilcoxon's signed rank test, against a centre known to lie in an interval.

    A single seed far from all others moves a mean, and hardly moves ranks. Of the interval, the
    centre most in favour of equality is taken: the one nearest to the median of the pairwise
    averages of the seeds (Hodges and Lehmann). p is 1 if that median lies in the interval.

    Args:
        values: one for each seed; one that is not finite (the search diverged) counts as larger
            than all others, as for a loss.
        low: lower end of the interval; a point if it equals `high`.
        high: upper end.

    Returns:
        p; None without seeds.
    """
    found = np.asarray(list(values), dtype=float)
    found = np.where(np.isfinite(found), found, np.inf)
    if len(found) == 0:
        return None
    first, second = np.triu_indices(len(found))
    centre = float(np.median((found[first] + found[second]) / 2))
    if low <= centre <= high:
        return 1.0
    return float(stats.wilcoxon(found - (low if centre < low else high)).pvalue)
