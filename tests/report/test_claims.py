"""The claims: each rule by hand-made seeds, registered and revised, and the tables of them."""

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bregman_nas.report.claims import (
    CLAIMS,
    COLLAPSED_MARK,
    REVISED,
    claim,
    decide,
    decide_revised,
    densenet,
    interventions,
    resampling,
    skips,
    training,
    widths,
)
from bregman_nas.report.claims.claim import (
    Finding,
    Results,
    Rule,
    Verdict,
    above,
    at_least,
    at_most,
    difference,
    more_than_negligible,
    share_finding,
    surely,
    verdict_of,
    within,
)
from bregman_nas.report.data import DENSENET, NETWORKS, PROTOCOLS, TASKS, Pixels, Run, Study
from bregman_nas.report.stats import summarize
from bregman_nas.report.tables import render_all

SUPPORTED, CONTRADICTED = Verdict.SUPPORTED, Verdict.CONTRADICTED
UNDECIDED, NOT_RUN = Verdict.UNDECIDED, Verdict.NOT_RUN
LAYERS = 6
NAN = math.nan
Widths = Sequence[float]
Seeds = list[dict[str, Any]]
Tau = Mapping[tuple[int, int], float | Sequence[float]]
Runs = Mapping[str, Any]
MakeRun = Callable[..., Run]
MakeStudy = Callable[..., Study]
Find = Callable[..., list[Finding]]
Judge = Callable[..., Verdict | None]
Named = Callable[..., Finding]

SHAPE: Widths = [400, 300, 200, 300, 400, 500]
FLAT: Widths = [500] * LAYERS
RISING: Widths = [100, 200, 300, 400, 500, 600]
COUNTS = {"nonzero_in_one_per_thousand": 588, "nonzero_in_one_per_hundred": 392}
PIXELS = Pixels(nonzero_share=0.2, ever_nonzero=783, **COUNTS)


def run(
    of_seeds: Sequence[Widths],
    losses: Sequence[float] | None = None,
    tau: Tau | None = None,
    living: Sequence[Widths] | None = None,
    first_seed: int = 0,
) -> Seeds:
    """The seeds of a restoration run with these widths; skips that are not named are 0."""
    return [
        {
            "seed": first_seed + k,
            "active": layers,
            "living": layers if living is None else living[k],
            "mse": 0.01 if losses is None else losses[k],
            "tau": {at: v[k] if isinstance(v, Sequence) else v for at, v in (tau or {}).items()},
            "baselines": {"zero": 0.1},
        }
        for k, layers in enumerate(of_seeds)
    ]


def with_diverged(good: int, bad: int, diverged: int, shape: Widths = SHAPE) -> Seeds:
    losses = [0.01] * (good + bad) + [NAN] * diverged
    return run([shape] * good + [FLAT] * bad + [shape] * diverged, losses)


def outputs(*of_seeds: float) -> Seeds:
    return run([[*SHAPE[:5], output] for output in of_seeds])


def with_skips(tau: Tau, seeds: int = 3) -> Seeds:
    return run([SHAPE] * seeds, tau=tau)


def both(network: str, one: Seeds, other: Seeds | None = None) -> Runs:
    """Of a network: for denoising, and for deblurring."""
    return {f"{network}-denoising": one, f"{network}-deblurring": other or one}


def all_four(seeds: Any) -> Runs:
    return {f"{network}-{task}": seeds for network in NETWORKS for task in TASKS}


def dense(of_seeds: Sequence[Any], collapsed: int = 0, diverged: int = 0) -> Runs:
    """A DenseNet of kernel norms; then so many that collapsed, all zero, and that diverged."""
    zero = [[[0]], [[0]], [[0, 0]], [[0, 0, 0]]]
    living = [{"norms": norms, "accuracy": 0.8} for norms in of_seeds]
    lost = {"norms": of_seeds[0] if of_seeds else zero, "loss": NAN}
    return {
        DENSENET: [*living, *[{"norms": zero, "accuracy": 0.1}] * collapsed, *[lost] * diverged]
    }


@pytest.fixture
def find(make_study: MakeStudy) -> Find:
    """The findings of a claim on runs of `paper`, by the registered or the revised rule."""

    def of(
        number: int,
        runs: Runs,
        revised: bool = False,
        pixels: Pixels | None = PIXELS,
        kept: Mapping[str, Run] | None = None,
    ) -> list[Finding]:
        made = {f"paper-{name}": seeds for name, seeds in runs.items()}
        study = make_study(made, pixels=pixels, frequencies=np.arange(784) / 784)
        rules = REVISED if revised else CLAIMS
        return rules[number - 1].findings(Results(study, "paper", kept or {}))

    return of


@pytest.fixture
def verdict(find: Find) -> Judge:
    def of(*asked: Any, **more: Any) -> Verdict | None:
        found = [one for one in find(*asked, **more) if one.verdict is not None]
        return verdict_of(found) if found else None

    return of


@pytest.fixture
def finding(find: Find) -> Named:
    def of(number: int, runs: Runs, name: str, **more: Any) -> Finding:
        (found,) = (found for found in find(number, runs, **more) if found.name == name)
        return found

    return of


# From intervals to verdicts.


@pytest.mark.parametrize(
    ("rule", "interval", "expected"),
    [
        (above(1), (1.1, 2), SUPPORTED),
        (above(1), (1, 2), UNDECIDED),
        (above(1), (0, 1), CONTRADICTED),  # "more than 1" is wrong of 1 too
        (at_most(1), (0, 1), SUPPORTED),
        (at_most(1), (1, 2), UNDECIDED),
        (at_most(1), (1.1, 2), CONTRADICTED),
        (within(1, 2), (1, 2), SUPPORTED),
        (within(1, 2), (0.9, 1.5), UNDECIDED),
        (within(1, 2), (0, 3), UNDECIDED),
        (within(1, 2), (2.1, 3), CONTRADICTED),
        (within(1, 2), (0, 0.9), CONTRADICTED),
        (at_least(0.99, 0.9), (0.99, 1), SUPPORTED),
        (at_least(0.99, 0.9), (0.9, 0.9), UNDECIDED),
        (at_least(0.99, 0.9), (0.8, 0.89), CONTRADICTED),
        (more_than_negligible(8), (0.1, 8.1), SUPPORTED),  # not wholly negligible
        (more_than_negligible(8), (0.1, 8), CONTRADICTED),  # above 0, and negligible
        (more_than_negligible(8), (-8, 8), CONTRADICTED),  # no difference
        (more_than_negligible(8), (-20, -9), CONTRADICTED),
        (more_than_negligible(8), (0, 20), UNDECIDED),
    ],
)
def test_rules_at_their_thresholds(
    rule: Rule, interval: tuple[float, float], expected: Verdict
) -> None:
    assert rule(*interval) is expected


def test_a_mean_surely_has_a_property_if_nearly_all_resampled_means_have_it() -> None:
    assert surely(True, 0.975) is SUPPORTED
    assert surely(True, 0.974) is UNDECIDED
    assert surely(False, 0.026) is UNDECIDED
    assert surely(False, 0.025) is CONTRADICTED
    assert surely(False, 1.0) is UNDECIDED  # the mean decides nothing against its resamples


