"""Claims 8 to 10, on the skips tau(l, i) of the residual autoencoders."""

import numpy as np

from bregman_nas.report.claims.claim import (
    HALF,
    LAYERS,
    Finding,
    Findings,
    Measure,
    Results,
    Rule,
    above,
    at_most,
    claim,
    mean,
    more_than_negligible,
    of_the_mean,
    revise,
    within,
)
from bregman_nas.report.claims.resampling import RESAMPLES, resampled_means
from bregman_nas.report.data import Array, Run
from bregman_nas.report.frames import skip_names
from bregman_nas.report.stats import CONFIDENCE

# Of the input, the output receives nothing: not more than a twentieth, where an identity is 1.
SMALL_SKIP = 0.05
# "Nothing", where a skip that copies its layer is 1.
NEGLIGIBLE_SKIP = 0.02


def negative_share(tau: Array) -> Array:
    """The share of negative ones among the active skips that do not lead into the output, [seeds].

    0 if none is active: then none is negative.

    Args:
        tau: [seeds, L, L], NaN for i > l.
    """
    others = np.nan_to_num(tau[:, :-1])
    active = (others != 0).sum((1, 2))
    share: Array = (others < 0).sum((1, 2)) / np.maximum(active, 1)
    return share


def negative_share_of_the_mean(tau: Array) -> tuple[float, float, float]:
    """`negative_share` of the mean matrix, and its 95% percentile interval over resampled seeds."""
    share, tail = float(negative_share(tau.mean(0, keepdims=True))[0]), (1 - CONFIDENCE) / 2
    low, high = np.quantile(negative_share(resampled_means(tau)), [tail, 1 - tail])
    return share, float(low), float(high)


def counterdiagonal(layers: int) -> list[tuple[int, int]]:
    """The (l, i) that a U-Net would have: from x(i) to its mirror image x(L - i).

    With the input there are L + 1 layers, x(0) to x(L). The first is connected with the last, the
    second with the penultimate, and so on: l + 1 = L - i, thus l + i = L - 1, which is the
    counterdiagonal of the matrix of tau(l, i). For L = 6: (5, 0), (4, 1) and (3, 2); x(3) is in the
    middle, its own mirror image.
    """
    return [(l, i) for l, i in skip_names(layers) if l + i == layers - 1]


# The share of the counterdiagonal in the sum of |tau| if all skips are equal: 3 of 21.
EQUAL_SHARE = len(counterdiagonal(LAYERS)) / len(skip_names(LAYERS))


def counterdiagonal_share(tau: Array, of_nothing: float = 0.0) -> Array:
    """The share of the counterdiagonal in the sum of |tau|, [seeds].

    Args:
        tau: [seeds, L, L], NaN for i > l.
        of_nothing: the share in a network without any active skip.
    """
    sizes = np.nan_to_num(np.abs(tau))
    total = sizes.sum((1, 2))
    on = sum((sizes[:, l, i] for l, i in counterdiagonal(tau.shape[1])), np.zeros(len(tau)))
    return np.where(total > 0, on / np.where(total > 0, total, 1), of_nothing)


def _mean_of(pairs: list[tuple[int, int]], of: np.ufunc) -> Measure:
    return lambda run: np.mean([of(run.tau())[:, l, i] for l, i in pairs], 0)


@claim(
    8,
    "The output layer receives, on average, positive skips from the previous layers; for "
    "denoising from all but the input.",
    "Section 4.1, Figure 3",
    "mean over the seeds of the average of the six skips into the output; for denoising also "
    "of each of them",
    "the intervals of both averages and, for denoising, of the skips from layers 1 to 5 are "
    f"above 0, and that of the skip from the input is at most {SMALL_SKIP}",
    "one of these intervals lies entirely on the other side",
)
def _into_output(results: Results) -> Findings:
    return _skips_into_output(results, above(0), at_most(SMALL_SKIP))


def _skips_into_output(results: Results, positive: Rule, none: Rule) -> Findings:
    for task, run in results.tasks("residual"):
        name = f"{task}, mean of the skips into the output"
        yield mean(name, run, lambda r: r.tau()[:, -1].mean(1), positive)
        for i in range(LAYERS):
            rule = (positive if i else none) if task == "denoising" else None
            name = f"{task}, skip into the output from {f'layer {i}' if i else 'the input'}"
            yield mean(name, run, _mean_of([(LAYERS - 1, i)], np.positive), rule)


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
def _notably_into_output(results: Results) -> Findings:
    none = within(-NEGLIGIBLE_SKIP, NEGLIGIBLE_SKIP)
    return _skips_into_output(results, more_than_negligible(NEGLIGIBLE_SKIP), none)


@claim(
    9,
    "Most of the other skips are negative.",
    "Section 4.1, Figure 3",
    "share of negative ones among the active skips that do not lead into the output, mean "
    "over the seeds",
    "on both tasks the interval of the share of negative ones is above 1/2",
    "on one task it is nowhere above 1/2",
)
def _negative(results: Results) -> Findings:
    for task, run in results.tasks("residual"):
        active = f"{task}, among the active ones"
        yield mean(active, run, lambda r: negative_share(r.tau()), above(HALF), share=True)
        name = f"{task}, among active and inactive ones"
        yield mean(name, run, _negative_share_of_all, share=True)


def _negative_share_of_all(run: Run) -> Array:
    others = run.tau()[:, :-1]
    share: Array = (others < 0).sum((1, 2)) / (~np.isnan(others)).sum((1, 2))
    return share


@revise(
    9,
    why="The article shows the matrix of average skips; the registered rule counts in each seed.",
    statistic="share of negative entries among the active ones of the mean matrix of skips, "
    "without those that lead into the output; interval from "
    f"{RESAMPLES:,} bootstrap samples of the seeds",
    supported_if="on both tasks the interval of the share of negative ones is above 1/2",
    contradicted_if="on one task it is nowhere above 1/2",
)
def _negative_in_the_mean(results: Results) -> Findings:
    for task, run in results.tasks("residual"):
        name = f"{task}, among the active ones of the mean matrix"
        yield of_the_mean(name, run, _share_in_the_mean)


def _share_in_the_mean(run: Run) -> Finding:
    share, low, high = negative_share_of_the_mean(run.tau())
    return Finding("", share, low=low, high=high, verdict=above(HALF)(low, high))


@claim(
    10,
    "The skips do not form a U-Net, which would have most of them on the counterdiagonal.",
    "Section 4.1, Figure 3",
    "share in the sum of |tau(l, i)| of those that connect the first and the last layer, the "
    "second and the penultimate, and so on (l + i = 5), mean over the seeds; 1/7 if all are "
    "equal",
    "on both tasks the interval of the share of the counterdiagonal is nowhere above 1/2",
    "on one task it is above 1/2",
)
def _unet(results: Results) -> Findings:
    on = counterdiagonal(LAYERS)
    off = [pair for pair in skip_names(LAYERS) if pair not in on]
    for task, run in results.tasks("residual"):
        name = f"{task}, share of the counterdiagonal"
        yield mean(name, run, lambda r: counterdiagonal_share(r.tau()), at_most(HALF), share=True)
        for where, pairs in (("on", on), ("off", off)):
            name = f"{task}, mean |tau| {where} the counterdiagonal"
            yield mean(name, run, _mean_of(pairs, np.abs))


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
def _unet_against_equal_skips(results: Results) -> Findings:
    rule = at_most(EQUAL_SHARE)
    for task, run in results.tasks("residual"):
        name = f"{task}, share of the counterdiagonal"
        yield mean(name, run, lambda r: counterdiagonal_share(r.tau(), np.nan), rule, share=True)
