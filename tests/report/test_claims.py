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
    claim,
    decide,
    densenet,
    skips,
    training,
    widths,
)
from bregman_nas.report.claims.claim import (
    Finding,
    Results,
    Verdict,
    above,
    at_least,
    at_most,
    difference,
    share_finding,
    verdict_of,
    within,
)
from bregman_nas.report.data import DENSENET, PROTOCOLS, TASKS, Study
from bregman_nas.report.records import Pixels
from bregman_nas.report.stats import summarize
from bregman_nas.report.tables import render_all

SUPPORTED, CONTRADICTED = Verdict.SUPPORTED, Verdict.CONTRADICTED
UNDECIDED, NOT_RUN = Verdict.UNDECIDED, Verdict.NOT_RUN
LAYERS = 6
NAN = math.nan
Widths = Sequence[float]
Seeds = list[dict[str, Any]]
Runs = Mapping[str, Seeds]
Judge = Callable[..., Verdict]
Find = Callable[..., Finding]

SHAPE: Widths = [400, 300, 200, 300, 400, 500]
FLAT: Widths = [500] * LAYERS


def run(
    of_seeds: Sequence[Widths],
    losses: Sequence[float] | None = None,
    tau: Mapping[tuple[int, int], Sequence[float]] | None = None,
    living: Sequence[Widths] | None = None,
    first_seed: int = 0,
) -> Seeds:
    """The seeds of a restoration run with these widths; skips that are not named are 0."""
    return [
        {
            "seed": first_seed + index,
            "active": layers,
            "living": layers if living is None else living[index],
            "mse": 0.01 if losses is None else losses[index],
            "tau": {name: values[index] for name, values in (tau or {}).items()},
            "baselines": {"zero": 0.1},
        }
        for index, layers in enumerate(of_seeds)
    ]


def on_both_tasks(network: str, one: Seeds, other: Seeds | None = None) -> Runs:
    return {f"{network}-denoising": one, f"{network}-deblurring": other or one}


@pytest.fixture
def find(make_study: Callable[..., Study]) -> Callable[..., list[Finding]]:
    """The findings of a claim on runs of `paper`."""

    def of(number: int, runs: Runs, pixels: Pixels | None = None) -> list[Finding]:
        (asked,) = (one for one in CLAIMS if one.number == number)
        study = make_study({f"paper-{name}": seeds for name, seeds in runs.items()}, pixels=pixels)
        return asked.findings(Results(study, "paper"))

    return of


@pytest.fixture
def verdict(find: Callable[..., list[Finding]]) -> Judge:
    return lambda *of: verdict_of(found for found in find(*of) if found.verdict is not None)


@pytest.fixture
def finding(find: Callable[..., list[Finding]]) -> Find:
    def of(number: int, runs: Runs, name: str, pixels: Pixels | None = None) -> Finding:
        (found,) = (found for found in find(number, runs, pixels) if found.name == name)
        return found

    return of


# From intervals to verdicts.


def mean_of(*of: Any, **more: Any) -> Finding:
    found = claim.mean_of(*of, **more)
    assert found is not None
    return found


def test_rules_at_their_thresholds() -> None:
    cases = [
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
        (at_least(0.99, 0.9), (0.95, 0.96), UNDECIDED),
        (at_least(0.99, 0.9), (0.9, 0.9), UNDECIDED),
        (at_least(0.99, 0.9), (0.8, 0.89), CONTRADICTED),
    ]
    for rule, interval, expected in cases:
        assert rule(*interval) is expected


def test_a_claim_is_as_good_as_the_worst_of_its_findings() -> None:
    def of(*verdicts: Verdict) -> Verdict:
        return verdict_of([Finding("", verdict=v) for v in verdicts])

    assert of(SUPPORTED, SUPPORTED) is SUPPORTED
    assert of(SUPPORTED, UNDECIDED) is UNDECIDED
    assert of(UNDECIDED, NOT_RUN) is NOT_RUN
    assert of(NOT_RUN, CONTRADICTED) is CONTRADICTED


def test_a_mean_needs_three_seeds_and_few_diverged_ones() -> None:
    rule = above(0)
    assert mean_of("", summarize([1.0, 1.0, 1.0]), rule).verdict is SUPPORTED
    assert mean_of("", summarize([1.0, 1.0]), rule).verdict is UNDECIDED
    assert mean_of("", summarize([1.0]), rule).verdict is UNDECIDED
    assert mean_of("", summarize([]), rule).verdict is UNDECIDED
    # 1 of 5 is a fifth, 1 of 4 is more.
    assert mean_of("", summarize([1.0] * 4 + [NAN]), rule).verdict is SUPPORTED
    assert mean_of("", summarize([1.0] * 3 + [NAN]), rule).verdict is UNDECIDED
    assert mean_of("", summarize([NAN] * 3), rule).verdict is UNDECIDED
    assert mean_of("", None, rule) == Finding("", seeds=0, verdict=NOT_RUN)
    assert mean_of("", summarize([1.0] * 3)).verdict is None