def test_a_claim_is_as_good_as_the_worst_of_its_findings() -> None:
    def of(*verdicts: Verdict) -> Verdict:
        return verdict_of([Finding("", verdict=v) for v in verdicts])

    assert of(SUPPORTED, SUPPORTED) is SUPPORTED
    assert of(SUPPORTED, UNDECIDED) is UNDECIDED
    assert of(UNDECIDED, NOT_RUN) is NOT_RUN
    assert of(NOT_RUN, CONTRADICTED) is CONTRADICTED


POSITIVE = above(0)


def mean_of(values: Sequence[float], rule: Rule | None = POSITIVE, **more: Any) -> Finding:
    found = claim.mean_of("", summarize(values), rule, **more)
    assert found is not None
    return found


def test_a_mean_needs_three_seeds_and_few_diverged_ones() -> None:
    assert mean_of([1.0] * 3).verdict is SUPPORTED
    for few in ([1.0, 1.0], [], [NAN] * 3):
        assert mean_of(few).verdict is UNDECIDED
    # 1 of 5 is a fifth, 1 of 4 is more.
    assert mean_of([1.0] * 4 + [NAN]).verdict is SUPPORTED
    assert mean_of([1.0] * 3 + [NAN]).verdict is UNDECIDED
    assert claim.mean_of("", None, above(0)) == Finding("", seeds=0, verdict=NOT_RUN)
    assert mean_of([1.0] * 3, None).verdict is None


def test_intervals_by_hand() -> None:
    # Standard error 1 / sqrt 3; 97.5% quantile of t, 2 degrees of freedom: 4.30265. 2 - 2.484 < 0.
    found = mean_of([1.0, 2.0, 3.0])
    assert found.low == pytest.approx(2 - 4.30265 / math.sqrt(3), rel=1e-5)
    assert (found.value, found.std, found.seeds, found.verdict) == (2.0, 1.0, 3, UNDECIDED)
    # Of a share, what lies above 1 is seen by the rule and not told.
    share = mean_of([0.8, 0.9, 1.0], within(0, 1), share=True)
    assert share.low == pytest.approx(0.9 - 4.30265 * 0.1 / math.sqrt(3), rel=1e-5)
    assert (share.high, share.verdict) == (1, UNDECIDED)
    # If all of n agree, the lower end is 0.025 ** (1 / n): 0.4782 for 5 and 0.5407 for 6.
    assert share_finding("", 5, 5).verdict is UNDECIDED
    six = share_finding("", 6, 6)
    assert six.low == pytest.approx(0.025 ** (1 / 6))
    assert (six.value, six.high, six.seeds, six.verdict) == (1.0, 1.0, 6, SUPPORTED)
    assert share_finding("", 0, 6).verdict is CONTRADICTED
    # 8 of 10 (0.444 to 0.975) and 9 of 10 (0.555 to 0.997).
    assert share_finding("", 8, 10, 2).verdict is UNDECIDED
    assert share_finding("", 9, 10, 1).verdict is SUPPORTED


def test_a_difference_by_hand() -> None:
    # Variances 1 and 1, squared standard errors 1/3 each: as Student's, with 4 degrees of freedom.
    found = difference("", summarize([4.0, 5.0, 6.0]), summarize([1.0, 2.0, 3.0]), above(0))
    half = 2.7764451 * math.sqrt(2 / 3)
    assert (found.value, found.verdict) == (3.0, SUPPORTED)
    assert [found.low, found.high] == pytest.approx([3 - half, 3 + half])
    # One side without a spread: 1/3, and the degrees of freedom of the other, 2.
    found = difference("", summarize([4.0, 5.0, 6.0]), summarize([2.0] * 3), above(0))
    assert found.low == pytest.approx(3 - 4.3026527 / math.sqrt(3))
    same = difference("", summarize([4.0] * 3), summarize([2.0] * 3), above(0))
    assert (same.low, same.high, same.verdict) == (2.0, 2.0, SUPPORTED)
    assert difference("", summarize([4.0]), summarize([2.0] * 3), above(0)).verdict is UNDECIDED
    assert difference("", summarize([NAN]), summarize([2.0] * 3), above(0)).value is None
    assert difference("", None, summarize([2.0] * 3), above(0)).verdict is NOT_RUN


def test_resampled_means_by_the_binomial_distribution() -> None:
    # Of two seeds 0 and 1: means 0, 1/2 and 1 with probabilities 1/4, 1/2 and 1/4.
    means = resampling.resampled_means(np.array([[0.0, NAN], [1.0, NAN]]))
    assert means.shape == (resampling.RESAMPLES, 2)
    values, counts = np.unique(means[:, 0], return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert counts / resampling.RESAMPLES == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    assert np.isnan(means[:, 1]).all()


# Widths.


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (SHAPE, True),
        ([200, 300, 400, 500, 600, 600], True),  # narrowest at once, then rising
        ([784, 784, 700, 600, 500, 600], True),
        ([400, 439, 200, 300, 400, 500], True),  # rises by 39 on the way down: within 39.2
        ([400, 440, 200, 300, 400, 500], False),
        ([400, 300, 200, 300, 500, 461], True),  # falls by 39 on the way up
        ([400, 300, 200, 300, 500, 460], False),
        ([400, 300, 200, 220, 250, 279], True),  # the output is 79 wider than the narrowest
        ([400, 300, 200, 220, 250, 278], False),  # 78 < 78.4
        (FLAT, False),
        ([600, 500, 400, 300, 200, 100], False),  # never rises
    ],
)
def test_the_shape_of_an_autoencoder(layers: Widths, expected: bool) -> None:
    assert widths.has_autoencoder_shape(np.array(layers, dtype=float)) == expected


def test_the_shape_is_that_of_the_mean_profile() -> None:
    # Each seed alone has a step of 100 in the wrong direction; their mean has none.
    one, other = [400.0, 200, 300, 200, 300, 500], [400.0, 300, 200, 300, 200, 500]
    profiles = np.array([one, other] * 10)
    assert widths.share_with_shape(profiles[:1]) == 0
    # The mean of layers 2 to 5 is 250 -+ 50 (2 k / 20 - 1) for k of one kind, and two neighbours
    # differ by 100 |2 k / 20 - 1|, at most 39 for 7 <= k <= 13: of 2^20, 1 - 2 * 60460 do.
    assert widths.share_with_shape(profiles) == pytest.approx(1 - 2 * 60460 / 2**20, abs=0.02)


