"""The claims whose registered rules could not answer them, each with a rule that can.

These rules were written after seeds 0 to 9 had been seen and before seeds 10 to 19 were searched;
they are decided on the latter alone. The registered rules stay, unchanged, beside them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bregman_nas.report.claims import densenet, resampling, skips, training, widths
from bregman_nas.report.claims.claim import (
    ENOUGH_SEEDS,
    HALF,
    LAYERS,
    SURE,
    TOO_MANY_DIVERGED,
    Claim,
    Decide,
    Finding,
    Findings,
    Measure,
    Results,
    Verdict,
    above,
    at_least,
    at_most,
    difference,
    mean,
    mean_of,
    more_than_negligible,
    share_of_seeds,
    summary,
    surely,
    within,
)
from bregman_nas.report.claims.resampling import RESAMPLES
from bregman_nas.report.data import NETWORKS, PIXELS, TASKS, Array, Run

# "No wider" is within a hundredth of a layer, which is also about what a search starts with.
NEGLIGIBLE_ROWS = 8
# "Nothing", where a skip that copies its layer is 1.
NEGLIGIBLE_SKIP = 0.02
# Two rows switched on for each one switched off.
MORE_GROWTH_THAN_TURNOVER = 2 / 3
# In nine of ten pairs of an active and an inactive output row the active one has the more frequent
# pixel: in the usual words, the frequency tells them apart outstandingly ...
FREQUENCY_TELLS = 0.9
# ... and half way from chance, 1/2, to certainty: too little to call them the same pixels.
FREQUENCY_DOES_NOT_TELL = 0.75
# With fewer living DenseNets, a mean is that of one or two.
ENOUGH_LIVING = 5

REGISTERED = {
    claim.number: claim
    for claims in (widths.CLAIMS, skips.CLAIMS, training.CLAIMS, densenet.CLAIMS)
    for claim in claims
}
#: All claims by number: the revised rule where there is one (`Revision`), else the registered.
REVISED: dict[int, Claim] = dict(sorted(REGISTERED.items()))


@dataclass(frozen=True)
class Revision(Claim):
    """A claim with a new rule, or with none: `supported_if` is empty where nothing is decided.

    Attributes:
        why: what the registered rule could not do.
    """

    why: str

    @property
    def rule(self) -> str:
        """In one sentence."""
        return super().rule if self.supported_if else "No verdict."


def revise(
    number: int,
    why: str,
    statistic: str,
    supported_if: str = "",
    contradicted_if: str = "",
    words: str = "",
) -> Callable[[Decide], Decide]:
    """Make the function below the rule of the claim of that number, with these words for it."""

    def add(decide: Decide) -> Decide:
        old = REGISTERED[number]
        told = (words or old.words, old.place, statistic, supported_if, contradicted_if)
        REVISED[number] = Revision(number, *told, decide, why)
        return decide

    return add


def _of_the_mean(name: str, run: Run | None, decided: Callable[[Run], Finding]) -> Finding:
    """A finding on a mean over seeds, where there are enough of them.

    Args:
        name: of the finding.
        run: None if not run.
        decided: from the run, called only if enough seeds converged: value, interval, verdict.
    """
    if run is None:
        return Finding(name, seeds=0, verdict=Verdict.NOT_RUN)
    few_diverged = run.diverged <= TOO_MANY_DIVERGED * len(run.seeds)
    enough = len(run.converged) >= ENOUGH_SEEDS and few_diverged
    found = decided(run) if enough else Finding(name, verdict=Verdict.UNDECIDED)
    return replace(found, name=name, seeds=len(run.seeds), diverged=run.diverged)


def _all_seeds_count(found: Finding | None, run: Run | None) -> Finding | None:
    """With the seeds that diverged, and no others, as those without the number."""
    return found and replace(found, diverged=0 if run is None else run.diverged)


@revise(
    1,
    why="The article speaks of average widths; the registered rule asks for the shape in each "
    "seed, where the middle layers scatter.",
    statistic="mean width of each layer over the seeds, the input before it: the narrowest "
    "hidden layer is narrower than input and output by at least "
    f"{widths.WIDTH_MARGIN:.0f} rows, and up to it no width rises above one before, after it "
    f"none falls below one before, by more than {widths.STEP_TOLERANCE:.0f}; the share of "
    f"{RESAMPLES:,} bootstrap samples of the seeds whose mean widths have that shape",
    supported_if="on both tasks the mean widths have the shape, and at least "
    f"{SURE:.1%} of the bootstrap samples have it",
    contradicted_if="on one task the mean widths do not have it, and at least "
    f"{SURE:.1%} of the bootstrap samples do not",
)
def _shape(results: Results) -> Findings:
    # The tolerances of the registered rule stay. They say how narrow a middle is one, and how large
    # a step in the wrong direction still leaves the shape, in shares of the search space. That is
    # no matter of noise, which the bootstrap deals with: a middle of four widths that are nearly
    # equal is a middle in the mean as well.
    for task, run in results.tasks("autoencoder"):
        name = f"{task}, share of the resampled mean profiles with the shape"
        yield _of_the_mean(name, run, _share_with_shape)
        for layer in range(1, LAYERS + 1):
            yield mean(f"{task}, width of layer {layer}", run, widths.width(layer))


def _share_with_shape(run: Run) -> Finding:
    share = resampling.share_with_shape(run.rows())
    shaped = widths.has_autoencoder_shape(run.rows().mean(0))
    return Finding("", share, verdict=surely(shaped, share))


@revise(
    4,
    why="Counting pixels says nothing of which rows are active. The count keeps its registered "
    "rule, and stands beside.",
    statistic="area under the ROC curve of a pixel's frequency, the share of the training "
    "images in which it is not zero, as predictor of its output row being active, without "
    "skips, mean over the seeds; 1/2 is chance",
    supported_if=f"on both tasks the interval of the area is at least {FREQUENCY_TELLS}",
    contradicted_if=f"on one task it is below {FREQUENCY_DOES_NOT_TELL}",
    words="The width of the output layer accounts for the digits not filling the image: its "
    "active rows are those of the pixels that are inked.",
)
def _output_map(results: Results) -> Findings:
    rule = at_least(FREQUENCY_TELLS, FREQUENCY_DOES_NOT_TELL)
    frequencies = results.study.frequencies
    for task, run in results.tasks("autoencoder"):
        name = f"{task}, area under the curve"
        if run is None or frequencies is None:
            yield mean_of(name, None, rule)
            continue
        yield _all_seeds_count(mean(name, run, _area(frequencies), rule, share=True), run)
        for index, measure in enumerate(("agreement", "Jaccard's index")):
            name = f"{task}, active output rows and pixels that are ever inked, {measure}"
            yield mean(name, run, _agreement(frequencies > 0, index), share=True)
    for counted in REGISTERED[4].findings(results):
        yield replace(counted, verdict=None)


def _area(frequencies: Array) -> Measure:
    return lambda run: resampling.areas_under_the_curve(run.output, frequencies)


def _agreement(inked: np.ndarray, index: int) -> Measure:
    return lambda run: resampling.agreement(run.output, inked)[index]


@revise(
    7,
    why="The registered rule has no answer if the widths are the same.",
    statistic="difference of the mean widths of layer 6, with skips less without; "
    f"{NEGLIGIBLE_ROWS} rows, a hundredth of a layer, are negligible",
    supported_if="on both tasks the interval of the difference is above 0, and reaches beyond "
    f"{NEGLIGIBLE_ROWS} rows",
    contradicted_if=f"on one task it is nowhere above {NEGLIGIBLE_ROWS} rows",
)
def _wider_output(results: Results) -> Findings:
    rule, output = more_than_negligible(NEGLIGIBLE_ROWS), widths.width(LAYERS)
    for task in TASKS:
        with_skips, without = (results.restoration(n, task) for n in ("residual", "autoencoder"))
        name = f"{task}, width of the output with skips less without"
        yield difference(name, summary(with_skips, output), summary(without, output), rule)


@revise(
    8,
    why="The registered rule has no answer if a skip is zero.",
    statistic="mean over the seeds of the average of the six skips into the output; for "
    f"denoising also of each of them; {NEGLIGIBLE_SKIP} is negligible",
    supported_if="the intervals of both averages and, for denoising, of the skips from "
    f"layers 1 to 5 are above 0 and reach beyond {NEGLIGIBLE_SKIP}, and that of the skip from the "
    f"input lies within {NEGLIGIBLE_SKIP} of 0",
    contradicted_if=f"one of the former is nowhere above {NEGLIGIBLE_SKIP}, or the last lies "
    "entirely outside",
)
def _positive_skips(results: Results) -> Findings:
    positive = more_than_negligible(NEGLIGIBLE_SKIP)
    none = within(-NEGLIGIBLE_SKIP, NEGLIGIBLE_SKIP)
    for task, run in results.tasks("residual"):
        name = f"{task}, mean of the skips into the output"
        yield mean(name, run, lambda r: r.tau()[:, -1].mean(1), positive)
        for i in range(LAYERS):
            rule = (positive if i else none) if task == "denoising" else None
            name = f"{task}, skip into the output from {f'layer {i}' if i else 'the input'}"
            yield mean(name, run, _into_output(i), rule)


def _into_output(i: int) -> Measure:
    return lambda run: run.tau()[:, -1, i]


@revise(
    9,
    why="The article shows the matrix of average skips; the registered rule counts in each seed.",
    statistic="share of negative entries among the active ones of the mean matrix of skips, "
    "without those that lead into the output; interval from "
    f"{RESAMPLES:,} bootstrap samples of the seeds",
    supported_if="on both tasks the interval of the share of negative ones is above 1/2",
    contradicted_if="on one task it is nowhere above 1/2",
)
def _negative_skips(results: Results) -> Findings:
    for task, run in results.tasks("residual"):
        name = f"{task}, among the active ones of the mean matrix"
        yield _of_the_mean(name, run, _negative_share)


def _negative_share(run: Run) -> Finding:
    share, low, high = resampling.negative_share_of_the_mean(run.tau())
    return Finding("", share, low=low, high=high, verdict=above(HALF)(low, high))


@revise(
    10,
    why="Equal skips have 1/7 on the counterdiagonal, so that a share below 1/2 is no sign of "
    "anything.",
    statistic="share in the sum of |tau(l, i)| of those on the counterdiagonal (l + i = 5), "
    "mean over the seeds; a network without skips has no such share and is left out, and with "
    "more than a fifth of them nothing is decided",
    supported_if="on both tasks the interval of the share of the counterdiagonal is nowhere "
    "above 1/7",
    contradicted_if="on one task it is above 1/7",
)
def _unet(results: Results) -> Findings:
    rule = at_most(resampling.EQUAL_SHARE)
    for task, run in results.tasks("residual"):
        name = f"{task}, share of the counterdiagonal"
        yield _all_seeds_count(mean(name, run, _counterdiagonal, rule, share=True), run)


def _counterdiagonal(run: Run) -> Array:
    return resampling.counterdiagonal_share_of_active(run.tau())


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
def _last_layer(results: Results) -> Findings:
    name = "lead of the last layer"
    beside = {
        f"{name}, per kernel": densenet.lead("kernel"),
        f"{name}, without the layer just before": densenet.lead("skips"),
    }
    return _kernels(
        results,
        f"{name}, sums",
        lambda n, run: mean(n, run, densenet.lead("sum"), above(0)),
        beside,
    )


@revise(
    14,
    why="As for claim 13.",
    statistic="share of the networks that did not collapse, at least "
    f"{ENOUGH_LIVING}, in which of the channels of the first convolution and the "
    "dense block at least one is read by no active kernel, and at least one is written by none",
    supported_if="the interval of the share with unused channels of both kinds is above 1/2",
    contradicted_if="it is below 1/2",
)
def _channels(results: Results) -> Findings:
    beside = {
        "unused input channels": densenet.unused_inputs,
        "unused output channels": densenet.unused_outputs,
    }
    return _kernels(
        results,
        "share of the living networks",
        lambda name, run: share_of_seeds(name, run, densenet.both_unused),
        beside,
    )


def _kernels(
    results: Results,
    name: str,
    decided: Callable[[str, Run], Finding | None],
    beside: Mapping[str, Measure],
) -> Findings:
    """A finding on the living DenseNets, undecided if they are too few; numbers beside it.

    Args:
        results: of one protocol.
        name: of the finding.
        decided: from the networks that did not collapse, called if there are enough of them.
        beside: one number per network, by name.
    """
    run = results.densenet
    if run is None:
        yield Finding(name, seeds=0, verdict=Verdict.NOT_RUN)
        return
    lost = densenet.collapsed(run)
    living = run.only([seed for seed, flag in zip(run.seeds, lost, strict=True) if not flag])
    if len(living.converged) >= ENOUGH_LIVING:
        yield decided(name, living)
    else:
        yield Finding(
            f"{name} (undecided: fewer than {ENOUGH_LIVING} living networks)",
            seeds=len(living.seeds),
            diverged=run.diverged,
            verdict=Verdict.UNDECIDED,
        )
    yield Finding("networks that collapsed", float(lost.sum()), seeds=len(run.seeds))
    for told, measure in beside.items():
        yield mean(told, living, measure)


@revise(
    15,
    why="It is a property of the code, which a test proves, and no finding.",
    statistic=f"{training.EQUIVALENCE_TEST}; no run is needed",
)
def _adam(_: Results) -> Findings:
    yield Finding(f"holds by test: {training.EQUIVALENCE_TEST}")


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
def _additions(results: Results) -> Findings:
    # Rows on less rows off is how far the width grows. A search that starts at 1% of the rows must
    # grow, so that more rows go on than off, and a share above 1/2 is no finding. But no growth
    # forces the share above 2/3: that takes fewer rows off than the width grows by, and a search
    # that switches rows on and off to and fro, or adds too many and then prunes, falls below. The
    # first epoch is left out, in which the output layer grows at once. Rows that go on and off
    # within one epoch are not seen.
    rule = above(MORE_GROWTH_THAN_TURNOVER)
    for name, run in _perceptrons(results):
        yield mean(name, run, lambda r: training.share_of_additions(*_late(r)), rule, share=True)
        yield mean(f"{name}, switches after the first epoch", run, lambda r: np.add(*_late(r)))


def _late(run: Run) -> tuple[Array, Array]:
    return training.switches(run, after=1)


def _perceptrons(results: Results) -> Iterator[tuple[str, Run | None]]:
    for network in NETWORKS:
        for task, run in results.tasks(network):
            yield f"{network}, {task}", run


@revise(
    17,
    why="How many living rows are active is a matter of degree, and no test of the cause.",
    statistic="share of the living rows of all layers that are active after the last epoch, "
    "and of all rows, mean over the seeds; the same where rows are kept from dying",
)
def _living(results: Results) -> Findings:
    # All perceptrons, then those whose rows were kept from dying. Nothing is decided, and what is
    # not run is told to be so.
    for name, run in [*_perceptrons(results), *results.interventions.items()]:
        for among, measure in (("living", training.active_share_of), ("all", _share_of_all)):
            told = f"{name}, active among {among} rows"
            yield mean(told, run, measure, share=True) or Finding(told, seeds=0)


def _share_of_all(run: Run) -> Array:
    share: Array = run.rows().sum(1) / (LAYERS * PIXELS)
    return share