def test_a_mean_by_hand() -> None:
    # Standard error 1 / sqrt 3; 97.5% quantile of t, 2 degrees of freedom: 4.30265. 2 - 2.484 < 0.
    found = mean_of("", summarize([1.0, 2.0, 3.0]), above(0))
    assert found.low == pytest.approx(2 - 4.30265 / math.sqrt(3), rel=1e-5)
    assert (found.value, found.std, found.seeds, found.verdict) == (2.0, 1.0, 3, UNDECIDED)


def test_the_interval_of_a_share_is_told_within_0_and_1() -> None:
    # Mean 0.9, standard deviation 0.1: 0.9 -+ 4.30265 * 0.1 / sqrt 3, up to 1.148.
    shares = summarize([0.8, 0.9, 1.0])
    found = mean_of("", shares, within(0, 1), share=True)
    assert found.low == pytest.approx(0.9 - 4.30265 * 0.1 / math.sqrt(3), rel=1e-5)
    assert found.high == 1
    assert found.verdict is UNDECIDED  # the rule sees what lies above 1
    assert mean_of("", summarize([0.0, 0.1, 0.2]), share=True).low == 0
    assert mean_of("", shares).high == pytest.approx(1.1484, abs=1e-4)


def test_a_share_of_seeds_by_hand() -> None:
    # If all of n agree, the lower end is 0.025 ** (1 / n): 0.4782 for 5 and 0.5407 for 6.
    assert share_finding("", 5, 5).verdict is UNDECIDED
    six = share_finding("", 6, 6)
    assert six.low == pytest.approx(0.025 ** (1 / 6))
    assert (six.value, six.high, six.seeds, six.verdict) == (1.0, 1.0, 6, SUPPORTED)
    assert share_finding("", 0, 6).verdict is CONTRADICTED
    # 8 of 10 (0.444 to 0.975) and 9 of 10 (0.555 to 0.997).
    eight = share_finding("", 8, 10, 2)
    assert (eight.value, eight.diverged, eight.verdict) == (0.8, 2, UNDECIDED)
    assert eight.low == pytest.approx(0.4439, abs=1e-4)
    assert share_finding("", 9, 10, 1).verdict is SUPPORTED
    assert share_finding("", 1, 1).verdict is UNDECIDED


def test_a_difference_by_hand() -> None:
    # Variances 1 and 1, squared standard errors 1/3 each: as Student's, with 4 degrees of freedom.
    found = difference("", summarize([4.0, 5.0, 6.0]), summarize([1.0, 2.0, 3.0]), above(0))
    half = 2.7764451 * math.sqrt(2 / 3)
    assert found.value == 3.0
    assert found.low == pytest.approx(3 - half)
    assert found.high == pytest.approx(3 + half)
    assert found.verdict is SUPPORTED
    # One side without a spread: 1/3, and the degrees of freedom of the other, 2.
    found = difference("", summarize([4.0, 5.0, 6.0]), summarize([2.0] * 3), above(0))
    assert found.low == pytest.approx(3 - 4.3026527 / math.sqrt(3))
    same = difference("", summarize([4.0] * 3), summarize([2.0] * 3), above(0))
    assert (same.low, same.high, same.verdict) == (2.0, 2.0, SUPPORTED)
    assert difference("", summarize([4.0]), summarize([2.0] * 3), above(0)).verdict is UNDECIDED
    assert difference("", summarize([NAN]), summarize([2.0] * 3), above(0)).value is None
    assert difference("", None, summarize([2.0] * 3), above(0)).verdict is NOT_RUN


# Claims 1 to 7 and 11: widths.


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


def test_claim_1(verdict: Judge) -> None:
    def of(good: int, bad: int, diverged: int = 0) -> Runs:
        losses = [0.01] * (good + bad) + [NAN] * diverged
        seeds = [SHAPE] * good + [FLAT] * bad + [SHAPE] * diverged
        return on_both_tasks("autoencoder", run(seeds, losses))

    assert verdict(1, of(6, 0)) is SUPPORTED
    assert verdict(1, of(9, 0, diverged=1)) is SUPPORTED
    assert verdict(1, of(3, 3)) is UNDECIDED
    assert verdict(1, of(8, 0, diverged=2)) is UNDECIDED  # they have no shape, whatever the widths
    assert verdict(1, of(1, 0)) is UNDECIDED
    assert verdict(1, of(0, 6)) is CONTRADICTED
    assert verdict(1, of(0, 0, diverged=6)) is CONTRADICTED
    one_task = on_both_tasks("autoencoder", run([SHAPE] * 6), run([FLAT] * 6))
    assert verdict(1, one_task) is CONTRADICTED


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


