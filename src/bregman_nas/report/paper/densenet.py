"""What became of the DenseNet: how many seeds collapsed, and where the records say why."""

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
from bregman_nas.report.claims.results import Flags
from bregman_nas.report.read import Array, Run
from bregman_nas.report.words import DASH, with_minus

# The loss of ten logits that are all equal, such as ten zeros.
EQUAL_LOGITS = math.log(10)
TOLERANCE = 1e-6


def densenet(run: Run) -> dict[str, Any]:
    """Seeds and accuracies; of the collapsed seeds, what their records and history say.

    `still`: those in which no kernel was switched on or off. `cut`: those of them without a chain
    of active kernels from the image to the last convolution, so that there was none from the start
    on. `equal`: those whose loss is that of equal logits; `since`: the epoch by whose end all of
    these had it for good. `others`: what the networks are like that did not collapse, if some did;
    else None.
    """
    seeds = run.seeds.set_index("seed")
    lost = [int(seed) for seed in seeds.index[collapsed(run)]]
    equal = [seed for seed in lost if _is_equal(seeds["test_loss"][seed])]
    switches = _switches(run)
    still = [seed for seed in lost if switches[seed] == 0]
    others = beside_the_collapsed(run)
    chain = dict(zip(run.converged["seed"], reaches_the_end(run.kernel_norms), strict=True))
    return {
        "seeds": str(len(seeds)),
        "collapsed": str(len(lost)),
        "any_collapsed": len(lost) > 0,
        "all_collapsed": len(lost) == len(seeds),
        "accuracy": _range(run.converged["test_accuracy"].to_numpy(float)),
        "chance": f"{CHANCE:.0%}",
        "still": str(len(still)),
        "cut": str(sum(not chain[seed] for seed in still)),
        "equal": str(len(equal)),
        "any_equal": len(equal) > 0,
        "all_equal": len(equal) == len(lost),
        "since": str(max((_since(run, seed) for seed in equal), default=0)),
        "others": None if others is None or others.converged.empty else _others(others),
    }


def _others(run: Run) -> dict[str, str]:
    return {
        "accuracy": _range(run.converged["test_accuracy"].to_numpy(float)),
        "lead": _range(lead(run, "sum")),
        "unused_inputs": _counts(unused_inputs(run, with_the_last=True)),
        "unused_outputs": _counts(unused_outputs(run)),
    }


def _counts(numbers: Array) -> str:
    low, high = f"{numbers.min():.0f}", f"{numbers.max():.0f}"
    return low if low == high else f"{low} to {high}"


def reaches_the_end(norms: list[Array]) -> Flags:
    """Whether a chain of active kernels leads from the image to the last convolution, [seeds].

    Args:
        norms: of the kernels of each convolution, [seeds, out, in], as `Run.kernel_norms`.
    """
    reached = norms[0].max(2) > 0
    for layer in norms[1:-1]:
        fed = (layer * reached[:, None]).max(2) > 0
        reached = np.concatenate([reached, fed], 1)
    flags: Flags = (norms[-1] * reached[:, None]).max((1, 2)) > 0
    return flags


def _range(shares: Array) -> str:
    if not len(shares):
        return DASH
    low, high = f"{100 * shares.min():.1f}%", f"{100 * shares.max():.1f}%"
    return with_minus(low if low == high else f"{low} to {high}")


def _is_equal(loss: float) -> bool:
    return abs(loss - EQUAL_LOGITS) <= TOLERANCE


def _switches(run: Run) -> dict[int, int]:
    """How often a kernel was switched on or off, by seed."""
    switched = run.history.filter(like="switched_").to_numpy(float).sum(1)
    seeds = run.history["seed"].to_numpy(int)
    return {seed: int(switched[seeds == seed].sum()) for seed in run.converged["seed"]}


def _since(run: Run, seed: int) -> int:
    """The first epoch from whose end on the loss on held-out images is that of equal logits."""
    history = run.history[run.history["seed"] == seed].sort_values("epoch")
    other = history["epoch"][[not _is_equal(loss) for loss in history["held_out_loss"]]]
    return int(other.max()) + 1 if len(other) else int(history["epoch"].min())
