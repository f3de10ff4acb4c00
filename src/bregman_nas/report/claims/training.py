"""Claims 12 and 15 to 17, on losses, on the optimizer, and on how rows switch on and off."""

import math
from dataclasses import replace
from functools import partial

import numpy as np

from bregman_nas.report.claims.claim import (
    HALF,
    LAYERS,
    Finding,
    Findings,
    Results,
    Verdict,
    above,
    at_least,
    claim,
    difference,
    mean,
    revise,
)
from bregman_nas.report.data import NETWORKS, PIXELS, TASKS, Array, Run
from bregman_nas.report.stats import summarize

# "The lower loss", and "more than one order of magnitude".
LOSS_RATIOS = {"denoising": 10, "deblurring": 1}
# Two rows switched on for each one switched off.
MORE_GROWTH_THAN_TURNOVER = 2 / 3
# "Every" living row, but for those that are about to switch on when the run ends ...
ALL_LIVING = 0.99
# ... and clearly not: one in ten could still switch on. In between, both readings can be had.
NOT_ALL_LIVING = 0.9
EQUIVALENCE_TEST = "tests/bregman/test_equivalence.py"


def losses(run: Run) -> Array:
    """The loss on the test images of each seed, [seeds], diverged ones with that of answering 0."""
    found = run.scores()["mse"].to_numpy(float)
    return np.where(np.isfinite(found), found, run.scores(answer="zero")["mse"].to_numpy(float))


def switches(run: Run, after: int = 0) -> tuple[Array, Array]:
    """How often groups switched on, and off, after an epoch, [converged seeds] each."""
    frame = run.frames.layers[run.frames.layers["seed"].isin(run.converged)]
    late = frame["rows"].where(frame["epoch"] > after, 0)
    counts = late.groupby([frame["kind"], frame["seed"]]).sum()
    return counts["switched_on"].to_numpy(float), counts["switched_off"].to_numpy(float)


def share_of_additions(run: Run, after: int = 0) -> Array:
    """The share of switching on among all `switches`; 1/2 where nothing switched."""
    on, off = switches(run, after)
    return np.where(on + off > 0, on / np.maximum(on + off, 1), HALF)


def switched(run: Run, after: int = 0) -> Array:
    """The number of all `switches`, [converged seeds]."""
    return np.add(*switches(run, after))


def active_share_of(run: Run, layer: int | None = None) -> Array:
    """The share of the living rows that are active, [converged seeds]; 1 where no row is alive.

    Of all layers, or of one of them, from 1.
    """
    only = slice(None) if layer is None else slice(layer - 1, layer)
    active, living = (run.rows(kind)[:, only].sum(1) for kind in ("active", "living"))
    return np.where(living > 0, active / np.maximum(living, 1), 1.0)


def dead_share(run: Run) -> Array:
    """The share of the rows of all layers that are dead, [converged seeds]."""
    share: Array = 1 - run.rows("living").sum(1) / (run.depth * PIXELS)
    return share


@claim(
    12,
    "Residual autoencoders have the lower loss on both tasks; for denoising by more than one "
    "order of magnitude.",
    "Section 4.1, Table 1",
    "mean squared error on the official test images without skips / with skips: ratio of the "
    "geometric means over the seeds; a diverged seed has the loss of answering zero",
    "the interval of the ratio of the losses (Welch, of the logarithms) is above "
    f"{LOSS_RATIOS['denoising']} for denoising and above {LOSS_RATIOS['deblurring']} for "
    "deblurring",
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


@revise(
    15,
    why="It is a property of the code, which a test proves, and no finding.",
    statistic=f"{EQUIVALENCE_TEST}; no run is needed",
)
def _adam_by_test(_: Results) -> Findings:
    yield Finding(f"holds by test: {EQUIVALENCE_TEST}")


@claim(
    16,
    "Active groups are added over the run rather than removed (inverse scale space).",
    "Sections 1 and 2",
    "share of switching on among all switching of rows, from the end of one epoch to that of "
    "the next, mean over the seeds",
    "for both networks on both tasks the interval of the share of switching on is above 1/2",
    "for one of them it is nowhere above 1/2",
)
def _additions(results: Results) -> Findings:
    for name, run in results.perceptrons():
        yield mean(name, run, share_of_additions, above(HALF), share=True)
        yield mean(f"{name}, switches in a seed", run, switched)
    dense = results.densenet
    if dense is not None and dense.converged:
        moved = [s for s, n in zip(dense.converged, switched(dense), strict=True) if n]
        name = "DenseNet, kernels (seeds with switches)"
        yield mean(name, dense.only(moved) if moved else None, share_of_additions, share=True)
    yield mean("DenseNet, switches in a seed", dense, switched)


@revise(
    16,
    why="A start at 1% of the rows forces growth, and growth alone puts the registered share "
    "above 1/2.",
    statistic="share of switching on among all switching of rows after the first epoch, from "
    "the end of one epoch to that of the next, mean over the seeds; two in three means that "
    "the growth, rows on less rows off, is as large as the turnover, rows on that make up for "
    "rows off",
    supported_if="for both networks on both tasks the interval of the share of switching on is "
    "above 2/3",
    contradicted_if="for one of them it is nowhere above 2/3",
)
def _late_additions(results: Results) -> Findings:
    # Rows on less rows off is how far the width grows. A search that starts at 1% of the rows must
    # grow, so that more rows go on than off, and a share above 1/2 is no finding. But no growth
    # forces the share above 2/3: that takes fewer rows off than the width grows by, and a search
    # that switches rows on and off to and fro, or adds too many and then prunes, falls below. The
    # first epoch is left out, in which the output layer grows at once. Rows that go on and off
    # within one epoch are not seen.
    rule = above(MORE_GROWTH_THAN_TURNOVER)
    for name, run in results.perceptrons():
        yield mean(name, run, lambda r: share_of_additions(r, after=1), rule, share=True)
        name += ", switches after the first epoch"
        yield mean(name, run, lambda r: switched(r, after=1))


@claim(
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
    for name, run in results.perceptrons():
        yield mean(name, run, active_share_of, at_least(ALL_LIVING, NOT_ALL_LIVING), share=True)
        for layer in range(1, LAYERS + 1):
            measure = partial(active_share_of, layer=layer)
            yield mean(f"{name}, layer {layer}", run, measure, share=True)
        yield mean(f"{name}, dead rows among all", run, dead_share, share=True)


@revise(
    17,
    why="How many living rows are active is a matter of degree, and no test of the cause.",
    statistic="share of the living rows of all layers that are active after the last epoch, "
    "and of all rows, mean over the seeds; the same where rows are kept from dying",
)
def _living_by_degree(results: Results) -> Findings:
    # What is not run is told to be so.
    for name, run in [*results.perceptrons(), *results.interventions.items()]:
        for among, measure in (("living", active_share_of), ("all", _active_share_of_all)):
            told = f"{name}, active among {among} rows"
            yield mean(told, run, measure, share=True) or Finding(told, seeds=0)


def _active_share_of_all(run: Run) -> Array:
    share: Array = run.rows().sum(1) / (LAYERS * PIXELS)
    return share
