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
from typing import Any

from bregman_nas.report.stats import LEVEL, Reference, summarize, welch
from bregman_nas.report.text import counted

MARGIN = math.log(1.05)


def compare(
    first: str, firsts: Mapping[int, float], second: str, seconds: Mapping[int, float]
) -> dict[str, Any]:
    """Compare two kinds of networks by their errors, given by seed, on the seeds of both.

    `ratio` is the geometric mean of the ratios, error of the first to error of the second; `low`
    and `high` are its 95% interval; `p` is two-sided, of the t test that the mean of d is 0, None
    if d has no spread. `verdict` is `equivalent`, `<name> better` or `undecided`; `differs` says
    whether the interval excludes 1, and `words` how much lower or higher the error of the first is.

    Raises:
        ValueError: if an error is zero or negative, which has no logarithm.
    """
    both = sorted(firsts.keys() & seconds.keys())
    values = [math.log(firsts[seed]) - math.log(seconds[seed]) for seed in both]
    d, at_90 = summarize(values), summarize(values, confidence=1 - 2 * LEVEL)
    test = welch(d, Reference(0.0, 0.0, 2))  # of one sample, if the other is a number
    ratio, low, high = (None if x is None else math.exp(x) for x in (d.mean, d.low, d.high))
    equivalent = all(end is not None and abs(end) < MARGIN for end in (at_90.low, at_90.high))
    verdict, differs = "equivalent" if equivalent else "undecided", False
    words = f"{counted(d.used, 'pair')} of seeds, no interval"
    if low is not None and high is not None:
        differs = not low <= 1 <= high
        near, far = sorted((abs(low - 1), abs(high - 1)))
        words = f"{near:.1%} to {far:.1%} {'lower' if high <= 1 else 'higher'}"
        if low < 1 < high:
            words = f"between {1 - low:.1%} lower and {high - 1:.1%} higher"
        if differs and equivalent:
            words += ": significant, but too small to count"
        elif differs:
            verdict = f"{first if high < 1 else second} better"
        if d.nan_seeds:
            words += f"; {counted(d.nan_seeds, 'pair')} diverged"
    return {
        **{"first": first, "second": second, "pairs": d.used, "ratio": ratio},
        **{"low": low, "high": high, "p": test and test.p, "verdict": verdict},
        **{"differs": differs, "words": f"{verdict}: {words}"},
    }