def spreading(inner: float, outer: float, output: float) -> Seeds:
    """Six seeds, whose widths are this far from the medians, in alternating directions."""
    sign = [1, -1, 1, -1, 1, -1]
    return run([[400 + s * outer, *[300 + s * inner] * 4, 500 + s * output] for s in sign])


def test_claim_2(verdict: Judge, finding: Find) -> None:
    # Without a spread of the excess, its interval is a point: the inner distance less the other.
    assert verdict(2, on_both_tasks("autoencoder", spreading(50, 10, 5))) is SUPPORTED
    assert verdict(2, on_both_tasks("autoencoder", spreading(50, 10, 60))) is CONTRADICTED
    assert verdict(2, on_both_tasks("autoencoder", spreading(50, 60, 10))) is CONTRADICTED
    # The inner layers alone leave the median, in one seed of six: excess 240 once and 0 else; mean
    # 40, standard error 240 / 6 = 40, t = 1 < 2.57.
    once = run([[400, *[540] * 4, 500]] + [[400, *[300] * 4, 500]] * 5)
    assert verdict(2, on_both_tasks("autoencoder", once)) is UNDECIDED
    found = finding(2, on_both_tasks("autoencoder", once), "denoising, width of layer 2")
    assert found.std == pytest.approx(240 / math.sqrt(6))  # 240^2 (1/6)(5/6) 6/5
    single = on_both_tasks("autoencoder", run([SHAPE]))
    assert verdict(2, single) is UNDECIDED


def test_claim_3(verdict: Judge, finding: Find) -> None:
    def of(*outputs: float) -> Seeds:
        return run([[400, 300, 200, 300, 400, output] for output in outputs])

    # 65% of 784 are 509.6, the margins 470.4 and 548.8. 97.5% quantile of t, 2 degrees of freedom:
    # 4.303. Half of 20 around 510: 4.303 * 10 / sqrt 3 = 24.8; of 40 around 500: 49.7.
    assert verdict(3, on_both_tasks("autoencoder", of(500, 510, 520))) is SUPPORTED
    assert verdict(3, on_both_tasks("autoencoder", of(480, 500, 520))) is UNDECIDED
    assert verdict(3, on_both_tasks("autoencoder", of(590, 600, 610))) is CONTRADICTED
    assert verdict(3, on_both_tasks("autoencoder", of(510, 510))) is UNDECIDED
    one_task = on_both_tasks("autoencoder", of(500, 510, 520), of(590, 600, 610))
    assert verdict(3, one_task) is CONTRADICTED
    found = finding(3, one_task, "denoising")
    assert found.value == pytest.approx(510 / 784)
    # A run of another depth is not the article's.
    shallow = on_both_tasks("autoencoder", run([[300, 510]] * 3))
    assert verdict(3, shallow) is NOT_RUN


def test_claim_4(verdict: Judge, finding: Find) -> None:
    def of(share: float, ever: int) -> Pixels:
        counts = {"nonzero_in_one_per_thousand": 588, "nonzero_in_one_per_hundred": 392}
        return Pixels(nonzero_share=share, ever_nonzero=ever, **counts)

    assert verdict(4, {}, of(0.66, 784)) is SUPPORTED
    assert verdict(4, {}, of(0.2, 500)) is UNDECIDED  # 500 / 784 = 63.8%
    assert verdict(4, {}, of(0.2, 700)) is CONTRADICTED  # 89%
    assert verdict(4, {}, of(0.2, 400)) is CONTRADICTED  # 51%
    assert verdict(4, {}) is NOT_RUN
    name = "pixels that are not zero in at least 0.1% of the images"
    found = finding(4, {}, name, of(0.2, 400))
    assert (found.value, found.verdict, found.seeds) == (0.75, None, None)


def shifted(*by: float) -> Seeds:
    """A run whose seeds have the widths of SHAPE, shifted."""
    return run([[width + shift for width in SHAPE] for shift in by])


