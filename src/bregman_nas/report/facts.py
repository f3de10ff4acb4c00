"""Numbers of the report and the README that stand in no other table: results/facts.json."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bregman_nas.report import table1, table1_tests
from bregman_nas.report.claims.claim import Measure
from bregman_nas.report.claims.densenet import (
    beside_the_collapsed,
    collapsed,
    lead,
    unused_inputs,
    unused_outputs,
)
from bregman_nas.report.claims.training import active_share_of, dead_share
from bregman_nas.report.claims.widths import coding_width, has_autoencoder_shape
from bregman_nas.report.data import DENSENET, PIXELS, PROTOCOLS, REGISTERED, Run, Study
from bregman_nas.report.first_steps import OWN, by_beginning, by_settings
from bregman_nas.report.stats import summarize, welch

#: A row that dies early has died within this share of the epochs.
EARLY = 0.1
#: A seed is an outlier if its loss is more than this many times the median of its run.
OUTLIER = 2.0
#: The cross-entropy of ten equal logits.
EQUAL_LOGITS = math.log(10)

Numbers = dict[str, Any]


def facts(study: Study) -> Numbers:
    """All of them, by subject; a range is [least, greatest], or None without any."""
    registered = study.only(REGISTERED)
    runs = registered.restoration
    own = [run for run in study.runs.values() if run.own]
    effective = [_effective_share(run) for run in runs]
    residual = [run for run in runs if run.network == "residual"]
    plain = [run for run in runs if run.network == "autoencoder" and run.converged]
    return {
        "seeds": {
            "searches": sum(len(run.seeds) for run in study.runs.values()),
            "own": sum(len(run.seeds) for run in own),
            "registered": _range([len(run.seeds) for run in runs]),
            "fresh": _range(
                [
                    len(set(run.seeds) - {*REGISTERED})
                    for run in study.restoration
                    if run.protocol == PROTOCOLS[0]
                ]
            ),
            "trained_anew": sum(len(networks) for networks in study.arms.values()),
            "diverged": sum(run.diverged for run in study.runs.values()),
        },
        "losses": _losses(study),
        "outliers": [one for run in runs for one in _outliers(run)],
        "schedule": {p: _schedule([run for run in runs if run.protocol == p]) for p in PROTOCOLS},
        "dead": _range(*(dead_share(run) for run in runs)),
        "died_early": {
            "epoch": max((_early(run) for run in runs), default=None),
            "share": _range(*map(_died_early, runs)),
        },
        "effective": _range(*effective),
        "zero_skips": {
            p: _range(*(zero_skips(run) for run in residual if run.protocol == p))
            for p in PROTOCOLS
        },
        "narrowest": {
            f"{run.protocol}-{run.row.experiment}": summarize(coding_width(run)).named()
            for run in residual
            if run.converged
        },
        "autoencoder_shape": {
            "runs": len(plain),
            "of_means": sum(has_autoencoder_shape(run.rows().mean(0)) for run in plain),
            "seeds": sum(len(run.converged) for run in plain),
            "of_seeds": sum(has_autoencoder_shape(seed) for run in plain for seed in run.rows()),
        },
        "widths": [_widths(run) for run in runs],
        "densenet": {
            p: _densenet(run) for p in PROTOCOLS if (run := study.run(p, DENSENET)) is not None
        },
        "first_steps": _first_steps(study),
        "cost": _cost(study.runs.values()),
    }


def _range(*parts: Iterable[float]) -> list[float] | None:
    """The least and the greatest."""
    values = [float(x) for part in parts for x in part]
    return [min(values), max(values)] if values else None


def _losses(study: Study) -> Numbers:
    """The mean losses that differ from the article's after Holm's correction, of how many.

    Half a unit of the article's last decimal counts as no difference.
    """
    rows = list(table1_tests.rows(study))
    count, tested = table1_tests.apart(rows, "printed_p")
    own = [row for row in rows if row["which"] == "registered" and row["printed_p"] is not None]
    differ = []
    for row in sorted(own, key=lambda row: row["printed_p"])[:count]:
        run = study.runs[row["run"]]
        article = table1.ARTICLE[run.network, run.task].mean
        differ.append({"run": run.name, "change": row["mean"] / article - 1})
    return {"tested": tested, "differ": differ}


def _outliers(run: Run) -> list[Numbers]:
    """Converged seeds whose loss is far above the median, and the mean without each."""
    losses = table1.ARTICLE_UNIT * run.score("mse")
    median = float(np.median(losses)) if len(losses) else math.inf
    found = []
    for seed, loss in zip(run.converged, losses, strict=True):
        if loss > OUTLIER * median:
            others = summarize(losses[np.array(run.converged) != seed])
            test = welch(others, table1.ARTICLE[run.network, run.task])
            found.append(
                {
                    "run": run.name,
                    "seed": seed,
                    "times": loss / median,
                    "median": median,
                    "without": others.mean,
                    "p": test and test.p,
                }
            )
    return found


def _schedule(runs: Sequence[Run]) -> Numbers:
    """In how many searches the schedule changed the learning rate, and the first such epoch."""
    first = [epoch for run in runs for epoch in _first_changes(run)]
    searches = sum(len(run.converged) for run in runs)
    return {"searches": searches, "changed": len(first), "first": min(first, default=None)}


def _first_changes(run: Run) -> list[int]:
    epochs = run.frames.epochs[run.frames.epochs["seed"].isin(run.converged)]
    start = epochs.groupby("seed")["learning_rate"].transform("first")
    changed = epochs[epochs["learning_rate"] != start].groupby("seed")["epoch"].min()
    return [int(epoch) for epoch in changed]


def _early(run: Run) -> int:
    return max(1, round(EARLY * run.last))


def _died_early(run: Run) -> Any:
    """Of the rows that are dead in the end, the share that was dead after the early epochs."""
    then, last = (run.depth * PIXELS - run.rows("living", e).sum(1) for e in (_early(run), None))
    return then[last > 0] / last[last > 0]


def _effective_share(run: Run) -> Any:
    width = run.rows().sum(1)
    return run.rows("effective").sum(1) / np.where(width > 0, width, 1)


def zero_skips(run: Run) -> Any:
    """How many skips of a search are exactly zero in the end, [converged seeds]."""
    return (run.tau() == 0).sum((1, 2)).astype(float)


def _widths(run: Run) -> Numbers:
    """Means over the converged seeds of each layer's rows, and of three shares."""
    shares: dict[str, Measure] = {
        "effective_share": _effective_share,
        "active_share": active_share_of,
        "dead_share": dead_share,
    }
    return {
        "run": run.name,
        "seeds": len(run.converged),
        **{k: _means(run.rows(k)) for k in ("active", "effective")},
        **{name: summarize(share(run)).mean for name, share in shares.items()},
    }


