"""Claims 8 to 10, on the skips tau(l, i) of the residual autoencoders."""

from functools import partial

import numpy as np

from bregman_nas.report.claims.claim import HALF, Claim, Finding, above, at_most, mean
from bregman_nas.report.claims.results import LAYERS, Results, summary
from bregman_nas.report.read import TASKS, Array, Run, skip_names, skips

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


def _tau(run: Run, l: int, i: int) -> Array:
    return skips(run.converged)[:, l, i]


def _into_output(run: Run) -> Array:
    average: Array = skips(run.converged)[:, -1].mean(1)
    return average


def _negative_share(run: Run) -> Array:
    return negative_share(skips(run.converged))


def _negative_share_of_all(run: Run) -> Array:
    others = skips(run.converged)[:, :-1]
    share: Array = (others < 0).sum((1, 2)) / (~np.isnan(others)).sum((1, 2))
    return share


def _counterdiagonal_share(run: Run) -> Array:
    return counterdiagonal_share(skips(run.converged))


def _mean_size(run: Run, on: bool) -> Array:
    sizes = np.abs(skips(run.converged))
    chosen = [name for name in skip_names(LAYERS) if (name in counterdiagonal(LAYERS)) == on]
    average: Array = np.mean([sizes[:, l, i] for l, i in chosen], 0)
    return average


def _output(results: Results) -> list[Finding]:
    last = LAYERS - 1
    deciding, beside = [], []
    for task in TASKS:
        run = results.restoration("residual", task)
        name = f"{task}, mean of the skips into the output"
        deciding.append(mean(name, summary(run, _into_output), above(0)))
        for i in range(LAYERS):
            tau = summary(run, partial(_tau, l=last, i=i))
            name = f"{task}, skip into the output from {f'layer {i}' if i else 'the input'}"
            if task == "denoising":
                deciding.append(mean(name, tau, above(0) if i else at_most(NEGLIGIBLE_SKIP)))
            elif run is not None:
                beside.append(mean(name, tau))
    return [*deciding, *beside]


def _others(results: Results) -> list[Finding]:
    deciding, beside = [], []
    for task in TASKS:
        run = results.restoration("residual", task)
        name = f"{task}, among the active ones"
        deciding.append(mean(name, summary(run, _negative_share), above(HALF), share=True))
        if run is not None:
            share = summary(run, _negative_share_of_all)
            beside.append(mean(f"{task}, among active and inactive ones", share, share=True))
    return [*deciding, *beside]


def _unet(results: Results) -> list[Finding]:
    deciding, beside = [], []
    for task in TASKS:
        run = results.restoration("residual", task)
        share = summary(run, _counterdiagonal_share)
        name = f"{task}, share of the counterdiagonal"
        deciding.append(mean(name, share, at_most(HALF), share=True))
        if run is not None:
            for on, where in ((True, "on"), (False, "off")):
                name = f"{task}, mean |tau| {where} the counterdiagonal"
                beside.append(mean(name, summary(run, partial(_mean_size, on=on))))
    return [*deciding, *beside]


_PLACE = "Section 4.1, Figure 3"

CLAIMS = [
    Claim(
        8,
        "The output layer receives, on average, positive skips from the previous layers; for "
        "denoising from all but the input.",
        _PLACE,
        "mean over the seeds of the average of the six skips into the output; for denoising also "
        "of each of them",
        "the intervals of both averages and, for denoising, of the skips from layers 1 to 5 are "
        f"above 0, and that of the skip from the input is at most {NEGLIGIBLE_SKIP}",
        "one of these intervals lies entirely on the other side",
        _output,
    ),
    Claim(
        9,
        "Most of the other skips are negative.",
        _PLACE,
        "share of negative ones among the active skips that do not lead into the output, mean "
        "over the seeds",
        "on both tasks the interval of the share of negative ones is above 1/2",
        "on one task it is nowhere above 1/2",
        _others,
    ),
    Claim(
        10,
        "The skips do not form a U-Net, which would have most of them on the counterdiagonal.",
        _PLACE,
        "share in the sum of |tau(l, i)| of those that connect the first and the last layer, the "
        "second and the penultimate, and so on (l + i = 5), mean over the seeds; 1/7 if all are "
        "equal",
        "on both tasks the interval of the share of the counterdiagonal is nowhere above 1/2",
        "on one task it is above 1/2",
        _unet,
    ),
]