def test_claim_5(verdict: Judge, finding: Find) -> None:
    def of(one: Seeds, other: Seeds) -> Verdict:
        return verdict(5, on_both_tasks("autoencoder", one, other))

    # Paired by seed: differences 20, 20, 20, though the widths themselves are far apart.
    assert of(shifted(0, 100, 200), shifted(-20, 80, 180)) is SUPPORTED
    # Differences -100, 0, 100: half the interval is 4.303 * 100 / sqrt 3 = 248 > 78.
    assert of(shifted(0, 0, 0), shifted(100, 0, -100)) is UNDECIDED
    assert of(shifted(0, 0, 0), shifted(90, 90, 90)) is CONTRADICTED
    one_layer = run([[*SHAPE[:5], 600]] * 3)
    assert of(shifted(0, 0, 0), one_layer) is CONTRADICTED
    assert verdict(5, {"autoencoder-denoising": shifted(0, 0, 0)}) is NOT_RUN
    # No seed in both; then two pairs, because one seed diverged in one of them.
    assert of(shifted(0, 0, 0), run([SHAPE] * 3, first_seed=3)) is UNDECIDED
    assert of(shifted(0, 0, 0), run([SHAPE] * 3, [0.01, NAN, 0.01])) is UNDECIDED
    results = {
        "autoencoder-denoising": shifted(0, 10, 20, 30),
        "autoencoder-deblurring": run([SHAPE] * 3, [0.01, NAN, 0.01], first_seed=1),
    }
    found = finding(5, results, "layer 4, denoising less deblurring")
    assert (found.value, found.seeds, found.diverged) == (20.0, 3, 1)  # (10 + 30) / 2


def test_the_coding_layer_is_the_first_narrowest_hidden_one() -> None:
    seeds = [SHAPE, [200, 200, 300, 400, 500, 100], [600, 500, 400, 300, 200, 600]]
    assert widths.coding_layers(np.array(seeds, dtype=float)).tolist() == [3, 1, 5]


def test_claim_6(verdict: Judge, finding: Find) -> None:
    early, late = [300, 200, 300, 400, 500, 600], [500, 400, 300, 200, 300, 600]
    wide = [400, 300, 350, 400, 500, 600]
    assert verdict(6, on_both_tasks("residual", run([early] * 6))) is SUPPORTED
    assert verdict(6, on_both_tasks("residual", run([early] * 5))) is UNDECIDED  # 5 of 5
    assert verdict(6, on_both_tasks("residual", run([late] * 6))) is CONTRADICTED  # the place
    assert verdict(6, on_both_tasks("residual", run([wide] * 6))) is CONTRADICTED  # the width
    # Widths 150 and 250, three each: mean 200, half the interval 2.571 * 54.8 / sqrt 6 = 57 > 50.
    mixed = [[300, 150, *early[2:]], [300, 250, *early[2:]]] * 3
    assert verdict(6, on_both_tasks("residual", run(mixed))) is UNDECIDED
    one_task = on_both_tasks("residual", run([early] * 6), run([late] * 6))
    assert finding(6, one_task, "deblurring, coding layer").value == 4


def test_claim_7(verdict: Judge) -> None:
    def of(with_skips: Sequence[float], without: Sequence[float]) -> Verdict:
        runs = {}
        for network, outputs in (("residual", with_skips), ("autoencoder", without)):
            for task in TASKS:
                runs[f"{network}-{task}"] = run([[*SHAPE[:5], output] for output in outputs])
        return verdict(7, runs)

    # Standard errors of 10 / sqrt 3 each, 4 degrees of freedom: half 2.776 * 10 * sqrt(2/3) = 22.7.
    assert of([590, 600, 610], [490, 500, 510]) is SUPPORTED
    assert of([500, 510, 520], [490, 500, 510]) is UNDECIDED
    assert of([490, 500, 510], [590, 600, 610]) is CONTRADICTED
    assert of([600], [500]) is UNDECIDED
    assert verdict(7, on_both_tasks("residual", run([SHAPE] * 3))) is NOT_RUN


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([100, 200, 300, 400, 500, 600], True),
        ([700, 200, 300, 400, 500, 600], True),  # from the coding layer on
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
    def of(good: int, bad: int, diverged: int = 0) -> Verdict:
        seeds = [[100.0, 200, 300, 400, 500, 600]] * good + [FLAT] * (bad + diverged)
        losses = [0.01] * (good + bad) + [NAN] * diverged
        return verdict(11, {"residual-denoising": run(seeds, losses)})

    assert of(6, 0) is SUPPORTED
    assert of(3, 3) is UNDECIDED
    assert of(8, 0, diverged=2) is UNDECIDED
    assert of(0, 6) is CONTRADICTED
    assert verdict(11, {}) is NOT_RUN


# Claims 8 to 10: skips.


def with_skips(tau: Mapping[tuple[int, int], float | Sequence[float]], seeds: int = 3) -> Seeds:
    of_seeds = {
        name: [float(value)] * seeds if isinstance(value, int | float) else value
        for name, value in tau.items()
    }
    return run([SHAPE] * seeds, tau=of_seeds)


