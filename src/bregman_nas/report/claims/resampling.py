"""The numbers that the revised rules decide by, from plain arrays."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bregman_nas.report.claims.claim import LAYERS
from bregman_nas.report.claims.skips import counterdiagonal, counterdiagonal_share, negative_share
from bregman_nas.report.claims.widths import has_autoencoder_shape
from bregman_nas.report.data import Array, Flags
from bregman_nas.report.frames import skip_names
from bregman_nas.report.stats import CONFIDENCE

RESAMPLES = 10_000
# The same resamples in each run of the report.
GENERATOR_SEED = 0
# The share of the counterdiagonal in the sum of |tau| if all skips are equal: 3 of 21.
EQUAL_SHARE = len(counterdiagonal(LAYERS)) / len(skip_names(LAYERS))


def resampled_means(values: Array) -> Array:
    """The means of bootstrap samples of the seeds, [RESAMPLES, ...].

    Args:
        values: [seeds, ...]; each sample draws as many seeds, with replacement.
    """
    seeds = len(values)
    drawn = np.random.default_rng(GENERATOR_SEED).integers(seeds, size=(RESAMPLES, seeds))
    means: Array = values[drawn].mean(1)
    return means


def share_with_shape(widths: Array) -> float:
    """The share of the resampled mean profiles that have the shape of an autoencoder.

    Args:
        widths: [seeds, L], of layer 1 to the output.
    """
    return float(np.mean([has_autoencoder_shape(profile) for profile in resampled_means(widths)]))


def negative_share_of_the_mean(tau: Array) -> tuple[float, float, float]:
    """The share of negative entries among the active ones of the mean matrix, with its interval.

    Entries that lead into the output do not count. 0 if no other entry is active.

    Args:
        tau: [seeds, L, L], NaN for i > l.

    Returns:
        The share, and the ends of its 95% percentile interval over resampled seeds.
    """
    share = float(negative_share(tau.mean(0, keepdims=True))[0])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(negative_share(resampled_means(tau)), [tail, 1 - tail])
    return share, float(low), float(high)


def counterdiagonal_share_of_active(tau: Array) -> Array:
    """`counterdiagonal_share`, [seeds], but NaN for a network without any skip, which has none.

    Args:
        tau: [seeds, L, L], NaN for i > l.
    """
    active = (np.nan_to_num(tau) != 0).any((1, 2))
    return np.where(active, counterdiagonal_share(tau), np.nan)


def areas_under_the_curve(active: Flags, frequency: Array) -> Array:
    """How well the frequency of a pixel predicts that its output row is active, [seeds].

    The area under the ROC curve: the share of the pairs of an active and an inactive row in which
    the active one has the more frequent pixel, ties by half. NaN where all rows are active or none.

    Args:
        active: [seeds, pixels].
        frequency: [pixels], the share of the training images in which the pixel is not zero.
    """
    ranks = stats.rankdata(frequency)
    number, inactive = active.sum(1), (~active).sum(1)
    wins = (active * ranks).sum(1) - number * (number + 1) / 2
    pairs = number * inactive
    return np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan)


def agreement(active: Flags, inked: NDArray[np.bool_]) -> tuple[Array, Array]:
    """How far the active output rows are the pixels that are ever inked, [seeds] each.

    Args:
        active: [seeds, pixels].
        inked: [pixels], whether a pixel is not zero in any training image.

    Returns:
        The share of the pixels on which the two agree, and Jaccard's index: the pixels in both
        sets / those in one of them at least (0 if there are none).
    """
    both, either = (active & inked).sum(1), (active | inked).sum(1)
    return (active == inked).mean(1), both / np.maximum(either, 1)
