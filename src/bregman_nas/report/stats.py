"""Means, intervals and tests over the seeds of a run."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
LEVEL = 0.05  # at which two means are told apart


class Summary(NamedTuple):
    """One number for each seed; those of diverged searches are counted and otherwise left out.

    `mean`, `std` (n - 1) and the ends of the mean's 95% interval, by Student's t, are None where
    there are too few `finite` numbers.
    """

    seeds: int
    finite: NDArray[np.float64]
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def used(self) -> int:
        """The number of finite numbers."""
        return len(self.finite)

    @property
    def nan_seeds(self) -> int:
        """The number of the other seeds."""
        return self.seeds - self.used

    def named(self, prefix: str = "") -> dict[str, float | None]:
        """`mean`, `std`, `low` and `high`, as columns of a table."""
        return {f"{prefix}{name}": getattr(self, name) for name in ("mean", "std", "low", "high")}

    def counts(self) -> dict[str, int]:
        """`seeds` and `nan_seeds`, as columns of a table."""
        return {"seeds": self.seeds, "nan_seeds": self.nan_seeds}


class Reference(NamedTuple):
    """A published mean and standard deviation over a number of runs."""

    mean: float
    std: float
    seeds: int


class Welch(NamedTuple):
    """Welch's test of equal means: the statistic, positive if ours is larger; two-sided p."""

    t: float
    p: float


def summarize(values: Iterable[float], unit: float = 1, confidence: float = CONFIDENCE) -> Summary:
    """Summarize one number for each seed, NaN or infinite if it diverged; `unit` is a factor."""
    every = unit * np.asarray([*values], dtype=float)
    finite = every[np.isfinite(every)]
    if len(finite) < 2:
        return Summary(len(every), finite, float(finite[0]) if len(finite) else None)
    mean, std = float(finite.mean()), float(finite.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, len(finite) - 1)) * std / math.sqrt(len(finite))
    return Summary(len(every), finite, mean, std, mean - half, mean + half)


def welch(ours: Summary, reference: Reference) -> Welch | None:
    """Welch's test of our mean against a published one, in the same unit.

    None where it is undefined: fewer than two finite seeds, or no spread on either side.
    """
    if ours.mean is None or ours.std is None or (ours.std == 0 and reference.std == 0):
        return None
    of_ours = (ours.mean, ours.std, ours.used)
    test = stats.ttest_ind_from_stats(*of_ours, *reference, equal_var=False)
    return Welch(float(test.statistic), float(test.pvalue))


def welch_of_printed(ours: Summary, printed: Reference, half_unit: float) -> Welch | None:
    """Welch's test against a mean and a deviation that are known only as they were printed.

    Of all that print so (to within `half_unit`) it takes those most in favour of equality: the mean
    nearest to ours, and the deviation with the largest p. So no difference is due to rounding.
    """
    if ours.mean is None:
        return None
    nearest = min(max(ours.mean, printed.mean - half_unit), printed.mean + half_unit)
    deviations = np.linspace(max(printed.std - half_unit, 0.0), printed.std + half_unit, 101)
    tests = (welch(ours, Reference(nearest, float(std), printed.seeds)) for std in deviations)
    return max(filter(None, tests), key=lambda test: test.p, default=None)


def signed_rank(values: Iterable[float], low: float, high: float) -> float:
    """Two-sided p of Wilcoxon's signed rank test against a centre between `low` and `high`.

    A single seed far from all others moves a mean, and hardly moves ranks. The centre is the one
    most in favour of equality: nearest to the median of the pairwise averages (Hodges and Lehmann).
    p is 1 if that median lies between. What is not finite counts as largest.
    """
    found = np.array([value if math.isfinite(value) else math.inf for value in values])
    first, second = np.triu_indices(len(found))
    centre = float(np.median((found[first] + found[second]) / 2))
    if low <= centre <= high:
        return 1.0
    return float(stats.wilcoxon(found - (low if centre < low else high)).pvalue)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> dict[str, float] | None:
    """Spearman's `rho` of pairs and its two-sided `p`; None for fewer than three or a constant."""
    if len(first) < 3 or len({*first}) == 1 or len({*second}) == 1:
        return None
    test = stats.spearmanr(first, second)
    return {"rho": float(test.statistic), "p": float(test.pvalue)}


def difference_interval(first: Summary, second: Summary) -> tuple[float, float] | None:
    """The interval of the first mean minus the second (Welch); None if a spread is undefined."""
    if first.mean is None or second.mean is None or None in (first.std, second.std):
        return None
    if first.std == second.std == 0:
        return first.mean - second.mean, first.mean - second.mean
    with warnings.catch_warnings():
        # scipy warns of equal numbers that their variance may be rounding error; it is 0.
        warnings.simplefilter("ignore", RuntimeWarning)
        test = stats.ttest_ind(first.finite, second.finite, equal_var=False)
        interval = test.confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)


def share_interval(count: int, seeds: int) -> tuple[float, float]:
    """The exact interval (Clopper and Pearson) of a share of seeds."""
    interval = stats.binomtest(count, seeds).proportion_ci(CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)


def holm(p: Mapping[str, float]) -> list[str]:
    """What differs if `LEVEL` is to hold for all tests together (Holm), the least p first."""
    ranked = sorted(p, key=lambda name: p[name])
    failed = (rank for rank, name in enumerate(ranked) if p[name] >= LEVEL / (len(p) - rank))
    return ranked[: next(failed, len(p))]