def test_claim_8(verdict: Judge, finding: Find) -> None:
    out: dict[tuple[int, int], float | Sequence[float]] = {(5, i): 0.3 for i in range(1, 6)}
    out[5, 0] = 0.0
    assert verdict(8, on_both_tasks("residual", with_skips(out))) is SUPPORTED
    found = finding(
        8,
        on_both_tasks("residual", with_skips(out)),
        "deblurring, mean of the skips into the output",
    )
    assert found.value == pytest.approx(5 * 0.3 / 6)
    # For denoising something comes from the input, or nothing from layer 3.
    for change in ({(5, 0): 0.2}, {(5, 3): -0.1}, {(5, 3): 0.0}):
        other = with_skips(out | change)
        assert verdict(8, on_both_tasks("residual", other, with_skips(out))) is CONTRADICTED
        # For deblurring the average alone is claimed.
        assert verdict(8, on_both_tasks("residual", with_skips(out), other)) is SUPPORTED
    negative = with_skips({(5, i): -0.3 for i in range(6)})
    assert verdict(8, on_both_tasks("residual", with_skips(out), negative)) is CONTRADICTED
    # Skips -0.1, 0.1, 0.3: mean 0.1, half the interval 4.303 * 0.2 / sqrt 3 = 0.5.
    unclear = with_skips(out | {(5, 4): [-0.1, 0.1, 0.3]})
    assert verdict(8, on_both_tasks("residual", unclear)) is UNDECIDED
    assert verdict(8, on_both_tasks("residual", with_skips(out, seeds=1))) is UNDECIDED


def test_the_share_of_negative_skips_by_hand() -> None:
    tau = np.full((3, 3, 3), NAN)
    tau[:, np.tril_indices(3)[0], np.tril_indices(3)[1]] = 0
    # Seed 0: three of four active ones; those into the output, of row 2, are not among them.
    tau[0, 0, 0], tau[0, 1, 0], tau[0, 1, 1], tau[0, 2, 0] = -0.1, -0.2, 0.3, -1
    tau[1, 1, 1] = -0.1  # the only one that is active
    assert skips.negative_share(tau).tolist() == [2 / 3, 1, 0]


def test_claim_9(verdict: Judge, finding: Find) -> None:
    assert verdict(
        9, on_both_tasks("residual", with_skips({(0, 0): -1, (3, 1): -1, (2, 2): 1}))
    ) is (SUPPORTED)
    positive = with_skips({(0, 0): 1, (3, 1): 1, (2, 2): -1})
    assert verdict(9, on_both_tasks("residual", positive)) is CONTRADICTED
    into_output = with_skips({(5, i): -1 for i in range(6)})
    assert verdict(9, on_both_tasks("residual", into_output)) is CONTRADICTED  # no other is active
    # Shares 1, 1, 0: mean 2/3, half the interval 4.303 / 3.
    unclear = with_skips({(0, 0): [-1, -1, 1]})
    assert verdict(9, on_both_tasks("residual", unclear)) is UNDECIDED
    assert verdict(9, on_both_tasks("residual", with_skips({(0, 0): -1}, seeds=2))) is UNDECIDED
    found = finding(
        9, on_both_tasks("residual", unclear), "denoising, among active and inactive ones"
    )
    assert found.value == pytest.approx(2 / 3 / 15)


def test_the_counterdiagonal_connects_mirror_images() -> None:
    # x(0) with x(6), x(1) with x(5), x(2) with x(4); tau(l, i) leads from x(i) to x(l + 1).
    assert skips.counterdiagonal(6) == [(3, 2), (4, 1), (5, 0)]
    tau = np.full((2, 6, 6), NAN)
    tau[:, np.tril_indices(6)[0], np.tril_indices(6)[1]] = [[1.0], [0.0]]
    assert skips.counterdiagonal_share(tau).tolist() == [3 / 21, 0]


def test_claim_10(verdict: Judge, finding: Find) -> None:
    unet = {(5, 0): 0.3, (4, 1): -0.3, (3, 2): 0.3}
    assert verdict(10, on_both_tasks("residual", with_skips(unet))) is CONTRADICTED
    # 0.9 on it, 1.8 beside it: a third.
    other = with_skips(unet | {(5, 5): -0.9, (0, 0): 0.9})
    assert verdict(10, on_both_tasks("residual", other)) is SUPPORTED
    assert verdict(10, on_both_tasks("residual", other, with_skips(unet))) is CONTRADICTED
    # Shares 1, 1/2 and 0: mean 1/2.
    mixed = with_skips({(5, 0): [1, 1, 0], (5, 5): [0, 1, 1]})
    assert verdict(10, on_both_tasks("residual", mixed)) is UNDECIDED
    on = finding(
        10, on_both_tasks("residual", other), "denoising, mean |tau| on the counterdiagonal"
    )
    off = finding(
        10, on_both_tasks("residual", other), "denoising, mean |tau| off the counterdiagonal"
    )
    assert on.value == pytest.approx(0.3)
    assert off.value == pytest.approx(1.8 / 18)