@pytest.mark.parametrize(
    ("revised", "counts", "expected"),
    [
        (False, (6, 0, 0), SUPPORTED),
        (False, (9, 0, 1), SUPPORTED),
        (False, (3, 3, 0), UNDECIDED),
        (False, (8, 0, 2), UNDECIDED),  # diverged ones have no shape, whatever the widths
        (False, (1, 0, 0), UNDECIDED),
        (False, (0, 6, 0), CONTRADICTED),
        (False, (0, 0, 6), CONTRADICTED),
        (True, (3, 0, 0), SUPPORTED),
        # With k of n seeds flat, the middle is 300 k / n higher, at most 500 - 78.4: k <= 0.73 n.
        (True, (8, 2, 0), SUPPORTED),  # 7 of 10 or fewer: 99.9%
        (True, (3, 7, 0), UNDECIDED),  # 7 or fewer of 10: 62%
        (True, (0, 10, 0), CONTRADICTED),
        (True, (2, 0, 0), UNDECIDED),
        (True, (4, 0, 1), SUPPORTED),
        (True, (3, 0, 1), UNDECIDED),  # more than a fifth
    ],
)
def test_claim_1(
    verdict: Judge, revised: bool, counts: tuple[int, int, int], expected: Verdict
) -> None:
    assert verdict(1, both("autoencoder", with_diverged(*counts)), revised) is expected


def test_claim_1_must_hold_on_both_tasks(verdict: Judge, finding: Named) -> None:
    one_task = both("autoencoder", run([SHAPE] * 6), run([FLAT] * 6))
    assert verdict(1, one_task) is CONTRADICTED
    assert verdict(1, one_task, revised=True) is CONTRADICTED
    name = "deblurring, share of the resampled mean profiles with the shape"
    found = finding(1, one_task, name, revised=True)
    assert (found.value, found.seeds, found.diverged) == (0, 6, 0)
    assert finding(1, one_task, "denoising, width of layer 3", revised=True).value == 200


def test_the_excess_of_spread_by_hand() -> None:
    # Distances from the medians (100, 300, 300, 300, 300, 500): in seed 0 of the inner layers 10,
    # 20, 30, 40, mean 25, of layer 1 it is 5, of the output 0.
    seeds = np.array(
        [
            [95, 290, 280, 330, 340, 500],
            [100, 300, 300, 300, 300, 500],
            [108, 310, 320, 290, 260, 501],
        ],
        dtype=float,
    )
    assert widths.excess_spread(seeds, 1).tolist() == [20, 0, (10 + 20 + 10 + 40) / 4 - 8]
    assert widths.excess_spread(seeds, 6).tolist() == [25, 0, 20 - 1]


def test_claim_2(verdict: Judge, finding: Named) -> None:
    def of(inner: float, outer: float, output: float) -> Runs:
        """Widths this far from the medians, in alternating directions."""
        signs = [1, -1] * 3
        seeds = [[400 + s * outer, *[300 + s * inner] * 4, 500 + s * output] for s in signs]
        return both("autoencoder", run(seeds))

    # Without a spread of the excess, its interval is a point: the inner distance less the other.
    assert verdict(2, of(50, 10, 5)) is SUPPORTED
    assert verdict(2, of(50, 10, 60)) is CONTRADICTED
    assert verdict(2, of(50, 60, 10)) is CONTRADICTED
    # The inner layers alone leave the median, in one seed of six: excess 240 once and 0 else; mean
    # 40, standard error 240 / 6 = 40, t = 1 < 2.57.
    once = both("autoencoder", run([[400, *[540] * 4, 500]] + [[400, *[300] * 4, 500]] * 5))
    assert verdict(2, once) is UNDECIDED
    found = finding(2, once, "denoising, width of layer 2")
    assert found.std == pytest.approx(240 / math.sqrt(6))  # 240^2 (1/6)(5/6) 6/5


def test_claim_3(verdict: Judge, finding: Named) -> None:
    # 65% of 784 are 509.6, the margins 470.4 and 548.8. 97.5% quantile of t, 2 degrees of freedom:
    # 4.303. Half of 20 around 510: 4.303 * 10 / sqrt 3 = 24.8; of 40 around 500: 49.7.
    assert verdict(3, both("autoencoder", outputs(500, 510, 520))) is SUPPORTED
    assert verdict(3, both("autoencoder", outputs(480, 500, 520))) is UNDECIDED
    assert verdict(3, both("autoencoder", outputs(510, 510))) is UNDECIDED
    one_task = both("autoencoder", outputs(500, 510, 520), outputs(590, 600, 610))
    assert verdict(3, one_task) is CONTRADICTED
    assert finding(3, one_task, "denoising").value == pytest.approx(510 / 784)
    shallow = both("autoencoder", run([[300, 510]] * 3))
    assert verdict(3, shallow) is NOT_RUN  # not the article's depth


def test_claim_4_counts_pixels(verdict: Judge, finding: Named) -> None:
    def of(share: float, ever: int) -> Pixels:
        return Pixels(nonzero_share=share, ever_nonzero=ever, **COUNTS)

    assert verdict(4, {}, pixels=of(0.66, 784)) is SUPPORTED
    assert verdict(4, {}, pixels=of(0.2, 500)) is UNDECIDED  # 500 / 784 = 63.8%
    assert verdict(4, {}, pixels=of(0.2, 700)) is CONTRADICTED  # 89%
    assert verdict(4, {}, pixels=of(0.2, 400)) is CONTRADICTED  # 51%
    assert verdict(4, {}, pixels=None) is NOT_RUN
    found = finding(4, {}, "pixels that are not zero in at least 0.1% of the images")
    assert (found.value, found.verdict, found.seeds) == (0.75, None, None)


def test_claim_4_revised_asks_which_rows_are_active(
    verdict: Judge, finding: Named, make_study: MakeStudy
) -> None:
    def of(*inactive: Sequence[int]) -> Runs:
        """Seeds in which all output rows but these are active."""
        rows = ([row for row in range(784) if row not in off] for off in inactive)
        seeds = run([SHAPE] * len(inactive))
        return both("autoencoder", [s | {"output": r} for s, r in zip(seeds, rows, strict=True)])

    rarest, often, middle = range(100), range(684, 784), range(317, 467)
    assert verdict(4, of(rarest, rarest, rarest), revised=True) is SUPPORTED  # area 1
    assert verdict(4, of(often, often, often), revised=True) is CONTRADICTED  # area 0
    assert verdict(4, of(middle, middle, middle), revised=True) is CONTRADICTED  # area 1/2
    # 13 of 100 inactive rows are the most frequent ones: 87% of the pairs.
    mixed = [*range(87), *range(771, 784)]
    found = finding(4, of(mixed), "denoising, area under the curve", revised=True)
    assert found.value == pytest.approx(0.87)
    assert verdict(4, of(mixed, mixed, mixed), revised=True) is UNDECIDED
    assert verdict(4, of(rarest, rarest), revised=True) is UNDECIDED
    assert verdict(4, of([], [], []), revised=True) is UNDECIDED  # all are active
    # Pixel 0 alone is never inked, and of 100 inactive rows it is one: 99 rows disagree.
    name = "denoising, active output rows and pixels that are ever inked, "
    for measure, value in (("agreement", 685 / 784), ("Jaccard's index", 684 / 783)):
        found = finding(4, of(rarest), f"{name}{measure}", revised=True)
        assert found.value == pytest.approx(value)
    # The count stands beside.
    counted = finding(4, of(rarest), "share of pixel values that are not zero", revised=True)
    assert (counted.value, counted.verdict) == (0.2, None)
    uncounted = make_study({f"paper-{name}": seeds for name, seeds in of(rarest).items()})
    found_without = REVISED[3].findings(Results(uncounted, "paper"))
    assert {one.verdict for one in found_without} == {NOT_RUN, None}


