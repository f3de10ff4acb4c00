"""How a claim is decided: findings over the seeds, and rules for their intervals."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from bregman_nas.report.data import DENSENET, NETWORKS, TASKS, Run, Study
from bregman_nas.report.measures import HALF, LAYERS, Holds, Measure, living, summary
from bregman_nas.report.stats import Summary, difference_interval, share_interval

# The fewest from which a spread can be told at all. (A share of seeds needs six that agree.)
ENOUGH_SEEDS = 3
# If more than a fifth of the seeds diverged, those left are no longer what the method finds.
TOO_MANY_DIVERGED = 0.2
# If so many of the resampled means have a property, the mean has it for sure, and if only the rest
# have it, it has not: a 95% interval leaves as much on either side.
SURE = 0.975
KEEP_ALIVE = {"relu_slope", "inactive_biases"}  # changes that keep rows from dying


class Verdict(StrEnum):
    """What the results say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Finding:
    """One number that a claim rests on.

    `seeds` are all of them, of the smaller of two runs; `diverged`, how many of them diverged.
    `std` is over the seeds, n - 1, where the value is a mean; `low` and `high` are the ends of its
    95% interval. A finding without a verdict decides nothing.
    """

    name: str
    value: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int | None = None
    diverged: int = 0
    verdict: Verdict | None = None


class Results(NamedTuple):
    """The runs of one protocol, with the seeds that decide; `every` has all seeds."""

    study: Study
    protocol: str
    every: Study

    def run(self, network: str, task: str) -> Run | None:
        """The run of a network on a task; None if there is none of depth `LAYERS`."""
        run = self.study.run(self.protocol, f"{network}-{task}")
        return None if run is None or run.depth != LAYERS else run

    def frame(self, name: str) -> Mapping[str, Run | None]:
        """Runs by their names.

        `perceptrons`, a network (both tasks) or a network and task; `interventions`, perceptrons
        whose rows were kept from dying, with all seeds; `densenet`, those of its networks that are
        `living`.
        """
        if name in ("densenet", "living"):
            run = self.study.run(self.protocol, DENSENET)
            return {"": living(run) if run and name == "living" else run}
        if name == "interventions":
            return {
                f"{run.network}, {run.task}, "
                + " and ".join(f"{key} {value}" for key, value in run.row.change.items()): run
                for run in self.every.perceptrons
                if run.protocol == self.protocol and run.row.change.keys() & KEEP_ALIVE
            }
        if name == "perceptrons":
            return {f"{n}, {task}": self.run(n, task) for n in NETWORKS for task in TASKS}
        network, _, only = name.partition("-")
        return {task: self.run(network, task) for task in TASKS if only in ("", task)}


Rule = Callable[[float, float], Verdict]  # from the ends of an interval
Findings = Iterator[Finding | None]  # None for what is not there
Part = Callable[[Results], Findings]
Estimate = Callable[[Run | None], Finding | None]


def over(frame: str, *estimates: Estimate) -> Part:
    """Each of the estimates of each run of a `Results.frame`, whose names begin with the run's."""

    def part(results: Results) -> Findings:
        for of, run in results.frame(frame).items():
            diverged = run.diverged if run else 0
            for found in filter(None, (estimate(run) for estimate in estimates)):
                name = ", ".join(filter(None, (of, found.name)))
                yield replace(found, name=name, diverged=diverged)

    return part


def together(*parts: Part) -> Part:
    """The findings of one part after those of another."""
    return lambda results: chain.from_iterable(part(results) for part in parts)


def mean(
    name: str, measure: Measure, rule: Rule | None = None, share: bool = False, **options: Any
) -> Estimate:
    """The mean of a `Measure` with `options`, as `mean_of`; it leaves out seeds where it is NaN."""
    return lambda run: mean_of(name, summary(run, partial(measure, **options)), rule, share)


#: The mean of a share, of whose interval is told as much as lies in [0, 1].
share = partial(mean, share=True)


def of_seeds(name: str, holds: Holds) -> Estimate:
    """The share of seeds in which something holds; most must. A diverged seed counts against it."""

    def estimate(run: Run | None) -> Finding:
        if run is None:
            return not_run(name)
        count, seeds = int(holds(run).sum()) if run.converged else 0, len(run.seeds)
        low, high = share_interval(count, seeds)
        verdict = above(HALF)(low, high) if seeds >= ENOUGH_SEEDS else Verdict.UNDECIDED
        return Finding(name, count / seeds, None, low, high, seeds, verdict=verdict)

    return estimate


