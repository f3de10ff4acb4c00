"""Claims 1 to 7 and 11, on the widths of the layers."""

from dataclasses import replace
from functools import partial

import numpy as np

from bregman_nas.report.claims.claim import (
    LAYERS,
    SURE,
    Finding,
    Findings,
    Measure,
    Results,
    Rule,
    Verdict,
    above,
    at_least,
    claim,
    difference,
    mean,
    mean_of,
    more_than_negligible,
    of_the_mean,
    revise,
    share_of_seeds,
    summary,
    surely,
    within,
)
from bregman_nas.report.claims.resampling import (
    RESAMPLES,
    agreement,
    areas_under_the_curve,
    resampled_means,
)
from bregman_nas.report.data import PIXELS, TASKS, Array, Run
from bregman_nas.report.stats import Summary, summarize

# A tenth of the search space: by so much the two ends of an autoencoder are wider than its middle,
# and by no more do two "very similar" widths differ.
WIDTH_MARGIN = 0.1 * PIXELS
# Half of that may a width rise on the way down, or fall on the way up: the article's own middle
# layers spread over the runs, so that not every step is in order.
STEP_TOLERANCE = 0.05 * PIXELS
# "Around 65%", and half of the step to the next number that one would call by another name.
NONZERO_SHARE = 0.65
SHARE_MARGIN = 0.05
# "Approximately 200 neurons", give or take a quarter.
CODING_WIDTH = 200
CODING_MARGIN = 50
CODING_LAYERS = (1, 2)
# A line explains nine tenths of the variance of the widths.
LINEAR_R2 = 0.9
# Two points always lie on a line.
POINTS_OF_A_LINE = 3
# "No wider" is within a hundredth of a layer, which is also about what a search starts with.
NEGLIGIBLE_ROWS = 8
# In nine of ten pairs of an active and an inactive output row the active one has the more frequent
# pixel: in the usual words, the frequency tells them apart outstandingly ...
FREQUENCY_TELLS = 0.9
# ... and half way from chance, 1/2, to certainty: too little to call them the same pixels.
FREQUENCY_DOES_NOT_TELL = 0.75


def has_autoencoder_shape(widths: Array) -> bool:
    """Whether the widths of one network fall from the input to an inner layer, and then rise.

    Args:
        widths: [L], of layer 1 to the output; the input's 784 come before them.
    """
    layers = [float(PIXELS), *widths.tolist()]
    coding = 1 + int(np.argmin(layers[1:-1]))
    narrow_enough = min(layers[0], layers[-1]) - layers[coding] >= WIDTH_MARGIN
    down, up = layers[: coding + 1], layers[coding:]
    falls = all(w <= min(down[: j + 1]) + STEP_TOLERANCE for j, w in enumerate(down[1:]))
    rises = all(w >= max(up[: j + 1]) - STEP_TOLERANCE for j, w in enumerate(up[1:]))
    return narrow_enough and falls and rises


def share_with_shape(widths: Array) -> float:
    """The share of the resampled mean profiles of `widths`, [seeds, L], with that shape."""
    return float(np.mean([*map(has_autoencoder_shape, resampled_means(widths))]))


def coding_layers(widths: Array) -> Array:
    """The first narrowest hidden layer of each network, from 1, of widths [seeds, L]."""
    layers: Array = widths[:, :-1].argmin(1) + 1.0
    return layers


def rises_linearly(widths: Array) -> bool:
    """Whether the widths of one network, [L], lie on a rising line from the coding layer on."""
    rising = widths[int(coding_layers(widths[None])[0]) - 1 :]
    if len(rising) < POINTS_OF_A_LINE or np.ptp(rising) == 0:
        return False
    correlation = float(np.corrcoef(np.arange(len(rising)), rising)[0, 1])
    return correlation > 0 and correlation**2 >= LINEAR_R2


