"""The outcome, as text, for README and article: which results come out again, and which do not."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bregman_nas.report.claims import COLLAPSED_MARK, OURS, Decision
from bregman_nas.report.claims.claim import (
    ENOUGH_SEEDS,
    HALF,
    TOO_MANY_DIVERGED,
    Measure,
    Verdict,
    above,
    difference,
    share_finding,
    summary,
)
from bregman_nas.report.claims.densenet import (
    CHANCE,
    beside_the_collapsed,
    collapsed,
    lead,
    unused_inputs,
    unused_outputs,
)
from bregman_nas.report.claims.training import ALL_LIVING, NOT_ALL_LIVING
from bregman_nas.report.claims.widths import coding_layers, coding_width
from bregman_nas.report.data import DENSENET, NETWORKS, PROTOCOLS, TASKS, Array, Run, Study
from bregman_nas.report.first_steps import OWN, Share, by_beginning, by_settings
from bregman_nas.report.stats import LEVEL, holm, summarize, welch
from bregman_nas.report.table1 import ANSWERS, ARTICLE, ARTICLE_SEEDS, ARTICLE_UNIT, Line
from bregman_nas.report.text import DASH, fixed, interval, mean_std, probability, span

# The article prints three decimals.
ROUNDING = 0.0005
# A seed is told of if its loss is more than so many times the median of its run.
TIMES = 2.0
# The loss of ten logits that are all equal, such as ten zeros.
EQUAL_LOGITS, TOLERANCE = math.log(10), 1e-6


def outcome(study: Study, losses: Sequence[Line], decisions: Sequence[Decision]) -> dict[str, Any]:
    """What README and article share.

    Args:
        study: all results.
        losses: the rows of Table 1.
        decisions: on the claims.
    """
    dense = {p: run for p in PROTOCOLS if (run := study.run(p, DENSENET)) is not None}
    return {
        "verdicts": {p: _verdicts(decisions, p) for p in PROTOCOLS},
        "losses": compare(losses),
        "unlike": list(seeds_apart(study.restoration)),
        "architectures": architectures(study),
        "densenet": {protocol: densenet(run, study.first_steps) for protocol, run in dense.items()},
        "rules": {
            "enough_seeds": str(ENOUGH_SEEDS),
            "article_seeds": str(ARTICLE_SEEDS),
            "seeds_for_a_share": str(_share_needs()),
            "too_many_collapsed": f"{TOO_MANY_DIVERGED:.0%}",
            "nearly_all": f"{ALL_LIVING:.0%}",
            "clearly_not": f"{NOT_ALL_LIVING:.0%}",
        },
    }


def _verdicts(decisions: Sequence[Decision], protocol: str) -> dict[str, list[str]]:
    """The numbers of the article's claims by verdict, and which of the undecided have few seeds.

    Marked are those on networks of which some collapsed.
    """
    articles = [d for d in decisions if d.protocol == protocol and d.claim.number != OURS]

    def those(holds: Callable[[Decision], bool]) -> list[str]:
        found = (d for d in articles if holds(d))
        return [f"{d.claim.number}{COLLAPSED_MARK if d.collapsed else ''}" for d in found]

    undecided = [d for d in articles if d.verdict is Verdict.UNDECIDED]
    return {
        **{str(v): those(lambda d, v=v: d.verdict is v) for v in Verdict},  # type: ignore[misc]
        "full": those(lambda d: d in undecided and not d.few),
        "few": those(lambda d: d.few),
    }


def _share_needs() -> int:
    """The fewest seeds from which a share of seeds can be told to be above one half."""
    seeds = ENOUGH_SEEDS
    while (share_finding("", seeds, seeds).low or 0) <= HALF:
        seeds += 1
    return seeds


@dataclass(frozen=True)
class Comparison:
    """A mean loss on the official test images beside the article's, in its unit.

    Attributes:
        answer: one of `NETWORKS`.
        task: one of `TASKS`.
        protocol: one of `PROTOCOLS`.
        ours: our mean.
        article: the article's.
        p: of Welch's test.
    """

    answer: str
    task: str
    protocol: str
    ours: float
    article: float
    p: float

    @property
    def gap(self) -> float:
        """How far ours is from the article's, as a share of that."""
        return abs(self.ours / self.article - 1)

    @property
    def direction(self) -> str:
        """Of ours from the article's."""
        return "higher" if self.ours > self.article else "lower"

    @property
    def told(self) -> dict[str, Any]:
        """As the article tells it; `rounding`: the article's rounding alone can explain it."""
        return {
            "name": f"{ANSWERS[self.answer].lower()}, {self.task}",
            "protocol": self.protocol,
            "change": f"{self.gap:.0%} {self.direction}",
            "p": _p(self.p),
            "rounding": abs(self.ours - self.article) <= ROUNDING,
        }