# Claims 12 and 15 to 17: training.


def test_claim_12(verdict: Judge, finding: Find) -> None:
    def of(denoising: tuple[Sequence[float], ...], deblurring: tuple[Sequence[float], ...]) -> Runs:
        runs = {}
        for task, (without, skipping) in (("denoising", denoising), ("deblurring", deblurring)):
            for network, losses in (("autoencoder", without), ("residual", skipping)):
                runs[f"{network}-{task}"] = run([SHAPE] * len(losses), losses)
        return runs

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
    assert verdict(12, {}) is NOT_RUN


def test_claim_15_is_proved_by_tests_that_exist(verdict: Judge) -> None:
    assert verdict(15, {}) is SUPPORTED
    text = (Path(__file__).parents[2] / training.EQUIVALENCE_TEST).read_text("utf-8")
    assert "def test_without_regularizer_adabreg_is_adam(" in text
    assert "def test_without_regularizer_a_network_trains_as_under_adam(" in text


def switching(on: int, off: int) -> dict[int, Any]:
    """In the second epoch one row goes on in one layer, and off in another."""
    none = [0] * (LAYERS - 2)
    return {
        1: {"switched_on": [on, 0, *none], "switched_off": [0, off, *none]},
        2: {"switched_on": [1, 0, *none], "switched_off": [0, 1, *none]},
    }


def test_claim_16(make_run: Callable[..., Any], verdict: Judge, finding: Find) -> None:
    def of(*counts: tuple[int, int], losses: Sequence[float] | None = None) -> Runs:
        seeds = run([SHAPE] * len(counts), losses)
        seeds = [s | {"history": switching(*n)} for s, n in zip(seeds, counts, strict=True)]
        names = (f"{network}-{task}" for network in ("autoencoder", "residual") for task in TASKS)
        return {name: make_run(seeds, f"paper-{name}", epochs=2) for name in names}

    assert verdict(16, of((9, 4), (9, 4), (9, 4))) is SUPPORTED  # 10 of 15
    assert finding(16, of((9, 4)), "residual, deblurring").value == pytest.approx(2 / 3)
    assert finding(16, of((9, 4)), "residual, deblurring, switches in a seed").value == 15
    assert verdict(16, of((4, 9), (4, 9), (4, 9))) is CONTRADICTED
    assert verdict(16, of((4, 9), (4, 4), (9, 4))) is UNDECIDED  # mean 1/2
    assert verdict(16, of((9, 4))) is UNDECIDED
    assert verdict(16, of((9, 4), (9, 4), losses=[NAN, NAN])) is UNDECIDED
    assert verdict(16, {}) is NOT_RUN


def test_what_never_switches_has_no_share_of_additions(finding: Find) -> None:
    results = dense([[[[9]], [[1]], [[1, 0]], [[9, 0, 0]]]] * 3)
    for seed, (on, off) in zip(results[DENSENET], ((0, 0), (9, 1), (0, 0)), strict=True):
        seed["history"] = {1: {"switched_on": [on, 0, 0, 0], "switched_off": [0, off, 0, 0]}}
    assert finding(16, results, "DenseNet, kernels (seeds with switches)").value == 0.9
    assert finding(16, results, "DenseNet, switches in a seed").value == pytest.approx(10 / 3)


def test_nothing_switched_is_neither_added_nor_removed() -> None:
    shares = training.share_of_additions(np.array([0.0, 3.0]), np.array([0.0, 1.0]))
    assert shares.tolist() == [0.5, 0.75]


def test_claim_17(verdict: Judge, finding: Find) -> None:
    def of(*active: float) -> Runs:
        seeds = [[width, *[100] * 5] for width in active]
        found = run(seeds, living=[[200, *[100] * 5]] * len(active))
        networks = ("autoencoder", "residual")
        return {f"{network}-{task}": found for network in networks for task in TASKS}

    # Of 700 living rows 700, 697 (99.6%), 660 (94.3%), 600 (85.7%) are active.
    assert verdict(17, of(200, 200, 200)) is SUPPORTED
    assert verdict(17, of(197, 197, 197)) is SUPPORTED
    assert verdict(17, of(160, 160, 160)) is UNDECIDED
    assert verdict(17, of(100, 100, 100)) is CONTRADICTED
    # 700, 700, 693: mean 99.67%, half the interval 4.303 * 0.577% / sqrt 3 = 1.4%.
    assert verdict(17, of(200, 200, 193)) is UNDECIDED
    assert verdict(17, of(200)) is UNDECIDED
    layer = finding(17, of(160), "residual, denoising, layer 1")
    assert (layer.value, layer.verdict) == (0.8, None)
    dead = finding(17, of(160), "residual, denoising, dead rows among all")
    assert dead.value == pytest.approx(1 - 700 / (6 * 784))
    assert training.active_share(np.zeros(1), np.zeros(1)).tolist() == [1]


