import math

import numpy as np
import pytest

from bregman_nas.report.claims.claim import Verdict
from bregman_nas.report.claims.revised import numbers
from bregman_nas.report.claims.revised.revision import more_than_negligible, surely

SUPPORTED, CONTRADICTED = Verdict.SUPPORTED, Verdict.CONTRADICTED
UNDECIDED = Verdict.UNDECIDED
NAN = math.nan


def lower(tau: np.ndarray) -> np.ndarray:
    """NaN above the diagonal, where there is no skip."""
    tau[:, *np.triu_indices(tau.shape[1], 1)] = NAN
    return tau


def test_more_than_negligible_at_its_thresholds() -> None:
    rule = more_than_negligible(8)
    cases = [
        ((9, 20), SUPPORTED),
        ((0.1, 8.1), SUPPORTED),  # not wholly negligible
        ((0.1, 8), CONTRADICTED),  # above 0, and negligible
        ((-8, 8), CONTRADICTED),  # no difference
        ((-20, 5), CONTRADICTED),  # whatever it is, not wider by more than 8
        ((-20, -9), CONTRADICTED),
        ((0, 0), CONTRADICTED),
        ((0, 20), UNDECIDED),
        ((-8, 8.1), UNDECIDED),
    ]
    for interval, expected in cases:
        assert rule(*interval) is expected


def test_a_mean_surely_has_a_property_if_nearly_all_resampled_means_have_it() -> None:
    assert surely(True, 0.975) is SUPPORTED
    assert surely(True, 0.974) is UNDECIDED
    assert surely(False, 0.5) is UNDECIDED
    assert surely(False, 0.026) is UNDECIDED
    assert surely(False, 0.025) is CONTRADICTED
    assert surely(False, 1.0) is UNDECIDED  # the mean decides nothing against its resamples
    assert surely(True, 0.0) is UNDECIDED


def test_resampled_means_by_the_binomial_distribution() -> None:
    # Of two seeds 0 and 1: means 0, 1/2 and 1 with probabilities 1/4, 1/2 and 1/4.
    means = numbers.resampled_means(np.array([[0.0, NAN], [1.0, NAN]]))
    assert means.shape == (numbers.RESAMPLES, 2)
    values, counts = np.unique(means[:, 0], return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert counts / numbers.RESAMPLES == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    assert np.isnan(means[:, 1]).all()


def test_the_shape_is_that_of_the_mean_profile() -> None:
    # Each seed alone has a step of 100 in the wrong direction; their mean has none.
    one = [400.0, 200, 300, 200, 300, 500]
    other = [400.0, 300, 200, 300, 200, 500]
    widths = np.array([one, other] * 10)
    assert numbers.share_with_shape(widths[:1]) == 0
    # The mean of layers 2 to 5 is 250 -+ 50 (2 k / 20 - 1) for k of one kind, and two neighbours
    # differ by 100 |2 k / 20 - 1|, at most 39 for 7 <= k <= 13: of 2^20, 1 - 2 * 60460 do.
    assert numbers.share_with_shape(widths) == pytest.approx(1 - 2 * 60460 / 2**20, abs=0.02)


def test_the_negative_share_of_the_mean_matrix_by_hand() -> None:
    # (0, 0): -1 and 0.5, mean -0.25. (1, 0): 1 and -0.5, mean 0.25. (1, 1): -1 and 0, mean -0.5.
    # Row 2 leads into the output.
    tau = np.zeros((2, 3, 3))
    tau[:, 0, 0], tau[:, 1, 0], tau[:, 1, 1] = [-1, 0.5], [1, -0.5], [-1, 0]
    tau[:, 2] = -1
    share, low, high = numbers.negative_share_of_the_mean(lower(tau))
    assert share == pytest.approx(2 / 3)
    # Resamples: seed 0 twice 2/3, both 2/3, seed 1 twice one of its two active ones.
    assert [low, high] == pytest.approx([1 / 2, 2 / 3])
    # A matrix with none but those into the output.
    tau[:, :2] = 0
    assert numbers.negative_share_of_the_mean(lower(tau)) == (0, 0, 0)


def test_equal_skips_have_a_seventh_on_the_counterdiagonal() -> None:
    assert pytest.approx(1 / 7) == numbers.EQUAL_SHARE
    shares = numbers.counterdiagonal_share_of_active(
        lower(np.array([1.0, -2.0, 0.0])[:, None, None] * np.ones((3, 6, 6)))
    )
    assert shares[:2] == pytest.approx([numbers.EQUAL_SHARE] * 2)
    assert np.isnan(shares[2])  # a network without skips


def test_the_first_epoch_does_not_count_among_the_additions() -> None:
    on, off = np.zeros((2, 3, 2)), np.zeros((2, 3, 2))
    on[0, 0] = 500
    on[0, 1], on[0, 2] = [4, 1], [0, 1]
    off[0, 2] = [2, 0]
    assert numbers.share_of_late_additions(on, off).tolist() == [6 / 8, 1 / 2]


def test_the_area_under_the_curve_counts_pairs() -> None:
    frequency = np.array([0.1, 0.2, 0.2, 0.4])
    active = np.array(
        [
            [False, False, True, True],  # 3.5 of the pairs (3, 1) (3, 2) (4, 1) (4, 2): a tie
            [True, False, False, False],  # 0 of 3
            [False, False, False, True],  # 3 of 3
            [True] * 4,
            [False] * 4,
        ]
    )
    areas = numbers.areas_under_the_curve(active, frequency)
    assert areas[:3].tolist() == [3.5 / 4, 0, 1]
    assert np.isnan(areas[3:]).all()


def test_agreement_of_rows_and_pixels_by_hand() -> None:
    active = numbers.output_map([[0, 783], []])
    assert active.shape == (2, 784)
    assert np.flatnonzero(active[0]).tolist() == [0, 783]
    inked = np.zeros(784, dtype=bool)
    inked[[0, 1, 2]] = True  # one in both, four in one of them: 781 of 784 agree
    same, jaccard = numbers.agreement(active, inked)
    assert same.tolist() == [781 / 784, 781 / 784]
    assert jaccard.tolist() == [1 / 4, 0]
    assert numbers.agreement(active[1:], inked & False)[1].tolist() == [0]