def test_the_area_under_the_curve_counts_pairs() -> None:
    frequency = np.array([0.1, 0.2, 0.2, 0.4])
    # 3.5 of the pairs (3, 1) (3, 2) (4, 1) (4, 2), one of them a tie; 0 of 3; 3 of 3; no pairs.
    active = np.array([[0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1], [1] * 4, [0] * 4], dtype=bool)
    areas = resampling.areas_under_the_curve(active, frequency)
    np.testing.assert_array_equal(areas, [3.5 / 4, 0, 1, NAN, NAN])


def test_agreement_of_rows_and_pixels_by_hand(make_run: MakeRun) -> None:
    first, second = run([SHAPE] * 2)
    active = make_run([first | {"output": [0, 783]}, second]).output
    assert [np.flatnonzero(rows).tolist() for rows in active] == [[0, 783], []]
    inked = np.arange(784) < 3  # one in both, four in one of them: 781 of 784 agree
    same, jaccard = resampling.agreement(active, inked)
    assert same.tolist() == [781 / 784, 781 / 784]
    assert jaccard.tolist() == [1 / 4, 0]
    assert resampling.agreement(active[1:], inked & False)[1].tolist() == [0]


def shifted(*by: float) -> Seeds:
    """A run whose seeds have the widths of SHAPE, shifted."""
    return run([[width + shift for width in SHAPE] for shift in by])


def test_claim_5(verdict: Judge, finding: Named) -> None:
    def of(one: Seeds, other: Seeds) -> Verdict | None:
        return verdict(5, both("autoencoder", one, other))

    same = shifted(0, 0, 0)
    # Paired by seed: differences 20, 20, 20, though the widths themselves are far apart.
    assert of(shifted(0, 100, 200), shifted(-20, 80, 180)) is SUPPORTED
    # Differences -100, 0, 100: half the interval is 4.303 * 100 / sqrt 3 = 248 > 78.
    assert of(same, shifted(100, 0, -100)) is UNDECIDED
    assert of(same, outputs(600, 600, 600)) is CONTRADICTED  # one layer is enough
    assert verdict(5, {"autoencoder-denoising": same}) is NOT_RUN
    # No seed in both; then two pairs, because one seed diverged in one of them.
    assert of(same, run([SHAPE] * 3, first_seed=3)) is UNDECIDED
    assert of(same, run([SHAPE] * 3, [0.01, NAN, 0.01])) is UNDECIDED
    other = run([SHAPE] * 3, [0.01, NAN, 0.01], first_seed=1)
    runs = both("autoencoder", shifted(0, 10, 20, 30), other)
    found = finding(5, runs, "layer 4, denoising less deblurring")
    assert (found.value, found.seeds, found.diverged) == (20.0, 3, 1)  # (10 + 30) / 2


def test_claim_6(verdict: Judge, finding: Named) -> None:
    early, late = [300, 200, 300, 400, 500, 600], [500, 400, 300, 200, 300, 600]
    assert verdict(6, both("residual", run([early] * 6))) is SUPPORTED
    assert verdict(6, both("residual", run([early] * 5))) is UNDECIDED  # 5 of 5
    one_task = both("residual", run([early] * 6), run([late] * 6))
    assert verdict(6, one_task) is CONTRADICTED  # the place
    assert finding(6, one_task, "deblurring, coding layer").value == 4
    wide = [400, 300, 350, 400, 500, 600]
    assert verdict(6, both("residual", run([wide] * 6))) is CONTRADICTED  # the width
    # Widths 150 and 250, three each: mean 200, half the interval 2.571 * 54.8 / sqrt 6 = 57 > 50.
    mixed = [[300, 150, *early[2:]], [300, 250, *early[2:]]] * 3
    assert verdict(6, both("residual", run(mixed))) is UNDECIDED
    first = widths.coding_layers(np.array([[200, 200, 300, 100], [3, 2, 1, 0]]))
    assert first.tolist() == [1, 3]  # the first of two, and not the output


@pytest.mark.parametrize(
    ("with_skips", "without", "registered", "revised"),
    [
        # Standard errors 10 / sqrt 3 each, 4 degrees of freedom: half 2.776 * 10 sqrt(2/3) = 22.7.
        ([590, 600, 610], [490, 500, 510], SUPPORTED, SUPPORTED),
        ([500, 510, 520], [490, 500, 510], UNDECIDED, UNDECIDED),
        ([490, 500, 510], [590, 600, 610], CONTRADICTED, CONTRADICTED),
        ([600], [500], UNDECIDED, UNDECIDED),
        # A tenth of it: 2.27. Then from 7.7 to 12.3, from 2.7 to 7.3, and around 0.
        ([509, 510, 511], [499, 500, 501], SUPPORTED, SUPPORTED),
        ([504, 505, 506], [499, 500, 501], SUPPORTED, CONTRADICTED),
        ([499, 500, 501], [499, 500, 501], UNDECIDED, CONTRADICTED),
    ],
)
def test_claim_7(
    verdict: Judge,
    with_skips: Sequence[float],
    without: Sequence[float],
    registered: Verdict,
    revised: Verdict,
) -> None:
    skips, none = (outputs(*of_seeds) for of_seeds in (with_skips, without))
    runs = {**both("residual", skips), **both("autoencoder", none)}
    assert verdict(7, runs) is registered
    assert verdict(7, runs, revised=True) is revised
    assert verdict(7, both("residual", skips)) is NOT_RUN


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (RISING, True),
        ([700, *RISING[1:]], True),  # from the coding layer on
        ([600, 500, 400, 200, 400, 600], True),  # three points
        ([600, 500, 400, 300, 200, 600], False),  # two are no line
        # On 0 to 4: 100, 600, 600, 600, 600; covariance 10 * 100, variances 10 and 200,000, so
        # that R^2 = 1000^2 / (10 * 200,000) = 0.5.
        ([700, 100, 600, 600, 600, 600], False),
        ([100, 200, 300, 400, 500, 100], False),
        (FLAT, False),
    ],
)
def test_a_rising_line(layers: Widths, expected: bool) -> None:
    assert widths.rises_linearly(np.array(layers, dtype=float)) == expected


def test_claim_11(verdict: Judge) -> None:
    for counts, expected in (
        ((6, 0, 0), SUPPORTED),
        ((3, 3, 0), UNDECIDED),
        ((8, 0, 2), UNDECIDED),
        ((0, 6, 0), CONTRADICTED),
    ):
        assert verdict(11, {"residual-denoising": with_diverged(*counts, RISING)}) is expected


# Skips.