def compare(losses: Iterable[Line]) -> dict[str, Any]:
    """All mean losses that can be tested against the article's, and how they compare."""
    found = [
        Comparison(
            *(line[k] for k in ("answer", "task", "protocol")),
            *(line[k] for k in ("ten_mse_mean", "article_mean", "welch_p")),
        )
        for line in losses
        if line["images"] == "test" and line["welch_p"] is not None
    ]
    found.sort(key=lambda one: (TASKS.index(one.task), NETWORKS.index(one.answer)))
    apart = [one for one in found if one.p < LEVEL]
    others = [one for one in found if one.p >= LEVEL]
    largest, widest = (max(of, key=lambda one: one.gap, default=None) for of in (apart, others))
    hidden = widest is not None and (largest is None or widest.gap > largest.gap)
    return {
        "means": str(len(ARTICLE) * len(PROTOCOLS)),
        "tested": str(len(found)),
        "level": f"{LEVEL:.0%}",
        "apart": [one.told for one in apart],
        "largest": largest and largest.told,
        # The largest gap of all, where the spread over the seeds hides it.
        "hidden": widest.told if widest is not None and hidden else None,
        "by_protocol": [
            {
                "protocol": p,
                "tested": str(sum(one.protocol == p for one in found)),
                "apart": str(sum(one.protocol == p for one in apart)),
            }
            for p in PROTOCOLS
        ],
        "directions": directions(apart),
        "others": widest and {"count": str(len(others)), "most": f"{widest.gap:.0%}"},
        "corrected": str(holm([one.p for one in found])),
    }


def directions(apart: Sequence[Comparison]) -> str:
    """How many of these are higher than the article's, how many lower, and by how much."""
    parts = []
    for direction in ("higher", "lower"):
        gaps = [one.gap for one in apart if one.direction == direction]
        if gaps:
            count = "all" if 1 < len(apart) == len(gaps) else str(len(gaps))
            parts.append(f"{count} {direction} (by {span(gaps, '{:.0%}')})")
    return ", ".join(parts)


def seeds_apart(runs: Iterable[Run]) -> Iterator[dict[str, Any]]:
    """The seeds that converged to a loss far above the median of their run.

    Yields:
        How many times that median its loss is, the median, and the mean `without` this seed, its
        change against the article and Welch's p.
    """
    for run in runs:
        losses, article = ARTICLE_UNIT * run.score("mse"), ARTICLE[run.network, run.task]
        for seed, loss in zip(run.converged, losses, strict=True):
            median = float(np.median(losses))
            others = summarize(losses[np.array(run.converged) != seed])
            test = welch(others, article)
            if loss > TIMES * median and others.mean is not None and test is not None:
                change = others.mean / article.mean - 1
                yield {
                    "protocol": run.protocol,
                    "name": f"{ANSWERS[run.network].lower()}, {run.task}",
                    "seed": str(seed),
                    "times": f"{loss / median:.1f}",
                    "median": f"{median:.4f}",
                    "without": f"{others.mean:.4f}",
                    "change": f"{abs(change):.0%} {'above' if change > 0 else 'below'}",
                    "p": _p(test.p),
                }


def _p(p: float) -> str:
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"


def zero_skips(run: Run) -> Array:
    """How many skips of a search are exactly zero in the end, [converged seeds]."""
    zeros: Array = (run.tau() == 0).sum((1, 2)).astype(float)
    return zeros


# What is compared of two architectures, and with how many digits.
MEASURES: dict[str, tuple[Measure, int]] = {
    "loss": (lambda run: ARTICLE_UNIT * run.score("mse"), 4),
    "active rows": (lambda run: run.rows().sum(1), 0),
    "zero skips": (zero_skips, 1),
    "width of the narrowest hidden layer": (coding_width, 0),
}