def excess_spread(widths: Array, layer: int) -> Array:
    """By how much the inner layers spread more than one of layer 1 and the output, [seeds].

    The spread of a layer in a seed is how far its width is from the median of all seeds, as in
    the test of Brown and Forsythe; that of the inner layers, 2 to L - 1, is averaged. Compared
    within each seed, because the layers of a network are not independent.

    Args:
        widths: [seeds, L].
        layer: from 1.
    """
    distances = np.abs(widths - np.median(widths, 0))
    excess: Array = distances[:, 1:-1].mean(1) - distances[:, layer - 1]
    return excess


def width(layer: int) -> Measure:
    """The active rows of a layer, from 1."""
    return lambda run: run.rows()[:, layer - 1]


def coding_width(run: Run) -> Array:
    """The active rows of the narrowest hidden layer, [converged seeds]."""
    widths: Array = run.rows()[:, :-1].min(1)
    return widths


def _all_widths(task: str, run: Run | None) -> Findings:
    for layer in range(1, LAYERS + 1):
        yield mean(f"{task}, width of layer {layer}", run, width(layer))


@claim(
    1,
    "Without skips, both tasks unveil autoencoders: widths fall to an inner layer, then rise.",
    "Section 4.1, Figure 2",
    "share of the seeds whose narrowest hidden layer is narrower than input and output by at "
    f"least {WIDTH_MARGIN:.0f} rows (a tenth of {PIXELS}), and whose widths up to it never "
    f"rise above one before, and after it never fall below one before, by more than "
    f"{STEP_TOLERANCE:.0f}",
    "on both tasks the interval of the share of seeds with that shape is above 1/2",
    "on one task it is below 1/2",
)
def _shape(results: Results) -> Findings:
    for task, run in results.tasks("autoencoder"):
        yield share_of_seeds(task, run, lambda r: np.array([*map(has_autoencoder_shape, r.rows())]))


@revise(
    1,
    why="The article speaks of average widths; the registered rule asks for the shape in each "
    "seed, where the middle layers scatter.",
    statistic="mean width of each layer over the seeds, the input before it: the narrowest "
    "hidden layer is narrower than input and output by at least "
    f"{WIDTH_MARGIN:.0f} rows, and up to it no width rises above one before, after it "
    f"none falls below one before, by more than {STEP_TOLERANCE:.0f}; the share of "
    f"{RESAMPLES:,} bootstrap samples of the seeds whose mean widths have that shape",
    supported_if="on both tasks the mean widths have the shape, and at least "
    f"{SURE:.1%} of the bootstrap samples have it",
    contradicted_if="on one task the mean widths do not have it, and at least "
    f"{SURE:.1%} of the bootstrap samples do not",
)
def _mean_shape(results: Results) -> Findings:
    # The tolerances of the registered rule stay. They say how narrow a middle is one, and how large
    # a step in the wrong direction still leaves the shape, in shares of the search space. That is
    # no matter of noise, which the bootstrap deals with: a middle of four widths that are nearly
    # equal is a middle in the mean as well.
    for task, run in results.tasks("autoencoder"):
        name = f"{task}, share of the resampled mean profiles with the shape"
        yield of_the_mean(name, run, _share_with_shape)
        yield from _all_widths(task, run)


def _share_with_shape(run: Run) -> Finding:
    share = share_with_shape(run.rows())
    return Finding("", share, verdict=surely(has_autoencoder_shape(run.rows().mean(0)), share))


@claim(
    2,
    "The widths of the second and the last layer (here 1 and 6) spread least over the runs, "
    "those of the third to sixth (2 to 5) more.",
    "Section 4.1, Figure 2",
    "distance of a width from the median of the seeds (Brown and Forsythe): mean of layers 2 "
    "to 5, less that of layer 1, and less that of layer 6, within each seed",
    "on both tasks the interval of the spread of layers 2 to 5 less that of layer 1, and of "
    "that less that of layer 6, is above 0",
    "one of these intervals is nowhere above 0",
)
def _spread(results: Results) -> Findings:
    for task, run in results.tasks("autoencoder"):
        for layer in (1, LAYERS):
            name = f"{task}, spread of the inner layers less that of layer {layer}"
            yield mean(name, run, partial(_excess, layer=layer), above(0))
        yield from _all_widths(task, run)


