"""What a claim is, and how the numbers that it rests on become a verdict."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from scipy import stats

from bregman_nas.report.claims.results import Results
from bregman_nas.report.statistics import CONFIDENCE, Summary

# The fewest from which a spread can be told at all. (A share of seeds needs six that agree.)
ENOUGH_SEEDS = 3
# If more than a fifth of the seeds diverged, those left are no longer what the method finds.
TOO_MANY_DIVERGED = 0.2
# "Most" seeds, skips, events: more than half.
HALF = 0.5


class Verdict(StrEnum):
    """What the results say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


# From the ends of an interval.
Rule = Callable[[float, float], Verdict]


@dataclass(frozen=True)
class Finding:
    """One number that a claim rests on.

    Attributes:
        name: what it is, such as `denoising, layer 6`.
        value: its estimate; None if there is none.
        std: standard deviation over the seeds, n - 1, where the value is a mean.
        low: lower end of its 95% interval, where it has one.
        high: upper end.
        seeds: all of them, diverged ones included, of the smaller of two runs; None where it does
            not come from seeds.
        diverged: how many of them.
        verdict: what it says of the claim; None if it decides nothing and is told beside.
    """

    name: str
    value: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int | None = None
    diverged: int = 0
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Claim:
    """A claim and its rule.

    Attributes:
        number: as in the list of claims.
        words: what is claimed.
        place: where in the article.
        statistic: the numbers that decide it.
        supported_if: where these must lie.
        contradicted_if: where they must not.
        decide: the rule as code: the findings of one protocol.
    """

    number: int
    words: str
    place: str
    statistic: str
    supported_if: str
    contradicted_if: str
    decide: Callable[[Results], list[Finding]]

    @property
    def rule(self) -> str:
        """In one sentence."""
        return (
            f"Supported if {self.supported_if}; contradicted if {self.contradicted_if}; "
            "else undecided."
        )


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """The verdict on a claim that says that all of its findings hold."""
    found = [finding.verdict for finding in findings]
    for verdict in (Verdict.CONTRADICTED, Verdict.NOT_RUN, Verdict.UNDECIDED):
        if verdict in found:
            return verdict
    return Verdict.SUPPORTED


def above(threshold: float) -> Rule:
    """The number is larger than a threshold."""

    def rule(low: float, high: float) -> Verdict:
        if low > threshold:
            return Verdict.SUPPORTED
        return Verdict.CONTRADICTED if high <= threshold else Verdict.UNDECIDED

    return rule


def at_most(threshold: float) -> Rule:
    """The number is not larger than a threshold."""

    def rule(low: float, high: float) -> Verdict:
        if high <= threshold:
            return Verdict.SUPPORTED
        return Verdict.CONTRADICTED if low > threshold else Verdict.UNDECIDED

    return rule


def within(least: float, most: float) -> Rule:
    """The number lies between two others, ends included (equivalence)."""

    def rule(low: float, high: float) -> Verdict:
        if least <= low and high <= most:
            return Verdict.SUPPORTED
        return Verdict.CONTRADICTED if high < least or most < low else Verdict.UNDECIDED

    return rule


def at_least(enough: float, too_little: float) -> Rule:
    """The number is not below `enough`; between that and `too_little` nothing is decided."""

    def rule(low: float, high: float) -> Verdict:
        if low >= enough:
            return Verdict.SUPPORTED
        return Verdict.CONTRADICTED if high < too_little else Verdict.UNDECIDED

    return rule


def mean(
    name: str, summary: Summary | None, rule: Rule | None = None, share: bool = False
) -> Finding:
    """The mean over the seeds.

    Args:
        name: of the finding.
        summary: of one number per seed, NaN if it diverged; None if not run.
        rule: decides by the interval of the mean; without one, it is told beside.
        share: the number is a share. Its interval is told as far as it lies in [0, 1]; the rule
            sees all of it.
    """
    if summary is None:
        return _missing(name, rule)
    low, high, verdict = summary.low, summary.high, None
    if rule is not None:
        verdict = Verdict.UNDECIDED
        if low is not None and high is not None and _enough(summary):
            verdict = rule(low, high)
    if share and low is not None and high is not None:
        low, high = max(low, 0.0), min(high, 1.0)
    return Finding(
        name, summary.mean, summary.std, low, high, summary.seeds, summary.nan_seeds, verdict
    )


def difference(
    name: str,
    first: Summary | None,
    second: Summary | None,
    rule: Rule,
    unit: Callable[[float], float] = float,
) -> Finding:
    """The first mean minus the second, over seeds that are not paired (Welch).

    Args:
        name: of the finding.
        first: of one number per seed; None if not run.
        second: likewise.
        rule: decides by the interval of the difference.
        unit: a rising function that is applied to the difference and to its interval, before the
            rule: for logarithms, that which makes a ratio of a difference.
    """
    if first is None or second is None:
        return _missing(name, rule)
    seeds, diverged = min(first.seeds, second.seeds), first.nan_seeds + second.nan_seeds
    if first.mean is None or second.mean is None:
        return Finding(name, seeds=seeds, diverged=diverged, verdict=Verdict.UNDECIDED)
    value = first.mean - second.mean
    interval = _welch_interval(first, second)
    if interval is None:
        return Finding(name, unit(value), seeds=seeds, diverged=diverged, verdict=Verdict.UNDECIDED)
    low, high = map(unit, interval)
    enough = _enough(first) and _enough(second)
    verdict = rule(low, high) if enough else Verdict.UNDECIDED
    return Finding(name, unit(value), None, low, high, seeds, diverged, verdict)


def share_of_seeds(name: str, holds: Sequence[bool] | None, diverged: int) -> Finding:
    """In how many of the seeds something holds, as a share; most of them must.

    Args:
        name: of the finding.
        holds: for each seed that converged; None if not run.
        diverged: how many did not; nothing holds in them.
    """
    rule = above(HALF)
    if holds is None:
        return _missing(name, rule)
    seeds = len(holds) + diverged
    test = stats.binomtest(sum(holds), seeds)
    interval = test.proportion_ci(CONFIDENCE, method="exact")
    low, high = float(interval.low), float(interval.high)
    verdict = rule(low, high) if seeds >= ENOUGH_SEEDS else Verdict.UNDECIDED
    return Finding(name, sum(holds) / seeds, None, low, high, seeds, diverged, verdict)


def _missing(name: str, rule: Rule | None) -> Finding:
    return Finding(name, seeds=0, verdict=None if rule is None else Verdict.NOT_RUN)


def _enough(summary: Summary) -> bool:
    few_diverged = summary.nan_seeds <= TOO_MANY_DIVERGED * summary.seeds
    return summary.used >= ENOUGH_SEEDS and few_diverged


def _welch_interval(first: Summary, second: Summary) -> tuple[float, float] | None:
    """Of the difference of the means, by Welch and Satterthwaite; None without a spread."""
    if first.mean is None or first.std is None or second.mean is None or second.std is None:
        return None
    value = first.mean - second.mean
    squares = [summary.std**2 / summary.used for summary in (first, second) if summary.std]
    if not squares:
        return value, value
    total = sum(squares)
    freedom = total**2 / sum(
        (summary.std**2 / summary.used) ** 2 / (summary.used - 1)
        for summary in (first, second)
        if summary.std
    )
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(total)
    return value - half, value + half