def test_claim_8(verdict: Judge, finding: Named) -> None:
    out: dict[tuple[int, int], float | Sequence[float]] = {(5, i): 0.3 for i in range(1, 6)}
    good = with_skips(out)
    name = "deblurring, mean of the skips into the output"
    assert finding(8, both("residual", good), name).value == pytest.approx(5 * 0.3 / 6)
    # Skips -0.1, 0.1, 0.3: mean 0.1, half the interval 4.303 * 0.2 / sqrt 3 = 0.5.
    unclear = [-0.1, 0.1, 0.3]
    changes: list[tuple[dict[tuple[int, int], Any], Verdict, Verdict]] = [
        ({}, SUPPORTED, SUPPORTED),
        ({(5, 0): 0.2}, CONTRADICTED, CONTRADICTED),
        ({(5, 0): 0.03}, SUPPORTED, CONTRADICTED),
        ({(5, 0): -0.03}, SUPPORTED, CONTRADICTED),
        ({(5, 3): 0.0}, CONTRADICTED, CONTRADICTED),
        ({(5, 3): 0.01}, SUPPORTED, CONTRADICTED),
        ({(5, 4): unclear}, UNDECIDED, UNDECIDED),
    ]
    for change, registered, revised in changes:
        other = with_skips(out | change)
        assert verdict(8, both("residual", other, good)) is registered
        assert verdict(8, both("residual", other, good), revised=True) is revised
        if change != {(5, 4): unclear}:  # for deblurring the average alone is claimed
            for rules in (False, True):
                assert verdict(8, both("residual", good, other), rules) is SUPPORTED
    small = both("residual", good, with_skips({(5, i): 0.01 for i in range(6)}))
    assert (verdict(8, small), verdict(8, small, revised=True)) == (SUPPORTED, CONTRADICTED)
    assert verdict(8, both("residual", with_skips(out, seeds=1))) is UNDECIDED


def matrices(seeds: int, layers: int, value: Any = 0.0) -> np.ndarray:
    """Skips [seeds, L, L], NaN above the diagonal, where there is none."""
    tau = np.full((seeds, layers, layers), NAN)
    tau[:, *np.tril_indices(layers)] = value
    return tau


def test_the_share_of_negative_skips_by_hand() -> None:
    tau = matrices(3, 3)
    # Seed 0: three of four active ones; those into the output, of row 2, are not among them.
    tau[0, 0, 0], tau[0, 1, 0], tau[0, 1, 1], tau[0, 2, 0] = -0.1, -0.2, 0.3, -1
    tau[1, 1, 1] = -0.1  # the only one that is active
    assert skips.negative_share(tau).tolist() == [2 / 3, 1, 0]
    # Of the mean: (0, 0): -1 and 0.5, mean -0.25. (1, 0): 1 and -0.5, mean 0.25. (1, 1): -1 and 0.
    tau = matrices(2, 3)
    tau[:, 0, 0], tau[:, 1, 0], tau[:, 1, 1], tau[:, 2] = [-1, 0.5], [1, -0.5], [-1, 0], -1
    share, low, high = skips.negative_share_of_the_mean(tau)
    # Resamples: seed 0 twice 2/3, both 2/3, seed 1 twice one of its two active ones.
    assert [share, low, high] == pytest.approx([2 / 3, 1 / 2, 2 / 3])
    tau[:, :2] = 0  # none but those into the output
    assert skips.negative_share_of_the_mean(tau) == (0, 0, 0)


def test_claim_9(verdict: Judge, finding: Named) -> None:
    negative = with_skips({(0, 0): -1, (3, 1): -1, (2, 2): 1})
    positive = with_skips({(0, 0): 1, (3, 1): 1, (2, 2): -1})
    for revised in (False, True):
        assert verdict(9, both("residual", negative), revised) is SUPPORTED
        assert verdict(9, both("residual", negative, positive), revised) is CONTRADICTED
        into_output = with_skips({(5, i): -1 for i in range(6)})  # no other is active
        assert verdict(9, both("residual", into_output), revised) is CONTRADICTED
        two = with_skips({(0, 0): -1}, seeds=2)
        assert verdict(9, both("residual", two), revised) is UNDECIDED
    # Shares 1, 1, 0: mean 2/3, half the interval 4.303 / 3.
    unclear = both("residual", with_skips({(0, 0): [-1, -1, 1]}))
    assert verdict(9, unclear) is UNDECIDED
    found = finding(9, unclear, "denoising, among active and inactive ones")
    assert found.value == pytest.approx(2 / 3 / 15)
    # In two seeds of three each is positive, and the large third one decides the mean. Without it,
    # in 8 of 27 samples, the share is 0.
    mean = both("residual", with_skips({(0, 0): [0.1, 0.1, -1]}))
    name = "denoising, among the active ones of the mean matrix"
    found = finding(9, mean, name, revised=True)
    assert (found.value, found.low, found.high, found.verdict) == (1, 0, 1, UNDECIDED)


def test_the_counterdiagonal_connects_mirror_images() -> None:
    # x(0) with x(6), x(1) with x(5), x(2) with x(4); tau(l, i) leads from x(i) to x(l + 1).
    assert skips.counterdiagonal(6) == [(3, 2), (4, 1), (5, 0)]
    tau = matrices(3, 6, [[1.0], [-2.0], [0.0]])
    assert skips.counterdiagonal_share(tau).tolist() == [3 / 21, 3 / 21, 0]
    assert np.isnan(skips.counterdiagonal_share(tau, NAN)).tolist() == [False, False, True]
    assert pytest.approx(1 / 7) == skips.EQUAL_SHARE


def test_claim_10(verdict: Judge, finding: Named) -> None:
    everything = {(l, i): 0.1 for l in range(LAYERS) for i in range(l + 1)}
    unet = {(5, 0): 0.3, (4, 1): -0.3, (3, 2): 0.3}
    third = with_skips(everything | unet)  # 0.9 on it, 1.8 beside it
    cases = [
        (with_skips(unet), CONTRADICTED, CONTRADICTED),
        (third, SUPPORTED, CONTRADICTED),
        (with_skips({(5, 5): -0.9, (0, 0): 0.9}), SUPPORTED, SUPPORTED),
        # Shares 1, 1/2 and 0: mean 1/2.
        (with_skips({(5, 0): [1, 1, 0], (5, 5): [0, 1, 1]}), UNDECIDED, UNDECIDED),
        (with_skips({}), SUPPORTED, UNDECIDED),  # without any skip, there is no share
    ]
    for seeds, registered, revised in cases:
        assert verdict(10, both("residual", seeds)) is registered
        assert verdict(10, both("residual", seeds), revised=True) is revised
    on, off = (
        finding(10, both("residual", third), f"denoising, mean |tau| {where} the counterdiagonal")
        for where in ("on", "off")
    )
    assert [on.value, off.value] == pytest.approx([0.3, 0.1])
    some = both("residual", with_skips({(5, 5): [1, 1, 1, 0]}, seeds=4))
    found = finding(10, some, "denoising, share of the counterdiagonal", revised=True)
    assert (found.value, found.seeds, found.diverged, found.verdict) == (0, 4, 0, UNDECIDED)


