"""Claims 1 to 7 and 11, on the widths of the layers."""

from functools import partial

import numpy as np

from bregman_nas.report.claims.claim import (
    Claim,
    Finding,
    Verdict,
    above,
    difference,
    mean,
    share_of_seeds,
    within,
)
from bregman_nas.report.claims.results import (
    LAYERS,
    Flags,
    Results,
    diverged,
    seeds_that,
    summary,
)
from bregman_nas.report.read import PIXELS, TASKS, Array, Run, rows_by_layer
from bregman_nas.report.statistics import Summary, summarize

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


def coding_layers(widths: Array) -> Array:
    """The narrowest hidden layer of each network, from 1, the first if there are several.

    Args:
        widths: [seeds, L].
    """
    layers: Array = widths[:, :-1].argmin(1) + 1.0
    return layers


def rises_linearly(widths: Array) -> bool:
    """Whether the widths of one network rise on a line from the coding layer to the output.

    Args:
        widths: [L].
    """
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


def _widths(run: Run) -> Array:
    return rows_by_layer(run.converged, "width")


def _width(run: Run, layer: int) -> Array:
    return _widths(run)[:, layer - 1]


def _output_share(run: Run) -> Array:
    return _width(run, LAYERS) / PIXELS


def _excess(run: Run, layer: int) -> Array:
    return excess_spread(_widths(run), layer)


def _have_shape(run: Run) -> Flags:
    return np.array([has_autoencoder_shape(widths) for widths in _widths(run)])


def _rise(run: Run) -> Flags:
    return np.array([rises_linearly(widths) for widths in _widths(run)])


def _coding_layers(run: Run) -> Array:
    return coding_layers(_widths(run))


def _coding_widths(run: Run) -> Array:
    widths: Array = _widths(run)[:, :-1].min(1)
    return widths


def _code_early(run: Run) -> Flags:
    return np.isin(_coding_layers(run), CODING_LAYERS)


def _shape(results: Results) -> list[Finding]:
    runs = {task: results.restoration("autoencoder", task) for task in TASKS}
    return [
        share_of_seeds(task, seeds_that(run, _have_shape), diverged(run))
        for task, run in runs.items()
    ]


def _spread(results: Results) -> list[Finding]:
    runs = {task: results.restoration("autoencoder", task) for task in TASKS}
    deciding = [
        mean(
            f"{task}, spread of the inner layers less that of layer {layer}",
            summary(run, partial(_excess, layer=layer)),
            above(0),
        )
        for task, run in runs.items()
        for layer in (1, LAYERS)
    ]
    beside = []
    for task, run in runs.items():
        for layer in range(1, LAYERS + 1):
            widths = summary(run, partial(_width, layer=layer))
            if widths is not None:
                beside.append(mean(f"{task}, width of layer {layer}", widths))
    return [*deciding, *beside]


def _output(results: Results) -> list[Finding]:
    rule = within(NONZERO_SHARE - SHARE_MARGIN, NONZERO_SHARE + SHARE_MARGIN)
    runs = {task: results.restoration("autoencoder", task) for task in TASKS}
    return [mean(task, summary(run, _output_share), rule, share=True) for task, run in runs.items()]


def _pixels(results: Results) -> list[Finding]:
    pixels = results.pixels
    literal, lenient = "share of pixel values that are not zero", "pixels that are ever not zero"
    if pixels is None:
        return [Finding(name, verdict=Verdict.NOT_RUN) for name in (literal, lenient)]
    values = pixels["nonzero_share"], pixels["ever_nonzero"] / PIXELS
    matches = [abs(value - NONZERO_SHARE) <= SHARE_MARGIN for value in values]
    if matches[0]:
        verdict = Verdict.SUPPORTED
    else:
        verdict = Verdict.UNDECIDED if matches[1] else Verdict.CONTRADICTED
    beside = {
        "pixels that are not zero in at least 0.1% of the images": "nonzero_in_one_per_thousand",
        "pixels that are not zero in at least 1% of the images": "nonzero_in_one_per_hundred",
    }
    return [
        Finding(literal, values[0], verdict=verdict),
        Finding(lenient, values[1], verdict=verdict),
        *(Finding(name, pixels[key] / PIXELS) for name, key in beside.items() if key in pixels),
    ]


def _similarity(results: Results) -> list[Finding]:
    first, second = (results.restoration("autoencoder", task) for task in TASKS)
    return [
        mean(
            f"layer {layer}, {TASKS[0]} less {TASKS[1]}",
            _paired_difference(first, second, layer),
            within(-WIDTH_MARGIN, WIDTH_MARGIN),
        )
        for layer in range(1, LAYERS + 1)
    ]


def _paired_difference(first: Run | None, second: Run | None, layer: int) -> Summary | None:
    """Of the widths of a layer, over the seeds of both runs; NaN if one of the two diverged."""
    if first is None or second is None:
        return None
    seeds = [seed for seed in first.seeds["seed"] if seed in set(second.seeds["seed"])]
    widths = [run.converged.set_index("seed")[f"width_{layer}"] for run in (first, second)]
    return summarize((widths[0].reindex(seeds) - widths[1].reindex(seeds)).astype(float))


