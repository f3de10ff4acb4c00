"""Bootstrap over the seeds, and how well one set of pixels predicts another."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bregman_nas.report.data import Array, Flags

RESAMPLES = 10_000
# The same resamples in each run of the report.
GENERATOR_SEED = 0


def resampled_means(values: Array) -> Array:
    """The means of bootstrap samples of the seeds, [RESAMPLES, ...].

    Args:
        values: [seeds, ...]; each sample draws as many seeds, with replacement.
    """
    seeds = len(values)
    drawn = np.random.default_rng(GENERATOR_SEED).integers(seeds, size=(RESAMPLES, seeds))
    means: Array = values[drawn].mean(1)
    return means


def areas_under_the_curve(active: Flags, frequency: Array) -> Array:
    """How well the frequency of a pixel predicts that its output row is active, [seeds].

    The area under the ROC curve: the share of the pairs of an active and an inactive row in which
    the active one has the more frequent pixel, ties by half. NaN where all rows are active or none.

    Args:
        active: [seeds, pixels].
        frequency: [pixels], the share of the training images in which the pixel is not zero.
    """
    number, inactive = active.sum(1), (~active).sum(1)
    wins = (active * stats.rankdata(frequency)).sum(1) - number * (number + 1) / 2
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
