"""Table 2: the architectures that were found, beside others trained on the same problems."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bregman_nas.baselines.comparison import MARGIN, Comparison, Outcome, compare
from bregman_nas.report.changes import in_words
from bregman_nas.report.data import Study
from bregman_nas.report.stats import summarize
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


@dataclass(frozen=True)
class Line:
    """The networks of a run or an arm.

    Attributes:
        name: its key in params.yaml.
        method: one of `METHODS`.
        change: the settings that differ, in words; empty if none do.
        networks: as in `report.frames`; empty if there are none yet.
    """

    name: str
    method: str
    change: str
    networks: pd.DataFrame

    @property
    def words(self) -> str:
        """The method, and the change."""
        return ", ".join(filter(None, (METHODS[self.method], self.change)))

    def numbers(self) -> dict[str, Any]:
        """Over the seeds; `ten_mse_*` on the test images, in the unit of Table 1."""
        error = summarize(self.networks["mse"], ARTICLE_UNIT)
        parameters = summarize(self.networks["parameters"])
        return {
            "name": self.name,
            "method": self.method,
            "change": self.change,
            "status": "run" if error.seeds else PLANNED,
            "seeds": error.seeds,
            "nan_seeds": error.nan_seeds,
            "dead": int(self.networks["dead"].sum()),
            **error.named("ten_mse"),
            "parameters_mean": parameters.mean,
            "parameters_std": parameters.std,
        }


@dataclass(frozen=True)
class Group:
    """A run, the runs of its experiment in which mu alone is changed, and its arms, in this order.

    Attributes:
        of: the name of the run.
        lines: one for each.
    """

    of: str
    lines: Sequence[Line]

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """Each of `COMPARED` for which both kinds are there: ratios of errors, and a verdict."""
        plain = {
            line.method: {
                seed: Outcome(mse, bool(dead))
                for seed, mse, dead in line.networks[["seed", "mse", "dead"]].itertuples(
                    index=False
                )
            }
            for line in self.lines
            if not line.change and len(line.networks)
        }
        return [
            _told(compare(a, plain[a], b, plain[b])) for a, b in COMPARED if {a, b} <= plain.keys()
        ]


def groups(study: Study) -> list[Group]:
    """One for each run that has arms, in the order of params.yaml, computed or not.

    Of the run the seeds are taken that its arms have; all, if there is none.
    """
    settings = study.settings
    nothing = pd.DataFrame(columns=["seed", "mse", "parameters", "dead"])
    frames = {name: run.frames.networks for name, run in study.runs.items()} | {**study.arms}
    lines = {
        name: Line(
            name,
            settings.run(name).method,
            in_words((settings.arms.get(name) or settings.runs[name]).change),
            frames.get(name, nothing),
        )
        for name in settings.names
    }
    found = []
    for of in dict.fromkeys(arm.of for arm in settings.arms.values() if arm.of in settings.runs):
        arms = [lines[name] for name, arm in settings.arms.items() if arm.of == of]
        own, row = lines[of], settings.runs[of]
        seeds = {seed for arm in arms for seed in arm.networks["seed"]}
        if seeds:
            networks = own.networks[own.networks["seed"].isin(seeds)]
            own = Line(own.name, own.method, own.change, networks)
        changed = [
            lines[name]
            for name, other in settings.runs.items()
            if other.change.keys() == {"mu"}
            and (other.protocol, other.experiment, other.epochs)
            == (row.protocol, row.experiment, row.epochs)
        ]
        found.append(Group(of, [own, *changed, *arms]))
    return found


def finding(found: Sequence[Group]) -> str:
    """The answer in a sentence: in how many experiments found architectures beat uniform ones."""
    verdicts = [one["verdict"] for group in found if (one := deciding(group)) is not None]
    if not verdicts:
        return "No architecture that was found has been compared with a uniform one yet."
    better, worse, same, undecided = (
        verdicts.count(verdict) or "none"
        for verdict in ("found better", "uniform better", "equivalent", "undecided")
    )
    missing = len(found) - len(verdicts)
    return (
        "The architectures that were found are better than uniform ones with as many parameters "
        f"in {better} of {counted(len(verdicts), 'experiment')}, worse in {worse}, equivalent "
        f"(within {math.expm1(MARGIN):.0%}) in {same}, and in {undecided} it is undecided"
        f"{f'; {missing} not compared yet' if missing else ''}."
    )


def rows(found: Sequence[Group]) -> list[dict[str, Any]]:
    """One line for each run or arm."""
    return [{"of": group.of, **line.numbers()} for group in found for line in group.lines]


def as_json(found: Sequence[Group]) -> dict[str, Any]:
    """`finding`, how many experiments are `compared`, and by run its networks and comparisons."""
    return {
        "finding": finding(found),
        "compared": sum(deciding(group) is not None for group in found),
        "experiments": {
            group.of: {
                "networks": [
                    {**numbers, "words": line.words}
                    for numbers, line in zip(rows([group]), group.lines, strict=True)
                ],
                "comparisons": group.comparisons,
            }
            for group in found
        },
    }


def deciding(group: Group) -> dict[str, Any] | None:
    """The comparison that decides, found against uniform; None if it was not made."""
    pairs = {(one["first"], one["second"]): one for one in group.comparisons}
    return pairs.get(COMPARED[0])


def _told(one: Comparison) -> dict[str, Any]:
    """A comparison as columns; `words` says how much lower or higher the error of the first is."""
    found, words = one.interval_95, f"{one.verdict}: "
    low, high = (None, None) if found is None else (math.exp(found.low), math.exp(found.high))
    if low is None or high is None:
        words += f"{counted(one.pairs, 'pair')} of seeds, no interval"
    elif low < 1 < high:
        words += f"between {1 - low:.1%} lower and {high - 1:.1%} higher"
    else:
        near, far = sorted((abs(low - 1), abs(high - 1)))
        words += f"{near:.1%} to {far:.1%} {'lower' if high <= 1 else 'higher'}"
    if one.verdict == "equivalent" and one.differs:
        words += ", a certain difference, but too small to count"
    if one.not_finite and found is not None:
        words += f"; {counted(one.not_finite, 'pair')} diverged"
    numbers = {k: getattr(one, k) for k in ("first", "second", "pairs", "ratio")}
    numbers |= {"low": low, "high": high, "verdict": one.verdict, "differs": one.differs}
    return {**numbers, "words": words}
