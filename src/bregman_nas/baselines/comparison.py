"""The rule that decides whether one kind of network is better than another: paired by seed.

Each seed gives one difference d = log(error of the first) - log(error of the second), of the mean
squared errors on the test images. The verdict is the first of these that holds:

- *equivalent*: two one-sided t tests at level 0.05 reject that the mean of d is -log 1.05 or less,
  and that it is log 1.05 or more. This is so if the 90% interval of the mean lies between the two:
  the ratio of the errors is between 1/1.05 and 1.05, whichever kind is named first.
- *better*: the 95% t interval of the mean of d excludes 0. The kind with the smaller errors is.
- *undecided*: neither.

A difference can be certain and certainly smaller than 5%. It then counts as none; `differs` says
so, and the intervals say how large it is.

A network whose outputs are all 0 enters with the error that this answer has. A pair with an error
that is not finite cannot enter, and is counted.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MARGIN = math.log(1.05)
LEVEL = 0.05


class Interval(NamedTuple):
    """A confidence interval of the mean of d; `exp` of its ends bounds the ratio of the errors."""

    low: float
    high: float


class Comparison(NamedTuple):
    """What the pairs say.

    Attributes:
        first, second: the names of the two kinds.
        pairs: how many enter.
        mean: of d; None without pairs.
        interval_95: decides whether the kinds differ; None with fewer than two pairs.
        interval_90: decides whether they are equivalent; likewise.
        not_finite: pairs left out because an error is not finite.
    """

    first: str
    second: str
    pairs: int
    mean: float | None
    interval_95: Interval | None
    interval_90: Interval | None
    not_finite: int

    @property
    def ratio(self) -> float | None:
        """The geometric mean of the ratios, error of the first to error of the second."""
        return None if self.mean is None else math.exp(self.mean)

    @property
    def differs(self) -> bool:
        """Whether the 95% interval excludes 0."""
        interval = self.interval_95
        return interval is not None and not interval.low <= 0 <= interval.high

    @property
    def verdict(self) -> str:
        """`equivalent`, `<name> better`, or `undecided`; see the module."""
        interval = self.interval_90
        if interval is not None and max(-interval.low, interval.high) < MARGIN:
            return "equivalent"
        if self.differs and self.mean is not None:
            return f"{self.first if self.mean < 0 else self.second} better"
        return "undecided"


def compare(
    first: str, firsts: Mapping[int, float], second: str, seconds: Mapping[int, float]
) -> Comparison:
    """Compare two kinds of networks by their errors, given by seed, on the seeds of both.

    Raises:
        ValueError: if an error is zero or negative, which has no logarithm.
    """
    both = [(firsts[seed], seconds[seed]) for seed in sorted(firsts.keys() & seconds.keys())]
    errors = np.array(both).reshape(-1, 2)
    if (errors <= 0).any():
        raise ValueError(f"the error of a network must be positive, got {errors[errors <= 0][0]}")
    finite = errors[np.isfinite(errors).all(1)]
    d = np.array([math.log(a) - math.log(b) for a, b in finite])
    return Comparison(
        first=first,
        second=second,
        pairs=len(d),
        mean=float(d.mean()) if len(d) else None,
        interval_95=_interval(d, 1 - LEVEL),
        interval_90=_interval(d, 1 - 2 * LEVEL),
        not_finite=len(both) - len(d),
    )


def _interval(d: NDArray[np.float64], confidence: float) -> Interval | None:
    """Student's interval of the mean of d; None with fewer than two."""
    if len(d) < 2:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, len(d) - 1) * stats.sem(d))
    return Interval(float(d.mean()) - half, float(d.mean()) + half)