def _excess(run: Run, layer: int) -> Array:
    return excess_spread(run.rows(), layer)


@claim(
    3,
    f"The width of the output layer is about {NONZERO_SHARE:.0%} of {PIXELS}.",
    "Section 4.1, Figure 2",
    f"mean width of layer 6 / {PIXELS}",
    f"on both tasks the interval of width / {PIXELS} lies within "
    f"{NONZERO_SHARE - SHARE_MARGIN:.0%} to {NONZERO_SHARE + SHARE_MARGIN:.0%}",
    "on one task it lies outside",
)
def _output(results: Results) -> Findings:
    rule = within(NONZERO_SHARE - SHARE_MARGIN, NONZERO_SHARE + SHARE_MARGIN)
    for task, run in results.tasks("autoencoder"):
        yield mean(task, run, lambda r: width(LAYERS)(r) / PIXELS, rule, share=True)


@claim(
    4,
    "That matches the average amount of non-zero pixels in MNIST, which is around "
    f"{NONZERO_SHARE:.0%}.",
    "Section 4.1",
    "counted on the training images: the share of pixel values that are not zero, which is "
    "what the words say, and the share of pixels that are not zero in any image",
    "the share of pixel values that are not zero is within "
    f"{NONZERO_SHARE - SHARE_MARGIN:.0%} to {NONZERO_SHARE + SHARE_MARGIN:.0%}",
    "neither this share nor that of the pixels that are ever not zero is",
)
def _pixels(results: Results) -> Findings:
    pixels = results.study.pixels
    names = ("share of pixel values that are not zero", "pixels that are ever not zero")
    if pixels is None:
        yield from (Finding(name, verdict=Verdict.NOT_RUN) for name in names)
        return
    values = pixels.nonzero_share, pixels.ever_nonzero / PIXELS
    literal, lenient = (abs(value - NONZERO_SHARE) <= SHARE_MARGIN for value in values)
    verdict = Verdict.UNDECIDED if lenient else Verdict.CONTRADICTED
    for name, value in zip(names, values, strict=True):
        yield Finding(name, value, verdict=Verdict.SUPPORTED if literal else verdict)
    counts = {
        "0.1%": pixels.nonzero_in_one_per_thousand,
        "1%": pixels.nonzero_in_one_per_hundred,
    }
    for share, count in counts.items():
        yield Finding(f"pixels that are not zero in at least {share} of the images", count / PIXELS)


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
    found = results.study.frequencies
    ink = np.zeros(PIXELS) if found is None else found
    told: dict[str, Measure] = {
        "agreement": lambda run: agreement(run.output, ink > 0)[0],
        "Jaccard's index": lambda run: agreement(run.output, ink > 0)[1],
    }
    for task, run in results.tasks("autoencoder"):
        made = None if found is None else run
        name = f"{task}, area under the curve"
        yield mean(name, made, lambda r: areas_under_the_curve(r.output, ink), rule, share=True)
        for of, measure in told.items():
            name = f"{task}, active output rows and pixels that are ever inked, {of}"
            yield mean(name, made, measure, share=True)
    for counted in _pixels(results):
        yield counted and replace(counted, verdict=None)


@claim(
    5,
    "Denoising and deblurring give very similar widths, qualitatively and quantitatively.",
    "Section 4.1, Figure 2",
    "mean difference of the widths of each layer between the tasks, paired by seed",
    f"in every layer the interval of the difference is within {WIDTH_MARGIN:.0f} rows of 0, a "
    f"tenth of {PIXELS}",
    "in one layer it lies outside",
)
def _similarity(results: Results) -> Findings:
    first, second = (run for _, run in results.tasks("autoencoder"))
    rule = within(-WIDTH_MARGIN, WIDTH_MARGIN)
    for layer in range(1, LAYERS + 1):
        name = f"layer {layer}, {TASKS[0]} less {TASKS[1]}"
        yield mean_of(name, _paired_difference(first, second, layer), rule)