# Training.


def test_claim_12(verdict: Judge, finding: Named) -> None:
    def of(*tasks: tuple[Sequence[float], Sequence[float]]) -> Runs:
        return {
            f"{network}-{task}": run([SHAPE] * len(losses), losses)
            for task, pair in zip(TASKS, tasks, strict=True)
            for network, losses in zip(NETWORKS, pair, strict=True)
        }

    twenty, two = ([0.02] * 3, [0.001] * 3), ([0.02] * 3, [0.01] * 3)
    assert verdict(12, of(twenty, two)) is SUPPORTED
    assert verdict(12, of(two, two)) is CONTRADICTED  # lower, but not by an order of magnitude
    assert verdict(12, of(twenty, (two[1], two[0]))) is CONTRADICTED
    assert verdict(12, of(twenty, ([0.02], [0.01]))) is UNDECIDED
    name = "denoising, loss without skips / loss with skips"
    found = finding(12, of(([0.02] * 3, [0.0005, 0.001, 0.002]), two), name)
    # Logarithms ln 0.001 and that minus and plus ln 2: half 4.303 ln 2 / sqrt 3 = 1.722.
    assert found.value == pytest.approx(20)
    assert found.low == pytest.approx(20 / math.exp(4.3026527 * math.log(2) / math.sqrt(3)))
    assert found.verdict is UNDECIDED  # 3.6 to 112
    # A diverged seed has the loss of answering zero, 0.1: the mean of 0.001, 0.001 and 0.1 is
    # 0.1 ** ((3 + 3 + 1) / 3).
    diverged = finding(12, of(([0.02] * 3, [0.001, 0.001, NAN]), two), name)
    assert diverged.value == pytest.approx(0.02 / 0.1 ** (7 / 3))
    assert (diverged.seeds, diverged.diverged, diverged.verdict) == (3, 1, UNDECIDED)


def test_claim_15_is_proved_by_tests_that_exist(verdict: Judge) -> None:
    assert (verdict(15, {}), verdict(15, {}, revised=True)) == (SUPPORTED, None)
    text = (Path(__file__).parents[2] / training.EQUIVALENCE_TEST).read_text("utf-8")
    assert "def test_without_regularizer_adabreg_is_adam(" in text
    assert "def test_without_regularizer_a_network_trains_as_under_adam(" in text


def test_claim_16(make_run: MakeRun, verdict: Judge, finding: Named) -> None:
    def of(first: tuple[int, int], *counts: tuple[int, int], loss: float = 0.01) -> Runs:
        """So many rows on, and off, in the first epoch, and in the second of each seed."""

        def entry(on: int, off: int) -> dict[str, Any]:
            none = [0] * (LAYERS - 1)
            return {"switched_on": [on, *none], "switched_off": [*none, off]}

        seeds = run([SHAPE] * len(counts), [loss] * len(counts))
        seeds = [
            seed | {"history": {1: entry(*first), 2: entry(*late)}}
            for seed, late in zip(seeds, counts, strict=True)
        ]
        return {name: make_run(seeds, f"paper-{name}", epochs=2) for name in all_four(None)}

    cases: list[tuple[Sequence[tuple[int, int]], Verdict, Verdict]] = [
        ([(0, 0), (3, 1), (3, 1), (3, 1)], SUPPORTED, SUPPORTED),
        ([(500, 0), (3, 1), (3, 1), (3, 1)], SUPPORTED, SUPPORTED),
        ([(500, 0), (3, 2), (3, 2), (3, 2)], SUPPORTED, CONTRADICTED),  # more turnover than growth
        ([(0, 0), (1, 3), (1, 3), (1, 3)], CONTRADICTED, CONTRADICTED),
        ([(0, 0), (1, 3), (2, 2), (3, 1)], UNDECIDED, UNDECIDED),  # mean 1/2
        ([(0, 0), (3, 1), (3, 1)], UNDECIDED, UNDECIDED),
    ]
    for counts, registered, revised in cases:
        assert verdict(16, of(*counts)) is registered
        assert verdict(16, of(*counts), revised=True) is revised
    assert verdict(16, of((0, 0), (3, 1), (3, 1), loss=NAN)) is UNDECIDED
    assert verdict(16, {}) is NOT_RUN
    runs, name = of((6, 0), (3, 1)), "residual, deblurring"
    assert finding(16, runs, name).value == 0.9
    assert finding(16, runs, f"{name}, switches in a seed").value == 10
    assert finding(16, runs, name, revised=True).value == 0.75
    late = finding(16, runs, f"{name}, switches after the first epoch", revised=True)
    assert (late.value, late.verdict) == (4, None)
    assert finding(16, of((0, 0), (0, 0)), name).value == 0.5  # nothing is added, or removed


def test_what_never_switches_has_no_share_of_additions(finding: Named) -> None:
    results = dense([[[[9]], [[1]], [[1, 0]], [[9, 0, 0]]]] * 3)
    for seed, (on, off) in zip(results[DENSENET], ((0, 0), (9, 1), (0, 0)), strict=True):
        seed["history"] = {1: {"switched_on": [on, 0, 0, 0], "switched_off": [0, off, 0, 0]}}
    assert finding(16, results, "DenseNet, kernels (seeds with switches)").value == 0.9
    assert finding(16, results, "DenseNet, switches in a seed").value == pytest.approx(10 / 3)


def test_claim_17(verdict: Judge, finding: Named) -> None:
    def of(*active: float) -> Runs:
        seeds = [[width, *[100] * 5] for width in active]
        return all_four(run(seeds, living=[[200, *[100] * 5]] * len(active)))

    # Of 700 living rows 700, 697 (99.6%), 660 (94.3%), 600 (85.7%) are active.
    assert verdict(17, of(200, 200, 200)) is SUPPORTED
    assert verdict(17, of(197, 197, 197)) is SUPPORTED
    assert verdict(17, of(160, 160, 160)) is UNDECIDED
    assert verdict(17, of(100, 100, 100)) is CONTRADICTED
    # 700, 700, 693: mean 99.67%, half the interval 4.303 * 0.577% / sqrt 3 = 1.4%.
    assert verdict(17, of(200, 200, 193)) is UNDECIDED
    layer = finding(17, of(160), "residual, denoising, layer 1")
    assert (layer.value, layer.verdict) == (0.8, None)
    dead = finding(17, of(160), "residual, denoising, dead rows among all")
    assert dead.value == pytest.approx(1 - 700 / (6 * 784))
    none_lives = all_four(run([[0] * LAYERS]))
    assert finding(17, none_lives, "residual, denoising").value == 1


