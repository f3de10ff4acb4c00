"""The parts of a claim: its words, its rule, and the numbers that the rule decides by."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bregman_nas.report.data import DENSENET, NETWORKS, TASKS, Array, Flags, Run, Study
from bregman_nas.report.stats import Summary, difference_interval, share_interval, summarize

LAYERS = 6  # L of the article's perceptrons, which the claims are about
# The fewest from which a spread can be told at all. (A share of seeds needs six that agree.)
ENOUGH_SEEDS = 3
# If more than a fifth of the seeds diverged, those left are no longer what the method finds.
TOO_MANY_DIVERGED = 0.2
# "Most" seeds, skips, events: more than half.
HALF = 0.5
#: If so many of the resampled means have a property, the mean has it for sure, and if only the rest
#: have it, it has not: a 95% interval leaves as much on either side.
SURE = 0.975


class Verdict(StrEnum):
    """What the results say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Results:
    """The runs of one protocol that claims are decided by.

    Attributes:
        study: only with the seeds that decide.
        protocol: one of `PROTOCOLS`.
        interventions: perceptrons whose rows were kept from dying, by network, task and change.
    """

    study: Study
    protocol: str
    interventions: Mapping[str, Run] = field(default_factory=dict)

    def restoration(self, network: str, task: str) -> Run | None:
        """The run of a network on a task; None if there is none of depth `LAYERS`."""
        run = self.study.run(self.protocol, f"{network}-{task}")
        return None if run is None or run.depth != LAYERS else run

    def tasks(self, network: str) -> Iterator[tuple[str, Run | None]]:
        """Each task with its run."""
        return ((task, self.restoration(network, task)) for task in TASKS)

    def perceptrons(self) -> Iterator[tuple[str, Run | None]]:
        """The runs of both networks on both tasks, by their names."""
        return ((f"{n}, {task}", run) for n in NETWORKS for task, run in self.tasks(n))

    @property
    def densenet(self) -> Run | None:
        """The run of the DenseNet, or None."""
        return self.study.run(self.protocol, DENSENET)


Rule = Callable[[float, float], Verdict]  # from the ends of an interval
Measure = Callable[[Run], Array]  # one number for each converged seed
Holds = Callable[[Run], Flags]  # whether something holds, for each converged seed


@dataclass(frozen=True)
class Finding:
    """One number that a claim rests on.

    Attributes:
        name: such as `denoising, layer 6`.
        value: its estimate; None if there is none.
        std: standard deviation over the seeds, n - 1, where the value is a mean.
        low: lower end of its 95% interval, where it has one.
        high: upper end.
        seeds: all of them, diverged ones included, of the smaller of two runs; None where it does
            not come from seeds.
        diverged: how many of them.
        verdict: what it says of the claim; None if it decides nothing.
    """

    name: str
    value: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int | None = None
    diverged: int = 0
    verdict: Verdict | None = None


Findings = Iterator[Finding | None]
Decide = Callable[[Results], Findings]


@dataclass(frozen=True)
class Claim:
    """A claim and its rule.

    Attributes:
        number: as in the list of claims.
        words: the claim.
        place: where in the article.
        statistic: the numbers that decide it.
        supported_if: where these must lie; empty if nothing is decided.
        contradicted_if: where they must not.
        decide: the rule as code: the findings of one protocol, None for what is not there.
        why: of a revised rule: what the registered rule could not do.
    """

    number: int
    words: str
    place: str
    statistic: str
    supported_if: str
    contradicted_if: str
    decide: Decide
    why: str | None = None

    @property
    def rule(self) -> str:
        """In one sentence."""
        if not self.supported_if:
            return "No verdict."
        ends = f"contradicted if {self.contradicted_if}; else undecided."
        return f"Supported if {self.supported_if}; {ends}"

    def findings(self, results: Results) -> list[Finding]:
        """Those that decide, then the others."""
        found = [finding for finding in self.decide(results) if finding is not None]
        return sorted(found, key=lambda finding: finding.verdict is None)


#: The claims as registered, and those with a revised rule, by number.
REGISTERED: dict[int, Claim] = {}
REVISED: dict[int, Claim] = {}


def claim(
    number: int, words: str, place: str, statistic: str, supported_if: str, contradicted_if: str
) -> Callable[[Decide], Decide]:
    """Register a claim, whose rule is the function below."""

    def add(decide: Decide) -> Decide:
        told = (statistic, supported_if, contradicted_if)
        REGISTERED[number] = Claim(number, words, place, *told, decide)
        return decide

    return add


