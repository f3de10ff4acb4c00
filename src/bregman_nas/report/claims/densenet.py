"""Claims 13 and 14, on the kernels of the DenseNet."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from bregman_nas.report.claims.claim import (
    Finding,
    Findings,
    Measure,
    Results,
    Verdict,
    above,
    claim,
    mean,
    revise,
    share_of_seeds,
)
from bregman_nas.report.data import Array, Flags, Run

# The share of right answers that one answer to all images gives: ten classes of equal size.
CHANCE = 0.1
# Of a finding beside that of all networks, where some collapsed.
OTHERS = " (networks that did not collapse)"
# With fewer living DenseNets, a mean is that of one or two.
ENOUGH_LIVING = 5


def collapsed(run: Run) -> Flags:
    """Whether a network converged, and is no better than one answer to all images, [seeds]."""
    scores = run.scores()
    constant = scores["accuracy"].to_numpy(float) <= CHANCE
    flags: Flags = constant & np.isfinite(scores["cross_entropy"].to_numpy(float))
    return flags


def living(run: Run) -> Run:
    """The seeds that did not collapse; diverged ones are among them."""
    return run.only([s for s, lost in zip(run.seeds, collapsed(run), strict=True) if not lost])


def beside_the_collapsed(run: Run) -> Run | None:
    """The other seeds of a run of which some collapsed; None if none did, or all."""
    others = living(run)
    return others if 0 < len(others.seeds) < len(run.seeds) else None


def lead_of_the_last(connections: Array) -> Array:
    """By how much the last layer receives more than the best of the others, [seeds].

    As a share of what all receive: from -1 to 1, and 0 where no layer receives anything.

    Args:
        connections: [seeds, layers], not negative.
    """
    total = connections.sum(1)
    lead = connections[:, -1] - connections[:, :-1].max(1, initial=0)
    share: Array = lead / np.where(total > 0, total, 1)
    return share


def connections(run: Run, how: str) -> Array:
    """How strongly each layer of the dense block is connected with what comes before it.

    Args:
        run: of the DenseNet.
        how: `sum` of the norms of a layer's kernels, that is of tau(l, r) over all r <= l;
            `kernel`, the same divided by their number; `skips`, the sum without the kernels that
            read the layer just before, which are no skip.

    Returns:
        [converged seeds, layers].
    """
    # Each layer has as many outputs as the first convolution, k, and k more inputs than the last.
    growth = run.norms[0].shape[1]
    columns = []
    for norms in run.norms[1:-1]:
        read = norms[:, :, :-growth] if how == "skips" else norms
        columns.append(read.mean((1, 2)) if how == "kernel" else read.sum((1, 2)))
    return np.stack(columns, 1)


def unused_inputs(run: Run, with_the_last: bool = True) -> Array:
    """How many channels are read by no active kernel, [converged seeds].

    Args:
        run: of the DenseNet.
        with_the_last: whether the last convolution reads too: then all channels count, else those
            that the dense block reads.
    """
    readers = run.norms[1:] if with_the_last else run.norms[1:-1]
    seeds, channels = len(readers[-1]), readers[-1].shape[2]
    used = np.zeros((seeds, channels), dtype=bool)
    for norms in readers:
        used[:, : norms.shape[2]] |= (norms > 0).any(1)
    unused: Array = (~used).sum(1).astype(float)
    return unused


def unused_outputs(run: Run) -> Array:
    """How many channels are written by no active kernel, [converged seeds]."""
    written = [(norms > 0).any(2) for norms in run.norms[:-1]]
    unused: Array = (~np.concatenate(written, 1)).sum(1).astype(float)
    return unused


def both_unused(run: Run) -> Flags:
    """Whether there are unused channels of both kinds, [converged seeds]."""
    return (unused_inputs(run) > 0) & (unused_outputs(run) > 0)


def lead(how: str) -> Measure:
    """`lead_of_the_last` of the `connections`, [converged seeds]."""
    return lambda run: lead_of_the_last(connections(run, how))


def _of_the_living(
    results: Results,
    name: str,
    decided: Callable[[str, Run], Finding | None],
    beside: Mapping[str, Measure],
) -> Findings:
    """A finding on the living networks, undecided if they are too few; numbers beside it."""
    run = results.densenet
    if run is None:
        yield Finding(name, seeds=0, verdict=Verdict.NOT_RUN)
        return
    others = living(run)
    if len(others.converged) >= ENOUGH_LIVING:
        yield decided(name, others)
    else:
        name += f" (undecided: fewer than {ENOUGH_LIVING} living networks)"
        seeds, verdict = len(others.seeds), Verdict.UNDECIDED
        yield Finding(name, seeds=seeds, diverged=run.diverged, verdict=verdict)
    yield Finding("networks that collapsed", float(collapsed(run).sum()), seeds=len(run.seeds))
    for of, measure in beside.items():
        yield mean(of, others, measure)


@claim(
    13,
    "DenseNet: the last layer receives the most skip connections.",
    "Section 4.2, Figure 4",
    "sum of tau(l, r) over r for the last layer l of the dense block, less the largest of the "
    "other layers, as a share of the sum over all, mean over the seeds; a later layer has more "
    "kernels by construction, so that the same per kernel stands beside it",
    "the interval of the lead of the last layer is above 0",
    "it is nowhere above 0",
)
def _last_layer(results: Results) -> Findings:
    run, name = results.densenet, "lead of the last layer, "
    yield mean(f"{name}sums", run, lead("sum"), above(0))
    yield mean(f"{name}per kernel", run, lead("kernel"))
    yield mean(f"{name}sums without the layer just before", run, lead("skips"))
    others = None if run is None else beside_the_collapsed(run)
    yield mean(f"{name}sums{OTHERS}", others, lead("sum"))


@revise(
    13,
    why="Collapsed networks keep the kernels of their start; the registered rule lets them "
    "decide, or decides nothing.",
    statistic="sum of tau(l, r) over r for the last layer l of the dense block, less the "
    "largest of the other layers, as a share of the sum over all, mean over the networks that "
    f"did not collapse, at least {ENOUGH_LIVING}",
    supported_if="the interval of the lead of the last layer is above 0",
    contradicted_if="it is nowhere above 0",
)
def _last_living_layer(results: Results) -> Findings:
    name = "lead of the last layer"
    beside = {
        f"{name}, per kernel": lead("kernel"),
        f"{name}, without the layer just before": lead("skips"),
    }
    decided = partial(mean, measure=lead("sum"), rule=above(0))
    return _of_the_living(results, f"{name}, sums", decided, beside)


@claim(
    14,
    "DenseNet: some of the input and output channels are not used by the network.",
    "Section 4.2, Figure 4",
    "share of the seeds in which, of the channels that the first convolution and the dense "
    "block put out, at least one is read by no active kernel (the last convolution's "
    "included), and at least one is written by none",
    "the interval of the share of seeds with unused channels of both kinds is above 1/2",
    "it is below 1/2",
)
def _channels(results: Results) -> Findings:
    run, inputs, outputs = results.densenet, "unused input channels", "unused output channels"
    yield share_of_seeds("share of the seeds", run, both_unused)
    yield mean(inputs, run, unused_inputs)
    yield mean(f"{inputs} of the dense block alone", run, lambda r: unused_inputs(r, False))
    yield mean(outputs, run, unused_outputs)
    others = None if run is None else beside_the_collapsed(run)
    yield mean(f"{inputs}{OTHERS}", others, unused_inputs)
    yield mean(f"{outputs}{OTHERS}", others, unused_outputs)


@revise(
    14,
    why="As for claim 13.",
    statistic="share of the networks that did not collapse, at least "
    f"{ENOUGH_LIVING}, in which of the channels of the first convolution and the "
    "dense block at least one is read by no active kernel, and at least one is written by none",
    supported_if="the interval of the share with unused channels of both kinds is above 1/2",
    contradicted_if="it is below 1/2",
)
def _living_channels(results: Results) -> Findings:
    beside = {"unused input channels": unused_inputs, "unused output channels": unused_outputs}
    decided = partial(share_of_seeds, holds=both_unused)
    return _of_the_living(results, "share of the living networks", decided, beside)