def architectures(study: Study) -> dict[str, Any]:
    """By task what the residual autoencoders are under each protocol; None for what is not run.

    Returns:
        `tasks`: for each task the measures with the difference of the protocols (`authors` less
        `paper`, Welch), and by protocol `seeds` and in how many of them each hidden layer is the
        narrowest. `apart`: the measures whose interval excludes zero on each task. `compared`:
        whether both protocols have enough seeds on each task.
    """
    tasks: dict[str, dict[str, Any]] = {}
    for task in TASKS:
        runs = {p: study.run(p, f"residual-{task}") for p in PROTOCOLS}
        tasks[task] = {
            "measures": {name: _compared(runs, *measure) for name, measure in MEASURES.items()},
            "narrowest": {p: run and narrowest(run) for p, run in runs.items()},
            "seeds": {p: run and str(len(run.converged)) for p, run in runs.items()},
        }
    seeds = [count for one in tasks.values() for count in one["seeds"].values()]
    return {
        "tasks": tasks,
        "apart": [
            n for n in MEASURES if all(one["measures"][n]["apart"] for one in tasks.values())
        ],
        "compared": all(count is not None and int(count) >= ENOUGH_SEEDS for count in seeds),
    }


def _compared(runs: dict[str, Run | None], measure: Measure, digits: int) -> dict[str, Any]:
    found = {
        p: None if r is None else summary(r.only(r.converged), measure) for p, r in runs.items()
    }
    gap = difference("", found["authors"], found["paper"], above(0))
    enough = (gap.seeds or 0) >= ENOUGH_SEEDS
    apart = enough and gap.low is not None and gap.high is not None and gap.low * gap.high > 0
    return {
        **{p: one and mean_std(one.mean, one.std, digits) for p, one in found.items()},
        **{
            f"{p}_mean": fixed(None if one is None else one.mean, digits)
            for p, one in found.items()
        },
        "difference": fixed(gap.value, digits, sign=True),
        "interval": interval(gap.low, gap.high, digits) if enough else DASH,
        "apart": apart,
    }


def narrowest(run: Run) -> str:
    """Which hidden layers are the narrowest and, in brackets, in how many seeds."""
    counts = Counter(coding_layers(run.rows()).astype(int).tolist() if run.converged else [])
    return ", ".join(f"{layer} ({count})" for layer, count in sorted(counts.items())) or DASH


def densenet(run: Run, frame: pd.DataFrame | None) -> dict[str, Any]:
    """Seeds and accuracies of a DenseNet, and the first steps of many, `frame`.

    `all_equal`: whether all collapsed seeds have the loss of equal logits. `others`: the networks
    that did not collapse, if some did; else None.
    """
    losses = run.scores()["cross_entropy"].to_numpy(float)
    lost, others = collapsed(run), beside_the_collapsed(run)
    percent = "{:.1%}"
    return {
        "seeds": str(len(run.seeds)),
        "collapsed": str(lost.sum()),
        "any_collapsed": bool(lost.any()),
        "all_collapsed": bool(lost.all()),
        "accuracy": span(run.score("accuracy"), percent),
        "chance": f"{CHANCE:.0%}",
        "all_equal": bool((np.abs(losses[lost] - EQUAL_LOGITS) <= TOLERANCE).all()),
        "others": None
        if others is None or not others.converged
        else {
            "seeds": str(len(others.converged)),
            "accuracy": span(others.score("accuracy"), percent),
            "lead": span(lead("sum")(others), percent),
            "unused_inputs": span(unused_inputs(others), "{:.0f}"),
            "unused_outputs": span(unused_outputs(others), "{:.0f}"),
        },
        "start": None
        if frame is None
        else _start(frame, run, [s for s, flag in zip(run.seeds, lost, strict=True) if flag]),
    }


def _start(frame: pd.DataFrame, run: Run, lost: list[int]) -> dict[str, Any]:
    """Which networks grow in their first steps.

    `same`: whether of the run's seeds those that are dead by then are those that are collapsed in
    the end. `own`: the protocol's own start; `settings`: what is changed of it; `beginning`: the
    networks of the own start, by what they began with.
    """
    protocols = frame[frame["start"] == OWN]
    dead = set(protocols.loc[protocols["outcome"] == "dead", "seed"])
    own, *settings = (_share(share) for share in by_settings(frame))
    return {
        "steps": str(frame["steps"].iloc[0]),
        "same": [seed for seed in run.seeds if seed in dead] == lost,
        "own": own,
        "settings": settings,
        "beginning": [_share(share) for share in by_beginning(protocols)],
    }


def _share(share: Share) -> dict[str, str]:
    counts = {name: str(getattr(share, name)) for name in ("seeds", "grow", "dead", "undecided")}
    return {"name": share.name, **counts, "low": f"{share.low:.0%}", "high": f"{share.high:.0%}"}