def revise(
    number: int,
    why: str,
    statistic: str,
    supported_if: str = "",
    contradicted_if: str = "",
    words: str = "",
) -> Callable[[Decide], Decide]:
    """Make the function below the revised rule of a claim, with other words for it if given."""

    def add(decide: Decide) -> Decide:
        old = REGISTERED[number]
        told = (statistic, supported_if, contradicted_if)
        REVISED[number] = Claim(number, words or old.words, old.place, *told, decide, why)
        return decide

    return add


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The verdict on a claim that says that all of its findings hold."""
    found = [finding.verdict for finding in findings]
    for verdict in (Verdict.CONTRADICTED, Verdict.NOT_RUN, Verdict.UNDECIDED):
        if verdict in found:
            return verdict
    return Verdict.SUPPORTED


def above(threshold: float) -> Rule:
    """The number is larger than a threshold."""
    return lambda low, high: _verdict(low > threshold, high <= threshold)


def at_most(threshold: float) -> Rule:
    """The number is not larger than a threshold."""
    return lambda low, high: _verdict(high <= threshold, low > threshold)


def within(least: float, most: float) -> Rule:
    """The number lies between two others, ends included (equivalence)."""
    return lambda low, high: _verdict(least <= low and high <= most, high < least or most < low)


def at_least(enough: float, too_little: float) -> Rule:
    """The number is not below `enough`; between that and `too_little` nothing is decided."""
    return lambda low, high: _verdict(low >= enough, high < too_little)


def more_than_negligible(margin: float) -> Rule:
    """The number is positive, and may be larger than a margin, the largest negligible number.

    An interval from just above 0 to just below the margin contradicts.
    """
    return lambda low, high: _verdict(low > 0 and high > margin, high <= margin)


def surely(holds: bool, share: float) -> Verdict:
    """The mean has a property: it `holds` of the mean, and of this share of resampled means."""
    # Not `share <= 1 - SURE`, which rounding moves.
    return _verdict(holds and share >= SURE, not holds and 1 - share >= SURE)


def _verdict(supported: bool, contradicted: bool) -> Verdict:
    if supported:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if contradicted else Verdict.UNDECIDED


def summary(run: Run | None, measure: Measure) -> Summary | None:
    """One number per seed, NaN where it diverged; None if not run."""
    if run is None:
        return None
    values = measure(run).tolist() if run.converged else []
    return summarize([*values, *[float("nan")] * run.diverged])


def mean(
    name: str, run: Run | None, measure: Measure, rule: Rule | None = None, share: bool = False
) -> Finding | None:
    """The mean over the seeds; see `mean_of`.

    Args:
        name: of the finding.
        run: None if not run.
        measure: the number; NaN leaves its seed out.
        rule: decides by the interval of the mean; without one, nothing is decided.
        share: whether the number is a share.
    """
    found = mean_of(name, summary(run, measure), rule, share)
    return found and replace(found, diverged=0 if run is None else run.diverged)


def mean_of(
    name: str, found: Summary | None, rule: Rule | None = None, share: bool = False
) -> Finding | None:
    """The mean of numbers that are summarized already.

    The interval of a share is told as far as it lies in [0, 1]; the rule sees all of it.
    """
    if found is None:
        return None if rule is None else Finding(name, seeds=0, verdict=Verdict.NOT_RUN)
    low, high, verdict = found.low, found.high, None if rule is None else Verdict.UNDECIDED
    if low is not None and high is not None:
        if rule is not None and enough(found.used, found.seeds):
            verdict = rule(low, high)
        if share:
            low, high = max(low, 0.0), min(high, 1.0)
    return Finding(name, found.mean, found.std, low, high, found.seeds, found.nan_seeds, verdict)


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
        unit: a rising function, applied to the difference and to its interval before the rule:
            exp makes a ratio of a difference of logarithms.
    """
    if first is None or second is None:
        return Finding(name, seeds=0, verdict=Verdict.NOT_RUN)
    seeds, diverged = min(first.seeds, second.seeds), first.nan_seeds + second.nan_seeds
    value, low, high, verdict = None, None, None, Verdict.UNDECIDED
    if first.mean is not None and second.mean is not None:
        value = unit(first.mean - second.mean)
    ends = difference_interval(first, second)
    if ends is not None:
        low, high = map(unit, ends)
        if enough(first.used, first.seeds) and enough(second.used, second.seeds):
            verdict = rule(low, high)
    return Finding(name, value, None, low, high, seeds, diverged, verdict)


def share_of_seeds(name: str, run: Run | None, holds: Holds) -> Finding:
    """The share of seeds in which something holds; most must. A diverged seed counts against it."""
    if run is None:
        return Finding(name, seeds=0, verdict=Verdict.NOT_RUN)
    count = int(holds(run).sum()) if run.converged else 0
    return share_finding(name, count, len(run.seeds), run.diverged)


def share_finding(name: str, count: int, seeds: int, diverged: int = 0) -> Finding:
    """The same, counted already."""
    low, high = share_interval(count, seeds)
    verdict = above(HALF)(low, high) if seeds >= ENOUGH_SEEDS else Verdict.UNDECIDED
    return Finding(name, count / seeds, None, low, high, seeds, diverged, verdict)


def of_the_mean(name: str, run: Run | None, decide: Callable[[Run], Finding]) -> Finding:
    """A finding on a mean over seeds; `decide` is called only if enough of them converged."""
    if run is None:
        return Finding(name, seeds=0, verdict=Verdict.NOT_RUN)
    found = Finding(name, verdict=Verdict.UNDECIDED)
    if enough(len(run.converged), len(run.seeds)):
        found = decide(run)
    return replace(found, name=name, seeds=len(run.seeds), diverged=run.diverged)


def enough(used: int, seeds: int) -> bool:
    """Whether so many of all seeds decide anything."""
    return used >= ENOUGH_SEEDS and seeds - used <= TOO_MANY_DIVERGED * seeds