def test_claim_17_revised_is_an_estimate(
    verdict: Judge, finding: Named, make_run: MakeRun, make_study: MakeStudy
) -> None:
    seeds = run([[350] * LAYERS, [700] * LAYERS, [700] * LAYERS], living=[[700] * LAYERS] * 3)
    found = both("autoencoder", seeds)
    row: dict[str, Any] = {"protocol": "paper", "experiment": "autoencoder-denoising"}
    row |= {"change": {"inactive_biases": "frozen"}}
    frozen = make_run(run([[784] * LAYERS] * 3), "frozen", 1, row)
    kept = interventions(make_study({"frozen": frozen}), "paper")
    assert list(kept) == ["autoencoder, denoising, inactive_biases frozen"]
    assert verdict(17, found, revised=True) is None
    # 1/2, 1, 1: mean 5/6, standard error 0.2887 / sqrt 3 = 1/6.
    name = "autoencoder, denoising, active among living rows"
    share = finding(17, found, name, revised=True)
    told = [share.value, share.low, share.high]
    assert told == pytest.approx([5 / 6, 5 / 6 - 4.3026527 / 6, 1])
    of_all = finding(17, found, "autoencoder, denoising, active among all rows", revised=True)
    assert of_all.value == pytest.approx(1750 / 3 / 784)
    assert finding(17, found, "residual, denoising, active among all rows", revised=True).seeds == 0
    name = f"{next(iter(kept))}, active among all rows"
    assert finding(17, found, name, revised=True, kept=kept).value == 1


# The DenseNet.


def test_claim_13(verdict: Judge, finding: Named) -> None:
    def of(*layers: tuple[float, float, float], collapsed: int = 0) -> Runs:
        return dense([[[[9]], [[a]], [[b, c]], [[9, 9, 9]]] for a, b, c in layers], collapsed)

    # The last layer gets b + c, the one before it a; per kernel (b + c) / 2 and a.
    leads, lags, name = (3, 1, 4), (5, 1, 3), "lead of the last layer"
    assert verdict(13, of(*[leads] * 3)) is SUPPORTED
    assert finding(13, of(leads), f"{name}, sums").value == pytest.approx(2 / 8)
    per_kernel = finding(13, of(leads), f"{name}, per kernel")
    assert per_kernel.value == pytest.approx((2.5 - 3) / 5.5)  # by its number of kernels alone
    # Of the skips proper, layer 1 has none, and layer 2 the one from the first convolution, b.
    assert finding(13, of(leads), f"{name}, sums without the layer just before").value == 1
    assert verdict(13, of(*[lags] * 3)) is CONTRADICTED
    assert verdict(13, of((3, 1, 4), (4, 2, 2), (5, 1, 2))) is UNDECIDED  # 1/4, 0, -1/4
    assert densenet.lead_of_the_last(np.zeros((1, 2))).tolist() == [0]
    # Revised: five living networks decide, whatever the collapsed ones are.
    for runs, expected in (
        (of(*[leads] * 5, collapsed=20), SUPPORTED),
        (of(*[lags] * 5, collapsed=20), CONTRADICTED),
        (of(*[leads] * 4), UNDECIDED),
        (of(collapsed=3), UNDECIDED),
        ({}, NOT_RUN),
    ):
        assert verdict(13, runs, revised=True) is expected
    found = finding(13, of(*[leads] * 5, collapsed=2), f"{name}, sums", revised=True)
    assert [found.value, found.seeds] == pytest.approx([2 / 8, 5])
    few, lost = f"{name}, sums (undecided: fewer than 5 living networks)", "networks that collapsed"
    found = finding(13, of(*[leads] * 4, collapsed=1), few, revised=True)
    assert (found.value, found.seeds) == (None, 4)
    assert finding(13, of(leads, collapsed=2), lost, revised=True).value == 2


def test_claim_14(verdict: Judge, finding: Named) -> None:
    # Growth 2, one layer. Channel 1 is read by nothing; channel 3 is written by nothing.
    unused = [[[1], [1]], [[1, 0], [0, 0]], [[0, 0, 1, 1]]]
    # The last convolution reads channel 1, so that the network uses it, the dense block does not.
    read = [[[1], [1]], [[1, 0], [0, 0]], [[0, 1, 1, 1]]]
    assert verdict(14, dense([unused] * 6)) is SUPPORTED
    assert finding(14, dense([unused]), "unused input channels").value == 1
    assert finding(14, dense([unused]), "unused output channels").value == 1
    assert verdict(14, dense([read] * 6)) is CONTRADICTED
    assert finding(14, dense([read]), "unused input channels").value == 0
    assert finding(14, dense([read]), "unused input channels of the dense block alone").value == 1
    assert verdict(14, dense([unused] * 3 + [read] * 3)) is UNDECIDED
    assert verdict(14, dense([unused] * 8, diverged=2)) is UNDECIDED
    assert verdict(14, dense([], diverged=6)) is CONTRADICTED
    for living, expected in ((4, UNDECIDED), (5, UNDECIDED), (6, SUPPORTED)):  # 5 of 5: from 0.48
        seeds = [*dense([unused] * living)[DENSENET], *[{"norms": read, "accuracy": 0.1}] * 9]
        assert verdict(14, {DENSENET: seeds}, revised=True) is expected


def test_networks_that_did_not_collapse_stand_beside_all(finding: Named, find: Find) -> None:
    # Growth 2, one layer; a second layer that reads a part of it, by 1, 3 and 9.
    def norms(into_last: float) -> list[Any]:
        return [[[1], [1]], [[1, 0], [0, 0]], [[0, 0, into_last, 0], [0] * 4], [[0, 0, 1, 1, 1, 1]]]

    results = dense([norms(1), norms(3), norms(9)])
    lead = f"lead of the last layer, sums{densenet.OTHERS}"
    for accuracies, expected in (
        ((0.1, 0.1, 0.9), 0.8),  # 9 against 1, of 10
        ((0.1, 0.9, 0.9), 0.65),  # and 3 against 1, of 4
        ((0.1, 0.1, 0.1), None),  # then there are no others
        ((0.9, 0.9, 0.9), None),
    ):
        for seed, accuracy in zip(results[DENSENET], accuracies, strict=True):
            seed["accuracy"] = accuracy
        names = {found.name for number in (13, 14) for found in find(number, results)}
        assert (lead in names) == (expected is not None)
        if expected is not None:
            assert finding(13, results, lead).value == pytest.approx(expected)
            inputs = f"unused input channels{densenet.OTHERS}"
            assert finding(14, results, inputs).value == 1


# All claims, and their tables.


def test_all_claims_have_a_rule_and_the_revised_say_why() -> None:
    assert [one.number for one in CLAIMS] == list(range(1, 18))
    assert [one.number for one in REVISED] == list(range(1, 18))
    new = [one for one in REVISED if one.why is not None]
    assert [one.number for one in new] == [1, 4, 7, 8, 9, 10, 13, 14, 15, 16, 17]
    assert [one for one in REVISED if one.why is None] == [
        one for one in CLAIMS if one.number not in [revised.number for revised in new]
    ]
    for one in [*CLAIMS, *new]:
        assert one.rule.startswith("Supported if " if one.supported_if else "No verdict.")
        assert not one.statistic.endswith(".")
        assert one.why is None or one.why.endswith(".")


