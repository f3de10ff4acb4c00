"""The rule that decides whether one kind of network is better than another: paired by seed.

Each seed gives one difference d = log(error of the first) - log(error of the second), of the mean
squared errors on the test images. The verdict is the first of these that holds:

- *equivalent*: two one-sided t tests at level 0.05 reject that the mean of d is -log 1.05 or less,
  and that it is log 1.05 or more. This is so if the 90% interval of the mean lies between the two:
  the ratio of the errors is between 1/1.05 and 1.05, whichever kind is named first.
- *better*: the 95% t interval of the mean of d excludes 0. The kind with the smaller errors is.
- *undecided*: neither.

Verdicts are of one comparison: they are not corrected for the number of comparisons. The findings
say which differences between found and uniform remain after Holm's correction.

A difference can be certain and certainly smaller than 5%. It then counts as none; `differs` says
so, and the intervals say how large it is.

A network whose outputs are all 0 enters with the error that this answer has. A pair with an error
that is not finite cannot enter, and is counted.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from bregman_nas.report.stats import LEVEL, Reference, Summary, summarize, welch

MARGIN = math.log(1.05)


class Comparison(NamedTuple):
    """What the pairs say: d with its 95% interval, and with its 90% interval; see the module."""

    first: str
    second: str
    d: Summary
    at_90: Summary

    @property
    def ratio(self) -> float | None:
        """The geometric mean of the ratios, error of the first to error of the second."""
        return None if self.d.mean is None else math.exp(self.d.mean)

    @property
    def differs(self) -> bool:
        """Whether the 95% interval excludes 0."""
        low, high = self.d.low, self.d.high
        return low is not None and high is not None and not low <= 0 <= high

    @property
    def p(self) -> float | None:
        """Two-sided, of the t test that the mean of d is 0; None if d has no spread."""
        test = welch(self.d, Reference(0.0, 0.0, 2))  # of one sample, if the other is a number
        return test and test.p

    @property
    def verdict(self) -> str:
        """`equivalent`, `<name> better`, or `undecided`; see the module."""
        low, high = self.at_90.low, self.at_90.high
        if low is not None and high is not None and max(-low, high) < MARGIN:
            return "equivalent"
        if self.differs and self.d.mean is not None:
            return f"{self.first if self.d.mean < 0 else self.second} better"
        return "undecided"


def compare(
    first: str, firsts: Mapping[int, float], second: str, seconds: Mapping[int, float]
) -> Comparison:
    """Compare two kinds of networks by their errors, given by seed, on the seeds of both.

    Raises:
        ValueError: if an error is zero or negative, which has no logarithm.
    """
    both = sorted(firsts.keys() & seconds.keys())
    d = [math.log(firsts[seed]) - math.log(seconds[seed]) for seed in both]
    return Comparison(first, second, summarize(d), summarize(d, confidence=1 - 2 * LEVEL))
