"""The rule that compares two kinds of networks: by hand, against scipy's tests, at its edges."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bregman_nas.report.comparison import MARGIN, compare


def found_against_uniform(ratios: Sequence[float]) -> dict[str, Any]:
    """Errors of found: 0.01 times the ratios; of uniform: 0.01."""
    found = {seed: 0.01 * ratio for seed, ratio in enumerate(ratios)}
    uniform = dict.fromkeys(range(len(ratios)), 0.01)
    return compare("found", found, "uniform", uniform)


def test_by_hand() -> None:
    """d = -0.3, -0.1: mean -0.2, standard error 0.1; t is 12.706 at 95%."""
    result = found_against_uniform([math.exp(-0.3), math.exp(-0.1)])
    assert result["pairs"] == 2
    logarithms = [math.log(result[name]) for name in ("ratio", "low", "high")]
    assert logarithms == pytest.approx([-0.2, -0.2 - 1.2706, -0.2 + 1.2706], abs=1e-4)


@pytest.mark.parametrize(
    ("ratios", "verdict", "differs"),
    [
        ([0.80, 0.82, 0.81], "found better", True),
        ([1.20, 1.22, 1.21], "uniform better", True),
        ([0.60, 1.00, 1.50], "undecided", False),
        ([0.99, 1.00, 1.01], "equivalent", False),
        ([0.98, 0.98, 0.98], "equivalent", True),  # certain, and smaller than 5%
        ([0.94, 0.95, 0.96], "found better", True),  # certain, perhaps smaller than 5%
        ([1.00, 1.00, 1.00], "equivalent", False),
        ([0.80], "undecided", False),
        ([], "undecided", False),
    ],
)
def test_verdicts(ratios: list[float], verdict: str, differs: bool) -> None:
    result = found_against_uniform(ratios)
    assert (result["verdict"], result["differs"]) == (verdict, differs)


def test_the_rule_is_scipys_t_test_and_two_one_sided_tests() -> None:
    numbers = np.random.default_rng(1)
    verdicts = set()
    for _ in range(300):
        d = numbers.normal(numbers.uniform(-0.1, 0.1), numbers.uniform(0.01, 0.1), 10)
        result = found_against_uniform(np.exp(d).tolist())
        above = stats.ttest_1samp(d, -MARGIN, alternative="greater").pvalue < 0.05
        below = stats.ttest_1samp(d, MARGIN, alternative="less").pvalue < 0.05
        assert result["p"] == pytest.approx(stats.ttest_1samp(d, 0).pvalue)
        assert result["differs"] == (stats.ttest_1samp(d, 0).pvalue < 0.05)
        assert (result["verdict"] == "equivalent") == (above and below)
        verdicts.add(result["verdict"])
    assert verdicts == {"equivalent", "found better", "uniform better", "undecided"}


def test_pairs_that_are_not_finite_or_lack_a_partner_do_not_enter() -> None:
    found = {0: 0.01, 1: 0.11, 2: math.nan, 3: 0.01, 7: 0.5}
    result = compare("found", found, "uniform", {0: 0.01, 1: 0.01, 2: 0.11, 3: math.inf})
    assert result["pairs"] == 2
    assert result["words"].endswith("; 2 pairs diverged")
    assert result["ratio"] == pytest.approx(math.sqrt(11))


def test_an_error_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"domain|positive"):
        found_against_uniform([0.0])