def of_the_mean(name: str, decide: Callable[[Run], Finding]) -> Estimate:
    """A finding on a mean over seeds; `decide` is called only if enough of them converged."""

    def estimate(run: Run | None) -> Finding:
        if run is None:
            return not_run(name)
        seeds = len(run.seeds)
        if not enough(len(run.converged), seeds):
            return Finding(name, seeds=seeds, verdict=Verdict.UNDECIDED)
        return replace(decide(run), name=name, seeds=seeds)

    return estimate


def not_run(name: str) -> Finding:
    """What would decide, if it were run."""
    return Finding(name, seeds=0, verdict=Verdict.NOT_RUN)


def mean_of(
    name: str, found: Summary, rule: Rule | None = None, share: bool = False
) -> Finding | None:
    """The mean of numbers that are summarized already; without a rule it decides nothing.

    The interval of a share is told as far as it lies in [0, 1]; the rule sees all of it.
    """
    if not found.seeds:
        return None if rule is None else not_run(name)
    low, high, verdict = found.low, found.high, None if rule is None else Verdict.UNDECIDED
    if low is not None and high is not None:
        if rule is not None and enough(found.used, found.seeds):
            verdict = rule(low, high)
        if share:
            low, high = max(low, 0.0), min(high, 1.0)
    return Finding(name, found.mean, found.std, low, high, found.seeds, found.nan_seeds, verdict)


def difference(
    name: str, first: Summary, second: Summary, rule: Rule, unit: Callable[[float], float] = float
) -> Finding:
    """The first mean minus the second, over seeds that are not paired (Welch).

    `unit`, a rising function, is applied to the difference and its interval before the rule: exp
    makes a ratio of a difference of logarithms.
    """
    seeds, diverged = min(first.seeds, second.seeds), first.nan_seeds + second.nan_seeds
    value, low, high = None, None, None
    verdict = Verdict.UNDECIDED if seeds else Verdict.NOT_RUN
    if first.mean is not None and second.mean is not None:
        value = unit(first.mean - second.mean)
    if (ends := difference_interval(first, second)) is not None:
        low, high = map(unit, ends)
        if all(enough(one.used, one.seeds) for one in (first, second)):
            verdict = rule(low, high)
    return Finding(name, value, None, low, high, seeds, diverged, verdict)


def enough(used: int, seeds: int) -> bool:
    """Whether so many of all seeds decide anything."""
    return used >= ENOUGH_SEEDS and seeds - used <= TOO_MANY_DIVERGED * seeds


def judged(supported: bool, contradicted: bool) -> Verdict:
    """The verdict of two conditions, of which the first counts if both hold."""
    if supported:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if contradicted else Verdict.UNDECIDED


def above(threshold: float) -> Rule:
    """The number is larger."""
    return lambda low, high: judged(low > threshold, high <= threshold)


def at_most(threshold: float) -> Rule:
    """The number is not larger."""
    return lambda low, high: judged(high <= threshold, low > threshold)


def within(least: float, most: float) -> Rule:
    """The number lies between two others."""
    return lambda low, high: judged(least <= low and high <= most, high < least or most < low)


def at_least(enough: float, too_little: float) -> Rule:
    """The number is not below `enough`; between that and `too_little` nothing is decided."""
    return lambda low, high: judged(low >= enough, high < too_little)


def more_than_negligible(margin: float) -> Rule:
    """The number is positive, and may be larger than a margin, the largest negligible number.

    An interval from just above 0 to just below the margin contradicts.
    """
    return lambda low, high: judged(low > 0 and high > margin, high <= margin)


def surely(holds: bool, share: float) -> Verdict:
    """The mean has a property: it `holds` of the mean, and of this share of resampled means."""
    # Not `share <= 1 - SURE`, which rounding moves.
    return judged(holds and share >= SURE, not holds and 1 - share >= SURE)


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The verdict on a claim that says that all of its findings hold."""
    found = {finding.verdict for finding in findings}
    worst_first = (Verdict.CONTRADICTED, Verdict.NOT_RUN, Verdict.UNDECIDED)
    return next((verdict for verdict in worst_first if verdict in found), Verdict.SUPPORTED)