# Claims 13 and 14: the DenseNet.


def dense(of_seeds: Sequence[Sequence[Any]], diverged: int = 0) -> dict[str, Seeds]:
    """A DenseNet from its kernel norms, from first to last convolution; then diverged seeds."""
    norms = [*of_seeds, *[of_seeds[0] if of_seeds else [[[1]], [[1]], [[1, 1]]]] * diverged]
    losses = [0.3] * len(of_seeds) + [NAN] * diverged
    found = [{"norms": n, "loss": loss} for n, loss in zip(norms, losses, strict=True)]
    return {DENSENET: found}


def test_claim_13(verdict: Judge, finding: Find) -> None:
    def of(*layers: tuple[float, float, float]) -> Runs:
        return dense([[[[9]], [[a]], [[b, c]], [[9, 9, 9]]] for a, b, c in layers])

    # The last layer gets b + c, the one before it a; per kernel (b + c) / 2 and a.
    results = of(*[(3, 1, 4)] * 3)
    assert verdict(13, results) is SUPPORTED
    assert finding(13, results, "lead of the last layer, sums").value == pytest.approx(2 / 8)
    per_kernel = finding(13, results, "lead of the last layer, per kernel")
    assert per_kernel.value == pytest.approx((2.5 - 3) / 5.5)  # by its number of kernels alone
    assert per_kernel.verdict is None
    # Of the skips proper, layer 1 has none, and layer 2 the one from the first convolution, b.
    proper = "lead of the last layer, sums without the layer just before"
    assert finding(13, results, proper).value == 1
    assert verdict(13, of(*[(5, 1, 3)] * 3)) is CONTRADICTED
    assert verdict(13, of((3, 1, 4), (4, 2, 2), (5, 1, 2))) is UNDECIDED  # 1/4, 0, -1/4
    assert verdict(13, of((3, 1, 4))) is UNDECIDED
    assert verdict(13, {}) is NOT_RUN
    assert densenet.lead_of_the_last(np.zeros((1, 2))).tolist() == [0]


def test_networks_that_did_not_collapse_stand_beside_all(
    find: Callable[..., list[Finding]], finding: Find
) -> None:
    # Growth 2, one layer, as in `test_claim_14`; a second layer that reads a part of it.
    def norms(into_last: float) -> list[Any]:
        return [[[1], [1]], [[1, 0], [0, 0]], [[0, 0, into_last, 0], [0] * 4], [[0, 0, 1, 1, 1, 1]]]

    results = dense([norms(1), norms(3), norms(9)])
    lead = f"lead of the last layer, sums{densenet.OTHERS}"
    inputs = f"unused input channels{densenet.OTHERS}"
    for accuracies, expected in (
        ((0.1, 0.1, 0.9), 0.8),  # 9 against 1, of 10
        ((0.1, 0.9, 0.9), 0.65),  # and 3 against 1, of 4
        ((0.1, 0.1, 0.1), None),  # then there are no others
        ((0.9, 0.9, 0.9), None),
    ):
        for seed, accuracy in zip(results[DENSENET], accuracies, strict=True):
            seed["accuracy"] = accuracy
        names = {found.name for number in (13, 14) for found in find(number, results)}
        assert ({lead, inputs} <= names) == (expected is not None)
        if expected is not None:
            assert finding(13, results, lead).value == pytest.approx(expected)
            assert finding(13, results, lead).verdict is None
            assert finding(14, results, inputs).value == 1


def test_claim_14(verdict: Judge, finding: Find) -> None:
    # Growth 2, one layer. Channel 1 is read by nothing; channel 3 is written by nothing.
    both = [[[1], [1]], [[1, 0], [0, 0]], [[0, 0, 1, 1]]]
    # The last convolution reads channel 1, so that the network uses it, the dense block does not.
    read = [[[1], [1]], [[1, 0], [0, 0]], [[0, 1, 1, 1]]]
    results = dense([both] * 6)
    assert verdict(14, results) is SUPPORTED
    assert finding(14, results, "unused input channels").value == 1
    assert finding(14, results, "unused output channels").value == 1
    results = dense([read] * 6)
    assert verdict(14, results) is CONTRADICTED
    assert finding(14, results, "unused input channels").value == 0
    assert finding(14, results, "unused input channels of the dense block alone").value == 1
    assert verdict(14, dense([both] * 3 + [read] * 3)) is UNDECIDED
    assert verdict(14, dense([both] * 8, diverged=2)) is UNDECIDED
    assert verdict(14, dense([], diverged=6)) is CONTRADICTED
    assert verdict(14, dense([both])) is UNDECIDED
    assert verdict(14, {}) is NOT_RUN


