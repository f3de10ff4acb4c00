"""Table 2: the architectures that were found, beside others trained on the same problems."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bregman_nas.report.changes import in_words
from bregman_nas.report.comparison import MARGIN, compare
from bregman_nas.report.data import Study
from bregman_nas.report.frames import NETWORK_COLUMNS
from bregman_nas.report.stats import rank_correlation, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT

METHODS = {
    "search": "searched",
    "found": "found, trained anew",
    "uniform": "uniform",
    "random": "random widths",
    "dense": "dense",
    "proximal-adam": "proximal Adam",
    "pruned": "pruned",
}
#: The first decides; see `comparison`. The last is an addition to the rule, like `OTHERS`.
COMPARED = (("found", "uniform"), ("search", "found"), ("search", "uniform"), ("random", "found"))
#: Compared with the search as well: an addition to the rule, made when their results were known.
OTHERS = ("dense", "proximal-adam", "pruned")
PLANNED = "planned, not computed"
#: By so much equivalent errors differ at most.
WITHIN = math.expm1(MARGIN)


class Line(NamedTuple):
    """The networks of a run or an arm, by one of `METHODS`; none if they are only planned."""

    name: str
    method: str
    change: str
    networks: pd.DataFrame

    @property
    def words(self) -> str:
        """The method, and the change."""
        return ", ".join(filter(None, (METHODS[self.method], self.change)))

    @property
    def bottleneck(self) -> dict[str, float] | None:
        """Of the network with the narrowest layer: `seed`, its `rows`, and the error `ten_mse`."""
        found = self.networks[["seed", "narrowest", "mse"]].astype(float)
        found = found.replace(np.inf, np.nan).dropna().sort_values("narrowest", kind="stable")
        if found.empty:
            return None
        seed, rows, mse = found.iloc[0]
        return {"seed": seed, "rows": rows, "ten_mse": ARTICLE_UNIT * mse}

    def numbers(self) -> dict[str, Any]:
        """Over the seeds; `ten_mse_*`, in the unit of Table 1, on test images and trained on."""
        error = summarize(self.networks["mse"], ARTICLE_UNIT)
        trained = summarize(self.networks["train_mse"], ARTICLE_UNIT)
        best = summarize(self.networks["best_held_out_mse"], ARTICLE_UNIT)
        found = {
            **{"name": self.name, "method": self.method, "change": self.change},
            "status": "run" if error.seeds else PLANNED,
            **error.counts(),
            "dead": int(self.networks["dead"].sum()),
            **error.named("ten_mse_"),
            **{"ten_mse_train": trained.mean, "ten_mse_best_held_out": best.mean},
            "best_epoch": summarize(self.networks["best_epoch"]).mean,
        }
        for name in ("parameters", "narrowest", "effective"):
            of = summarize(self.networks[name])
            found |= {f"{name}_mean": of.mean, f"{name}_std": of.std}
        return found


class Group(NamedTuple):
    """The run `of`, the runs of its experiment in which mu alone is changed, and its arms."""

    of: str
    lines: Sequence[Line]

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """Each of `COMPARED`, and of `OTHERS` with the search, for which both kinds are there.

        Ratios of errors and of numbers of parameters, and a verdict.
        """
        kinds: dict[str, pd.DataFrame] = {}
        others: dict[tuple[str, str], dict[str, str]] = {}
        for line in self.lines:
            if len(line.networks) and (not line.change or line.method in OTHERS):
                name = line.words if line.method in OTHERS else line.method
                kinds[name] = line.networks.set_index("seed")
                if line.method in OTHERS:
                    others[name, "search"] = {"method": line.method, "change": line.change}
        pairs = [pair for pair in (*COMPARED, *others) if {*pair} <= kinds.keys()]
        return [_compared(a, kinds[a], b, kinds[b]) | others.get((a, b), {}) for a, b in pairs]

    @property
    def deciding(self) -> dict[str, Any] | None:
        """The comparison that decides, found against uniform; None if it was not made."""
        pairs = {(one["first"], one["second"]): one for one in self.comparisons}
        return pairs.get(COMPARED[0])

    @property
    def narrowness(self) -> dict[str, float] | None:
        """Over the pairs that decide, the rank correlation of two ratios, found / uniform.

        Of the errors, and of the rows of the narrowest hidden layer. An addition to the rule, made
        when results were known.
        """
        columns = ["mse", "narrowest"]
        kinds = {line.method: line.networks.set_index("seed")[columns] for line in self.lines}
        if not {*COMPARED[0]} <= kinds.keys():
            return None
        ratios = (kinds["found"] / kinds["uniform"]).astype(float).dropna()
        return rank_correlation(*(ratios[name].tolist() for name in columns))


def groups(study: Study) -> list[Group]:
    """One for each run that has arms, in the order of params.yaml, computed or not.

    Of the run the seeds are taken that its arms have; all, if there is none.
    """
    runs, arms = study.settings.runs, study.settings.arms
    made = {name: run.frames.networks for name, run in study.runs.items()} | {**study.arms}
    nothing = pd.DataFrame(columns=NETWORK_COLUMNS)

    def line(name: str) -> Line:
        arm = arms.get(name)
        method, row = ("search", runs[name]) if arm is None else (arm.method, arm)
        return Line(name, method, in_words(row.change), made.get(name, nothing))

    found = []
    for of in dict.fromkeys(arm.of for arm in arms.values()):
        own, row = line(of), runs[of]
        beside = [line(name) for name, arm in arms.items() if arm.of == of]
        seeds = {seed for one in beside for seed in one.networks["seed"]}
        if seeds:
            own = own._replace(networks=own.networks[own.networks["seed"].isin(seeds)])
        same = row.model_dump(include={"protocol", "experiment", "epochs"})
        changed = [
            line(name)
            for name, other in runs.items()
            if other.change.keys() == {"mu"} and other.model_dump(include={*same}) == same
        ]
        found.append(Group(of, [own, *changed, *beside]))
    return found


def as_json(found: Sequence[Group]) -> dict[str, Any]:
    """`experiments`: by run its networks, comparisons and `narrowness`."""
    experiments = {
        group.of: {
            "networks": [
                {**line.numbers(), "words": line.words, "bottleneck": line.bottleneck}
                for line in group.lines
            ],
            "comparisons": group.comparisons,
            "narrowness": group.narrowness,
        }
        for group in found
    }
    return {"experiments": experiments}


def _compared(a: str, firsts: pd.DataFrame, b: str, seconds: pd.DataFrame) -> dict[str, Any]:
    """Two kinds of networks, given by seed.

    `parameters` is the ratio of the geometric means; `best` the comparison by the least errors on
    held-out images, each at its own epoch.
    """

    def by(column: str) -> dict[str, Any]:
        errors = (dict(zip(of.index, of[column], strict=True)) for of in (firsts, seconds))
        return compare(a, next(errors), b, next(errors))

    sizes = np.log((firsts["parameters"] / seconds["parameters"]).dropna().astype(float))
    size = math.exp(sizes.mean()) if len(sizes) else None
    return {**by("mse"), "parameters": size, "best": by("best_held_out_mse")}
