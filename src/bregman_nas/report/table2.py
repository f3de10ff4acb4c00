"""Table 2: the architectures that were found, beside others trained on the same problems."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from bregman_nas.baselines.comparison import MARGIN, Comparison, Outcome, compare
from bregman_nas.report.changes import in_words
from bregman_nas.report.data import Study
from bregman_nas.report.stats import Summary, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT
from bregman_nas.report.text import counted

METHODS = {
    "search": "searched",
    "found": "found, trained anew",
    "uniform": "uniform",
    "random": "random widths",
    "dense": "dense",
    "proximal-adam": "proximal Adam",
    "pruned": "pruned",
}
#: The first decides; see `baselines.comparison`.
COMPARED = (("found", "uniform"), ("search", "found"), ("search", "uniform"))
PLANNED = "planned, not computed"
_NOTHING = pd.DataFrame(columns=["seed", "mse", "parameters", "dead"])


@dataclass(frozen=True)
class Line:
    """The networks of a run or an arm.

    Attributes:
        name: its key in params.yaml.
        method: one of `METHODS`.
        change: what is changed, in words; empty if nothing.
        networks: as of `report.frames`; empty if there are none yet.
    """

    name: str
    method: str
    change: str
    networks: pd.DataFrame

    @property
    def words(self) -> str:
        """The method, and the change."""
        return f"{METHODS[self.method]}, {self.change}" if self.change else METHODS[self.method]

    @property
    def error(self) -> Summary:
        """On the test images, in the unit of Table 1."""
        return summarize(self.networks["mse"], ARTICLE_UNIT)

    @property
    def parameters(self) -> Summary:
        """Of those networks whose number is known."""
        return summarize(self.networks["parameters"])

    @property
    def dead(self) -> int:
        """Networks whose outputs are all 0."""
        return int(self.networks["dead"].sum())

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """By seed."""
        columns = (self.networks[name] for name in ("seed", "mse", "dead"))
        return {int(s): Outcome(float(x), bool(d)) for s, x, d in zip(*columns, strict=True)}


@dataclass(frozen=True)
class Group:
    """A run, its arms, and the runs of its experiment in which mu alone is changed.

    Attributes:
        of: the name of the run.
        lines: the run comes first.
    """

    of: str
    lines: Sequence[Line]

    @property
    def comparisons(self) -> list[Comparison]:
        """Each of `COMPARED` for which both kinds are there."""
        plain = {
            line.method: line.outcomes
            for line in self.lines
            if not line.change and len(line.networks)
        }
        return [compare(a, plain[a], b, plain[b]) for a, b in COMPARED if {a, b} <= plain.keys()]


def groups(study: Study) -> list[Group]:
    """One for each run that has arms, in the order of params.yaml, computed or not.

    Of the run the seeds are taken that its arms have; all, if there is none.
    """
    settings, found = study.settings, []

    def line(name: str) -> Line:
        arm = settings.arms.get(name)
        change = in_words((arm or settings.runs[name]).change)
        networks = _NOTHING
        if name in study.arms:
            networks = study.arms[name]
        elif name in study.runs:
            networks = study.runs[name].frames.networks
        return Line(name, arm.method if arm else "search", change, networks)

    for of in dict.fromkeys(a.of for a in settings.arms.values() if a.of in settings.runs):
        row = settings.runs[of]
        arms = [line(name) for name, arm in settings.arms.items() if arm.of == of]
        own = line(of)
        seeds = {seed for arm in arms for seed in arm.networks["seed"]}
        if seeds:
            own = replace(own, networks=own.networks[own.networks["seed"].isin(seeds)])
        changed = [
            line(name)
            for name, other in settings.runs.items()
            if (other.protocol, other.experiment) == (row.protocol, row.experiment)
            and other.change.keys() == {"mu"}
            and other.epochs == row.epochs
        ]
        found.append(Group(of, [own, *changed, *arms]))
    return found


def finding(found: Sequence[Group]) -> str:
    """The answer in a sentence: in how many experiments found architectures beat uniform ones."""
    verdicts = [one.verdict for one in _deciding(found)]
    if not verdicts:
        return "No architecture that was found has been compared with a uniform one yet."
    missing = len(found) - len(verdicts)
    better, worse, same, open_ = (
        verdicts.count(v) or "none"
        for v in ("found better", "uniform better", "equivalent", "undecided")
    )
    words = (
        "The architectures that were found are better than uniform ones with as many parameters "
        f"in {better} of {counted(len(verdicts), 'experiment')}, worse in {worse}, equivalent "
        f"(within {math.expm1(MARGIN):.0%}) in {same}, and in {open_} it is undecided"
    )
    return f"{words}; {missing} not compared yet." if missing else f"{words}."


def _deciding(found: Sequence[Group]) -> list[Comparison]:
    pairs = [one for group in found for one in group.comparisons]
    return [one for one in pairs if (one.first, one.second) == COMPARED[0]]


def told(one: Comparison) -> str:
    """The verdict in words, and how much lower or higher the error of the first is."""
    words, (low, high) = f"**{one.verdict}**", ends(one)
    if low is None or high is None:
        return f"{words}: {counted(one.pairs, 'pair')} of seeds, no interval"
    near, far = sorted((low - 1, high - 1), key=abs)
    if low < 1 < high:
        words += f": between {1 - low:.1%} lower and {high - 1:.1%} higher"
    else:
        words += f": {abs(near):.1%} to {abs(far):.1%} {'lower' if high <= 1 else 'higher'}"
    if one.verdict == "equivalent" and one.differs:
        words += ", a certain difference, but too small to count"
    return f"{words}; {counted(one.not_finite, 'pair')} diverged" if one.not_finite else words


def ends(one: Comparison) -> tuple[float, float] | tuple[None, None]:
    """The 95% interval of the ratio of the errors."""
    found = one.interval_95
    return (None, None) if found is None else (math.exp(found.low), math.exp(found.high))


def as_frame(found: Sequence[Group]) -> pd.DataFrame:
    """One line for each run or arm; `ten_mse_*` in the unit of Table 1."""
    return pd.DataFrame([_numbers(group, line) for group in found for line in group.lines])


def as_json(found: Sequence[Group]) -> dict[str, Any]:
    """`finding`, how many experiments are `compared`, and by run what stands in the table.

    That is `networks`, as `as_frame`, and `comparisons`: ratios of errors with 95% intervals.
    """
    return {
        "finding": finding(found),
        "compared": len(_deciding(found)),
        "experiments": {
            group.of: {
                "networks": [
                    {**_numbers(group, line), "words": line.words} for line in group.lines
                ],
                "comparisons": [
                    {
                        **{k: getattr(one, k) for k in ("first", "second", "pairs", "ratio")},
                        **dict(zip(("low", "high"), ends(one), strict=True)),
                        "verdict": one.verdict,
                        "differs": one.differs,
                        "words": told(one).replace("*", ""),
                    }
                    for one in group.comparisons
                ],
            }
            for group in found
        },
    }


def _numbers(group: Group, line: Line) -> dict[str, Any]:
    there = len(line.networks) > 0
    return {
        "of": group.of,
        "name": line.name,
        "method": line.method,
        "change": line.change,
        "status": "run" if there else PLANNED,
        "seeds": line.error.seeds,
        "nan_seeds": line.error.nan_seeds,
        "dead": line.dead,
        **{f"ten_mse_{name}": value for name, value in line.error.moments.items()},
        "parameters_mean": line.parameters.mean,
        "parameters_std": line.parameters.std,
    }
