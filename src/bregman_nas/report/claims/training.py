"""Claims 12 and 15 to 17, on losses, on the optimizer, and on how rows switch on and off."""

import math
from dataclasses import replace

import numpy as np

from bregman_nas.report.claims.claim import (
    HALF,
    LAYERS,
    Claim,
    Finding,
    Findings,
    Measure,
    Results,
    Verdict,
    above,
    at_least,
    claim,
    difference,
    mean,
)
from bregman_nas.report.data import NETWORKS, PIXELS, TASKS, Array, Run
from bregman_nas.report.stats import summarize

CLAIMS: list[Claim] = []

# "The lower loss", and "more than one order of magnitude".
LOSS_RATIOS = {"denoising": 10, "deblurring": 1}
# "Every" living row, but for those that are about to switch on when the run ends ...
ALL_LIVING = 0.99
# ... and clearly not: one in ten could still switch on. In between, both readings can be had.
NOT_ALL_LIVING = 0.9
EQUIVALENCE_TEST = "tests/bregman/test_equivalence.py"


def losses(run: Run) -> Array:
    """The loss on the test images of each seed, [seeds], diverged ones with that of answering 0."""
    found = run.scores()["mse"].to_numpy(float)
    return np.where(np.isfinite(found), found, run.scores(answer="zero")["mse"].to_numpy(float))


def share_of_additions(on: Array, off: Array) -> Array:
    """The share of switching on among all switching, [seeds]; 1/2 where nothing switched.

    Args:
        on: [seeds], how often a group was switched on.
        off: likewise off.
    """
    total = on + off
    return np.where(total > 0, on / np.where(total > 0, total, 1), HALF)


def active_share(active: Array, living: Array) -> Array:
    """The share of the living rows that are active; 1 where no row is alive.

    Args:
        active: numbers of rows.
        living: likewise, of the same shape.
    """
    return np.where(living > 0, active / np.where(living > 0, living, 1), 1.0)


def switches(run: Run, after: int = 0) -> tuple[Array, Array]:
    """How often groups switched on, and off, after an epoch, [converged seeds] each."""
    frame = run.frames.layers[run.frames.layers["seed"].isin(run.converged)]
    late = frame["rows"].where(frame["epoch"] > after, 0)
    counts = late.groupby([frame["kind"], frame["seed"]]).sum()
    return counts["switched_on"].to_numpy(float), counts["switched_off"].to_numpy(float)


def active_share_of(run: Run) -> Array:
    """`active_share` over all layers, [converged seeds]."""
    return active_share(run.rows().sum(1), run.rows("living").sum(1))


def dead_share(run: Run) -> Array:
    """The share of the rows of all layers that are dead, [converged seeds]."""
    share: Array = 1 - run.rows("living").sum(1) / (run.depth * PIXELS)
    return share


@claim(
    CLAIMS,
    12,
    "Residual autoencoders have the lower loss on both tasks; for denoising by more than one "
    "order of magnitude.",
    "Section 4.1, Table 1",
    "mean squared error on the official test images without skips / with skips: ratio of the "
    "geometric means over the seeds; a diverged seed has the loss of answering zero",
    "the interval of the ratio of the losses (Welch, of the logarithms) is above "
    f"{LOSS_RATIOS['denoising']} for "
    f"denoising and above {LOSS_RATIOS['deblurring']} for deblurring",
    "one of the two is nowhere above",
)
def _loss(results: Results) -> Findings:
    for task in TASKS:
        runs = [results.restoration(network, task) for network in NETWORKS]
        without, skips = (None if run is None else summarize(np.log(losses(run))) for run in runs)
        name = f"{task}, loss without skips / loss with skips"
        found = difference(name, without, skips, above(LOSS_RATIOS[task]), unit=math.exp)
        yield replace(found, diverged=sum(run.diverged for run in runs if run is not None))


@claim(
    CLAIMS,
    15,
    "With J = 0, AdaBreg is Adam.",
    "Section 2, Algorithm 1",
    f"{EQUIVALENCE_TEST}: with J = 0 and the first moment corrected, theta after each of a "
    "hundred steps against that of "
    "`torch.optim.Adam`, and a network trained by both; no run is needed",
    "the test passes",
    "it fails",
)
def _adam(_: Results) -> Findings:
    yield Finding(f"proved by {EQUIVALENCE_TEST}", verdict=Verdict.SUPPORTED)


@claim(
    CLAIMS,
    16,
    "Active groups are added over the run rather than removed (inverse scale space).",
    "Sections 1 and 2",
    "share of switching on among all switching of rows, from the end of one epoch to that of "
    "the next, mean over the seeds",
    "for both networks on both tasks the interval of the share of switching on is above 1/2",
    "for one of them it is nowhere above 1/2",
)
def _additions(results: Results) -> Findings:
    for network in NETWORKS:
        for task, run in results.tasks(network):
            name = f"{network}, {task}"
            yield mean(name, run, _share_of_additions, above(HALF), share=True)
            yield mean(f"{name}, switches in a seed", run, _switched)
    dense = results.densenet
    if dense is not None and dense.converged:
        moved = [s for s, n in zip(dense.converged, _switched(dense), strict=True) if n]
        name = "DenseNet, kernels (seeds with switches)"
        yield mean(name, dense.only(moved) if moved else None, _share_of_additions, share=True)
    yield mean("DenseNet, switches in a seed", dense, _switched)


def _share_of_additions(run: Run) -> Array:
    return share_of_additions(*switches(run))


def _switched(run: Run) -> Array:
    return np.add(*switches(run))


@claim(
    CLAIMS,
    17,
    "In the end every living row is active: the width is what has not died, rather than a "
    "balance of loss and sparsity.",
    "not in the article",
    "share of the living rows of all layers that are active after the last epoch, mean over "
    "the seeds",
    "for both networks on both tasks the interval of the share of active ones among the living "
    f"rows is at least {ALL_LIVING:.0%}",
    f"for one of them it is below {NOT_ALL_LIVING:.0%}",
)
def _living(results: Results) -> Findings:
    rule = at_least(ALL_LIVING, NOT_ALL_LIVING)
    for network in NETWORKS:
        for task, run in results.tasks(network):
            name = f"{network}, {task}"
            yield mean(name, run, active_share_of, rule, share=True)
            for l in range(LAYERS):
                yield mean(f"{name}, layer {l + 1}", run, _active_share(l), share=True)
            yield mean(f"{name}, dead rows among all", run, dead_share, share=True)


def _active_share(l: int) -> Measure:
    return lambda run: active_share(run.rows()[:, l], run.rows("living")[:, l])
