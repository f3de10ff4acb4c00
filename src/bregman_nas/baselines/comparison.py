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

A network whose outputs are all 0 enters with the error that this answer has, and is counted. A pair
with an error that is not finite cannot enter, and is counted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MARGIN = math.log(1.05)
LEVEL = 0.05


@dataclass(frozen=True)
class Outcome:
    """One network's mean squared error on the test images, and whether all its outputs are 0."""

    error: float
    dead: bool = False


@dataclass(frozen=True)
class Interval:
    """A confidence interval of the mean of d; `exp` of its ends bounds the ratio of the errors."""

    low: float
    high: float

    def is_within(self, margin: float) -> bool:
        """Whether all of it lies strictly between -margin and margin."""
        return -margin < self.low and self.high < margin

    def excludes_zero(self) -> bool:
        """Whether the mean is certainly not 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """What the pairs say.

    Attributes:
        first: the name of the first kind.
        second: the name of the second.
        pairs: those that enter.
        mean: of d; None without pairs.
        interval_95: decides whether the kinds differ; None with fewer than two pairs.
        interval_90: decides whether they are equivalent; likewise.
        dead_first: networks of the first kind whose outputs are all 0.
        dead_second: likewise of the second.
        not_finite: pairs left out because an error is not finite.
    """

    first: str
    second: str
    pairs: int
    mean: float | None
    interval_95: Interval | None
    interval_90: Interval | None
    dead_first: int
    dead_second: int
    not_finite: int

    @property
    def ratio(self) -> float | None:
        """The geometric mean of the ratios, error of the first to error of the second."""
        return None if self.mean is None else math.exp(self.mean)

    @property
    def differs(self) -> bool:
        """Whether the 95% interval excludes 0."""
        return self.interval_95 is not None and self.interval_95.excludes_zero()

    @property
    def verdict(self) -> str:
        """`equivalent`, `<name> better`, or `undecided`; see the module."""
        if self.interval_90 is not None and self.interval_90.is_within(MARGIN):
            return "equivalent"
        if self.differs and self.mean is not None:
            return f"{self.first if self.mean < 0 else self.second} better"
        return "undecided"


def compare(
    first: str, firsts: Mapping[int, Outcome], second: str, seconds: Mapping[int, Outcome]
) -> Comparison:
    """Compare two kinds of networks on the seeds of both.

    Args:
        first: name of the first kind.
        firsts: its networks, by seed.
        second: name of the second kind.
        seconds: its networks; a seed that only one kind has is left out.

    Raises:
        ValueError: if an error is zero or negative, which has no logarithm.
    """
    all_pairs = [(firsts[seed], seconds[seed]) for seed in sorted(firsts.keys() & seconds.keys())]
    for outcome in (outcome for pair in all_pairs for outcome in pair):
        if outcome.error <= 0:
            raise ValueError(f"the error of a network must be positive, got {outcome.error}")
    pairs = [pair for pair in all_pairs if all(math.isfinite(x.error) for x in pair)]
    d = np.array([math.log(a.error) - math.log(b.error) for a, b in pairs])
    return Comparison(
        first=first,
        second=second,
        pairs=len(d),
        mean=float(d.mean()) if len(d) else None,
        interval_95=_interval(d, 1 - LEVEL),
        interval_90=_interval(d, 1 - 2 * LEVEL),
        dead_first=sum(a.dead for a, _ in all_pairs),
        dead_second=sum(b.dead for _, b in all_pairs),
        not_finite=len(all_pairs) - len(pairs),
    )


def _interval(d: NDArray[np.float64], confidence: float) -> Interval | None:
    """Student's interval of the mean of d; None with fewer than two."""
    if len(d) < 2:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, len(d) - 1) * stats.sem(d))
    return Interval(float(d.mean()) - half, float(d.mean()) + half)