# The table.


@pytest.fixture(scope="module")
def study(make_study: Callable[..., Study]) -> Study:
    """Two of the runs: three seeds, and one seed that diverged."""
    rising = run([[100, 200, 300, 400, 500, 600]] * 3)
    runs = {
        "paper-residual-denoising": rising,
        "authors-autoencoder-denoising": run([SHAPE], [NAN]),
    }
    return make_study(runs)


@pytest.fixture(scope="module")
def tables(study: Study) -> dict[str, str]:
    return render_all(study)


def test_all_claims_have_a_rule() -> None:
    assert [one.number for one in CLAIMS] == list(range(1, 18))
    for one in CLAIMS:
        assert one.rule.startswith("Supported if ")
        assert not one.statistic.endswith(".")


def test_nothing_run_at_all(make_study: Callable[..., Study]) -> None:
    verdicts = {d.claim.number: d.verdict for d in decide(make_study({}))}
    assert verdicts == dict.fromkeys(range(1, 18), NOT_RUN) | {15: SUPPORTED}


def test_fresh_seeds_have_no_part_in_what_was_registered(make_study: Callable[..., Study]) -> None:
    registered = run([SHAPE] * 10)
    both = [
        {"paper-autoencoder-denoising": s}
        for s in (registered, registered + run([FLAT], first_seed=10))
    ]
    one, other = (decide(make_study(runs)) for runs in both)
    assert [d.findings for d in one] == [d.findings for d in other]


def test_claims_as_json(tables: dict[str, str]) -> None:
    content = json.loads(tables["claims.json"])
    assert list(content["claims"]) == [str(number) for number in range(1, 18)]
    triangle = content["claims"]["11"]
    assert triangle["paper"]["verdict"] == "undecided"  # 3 of 3: from 0.29
    (found,) = triangle["paper"]["findings"]
    assert found["value"] == 1
    assert found["low"] == pytest.approx(0.025 ** (1 / 3))
    assert triangle["authors"]["verdict"] == "not run"
    assert triangle["authors"]["findings"][0]["value"] is None
    shape = content["claims"]["1"]["authors"]["findings"][0]
    assert (shape["value"], shape["seeds"], shape["diverged"]) == (0, 1, 1)
    assert sum(content["verdicts"]["paper"].values()) == 17
    assert content["verdicts"]["authors"]["supported"] == 1


def test_claims_as_csv(tables: dict[str, str]) -> None:
    frame = pd.read_csv(io.StringIO(tables["claims.csv"]), keep_default_na=False)
    columns = [
        "claim",
        "protocol",
        "rules",
        "name",
        "value",
        "std",
        "low",
        "high",
        "n",
        "diverged",
        "verdict",
    ]
    assert list(frame) == columns
    # Without fresh seeds the revised rules decide nothing.
    assert set(frame[frame["rules"] == "revised"]["verdict"]) == {"not run", ""}
    frame = frame[frame["rules"] == "registered"]
    triangle = frame[frame["claim"] == 11]
    assert triangle["value"].tolist() == ["1.0", ""]
    assert triangle["verdict"].tolist() == ["undecided", "not run"]
    beside = frame[frame["verdict"] == ""]
    assert set(beside["claim"]) == {2, 6, 9, 10, 16, 17}


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
    make_study: Callable[..., Study], accuracies: Sequence[float], words: str | None
) -> None:
    # Layers 1 and 1 have no lead: the rule of the claim alone would say contradicted.
    (seeds,) = dense([[[[9]], [[1]], [[1, 0]], [[9, 0, 0]]]] * 3).values()
    seeds = [seed | {"accuracy": a} for seed, a in zip(seeds, accuracies, strict=True)]
    tables = render_all(make_study({f"authors-{DENSENET}": seeds}))
    text, mark = tables["claims.md"], COLLAPSED_MARK
    claims = json.loads(tables["claims.json"])["claims"]
    marked = {number for number, one in claims.items() if one["authors"]["collapsed"]}
    assert "lead of the last layer, sums: 0 (0), interval 0 to 0, 3 seeds: contradicted" in text
    if words is None:
        assert mark not in text
        assert not marked
        assert "| not run | **contradicted**: 0 (n = 3) |" in text
    else:
        assert marked == {"13", "14"}
        assert f"| not run | **undecided**{mark}: 0 (n = 3) |" in text
        assert text.count(f"*Authors:* undecided{mark}") == 2
        assert (
            f"{mark} Networks behind this verdict collapsed to one answer for all images: " in text
        )
        assert f"{words} under `authors`. Their" in text
