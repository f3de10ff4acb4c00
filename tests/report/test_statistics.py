import math

import numpy as np
import pytest

from bregman_nas.report.statistics import (
    Reference,
    Summary,
    signed_rank,
    summarize,
    welch,
    welch_of_printed,
)


def test_summary_of_a_small_array_by_hand() -> None:
    # Deviations -2, -1, 0, 1, 2: variance 10/4. 97.5% quantile of t, 4 degrees of freedom: 2.7764.
    summary = summarize([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (summary.seeds, summary.nan_seeds, summary.used) == (5, 0, 5)
    assert summary.mean == 3.0
    assert summary.std == pytest.approx(1.5811388)
    assert summary.low == pytest.approx(3 - 2.7764451 * 1.5811388 / math.sqrt(5))
    assert summary.high == pytest.approx(3 + 2.7764451 * 1.5811388 / math.sqrt(5))


def test_diverged_seeds_are_counted_and_left_out() -> None:
    summary = summarize([2.0, math.nan, 4.0, math.inf])
    assert (summary.seeds, summary.nan_seeds, summary.used) == (4, 2, 2)
    assert summary.mean == 3.0
    assert summary.std == pytest.approx(math.sqrt(2))


def test_spread_of_one_seed_is_undefined() -> None:
    assert summarize([2.5]) == Summary(1, 0, 2.5, None, None, None)
    assert summarize([2.5, math.nan]) == Summary(2, 1, 2.5, None, None, None)


def test_nothing_is_known_of_diverged_seeds_alone() -> None:
    assert summarize([math.nan, math.nan]) == Summary(2, 2, None, None, None, None)


def test_another_unit() -> None:
    scaled = Summary(3, 1, 1.0, 0.5, None, 2.0).scaled(10)
    assert scaled == Summary(3, 1, 10.0, 5.0, None, 20.0)


def test_welch_by_hand() -> None:
    # Squared standard errors 4/4 = 1 and 9/9 = 1, so t = (12 - 10) / sqrt 2 = 1.4142.
    # Degrees of freedom: 2^2 / (1/3 + 1/8) = 8.7273. Twice the upper tail there, by integrating
    # the density of Student's t on a grid: 0.1920.
    test = welch(Summary(4, 0, 12.0, 2.0, 0.0, 0.0), Reference(10.0, 3.0, 9))
    assert test is not None
    assert test.t == pytest.approx(math.sqrt(2))
    assert test.p == pytest.approx(_two_sided_tail(math.sqrt(2), 4 / (1 / 3 + 1 / 8)), rel=1e-4)


def test_welch_against_a_printed_deviation_of_zero_is_the_test_of_one_sample() -> None:
    # Standard error 0.2 / sqrt 4 = 0.1; with 3 degrees of freedom t = 3.1824 has p = 5%.
    test = welch(Summary(4, 0, 1.31824, 0.2, 0.0, 0.0), Reference(1.0, 0.0, 10))
    assert test is not None
    assert test.t == pytest.approx(3.1824)
    assert test.p == pytest.approx(0.05, abs=1e-5)


def test_welch_is_undefined_without_any_spread() -> None:
    assert welch(summarize([1.0]), Reference(1.0, 0.5, 10)) is None
    assert welch(summarize([1.0, 1.0]), Reference(1.0, 0.0, 10)) is None
    assert welch(summarize([math.nan]), Reference(1.0, 0.5, 10)) is None


def _two_sided_tail(t: float, freedom: float) -> float:
    scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)
    width = t / 20_000
    middles = (np.arange(20_000) + 0.5) * width
    density = scale * (1 + middles**2 / freedom) ** (-(freedom + 1) / 2)
    return 1 - 2 * width * float(density.sum())


def test_what_rounding_explains_is_no_difference() -> None:
    printed = Reference(0.005, 0.0, 10)
    inside = welch_of_printed(Summary(10, 0, 0.0053, 0.0003, 0.0, 0.0), printed, 0.0005)
    assert inside is not None
    assert (inside.t, inside.p) == (0, 1)
    # Above it, the nearest mean is 0.0055 and the deviation at most 0.0005: squared standard
    # errors 1e-8 (ours) and 2.5e-8, t = 0.0002 / sqrt 3.5e-8.
    ours = Summary(10, 0, 0.0057, math.sqrt(1e-7), 0.0, 0.0)
    above = welch_of_printed(ours, printed, 0.0005)
    taken_as_printed = welch(ours, printed)
    assert above is not None
    assert taken_as_printed is not None
    assert above.t == pytest.approx(0.0002 / math.sqrt(3.5e-8))
    assert above.p > 0.1 > 0.001 > taken_as_printed.p
    below = welch_of_printed(Summary(10, 0, 0.0043, math.sqrt(1e-7), 0.0, 0.0), printed, 0.0005)
    assert below is not None
    assert below.t == pytest.approx(-above.t)
    assert welch_of_printed(summarize([math.nan]), printed, 0.0005) is None
    assert welch_of_printed(summarize([0.004]), printed, 0.0005) is None


def test_signed_ranks_by_hand() -> None:
    # All of n on one side: p = 2 / 2^n. How far the last one is, does not matter.
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert signed_rank(values, 0.5, 0.5) == pytest.approx(2 / 64)
    assert signed_rank([*values[:5], 600.0], 0.5, 0.5) == pytest.approx(2 / 64)
    assert signed_rank([*values[:5], math.nan], 0.5, 0.5) == pytest.approx(2 / 64)
    assert signed_rank(values, 9.0, 10.0) == pytest.approx(2 / 64)  # against 9
    # Against 1.4: differences -0.4, 0.6, 1.6 and on, negative rank 1 alone: sums 0 and 1 are as
    # extreme, two of the 64 patterns on each side.
    assert signed_rank(values, 0.0, 1.4) == pytest.approx(4 / 64)
    # The median of the pairwise averages is 3.5.
    assert signed_rank(values, 3.0, 4.0) == 1
    assert signed_rank([], 0.0, 1.0) is None