def _means(rows: Any) -> list[float]:
    """Of each layer, over the seeds; none without seeds."""
    return rows.mean(0).tolist() if len(rows) else []


def _densenet(run: Run) -> Numbers:
    """How many collapsed, and what the others are: ranges over the seeds."""
    losses = run.scores()["cross_entropy"].to_numpy(float)
    lost, others = collapsed(run), beside_the_collapsed(run)
    if not lost.any():
        others = run
    living: Numbers = {"seeds": 0}
    if others is not None and others.converged:
        living = {
            "seeds": len(others.converged),
            "accuracy": _range(others.score("accuracy")),
            "lead": _range(lead("sum")(others)),
            "unused_inputs": _range(unused_inputs(others)),
            "unused_outputs": _range(unused_outputs(others)),
        }
    equal = bool((np.abs(losses[lost] - EQUAL_LOGITS) < 1e-6).all())
    return {
        "seeds": len(run.seeds),
        "collapsed": int(lost.sum()),
        "equal_logits": equal,
        "living": living,
    }


def _first_steps(study: Study) -> Numbers | None:
    """How many starts grow or die: of each setting, and of the own setting by its beginning."""
    frame = study.first_steps
    if frame is None:
        return None
    own = frame[frame["start"] == OWN]
    return {
        "steps": int(frame["steps"].max()),
        "settings": [vars(share) for share in by_settings(frame)],
        "beginnings": [vars(share) for share in by_beginning(own)],
    }


def _cost(runs: Iterable[Run]) -> Numbers:
    """Hours in all, minutes of a search of each run, and the machines."""
    frames = {run.name: run.frames.costs for run in runs}
    machines = {
        f"{processor} ({device})"
        for costs in frames.values()
        for processor, device in zip(costs["processor"], costs["device"], strict=True)
    }
    return {
        "hours": sum(costs["seconds"].sum() for costs in frames.values()) / 3600,
        "machines": sorted(machines),
        "torch": sorted({version for costs in frames.values() for version in costs["torch"]}),
        "runs": [
            {"run": name, "searches": len(costs), "hours": costs["seconds"].sum() / 3600}
            | {k: getattr(costs["seconds"], k)() / 60 for k in ("mean", "min", "max")}
            for name, costs in frames.items()
        ],
    }
