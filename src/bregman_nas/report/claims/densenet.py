"""Claims 13 and 14, on the kernels of the DenseNet."""

from functools import partial

import numpy as np

from bregman_nas.report.claims.claim import Claim, Finding, above, mean, share_of_seeds
from bregman_nas.report.claims.results import Flags, Results, diverged, seeds_that, summary
from bregman_nas.report.read import Array, Run

# The share of right answers that one answer to all images gives: ten classes of equal size.
CHANCE = 0.1
# Of a finding beside that of all networks, where some collapsed.
OTHERS = " (networks that did not collapse)"


def collapsed(run: Run) -> Flags:
    """Whether a network converged, and is no better than one answer to all images, [seeds]."""
    constant = run.seeds["test_accuracy"].to_numpy(float) <= CHANCE
    flags: Flags = constant & np.isfinite(run.seeds["test_loss"].to_numpy(float))
    return flags


def beside_the_collapsed(run: Run) -> Run | None:
    """The other seeds of a run of which some collapsed; None if none did, or all."""
    flags = collapsed(run)
    return run.only(~flags) if flags.any() and not flags.all() else None


def lead_of_the_last(connections: Array) -> Array:
    """What the last layer receives, less what the best of the others does, [seeds].

    As a share of what all receive: from -1 to 1, and 0 where nobody receives anything.

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
    growth = run.kernel_norms[0].shape[1]
    columns = []
    for norms in run.kernel_norms[1:-1]:
        read = norms[:, :, :-growth] if how == "skips" else norms
        columns.append(read.mean((1, 2)) if how == "kernel" else read.sum((1, 2)))
    return np.stack(columns, 1)


def unused_inputs(run: Run, with_the_last: bool) -> Array:
    """How many channels are read by no active kernel, [converged seeds].

    Args:
        run: of the DenseNet.
        with_the_last: whether the last convolution reads too: then all channels count, else those
            that the dense block reads.
    """
    readers = run.kernel_norms[1:] if with_the_last else run.kernel_norms[1:-1]
    seeds, channels = len(readers[-1]), readers[-1].shape[2]
    used = np.zeros((seeds, channels), dtype=bool)
    for norms in readers:
        used[:, : norms.shape[2]] |= (norms > 0).any(1)
    unused: Array = (~used).sum(1).astype(float)
    return unused


def unused_outputs(run: Run) -> Array:
    """How many channels are written by no active kernel, [converged seeds]."""
    written = [(norms > 0).any(2) for norms in run.kernel_norms[:-1]]
    unused: Array = (~np.concatenate(written, 1)).sum(1).astype(float)
    return unused


def lead(run: Run, how: str) -> Array:
    """`lead_of_the_last` of the `connections`, [converged seeds]."""
    return lead_of_the_last(connections(run, how))


def _both_unused(run: Run) -> Flags:
    return (unused_inputs(run, with_the_last=True) > 0) & (unused_outputs(run) > 0)


def _last_layer(results: Results) -> list[Finding]:
    run = results.densenet
    name = "lead of the last layer, "
    sums = partial(lead, how="sum")
    deciding = mean(f"{name}sums", summary(run, sums), above(0))
    if run is None:
        return [deciding]
    findings = [
        deciding,
        mean(f"{name}per kernel", summary(run, partial(lead, how="kernel"))),
        mean(f"{name}sums without the layer just before", summary(run, partial(lead, how="skips"))),
    ]
    others = beside_the_collapsed(run)
    if others is not None:
        findings.append(mean(f"{name}sums{OTHERS}", summary(others, sums)))
    return findings


def _channels(results: Results) -> list[Finding]:
    run = results.densenet
    name = "share of the seeds"
    deciding = share_of_seeds(name, seeds_that(run, _both_unused), diverged(run))
    if run is None:
        return [deciding]
    inputs = partial(unused_inputs, with_the_last=True)
    inner = partial(unused_inputs, with_the_last=False)
    findings = [
        deciding,
        mean("unused input channels", summary(run, inputs)),
        mean("unused input channels of the dense block alone", summary(run, inner)),
        mean("unused output channels", summary(run, unused_outputs)),
    ]
    others = beside_the_collapsed(run)
    if others is not None:
        findings += [
            mean(f"unused input channels{OTHERS}", summary(others, inputs)),
            mean(f"unused output channels{OTHERS}", summary(others, unused_outputs)),
        ]
    return findings


_PLACE = "Section 4.2, Figure 4"

CLAIMS = [
    Claim(
        13,
        "DenseNet: the last layer receives the most skip connections.",
        _PLACE,
        "sum of tau(l, r) over r for the last layer l of the dense block, less the largest of the "
        "other layers, as a share of the sum over all, mean over the seeds; a later layer has more "
        "kernels by construction, so that the same per kernel stands beside it",
        "the interval of the lead of the last layer is above 0",
        "it is nowhere above 0",
        _last_layer,
    ),
    Claim(
        14,
        "DenseNet: some of the input and output channels are not used by the network.",
        _PLACE,
        "share of the seeds in which, of the channels that the first convolution and the dense "
        "block put out, at least one is read by no active kernel (the last convolution's "
        "included), and at least one is written by none",
        "the interval of the share of seeds with unused channels of both kinds is above 1/2",
        "it is below 1/2",
        _channels,
    ),
]