def test_nothing_run_at_all(make_study: MakeStudy) -> None:
    verdicts = {d.claim.number: d.verdict for d in decide(make_study({}))}
    assert verdicts == dict.fromkeys(range(1, 18), NOT_RUN) | {15: SUPPORTED}
    verdicts = {d.claim.number: d.verdict for d in decide_revised(make_study({}))}
    assert verdicts == dict.fromkeys(range(1, 18), NOT_RUN) | {15: None, 17: None}


def test_registered_rules_see_old_seeds_and_revised_ones_at_least_three_fresh_ones(
    make_study: MakeStudy,
) -> None:
    for fresh, expected in ((2, NOT_RUN), (3, SUPPORTED)):
        seeds = run([SHAPE] * 10) + run([SHAPE] * fresh, first_seed=10)
        study = make_study({f"paper-autoencoder-{task}": seeds for task in TASKS})
        old, new = (found[2 * 4] for found in (decide(study), decide_revised(study)))  # claim 5
        assert (old.claim.number, old.protocol, old.seeds) == (5, "paper", 10)
        assert (new.claim.number, new.verdict) == (5, expected)


@pytest.fixture(scope="module")
def tables(make_study: MakeStudy) -> dict[str, str]:
    """Of two runs: three seeds, and one seed that diverged."""
    runs = {"paper-residual-denoising": run([RISING] * 3)}
    return render_all(make_study(runs | {"authors-autoencoder-denoising": run([SHAPE], [NAN])}))


def test_claims_as_json(tables: dict[str, str]) -> None:
    content = json.loads(tables["claims.json"])
    assert list(content["claims"]) == [str(number) for number in range(1, 18)]
    triangle = content["claims"]["11"]
    assert triangle["paper"]["verdict"] == "undecided"  # 3 of 3: from 0.29
    (found,) = triangle["paper"]["findings"]
    assert (found["value"], found["low"]) == (1, pytest.approx(0.025 ** (1 / 3)))
    assert triangle["authors"]["verdict"] == "not run"
    assert triangle["authors"]["findings"][0]["value"] is None
    shape = content["claims"]["1"]["authors"]["findings"][0]
    assert (shape["value"], shape["seeds"], shape["diverged"]) == (0, 1, 1)
    assert sum(content["verdicts"]["paper"].values()) == 17
    assert content["verdicts"]["authors"]["supported"] == 1


def test_claims_as_csv(tables: dict[str, str]) -> None:
    frame = pd.read_csv(io.StringIO(tables["claims.csv"]), keep_default_na=False)
    columns = "claim protocol rules name value std low high n diverged verdict"
    assert list(frame) == columns.split()
    # Without fresh seeds the revised rules decide nothing.
    assert set(frame[frame["rules"] == "revised"]["verdict"]) == {"not run", ""}
    frame = frame[frame["rules"] == "registered"]
    triangle = frame[frame["claim"] == 11]
    assert triangle["value"].tolist() == ["1.0", ""]
    assert triangle["verdict"].tolist() == ["undecided", "not run"]
    assert set(frame[frame["verdict"] == ""]["claim"]) == {2, 6, 9, 10, 16, 17}


def test_claims_for_readers(tables: dict[str, str]) -> None:
    text = tables["claims.md"]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + 17
    assert all(line.replace(r"\|", "").count("|") == 4 + 2 * len(PROTOCOLS) for line in lines)
    assert lines[11].endswith("| **undecided**: 1 (n = 3) | not run | not run | not run |")
    assert lines[15].endswith("| **supported** | no verdict | **supported** | no verdict |")
    assert "denoising, widths on a rising line: 1, interval 0.292 to 1, 3 seeds: undecided" in text
    assert "denoising: 0, interval 0 to 0.975, 1 seed, 1 diverged: undecided" in text
    assert "beside it, residual, denoising: layer 1 1 (0); layer 2 1 (0); " in text


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [((0.1, 0.1, 0.1), "all 3"), ((0.1, 0.1, 0.2), "2 of 3"), ((0.2, 0.1001, 0.2), None)],
)
def test_verdicts_on_collapsed_networks_are_marked(
    make_study: MakeStudy, accuracies: Sequence[float], words: str | None
) -> None:
    # Layers 1 and 1 have no lead: the rule of the claim alone would say contradicted.
    (seeds,) = dense([[[[9]], [[1]], [[1, 0]], [[9, 0, 0]]]] * 3).values()
    seeds = [seed | {"accuracy": a} for seed, a in zip(seeds, accuracies, strict=True)]
    tables = render_all(make_study({f"authors-{DENSENET}": seeds}))
    text, mark = tables["claims.md"], COLLAPSED_MARK
    found = json.loads(tables["claims.json"])["claims"]
    marked = {number for number, one in found.items() if one["authors"]["collapsed"]}
    assert "lead of the last layer, sums: 0 (0), interval 0 to 0, 3 seeds: contradicted" in text
    if words is None:
        assert mark not in text
        assert not marked
        assert "| not run | **contradicted**: 0 (n = 3) |" in text
    else:
        assert marked == {"13", "14"}
        assert f"| not run | **undecided**{mark}: 0 (n = 3) |" in text
        assert text.count(f"*Authors:* undecided{mark}") == 2
        assert f"{mark} Networks behind this verdict collapsed to one answer" in text
        assert f"{words} under `authors`. Their" in text


def test_both_rules_stand_side_by_side(make_study: MakeStudy) -> None:
    """With registered seeds, and with fresh ones beside them, of the output 20 rows wider."""

    def seeds(first: int, more: int) -> Seeds:
        active = [[300] * 5 + [500 + more + k % 3] for k in range(6)]
        return run(active, tau={(0, 0): 1.0}, first_seed=first)

    old = {f"paper-{name}": seeds(0, 0) for name in all_four(None)}
    new = {n: old[n] + seeds(10, 20 if "residual" in n else 0) for n in old}
    before, after = (render_all(make_study(runs)) for runs in (old, new))
    first, then = (json.loads(tables["claims.json"]) for tables in (before, after))
    assert first["claims"] == then["claims"]
    assert first["verdicts"] == then["verdicts"]
    assert first["revised"]["claims"]["7"]["paper"]["verdict"] == "not run"
    found = then["revised"]["claims"]["7"]
    assert (found["paper"]["verdict"], found["authors"]["verdict"]) == ("supported", "not run")
    assert found["why"] == REVISED[6].why
    assert then["revised"]["claims"]["3"]["why"] is None
    (line,) = (line for line in after["claims.md"].splitlines() if line.startswith("| 7 |"))
    assert line.endswith(
        "| **undecided**: 0; 0 (n = 6) | **supported**: 20; 20 (n = 6) | not run | not run |"
    )
    assert f"Revised: {REVISED[6].why}" in after["claims.md"]
    assert "- *Paper, revised:* supported" in after["claims.md"]
    assert "- *Paper, fresh seeds:*" in after["claims.md"]  # the registered rule again
    answers = json.loads(after["questions.json"])["fresh-seeds"]["answers"]
    assert "by the revised rules, under" in answers[-1]["sentence"]
