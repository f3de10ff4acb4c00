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
from tests.report.studies import DASH, MINUS


def test_summary_by_hand() -> None:
    # Mean 2, deviation 1; the 97.5% quantile of t with two degrees of freedom is 4.30265.
    found = summarize([1.0, 2.0, 3.0, math.nan, math.inf])
    assert (found.seeds, found.nan_seeds, found.used) == (5, 2, 3)
    assert (found.mean, found.std) == (2.0, 1.0)
    ends = 2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx(ends, rel=1e-5)
    assert summarize([0.1, 0.3], 10).mean == pytest.approx(2)
    assert summarize([2.0]).named() == {"mean": 2.0, "std": None, "low": None, "high": None}
    assert set(summarize([math.nan]).named("mse_").values()) == {None}


@pytest.mark.parametrize(("ours", "std"), [([1.0], 0.5), ([1.0, 1.0], 0.0), ([math.nan], 0.5)])
def test_of_a_seed_or_without_a_spread_there_is_no_test(ours: list[float], std: float) -> None:
    assert welch(summarize(ours), Reference(1.0, std, 10)) is None


def test_what_rounding_explains_is_no_difference() -> None:
    printed = Reference(0.005, 0.0, 10)
    inside = Summary(10, np.ones(10), 0.0053, 0.0003)
    assert welch_of_printed(inside, printed, 0.0005) == (0, 1)
    # Above it, the nearest mean is 0.0055 and the deviation at most 0.0005: squared standard
    # errors 1e-8 (ours) and 2.5e-8, t = 0.0002 / sqrt 3.5e-8. Below it is the same.
    above, below = (Summary(10, np.ones(10), x, math.sqrt(1e-7)) for x in (0.0057, 0.0043))
    assert welch(above, printed) < (math.inf, 0.001)  # type: ignore[operator]
    for ours, sign in ((above, 1), (below, -1)):
        test = welch_of_printed(ours, printed, 0.0005)
        assert test is not None
        assert test.t == pytest.approx(sign * 0.0002 / math.sqrt(3.5e-8))
        assert test.p > 0.1
    for values in ([math.nan], [0.004]):
        assert welch_of_printed(summarize(values), printed, 0.0005) is None


ONE_TO_FIVE = [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("sixth", "low", "high", "p"),
    [
        # All of n on one side: p = 2 / 2^n. How far the last one is, does not matter.
        (6.0, 0.5, 0.5, 2 / 64),
        (math.nan, 0.5, 0.5, 2 / 64),
        # Against 1.4: differences -0.4, 0.6, 1.6 and on, negative rank 1 alone: sums 0 and 1 are as
        # extreme, two of the 64 patterns on each side.
        (6.0, 0.0, 1.4, 4 / 64),
        (6.0, 3.0, 4.0, 1),  # the median of the pairwise averages is 3.5
    ],
)
def test_signed_ranks_by_hand(sixth: float, low: float, high: float, p: float) -> None:
    assert signed_rank([*ONE_TO_FIVE, sixth], low, high) == pytest.approx(p)


def test_holm_by_hand() -> None:
    # 0.01 < 0.05 / 4; 0.02 > 0.05 / 3, and what comes after it fails with it.
    assert holm({"a": 0.04, "b": 0.01, "c": 0.02, "d": 0.03}) == ["b"]
    assert holm({"a": 0.04, "b": 0.001, "c": 0.012, "d": 0.02}) == ["b", "c", "d", "a"]
    assert holm({}) == []


def test_numbers_as_they_are_printed() -> None:
    shown = [fixed(x, None) for x in (0.12345, -123.4, 1e-9, None)]
    assert shown == ["0.123", f"{MINUS}123", f"1e{MINUS}09", DASH]
    assert (mean_std(0.5, 0.25, 2), mean_std(0.5, None, 2)) == ("0.50 (0.25)", "0.50")
    assert mean_std(None, None, 2) == interval(None, None, 1) == span([], "{}") == DASH
    assert mean_std(-0.5, 0.25, 1, sign=True) == f"{MINUS}0.5 (0.2)"
    assert mean_std(-0.001, 0.25, 1, sign=True) == "+0.0 (0.2)"
    assert interval(-1, 2, 1, sign=True) == f"{MINUS}1.0 to +2.0"
    assert (span([0.1, 0.3], "{:.0%}"), span([0.1, 0.101], "{:.0%}")) == ("10% to 30%", "10%")
    assert (probability(0.5), probability(0.00001)) == ("0.5000", "< 0.0001")
