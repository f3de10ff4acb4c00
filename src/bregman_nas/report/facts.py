"""Numbers of the report and the README that stand in no other table: results/facts.json."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from bregman_nas.report import measures, table1
from bregman_nas.report.data import DENSENET, PIXELS, PROTOCOLS, REGISTERED, Array, Run, Study
from bregman_nas.report.stats import share_interval, summarize

EARLY = 0.1  # a row that dies early has died within this share of the epochs
OUTLIER = 2.0  # an outlier's loss is more than this many times the median of its run
OWN = "authors"  # of `Study.first_steps`, the start of the protocol's own run

Numbers = dict[str, Any]


def facts(study: Study) -> Numbers:
    """All of them, by subject; a range is [least, greatest], or None without any."""
    every, runs = study.runs.values(), study.only(REGISTERED).restoration
    residual = [run for run in runs if run.network == "residual"]
    plain = [run.rows() for run in runs if run.network == "autoencoder" and run.converged]
    shape = measures.has_autoencoder_shape
    fresh = [{*run.seeds} - {*REGISTERED} for run in study.restoration if run.protocol == "paper"]
    return {
        "seeds": {
            "searches": sum(len(run.seeds) for run in every),
            "registered": _range(len(run.seeds) for run in runs),
            "fresh": _range(map(len, fresh)),
            "diverged": sum(run.diverged for run in every),
        },
        "losses": _losses(study),
        "outliers": [one for run in runs for one in outliers(run)],
        "dead": _range(*map(measures.dead_share, runs)),
        "died_early": {
            "epoch": max(map(_early, runs), default=None),
            "share": _range(*map(_died_early, runs)),
        },
        "effective": _range(*map(measures.effective_share, runs)),
        "zero_skips": {
            p: _range(*((run.tau() == 0).sum((1, 2)) for run in residual if run.protocol == p))
            for p in PROTOCOLS
        },
        "autoencoder_shape": {
            "tolerance": measures.STEP_TOLERANCE,
            "runs": len(plain),
            "of_means": sum(bool(shape(widths.mean(0))) for widths in plain),
            "seeds": sum(map(len, plain)),
            "of_seeds": sum(int(shape(widths).sum()) for widths in plain),
        },
        "widths": [_widths(run) for run in runs],
        "densenet": {r.protocol if r.own else r.name: densenet(r) for r in study.densenets},
        "first_steps": _first_steps(study),
        "cost": _cost(every),
    }


def _range(*parts: Iterable[float]) -> list[float] | None:
    values = [float(x) for part in parts for x in part]
    return [min(values), max(values)] if values else None


def _losses(study: Study) -> Numbers:
    """The mean losses that differ from the article's after Holm's correction, of how many.

    Half a unit of the article's last decimal counts as no difference.
    """
    rows = list(table1.tests(study))
    differ, tested = table1.apart(rows, "printed_p")
    by_ranks, _ = table1.apart(rows, "signed_rank_p")
    means = {row["run"]: row["mean"] for row in rows if row["which"] == "registered"}
    changes = []
    for run in (study.runs[name] for name in differ):
        article = table1.ARTICLE[run.network, run.task].mean
        changes.append({"run": run.name, "change": means[run.name] / article - 1})
    return {"tested": tested, "differ": changes, "by_ranks": len(by_ranks)}


def outliers(run: Run) -> list[Numbers]:
    """Converged seeds whose loss is far above the median, and the mean without each."""
    losses = table1.ARTICLE_UNIT * run.score("mse")
    times = losses / np.median(losses) if len(losses) else losses
    return [
        {"run": run.name, "seed": run.converged[k], "times": times[k]}
        | {"without": summarize(np.delete(losses, k)).mean}
        for k in np.flatnonzero(times > OUTLIER)
    ]


def _early(run: Run) -> int:
    return max(1, round(EARLY * run.last))


def _died_early(run: Run) -> Array:
    """Of the rows that are dead in the end, the share that was dead after the early epochs."""
    then, last = (run.depth * PIXELS - run.rows("living", e).sum(1) for e in (_early(run), None))
    share: Array = then[last > 0] / last[last > 0]
    return share


def _widths(run: Run) -> Numbers:
    kinds = {kind: run.rows(kind) for kind in ("active", "effective")}
    shares = (measures.effective_share, measures.active_share, measures.dead_share)
    return {
        "run": run.name,
        "seeds": len(run.converged),
        **{kind: rows.mean(0).tolist() if len(rows) else [] for kind, rows in kinds.items()},
        **{share.__name__: summarize(share(run)).mean for share in shares},
    }


def densenet(run: Run) -> Numbers:
    """How many collapsed, what the others are, as ranges over the seeds, and each network."""
    others, scores = measures.living(run), run.scores()
    living: Numbers = {"seeds": len(others.converged)}
    if others.converged:
        living["accuracy"] = _range(others.score("accuracy"))
        for unused in (measures.unused_inputs, measures.unused_outputs):
            living[unused.__name__] = _range(unused(others))
    columns = (run.seeds, scores["accuracy"], scores["logits"])
    lost = measures.collapsed(run)
    kernels = (run.frames.kernels["norm"] > 0).groupby(run.frames.kernels["seed"]).sum()
    return {
        "seeds": len(run.seeds),
        "networks": [
            {"seed": seed, "accuracy": float(accuracy), "kernels": int(kernels[seed])}
            | {"dead": bool(dead), "logits": None if math.isnan(logits) else int(logits)}
            for seed, accuracy, logits, dead in zip(*columns, lost, strict=True)
        ],
        "collapsed": int(lost.sum()),
        "living": living,
    }


def _first_steps(study: Study) -> Numbers | None:
    """Starts by setting and beginning; of networks `searched` those that grow, live, or both."""
    if (frame := study.first_steps) is None:
        return None
    own, run = frame[frame["start"] == OWN], study.run(OWN, DENSENET)
    live = set(measures.living(run).seeds if run else ())
    grow = {*own.loc[own["outcome"] == "grows", "seed"]} & set(run.seeds if run else ())
    return {
        "steps": int(frame["steps"].max()),
        "settings": by_settings(frame),
        "beginnings": by_beginning(own),
        "searched": {"grow": len(grow), "live": len(live), "both": len(grow & live)},
    }


def _shares(frame: pd.DataFrame, names: pd.Series) -> list[Numbers]:
    """How many networks of each group grow, in the order of first appearance in `names`.

    `names` has each row's group. Those that `grow` have more active kernels after the last step
    than before the first; `low` and `high` are the exact 95% interval of their share. The last ReLU
    of those that are `dead` passes nothing then. In `paths` active kernels lead from the image to
    the output before the first step.
    """
    found = []
    for name in names.unique():
        outcomes, paths = frame.loc[names == name, "outcome"], frame.loc[names == name, "path"]
        grow, dead = (int((outcomes == fate).sum()) for fate in ("grows", "dead"))
        low, high = share_interval(grow, len(outcomes))
        counts = {"name": str(name), "seeds": len(outcomes), "grow": grow, "dead": dead}
        found.append(counts | {"low": low, "high": high, "paths": int(paths.sum())})
    return found


def by_settings(frame: pd.DataFrame) -> list[Numbers]:
    """By density, and by what else is not as in the first row of the table."""
    names = frame["density"].map("density {:.0%}".format)
    others = {"logits": ", {} logits", "initial_scale": ", scale {}", "first_moment": ", {} moment"}
    for key, words in others.items():
        names += frame[key].map(words.format).where(frame[key] != frame[key].iloc[0], "")
    return _shares(frame, names)


def by_beginning(frame: pd.DataFrame) -> list[Numbers]:
    """By what networks began with: whether active kernels lead from the image to the output.

    Where none do, the output of the last convolution is the same for all images: by whether its
    ReLU passes any of that, and by the sign of the last bias.
    """
    sign = (frame["last_bias"] > 0).map({True: "positive", False: "negative"})
    silent = ("last bias " + sign).mask(frame["firing_0"] == 0, "last ReLU passes nothing")
    names = ("no path, " + silent).mask(frame["path"] == 1, "active path")
    return _shares(frame, names.sort_values())


def _cost(runs: Iterable[Run]) -> Numbers:
    costs = {run.name: run.frames.costs for run in runs}
    columns = ["processor", "device", "torch", "seconds"]
    every = pd.concat([pd.DataFrame(columns=columns), *costs.values()])
    on_core = every["device"] == "cpu"
    return {
        "hours": float(every["seconds"][on_core].sum()) / 3600,
        "gpu_hours": float(every["seconds"][~on_core].sum()) / 3600,
        "machines": sorted({*every["processor"].where(on_core, every["device"])}),
        "torch": sorted({*every["torch"]}),
        "runs": [
            {"run": name, "searches": len(of), "hours": of["seconds"].sum() / 3600}
            | {"on": "a core" if (of["device"] == "cpu").all() else of["device"].iloc[0]}
            | {k: of["seconds"].agg(k) / 60 for k in ("mean", "min", "max")}
            for name, of in costs.items()
        ],
    }
