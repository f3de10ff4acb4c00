import math

import numpy as np
import pytest

from bregman_nas.report.stats import (
    Reference,
    Summary,
    holm,
    signed_rank,
    summarize,
    welch,
    welch_of_printed,
)
from bregman_nas.report.text import fixed, interval, mean_std, probability, span

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def test_summary_by_hand() -> None:
    # Mean 2, deviation 1; the 97.5% quantile of t with two degrees of freedom is 4.30265.
    found = summarize([1.0, 2.0, 3.0, math.nan, math.inf])
    assert (found.seeds, found.nan_seeds, found.used) == (5, 2, 3)
    assert (found.mean, found.std) == (2.0, 1.0)
    assert found.low == pytest.approx(2 - 4.30265 / math.sqrt(3), rel=1e-5)
    assert found.high == pytest.approx(2 + 4.30265 / math.sqrt(3), rel=1e-5)
    assert summarize([0.1, 0.3], 10).mean == pytest.approx(2)


def test_few_seeds_have_no_spread() -> None:
    assert summarize([2.0]).named() == {"mean": 2.0, "std": None, "low": None, "high": None}
    assert set(summarize([math.nan]).named("mse").values()) == {None}


def test_welch_by_hand() -> None:
    # Squared standard errors 4/4 = 1 and 9/9 = 1, so t = (12 - 10) / sqrt 2 = 1.4142.
    # Degrees of freedom: 2^2 / (1/3 + 1/8) = 8.7273. Twice the upper tail there, by integrating
    # the density of Student's t on a grid: 0.1920.
    ours = summarize(12 + 2 * np.array([-1, -1, 1, 1]) * math.sqrt(3 / 4))
    test = welch(ours, Reference(10.0, 3.0, 9))
    assert test is not None
    assert test.t == pytest.approx(math.sqrt(2))
    assert test.p == pytest.approx(0.1920, abs=1e-4)


def test_welch_against_a_printed_deviation_of_zero_is_the_test_of_one_sample() -> None:
    # Standard error 0.2 / sqrt 4 = 0.1; with 3 degrees of freedom t = 3.1824 has p = 5%.
    ours = summarize(1.31824 + 0.2 * np.array([-1, -1, 1, 1]) * math.sqrt(3 / 4))
    test = welch(ours, Reference(1.0, 0.0, 10))
    assert test is not None
    assert test.t == pytest.approx(3.1824)
    assert test.p == pytest.approx(0.05, abs=1e-5)


def test_welch_is_undefined_without_any_spread() -> None:
    assert welch(summarize([1.0]), Reference(1.0, 0.5, 10)) is None
    assert welch(summarize([1.0, 1.0]), Reference(1.0, 0.0, 10)) is None
    assert welch(summarize([math.nan]), Reference(1.0, 0.5, 10)) is None


def test_what_rounding_explains_is_no_difference() -> None:
    printed = Reference(0.005, 0.0, 10)
    inside = welch_of_printed(Summary(10, np.ones(10), 0.0053, 0.0003), printed, 0.0005)
    assert inside is not None
    assert (inside.t, inside.p) == (0, 1)
    # Above it, the nearest mean is 0.0055 and the deviation at most 0.0005: squared standard
    # errors 1e-8 (ours) and 2.5e-8, t = 0.0002 / sqrt 3.5e-8.
    ours = Summary(10, np.ones(10), 0.0057, math.sqrt(1e-7))
    above = welch_of_printed(ours, printed, 0.0005)
    taken_as_printed = welch(ours, printed)
    assert above is not None
    assert taken_as_printed is not None
    assert above.t == pytest.approx(0.0002 / math.sqrt(3.5e-8))
    assert above.p > 0.1 > 0.001 > taken_as_printed.p
    below = welch_of_printed(Summary(10, np.ones(10), 0.0043, math.sqrt(1e-7)), printed, 0.0005)
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


def test_holm_by_hand() -> None:
    # 0.01 < 0.05 / 4; 0.02 > 0.05 / 3, and what comes after it fails with it.
    assert holm([0.04, 0.01, 0.02, 0.03]) == 1
    assert holm([0.04, 0.001, 0.012, 0.02]) == 4
    assert holm([]) == 0


def test_numbers_as_they_are_printed() -> None:
    assert [fixed(x, None) for x in (0.12345, -123.4, 1e-9, None)] == [
        "0.123",
        f"{MINUS}123",
        f"1e{MINUS}09",
        DASH,
    ]
    assert mean_std(0.5, 0.25, 2) == "0.50 (0.25)"
    assert mean_std(0.5, None, 2) == "0.50"
    assert mean_std(None, None, 2) == DASH
    assert mean_std(-0.5, 0.25, 1, sign=True) == f"{MINUS}0.5 (0.2)"
    assert mean_std(-0.001, 0.25, 1, sign=True) == "+0.0 (0.2)"
    assert interval(-1, 2, 1, sign=True) == f"{MINUS}1.0 to +2.0"
    assert interval(None, None, 1) == DASH
    assert (span([0.1, 0.3], "{:.0%}"), span([0.1, 0.101], "{:.0%}")) == ("10% to 30%", "10%")
    assert span([], "{}") == DASH
    assert (probability(0.5), probability(0.00001)) == ("0.5000", "< 0.0001")