def _paired_difference(first: Run | None, second: Run | None, layer: int) -> Summary | None:
    """Of the widths of a layer, over the seeds of both runs; NaN if one of the two diverged."""
    if first is None or second is None:
        return None
    of_seeds = [
        dict(zip(run.converged, run.rows()[:, layer - 1] if run.converged else (), strict=True))
        for run in (first, second)
    ]
    both = [seed for seed in first.seeds if seed in second.seeds]
    one, other = ([widths.get(seed, np.nan) for seed in both] for widths in of_seeds)
    return summarize(np.subtract(one, other))


@claim(
    6,
    f"With skips, the coding layer has about {CODING_WIDTH} neurons and is the first or "
    "second hidden layer.",
    "Section 4.1, Figure 3",
    "mean width of the narrowest hidden layer of each seed, and the share of the seeds in "
    "which it is layer 1 or 2",
    f"on both tasks the interval of its width is within {CODING_WIDTH - CODING_MARGIN} to "
    f"{CODING_WIDTH + CODING_MARGIN}, and that of the share of seeds in which it is layer 1 or "
    "2 above 1/2",
    "one of these intervals lies outside",
)
def _coding(results: Results) -> Findings:
    about = within(CODING_WIDTH - CODING_MARGIN, CODING_WIDTH + CODING_MARGIN)
    for task, run in results.tasks("residual"):
        yield mean(f"{task}, width of the coding layer", run, coding_width, about)
        name = f"{task}, coding layer 1 or 2"
        yield share_of_seeds(name, run, lambda r: np.isin(coding_layers(r.rows()), CODING_LAYERS))
        yield mean(f"{task}, coding layer", run, lambda r: coding_layers(r.rows()))


@claim(
    7,
    "With skips, the output layer is wider than without.",
    "Section 4.1, Figures 2 and 3",
    "difference of the mean widths of layer 6, with skips less without",
    "on both tasks the interval of the difference is above 0",
    "on one task it is nowhere above 0",
)
def _wider_output(results: Results) -> Findings:
    return _gain_in_output(results, above(0))


def _gain_in_output(results: Results, rule: Rule) -> Findings:
    for task in TASKS:
        runs = [results.restoration(network, task) for network in ("residual", "autoencoder")]
        skips, without = (summary(run, width(LAYERS)) for run in runs)
        name = f"{task}, width of the output with skips less without"
        yield difference(name, skips, without, rule)


@revise(
    7,
    why="The registered rule has no answer if the widths are the same.",
    statistic="difference of the mean widths of layer 6, with skips less without; "
    f"{NEGLIGIBLE_ROWS} rows, a hundredth of a layer, are negligible",
    supported_if="on both tasks the interval of the difference is above 0, and reaches beyond "
    f"{NEGLIGIBLE_ROWS} rows",
    contradicted_if=f"on one task it is nowhere above {NEGLIGIBLE_ROWS} rows",
)
def _notably_wider_output(results: Results) -> Findings:
    return _gain_in_output(results, more_than_negligible(NEGLIGIBLE_ROWS))


@claim(
    11,
    "For denoising with skips, widths rise linearly from the coding layer to the output "
    "(triangular).",
    "Section 4.1, Figure 3",
    "share of the seeds in which a line through the widths from the narrowest hidden layer to "
    f"the output, at least {POINTS_OF_A_LINE} of them, rises and has an R\u00b2 of at least "
    f"{LINEAR_R2}",
    "the interval of the share of seeds with such widths is above 1/2",
    "it is below 1/2",
)
def _triangle(results: Results) -> Findings:
    run = results.restoration("residual", "denoising")
    name = "denoising, widths on a rising line"
    yield share_of_seeds(name, run, lambda r: np.array([*map(rises_linearly, r.rows())]))
