"""What became of the DenseNet: how many seeds collapsed, and what they did in their first steps."""

import math
from typing import Any

import numpy as np

from bregman_nas.report.claims.densenet import (
    CHANCE,
    beside_the_collapsed,
    collapsed,
    lead,
    unused_inputs,
    unused_outputs,
)
from bregman_nas.report.first_steps import (
    DEAD_AT_THE_START,
    DIED,
    FATES,
    GREW,
    UNDECIDED,
    Start,
    starts,
)
from bregman_nas.report.read import Array, Run
from bregman_nas.report.words import DASH, with_minus

# The loss of ten logits that are all equal, such as ten zeros.
EQUAL_LOGITS = math.log(10)
TOLERANCE = 1e-6


def densenet(run: Run) -> dict[str, Any]:
    """Seeds and accuracies; what the seeds did in their first steps.

    `all_equal`: whether all collapsed seeds have the loss of equal logits. `others`: what the
    networks are like that did not collapse, if some did; else None.
    """
    losses = run.seeds["test_loss"].to_numpy(float)
    lost = collapsed(run)
    others = beside_the_collapsed(run)
    return {
        "seeds": str(len(run.seeds)),
        "collapsed": str(lost.sum()),
        "any_collapsed": bool(lost.any()),
        "all_collapsed": bool(lost.all()),
        "accuracy": _range(run.converged["test_accuracy"].to_numpy(float)),
        "chance": f"{CHANCE:.0%}",
        "all_equal": bool((np.abs(losses[lost] - EQUAL_LOGITS) <= TOLERANCE).all()),
        "others": None if others is None or others.converged.empty else _others(others),
        "start": _start(run, [int(seed) for seed in run.seeds["seed"][lost]]),
    }


def _start(run: Run, lost: list[int]) -> dict[str, Any] | None:
    """What became of the seeds in their first steps; None if not all were looked at.

    `same`: whether those that died before they grew are those that are collapsed in the end.
    `own`, `other`: with the protocol's logits, and with the other choice.
    """
    found = starts(run)
    if not found:
        return None
    (relu, own), *rest = found.items()
    if [start.seed for start in own] != sorted(int(seed) for seed in run.seeds["seed"]):
        return None  # of another number of seeds: `dvc repro` looks at them all
    dead = [start.seed for start in own if start.dead_before_growth]
    return {
        "steps": str(max(int(start.steps["step"].max()) for start in own)),
        "relu": relu,
        "same": sorted(dead) == sorted(lost),
        "own": _fates(own),
        "other": _fates(rest[0][1]) if rest else None,
    }


def _fates(of_seeds: list[Start]) -> dict[str, Any]:
    by_fate = {fate: [start for start in of_seeds if start.fate == fate] for fate in FATES}
    died, grew = by_fate[DIED], by_fate[GREW]
    dead = len(died) + len(by_fate[DEAD_AT_THE_START])
    varying = [float(start.steps["varying"].iloc[0]) > 0 for start in of_seeds]
    return {
        "seeds": str(len(of_seeds)),
        "varying": None if not any(varying) else str(sum(varying)),
        **{
            name: _count(len(by_fate[fate]))
            for name, fate in (
                ("dead_at_the_start", DEAD_AT_THE_START),
                ("died", DIED),
                ("grew", GREW),
                ("undecided", UNDECIDED),
            )
        },
        "dead": _count(dead),
        "died_by": str(max((start.died or 0 for start in died), default=0)),
        "died_at": _range(np.array([start.furthest for start in died])),
        "grew_by": str(max((start.grew or 0 for start in grew), default=0)),
    }


def _count(number: int) -> dict[str, Any] | None:
    """None for 0, of which nothing is said; else the number, and whether it takes the singular."""
    return {"n": str(number), "one": number == 1} if number else None


def _others(run: Run) -> dict[str, str]:
    return {
        "seeds": str(len(run.converged)),
        "accuracy": _range(run.converged["test_accuracy"].to_numpy(float)),
        "lead": _range(lead(run, "sum")),
        "unused_inputs": _counts(unused_inputs(run, with_the_last=True)),
        "unused_outputs": _counts(unused_outputs(run)),
    }


def _counts(numbers: Array) -> str:
    low, high = f"{numbers.min():.0f}", f"{numbers.max():.0f}"
    return low if low == high else f"{low} to {high}"


def _range(shares: Array) -> str:
    if not len(shares):
        return DASH
    low, high = f"{100 * shares.min():.1f}%", f"{100 * shares.max():.1f}%"
    return with_minus(low if low == high else f"{low} to {high}")
