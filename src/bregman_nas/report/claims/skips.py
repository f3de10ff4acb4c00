"""Claims 8 to 10, on the skips tau(l, i) of the residual autoencoders."""

import numpy as np

from bregman_nas.report.claims.claim import (
    HALF,
    LAYERS,
    Claim,
    Findings,
    Measure,
    Results,
    above,
    at_most,
    claim,
    mean,
)
from bregman_nas.report.data import Array, Run
from bregman_nas.report.frames import skip_names

CLAIMS: list[Claim] = []

# Of the input, the output receives nothing: not more than a twentieth, where an identity is 1.
NEGLIGIBLE_SKIP = 0.05


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


def counterdiagonal(layers: int) -> list[tuple[int, int]]:
    """The (l, i) that a U-Net would have: from x(i) to its mirror image x(L - i).

    With the input there are L + 1 layers, x(0) to x(L). The first is connected with the last, the
    second with the penultimate, and so on: l + 1 = L - i, thus l + i = L - 1, which is the
    counterdiagonal of the matrix of tau(l, i). For L = 6: (5, 0), (4, 1) and (3, 2); x(3) is in the
    middle, its own mirror image.
    """
    return [(l, i) for l, i in skip_names(layers) if l + i == layers - 1]


def counterdiagonal_share(tau: Array) -> Array:
    """The share of the counterdiagonal in the sum of |tau|, [seeds]; 0 if no skip is active.

    Args:
        tau: [seeds, L, L], NaN for i > l.
    """
    sizes = np.nan_to_num(np.abs(tau))
    total = sizes.sum((1, 2))
    on = sum((sizes[:, l, i] for l, i in counterdiagonal(tau.shape[1])), np.zeros(len(tau)))
    share: Array = on / np.where(total > 0, total, 1)
    return share


@claim(
    CLAIMS,
    8,
    "The output layer receives, on average, positive skips from the previous layers; for "
    "denoising from all but the input.",
    "Section 4.1, Figure 3",
    "mean over the seeds of the average of the six skips into the output; for denoising also "
    "of each of them",
    "the intervals of both averages and, for denoising, of the skips from layers 1 to 5 are "
    f"above 0, and that of the skip from the input is at most {NEGLIGIBLE_SKIP}",
    "one of these intervals lies entirely on the other side",
)
def _output(results: Results) -> Findings:
    for task, run in results.tasks("residual"):
        name = f"{task}, mean of the skips into the output"
        yield mean(name, run, lambda r: r.tau()[:, -1].mean(1), above(0))
        for i in range(LAYERS):
            rule = above(0) if i else at_most(NEGLIGIBLE_SKIP)
            yield mean(
                f"{task}, skip into the output from {f'layer {i}' if i else 'the input'}",
                run,
                _mean_of([(LAYERS - 1, i)], np.positive),
                rule if task == "denoising" else None,
            )


@claim(
    CLAIMS,
    9,
    "Most of the other skips are negative.",
    "Section 4.1, Figure 3",
    "share of negative ones among the active skips that do not lead into the output, mean "
    "over the seeds",
    "on both tasks the interval of the share of negative ones is above 1/2",
    "on one task it is nowhere above 1/2",
)
def _others(results: Results) -> Findings:
    for task, run in results.tasks("residual"):
        active = f"{task}, among the active ones"
        yield mean(active, run, lambda r: negative_share(r.tau()), above(HALF), share=True)
        name = f"{task}, among active and inactive ones"
        yield mean(name, run, _negative_share_of_all, share=True)


def _negative_share_of_all(run: Run) -> Array:
    others = run.tau()[:, :-1]
    share: Array = (others < 0).sum((1, 2)) / (~np.isnan(others)).sum((1, 2))
    return share


@claim(
    CLAIMS,
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
            yield mean(
                f"{task}, mean |tau| {where} the counterdiagonal", run, _mean_of(pairs, np.abs)
            )


def _mean_of(pairs: list[tuple[int, int]], of: np.ufunc) -> Measure:
    return lambda run: np.mean([of(run.tau())[:, l, i] for l, i in pairs], 0)