def _coding(results: Results) -> list[Finding]:
    deciding, beside = [], []
    for task in TASKS:
        run = results.restoration("residual", task)
        early = seeds_that(run, _code_early)
        about = within(CODING_WIDTH - CODING_MARGIN, CODING_WIDTH + CODING_MARGIN)
        deciding += [
            mean(f"{task}, width of the coding layer", summary(run, _coding_widths), about),
            share_of_seeds(f"{task}, coding layer 1 or 2", early, diverged(run)),
        ]
        if run is not None:
            beside.append(mean(f"{task}, coding layer", summary(run, _coding_layers)))
    return [*deciding, *beside]


def _tilt(results: Results) -> list[Finding]:
    output = partial(_width, layer=LAYERS)
    return [
        difference(
            f"{task}, width of the output with skips less without",
            summary(results.restoration("residual", task), output),
            summary(results.restoration("autoencoder", task), output),
            above(0),
        )
        for task in TASKS
    ]


def _triangle(results: Results) -> list[Finding]:
    run = results.restoration("residual", "denoising")
    name = "denoising, widths on a rising line"
    return [share_of_seeds(name, seeds_that(run, _rise), diverged(run))]


_AUTOENCODERS = "Section 4.1, Figure 2"
_RESIDUAL = "Section 4.1, Figure 3"

CLAIMS = [
    Claim(
        1,
        "Without skips, both tasks unveil autoencoders: widths fall to an inner layer, then rise.",
        _AUTOENCODERS,
        "share of the seeds whose narrowest hidden layer is narrower than input and output by at "
        f"least {WIDTH_MARGIN:.0f} rows (a tenth of {PIXELS}), and whose widths up to it never "
        f"rise above one before, and after it never fall below one before, by more than "
        f"{STEP_TOLERANCE:.0f}",
        "on both tasks the interval of the share of seeds with that shape is above 1/2",
        "on one task it is below 1/2",
        _shape,
    ),
    Claim(
        2,
        "The widths of the second and the last layer (here 1 and 6) spread least over the runs, "
        "those of the third to sixth (2 to 5) more.",
        _AUTOENCODERS,
        "distance of a width from the median of the seeds (Brown and Forsythe): mean of layers 2 "
        "to 5, less that of layer 1, and less that of layer 6, within each seed",
        "on both tasks the interval of the spread of layers 2 to 5 less that of layer 1, and of "
        "that less that of layer 6, is above 0",
        "one of these intervals is nowhere above 0",
        _spread,
    ),
    Claim(
        3,
        f"The width of the output layer is about {NONZERO_SHARE:.0%} of {PIXELS}.",
        _AUTOENCODERS,
        f"mean width of layer 6 / {PIXELS}",
        "on both tasks the interval of width / "
        f"{PIXELS} lies within "
        f"{NONZERO_SHARE - SHARE_MARGIN:.0%} to {NONZERO_SHARE + SHARE_MARGIN:.0%}",
        "on one task it lies outside",
        _output,
    ),
    Claim(
        4,
        "That matches the average amount of non-zero pixels in MNIST, which is around "
        f"{NONZERO_SHARE:.0%}.",
        "Section 4.1",
        "counted on the training images: the share of pixel values that are not zero, which is "
        "what the words say, and the share of pixels that are not zero in any image",
        "the share of pixel values that are not zero is within "
        f"{NONZERO_SHARE - SHARE_MARGIN:.0%} to {NONZERO_SHARE + SHARE_MARGIN:.0%}",
        "neither this share nor that of the pixels that are ever not zero is",
        _pixels,
    ),
    Claim(
        5,
        "Denoising and deblurring give very similar widths, qualitatively and quantitatively.",
        _AUTOENCODERS,
        "mean difference of the widths of each layer between the tasks, paired by seed",
        f"in every layer the interval of the difference is within {WIDTH_MARGIN:.0f} rows of 0, a "
        f"tenth of {PIXELS}",
        "in one layer it lies outside",
        _similarity,
    ),
    Claim(
        6,
        f"With skips, the coding layer has about {CODING_WIDTH} neurons and is the first or "
        "second hidden layer.",
        _RESIDUAL,
        "mean width of the narrowest hidden layer of each seed, and the share of the seeds in "
        "which it is layer 1 or 2",
        f"on both tasks the interval of its width is within {CODING_WIDTH - CODING_MARGIN} to "
        f"{CODING_WIDTH + CODING_MARGIN}, and that of the share of seeds in which it is layer 1 or "
        "2 above 1/2",
        "one of these intervals lies outside",
        _coding,
    ),
    Claim(
        7,
        "With skips, the output layer is wider than without.",
        "Section 4.1, Figures 2 and 3",
        "difference of the mean widths of layer 6, with skips less without",
        "on both tasks the interval of the difference is above 0",
        "on one task it is nowhere above 0",
        _tilt,
    ),
    Claim(
        11,
        "For denoising with skips, widths rise linearly from the coding layer to the output "
        "(triangular).",
        _RESIDUAL,
        "share of the seeds in which a line through the widths from the narrowest hidden layer to "
        f"the output, at least {POINTS_OF_A_LINE} of them, rises and has an R\u00b2 of at least "
        f"{LINEAR_R2}",
        "the interval of the share of seeds with such widths is above 1/2",
        "it is below 1/2",
        _triangle,
    ),
]
