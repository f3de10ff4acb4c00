"""The claims: each rule by hand-made seeds, registered and revised, and the tables of them."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bregman_nas.report import measures
from bregman_nas.report.claims import CLAIMS, COLLAPSED_MARK, REVISED, rules
from bregman_nas.report.claims.claims import EQUIVALENCE_TEST, EXCESS, INPUTS, LEAD, OTHERS
from bregman_nas.report.claims.rules import Finding, Results, Rule, Verdict, above, within
from bregman_nas.report.data import DENSENET, NETWORKS, TASKS
from bregman_nas.report.stats import summarize
from bregman_nas.report.tables import render_all
from tests.report.studies import LAYERS, SHAPE, make_run, make_study

SUPPORTED, CONTRADICTED = Verdict.SUPPORTED, Verdict.CONTRADICTED
UNDECIDED, NOT_RUN = Verdict.UNDECIDED, Verdict.NOT_RUN
NAN = math.nan
Widths = Sequence[float]
Seeds = list[dict[str, Any]]
Runs = dict[str, Any]

FLAT: Widths = [500] * LAYERS
RISING: Widths = [100, 200, 300, 400, 500, 600]
FREQUENCIES = np.arange(784) / 784


def pixels(share: float, ever: int) -> np.ndarray:
    """Frequencies with this mean, of which so many are not 0."""
    return np.where(np.arange(784) < ever, share * 784 / ever, 0)


def run(
    of_seeds: Sequence[Widths],
    losses: Sequence[float] | None = None,
    tau: Mapping[tuple[int, int], Any] | None = None,
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


def mixed(good: int, bad: int, diverged: int, shape: Widths = SHAPE) -> Seeds:
    losses = [0.01] * (good + bad) + [NAN] * diverged
    return run([shape] * good + [FLAT] * bad + [shape] * diverged, losses)


def outputs(*of_seeds: float) -> Seeds:
    return run([[*SHAPE[:5], output] for output in of_seeds])


def shifted(*by: float) -> Seeds:
    """A run whose seeds have the widths of SHAPE, shifted."""
    return run([[width + shift for width in SHAPE] for shift in by])


def skips(tau: Mapping[tuple[int, int], Any], seeds: int = 3) -> Seeds:
    return run([SHAPE] * seeds, tau=tau)


def plain(one: Seeds, other: Seeds | None = None) -> Runs:
    """Without skips: for denoising, and for deblurring."""
    return {"autoencoder-denoising": one, "autoencoder-deblurring": other or one}


def residual(one: Seeds, other: Seeds | None = None) -> Runs:
    return {"residual-denoising": one, "residual-deblurring": other or one}


def all_four(seeds: Any) -> Runs:
    return {f"{network}-{task}": seeds for network in NETWORKS for task in TASKS}


def dense(of_seeds: Sequence[Any], collapsed: int = 0, diverged: int = 0) -> Runs:
    """A DenseNet of kernel norms; then so many that collapsed, all zero, and that diverged."""
    zero = [[[0]], [[0]], [[0, 0]], [[0, 0, 0]]]
    lost = {"norms": of_seeds[0] if of_seeds else zero, "loss": NAN}
    seeds = [{"norms": norms, "accuracy": 0.8} for norms in of_seeds]
    seeds += [{"norms": zero, "accuracy": 0.1}] * collapsed + [lost] * diverged
    return {DENSENET: seeds}


def find(number: int, runs: Runs, revised: bool = False, **more: Any) -> dict[str, Finding]:
    """The findings of a claim on runs of `paper`, by name."""
    every = more.pop("every", make_study({}))
    made = {f"paper-{name}": seeds for name, seeds in runs.items()}
    results = Results(make_study(made, **{"frequencies": FREQUENCIES} | more), "paper", every)
    part = (REVISED if revised else CLAIMS)[number - 1].part
    return {found.name: found for found in part(results) if found is not None}


Intervals = list[tuple[float, float]]
# Each rule with intervals that it calls supported, undecided and contradicted.
RULES: list[tuple[Any, Intervals, Intervals, Intervals]] = [
    (above(1), [(1.1, 2)], [(1, 2)], [(0, 1)]),  # "more than 1" is wrong of 1 too
    (rules.at_most(1), [(0, 1)], [(1, 2)], [(1.1, 2)]),
    (within(1, 2), [(1, 2)], [(0.9, 1.5), (0, 3)], [(2.1, 3), (0, 0.9)]),
    (rules.at_least(0.99, 0.9), [(0.99, 1)], [(0.9, 0.9)], [(0.8, 0.89)]),
    # Not wholly negligible; above 0, and negligible.
    (rules.more_than_negligible(8), [(0.1, 8.1)], [(0, 20)], [(0.1, 8), (-20, -9)]),
    # Of the mean, and of a share of the resampled means, against which the mean decides nothing.
    (rules.surely, [(True, 0.975)], [(True, 0.974), (False, 0.026), (False, 1)], [(False, 0.025)]),
]


@pytest.mark.parametrize(("rule", "supported", "undecided", "contradicted"), RULES)
def test_rules_at_their_thresholds(
    rule: Rule, supported: Intervals, undecided: Intervals, contradicted: Intervals
) -> None:
    assert {rule(*interval) for interval in supported} == {SUPPORTED}
    assert {rule(*interval) for interval in undecided} == {UNDECIDED}
    assert {rule(*interval) for interval in contradicted} == {CONTRADICTED}


def test_a_claim_is_as_good_as_the_worst_of_its_findings() -> None:
    worst_last = [SUPPORTED, UNDECIDED, NOT_RUN, CONTRADICTED]
    for count in range(1, 5):
        found = [Finding("", verdict=verdict) for verdict in worst_last[:count]]
        assert rules.verdict_of(found) is worst_last[count - 1]


def mean_of(values: Sequence[float], rule: Rule | None, share: bool = False) -> Finding:
    found = rules.mean_of("", summarize(values), rule, share)
    assert found is not None
    return found


def test_a_mean_needs_three_seeds_and_few_diverged_ones() -> None:
    for values, expected in (
        ([1, 1, 1], SUPPORTED),
        ([1, 1], UNDECIDED),
        ([NAN] * 3, UNDECIDED),
        ([1, 1, 1, 1, NAN], SUPPORTED),  # 1 of 5 is a fifth
        ([1, 1, 1, NAN], UNDECIDED),
        ([], NOT_RUN),
    ):
        assert mean_of(values, above(0)).verdict is expected
    assert mean_of([1] * 3, None).verdict is None
    assert rules.mean_of("", summarize([])) is None


def test_intervals_by_hand() -> None:
    # 97.5% quantile of t, 2 degrees of freedom: 4.30265. What lies above 1 is seen by the rule, and
    # not told of a share.
    share = mean_of([0.8, 0.9, 1], within(0, 1), share=True)
    assert share.low == pytest.approx(0.9 - 4.30265 * 0.1 / math.sqrt(3), rel=1e-5)
    assert (share.high, share.verdict) == (1, UNDECIDED)
    # If all of n agree, the lower end is 0.025 ** (1 / n): 0.4782 for 5 and 0.5407 for 6; of 8 of
    # 10 and of 9 of 10 it is 0.444 and 0.555. Diverged ones do not agree.
    for (good, diverged), low, expected in (
        ((5, 0), 0.4782, UNDECIDED),
        ((6, 0), 0.5407, SUPPORTED),
        ((8, 2), 0.444, UNDECIDED),
        ((9, 1), 0.555, SUPPORTED),
    ):
        seeds = make_run(mixed(good, 0, diverged))
        told = rules.of_seeds("", lambda run: run.rows()[:, 0] > 0)(seeds)
        assert told is not None
        assert (told.seeds, told.verdict) == (good + diverged, expected)
        assert told.low == pytest.approx(low, abs=1e-3)


def test_a_difference_by_hand() -> None:
    three, two = summarize([4, 5, 6]), summarize([2] * 3)
    # One side without a spread: 1/3, and the degrees of freedom of the other, 2.
    found = rules.difference("", three, two, above(0))
    assert found.low == pytest.approx(3 - 4.3026527 / math.sqrt(3))
    same = rules.difference("", summarize([4] * 3), two, above(0))
    assert (same.low, same.high, same.verdict) == (2, 2, SUPPORTED)
    assert rules.difference("", summarize([4]), two, above(0)).verdict is UNDECIDED
    assert rules.difference("", summarize([NAN]), two, above(0)).value is None
    assert rules.difference("", summarize([]), two, above(0)).verdict is NOT_RUN


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
    widths = np.array([layers, FLAT], dtype=float)
    assert measures.has_autoencoder_shape(widths).tolist() == [expected, False]


def test_the_shape_is_that_of_the_mean_profile() -> None:
    # Each seed alone has a step of 100 in the wrong direction; their mean has none.
    one, other = [400.0, 200, 300, 200, 300, 500], [400.0, 300, 200, 300, 200, 500]
    samples = measures.resampled_means(np.array([one, other] * 10))
    assert not measures.has_autoencoder_shape(np.array([one, other])).any()
    # The mean of layers 2 to 5 is 250 -+ 50 (2 k / 20 - 1) for k of one kind, and two neighbours
    # differ by 100 |2 k / 20 - 1|, at most 39 for 7 <= k <= 13: of 2^20, 1 - 2 * 60460 do.
    share = measures.has_autoencoder_shape(samples).mean()
    assert share == pytest.approx(1 - 2 * 60460 / 2**20, abs=0.02)


def test_a_rising_line() -> None:
    rising = [[700, *RISING[1:]], [600, 500, 400, 200, 400, 600]]  # from the coding layer on
    # Two points are no line. On 0 to 4: 100, 600, 600, 600, 600; covariance 10 * 100, variances 10
    # and 200,000, so that R^2 = 1000^2 / (10 * 200,000) = 0.5.
    others = [[600, 500, 400, 300, 200, 600], [700, 100, 600, 600, 600, 600], FLAT]
    found = [measures.rises_linearly(np.array(of, dtype=float)) for of in (*rising, *others)]
    assert found == [True, True, False, False, False]


def test_the_area_under_the_curve_counts_pairs() -> None:
    # 3.5 of the pairs (3, 1) (3, 2) (4, 1) (4, 2), one of them a tie; 0 of 3; 3 of 3; no pairs.
    active = np.array([[0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1], [1] * 4, [0] * 4], dtype=bool)
    areas = measures.areas_under_the_curve(active, np.array([0.1, 0.2, 0.2, 0.4]))
    np.testing.assert_array_equal(areas, [3.5 / 4, 0, 1, NAN, NAN])


# The rules, by their verdicts: registered, and revised (None where it is not asked). Intervals too
# wide, too few seeds and runs that are missing are above.

EARLY, LATE = [300, 200, 300, 400, 500, 600], [500, 400, 300, 200, 300, 600]
OUT = {(5, i): 0.3 for i in range(1, 6)}
NEGATIVE, POSITIVE = {(0, 0): -1, (3, 1): -1, (2, 2): 1}, {(0, 0): 1, (3, 1): 1, (2, 2): -1}
UNET = {(5, 0): 0.3, (4, 1): -0.3, (3, 2): 0.3}
ALL = {(l, i): 0.1 for l in range(LAYERS) for i in range(l + 1)}


def spread(inner: float, outer: float, output: float) -> Runs:
    """Widths this far from the medians, in alternating directions."""
    signs = [1, -1] * 3
    return plain(run([[400 + s * outer, *[300 + s * inner] * 4, 500 + s * output] for s in signs]))


def inactive(*of_seeds: Sequence[int]) -> Runs:
    """Seeds in which all output rows but these are active."""
    rows = ([row for row in range(784) if row not in off] for off in of_seeds)
    return plain([run([SHAPE], first_seed=k)[0] | {"output": on} for k, on in enumerate(rows)])


RAREST, OFTEN = range(100), range(684, 784)
# 13 of 100 inactive rows are the most frequent ones: 87% of the pairs.
MOST = [*range(87), *range(771, 784)]


def losses(*tasks: tuple[Sequence[float], Sequence[float]]) -> Runs:
    """Without and with skips, by task."""
    return {
        f"{network}-{task}": run([SHAPE] * len(of_seeds), of_seeds)
        for task, pair in zip(TASKS, tasks, strict=True)
        for network, of_seeds in zip(NETWORKS, pair, strict=True)
    }


TWENTY, TWO = ([0.02] * 3, [0.001] * 3), ([0.02] * 3, [0.01] * 3)


def living(*active: float) -> Runs:
    """Of 700 living rows 500 more than these are active."""
    seeds = [[width, *[100] * 5] for width in active]
    return all_four(run(seeds, living=[[200, *[100] * 5]] * len(active)))


def read(*layers: tuple[float, float, float], collapsed: int = 0) -> Runs:
    """The last layer gets b + c, the one before it a; per kernel (b + c) / 2 and a."""
    return dense([[[[9]], [[a]], [[b, c]], [[9, 9, 9]]] for a, b, c in layers], collapsed)


def switching(first: tuple[int, int], *late: tuple[int, int]) -> Runs:
    """With so many rows on, and off, in the first epoch, and in the second of each seed."""

    def entry(on: int, off: int) -> dict[str, Any]:
        none = [0] * (LAYERS - 1)
        return {"switched_on": [on, *none], "switched_off": [*none, off]}

    seeds = run([SHAPE] * len(late))
    histories = [{"history": {1: entry(*first), 2: entry(*counts)}} for counts in late]
    return all_four([seed | history for seed, history in zip(seeds, histories, strict=True)])


LEADS, LAGS = (3, 1, 4), (5, 1, 3)
# Growth 2, one layer. Channel 1 is read by nothing; channel 3 is written by nothing.
UNUSED = [[[1], [1]], [[1, 0], [0, 0]], [[0, 0, 1, 1]]]
# The last convolution reads channel 1, so that the network uses it, the dense block does not.
READ = [[[1], [1]], [[1, 0], [0, 0]], [[0, 1, 1, 1]]]


VERDICTS = [
    (1, plain(mixed(6, 0, 0)), SUPPORTED, SUPPORTED),
    (1, plain(mixed(0, 6, 0)), CONTRADICTED, CONTRADICTED),
    (1, plain(mixed(0, 0, 6)), CONTRADICTED, UNDECIDED),
    # With k of n seeds flat, the middle is 300 k / n higher, at most 500 - 78.4: k <= 0.73 n.
    (1, plain(mixed(8, 2, 0)), UNDECIDED, SUPPORTED),  # 7 of 10 or fewer: 99.9%
    # Without a spread of the excess, its interval is a point: the inner distance less the other.
    (2, spread(50, 10, 5), SUPPORTED, None),
    (2, spread(50, 10, 60), CONTRADICTED, None),
    # 65% of 784 are 509.6, the margins 470.4 and 548.8; half of 20 is 4.303 * 10 / sqrt 3 = 24.8.
    (3, plain(outputs(500, 510, 520)), SUPPORTED, None),
    (3, plain(outputs(500, 510, 520), outputs(590, 600, 610)), CONTRADICTED, None),
    (3, plain(run([[300, 510]] * 3)), NOT_RUN, None),  # not the article's depth
    (4, inactive(*[RAREST] * 3), None, SUPPORTED),  # area 1
    (4, inactive(*[OFTEN] * 3), None, CONTRADICTED),  # area 0
    (4, inactive([], [], []), None, UNDECIDED),  # all are active
    # Paired by seed: differences 20, 20, 20, though the widths themselves are far apart.
    (5, plain(shifted(0, 100, 200), shifted(-20, 80, 180)), SUPPORTED, None),
    (5, plain(shifted(0, 0, 0), outputs(600, 600, 600)), CONTRADICTED, None),  # one layer
    (5, {"autoencoder-denoising": shifted(0, 0, 0)}, NOT_RUN, None),
    (5, plain(shifted(0, 0, 0), run([SHAPE] * 3, first_seed=3)), NOT_RUN, None),  # no pair
    (6, residual(run([EARLY] * 6)), SUPPORTED, None),
    (6, residual(run([EARLY] * 6), run([LATE] * 6)), CONTRADICTED, None),  # the place
    (6, residual(run([[400, 300, 350, 400, 500, 600]] * 6)), CONTRADICTED, None),  # the width
    (7, residual(outputs(590, 600, 610)) | plain(outputs(490, 500, 510)), SUPPORTED, SUPPORTED),
    (7, residual(outputs(490, 500, 510)) | plain(outputs(590, 600, 610)), *[CONTRADICTED] * 2),
    # Wider, and perhaps by fewer rows than count: from 2.7 to 7.3.
    (7, residual(outputs(504, 505, 506)) | plain(outputs(499, 500, 501)), SUPPORTED, CONTRADICTED),
    (7, residual(outputs(600, 600, 600)), NOT_RUN, NOT_RUN),
    (8, residual(skips(OUT)), SUPPORTED, SUPPORTED),
    (8, residual(skips(OUT | {(5, 0): 0.2}), skips(OUT)), CONTRADICTED, CONTRADICTED),
    (8, residual(skips(OUT | {(5, 0): 0.03}), skips(OUT)), SUPPORTED, CONTRADICTED),
    # For deblurring the average alone is claimed.
    (8, residual(skips(OUT), skips(OUT | {(5, 0): 0.2, (5, 3): 0.0})), SUPPORTED, SUPPORTED),
    (8, residual(skips(OUT), skips({(5, i): 0.01 for i in range(6)})), SUPPORTED, CONTRADICTED),
    (9, residual(skips(NEGATIVE)), SUPPORTED, SUPPORTED),
    (9, residual(skips(NEGATIVE), skips(POSITIVE)), CONTRADICTED, CONTRADICTED),
    (9, residual(skips({(5, i): -1 for i in range(6)})), CONTRADICTED, CONTRADICTED),  # no other
    (10, residual(skips(UNET)), CONTRADICTED, CONTRADICTED),
    (10, residual(skips(ALL | UNET)), SUPPORTED, CONTRADICTED),  # 0.9 on it, 1.8 beside it
    (10, residual(skips({(5, 5): -0.9, (0, 0): 0.9})), SUPPORTED, SUPPORTED),
    (10, residual(skips({})), SUPPORTED, UNDECIDED),  # without any skip, there is no share
    (11, {"residual-denoising": mixed(6, 0, 0, RISING)}, SUPPORTED, None),
    (11, {"residual-denoising": mixed(0, 6, 0, RISING)}, CONTRADICTED, None),
    (12, losses(TWENTY, TWO), SUPPORTED, None),
    (12, losses(TWO, TWO), CONTRADICTED, None),  # lower, but not by an order of magnitude
    (12, losses(TWENTY, TWO[::-1]), CONTRADICTED, None),
    (13, read(*[LEADS] * 3), SUPPORTED, None),
    (13, read(*[LAGS] * 3), CONTRADICTED, None),
    # Revised: five living networks decide, whatever the collapsed ones are.
    (13, read(*[LEADS] * 5, collapsed=20), None, SUPPORTED),
    (13, read(*[LAGS] * 5, collapsed=20), None, CONTRADICTED),
    (13, read(collapsed=3), None, UNDECIDED),
    (14, dense([UNUSED] * 6), SUPPORTED, SUPPORTED),
    (14, dense([READ] * 6), CONTRADICTED, CONTRADICTED),
    (14, dense([], diverged=6), CONTRADICTED, None),
    (14, {DENSENET: [*dense([UNUSED] * 6)[DENSENET], *[{"norms": READ, "accuracy": 0.1}] * 9]},
     None, SUPPORTED),
    (15, {}, SUPPORTED, None),
    (16, switching((500, 0), *[(3, 1)] * 3), SUPPORTED, SUPPORTED),
    (16, switching((500, 0), *[(3, 2)] * 3), SUPPORTED, CONTRADICTED),  # more turnover than growth
    (16, switching((0, 0), *[(1, 3)] * 3), CONTRADICTED, CONTRADICTED),
    (17, living(197, 197, 197), SUPPORTED, None),  # 99.6%
    (17, living(160, 160, 160), UNDECIDED, None),  # 94.3%
    (17, living(100, 100, 100), CONTRADICTED, None),  # 85.7%
]  # fmt: skip


@pytest.mark.parametrize(("number", "runs", "registered", "revised"), VERDICTS)
def test_verdicts(
    number: int, runs: Runs, registered: Verdict | None, revised: Verdict | None
) -> None:
    for new, expected in ((False, registered), (True, revised)):
        if expected is not None:
            found = [f for f in find(number, runs, new).values() if f.verdict is not None]
            assert rules.verdict_of(found) is expected


ROWS_AND_PIXELS = "denoising, active output rows and pixels that are ever inked, "
# In two seeds of three each is positive, and the large third one decides the mean. Without it, in 8
# of 27 samples, the share is 0.
LARGE = residual(skips({(0, 0): [0.1, 0.1, -1]}))
DEAD = "residual, denoising, dead rows among all"


FINDINGS = [
    (1, True, plain(mixed(6, 0, 0), mixed(0, 6, 0)),
     "deblurring, share of the resampled mean profiles with the shape",
     {"value": 0, "seeds": 6, "diverged": 0}),
    (1, True, plain(mixed(6, 0, 0)), "denoising, width of layer 3", {"value": 200}),
    (2, False, spread(50, 10, 5), f"denoising, {EXCESS} 1", {"value": 40}),
    (2, False, spread(50, 10, 5), f"denoising, {EXCESS} 6", {"value": 45}),
    (3, False, plain(outputs(500, 510, 520)), "denoising", {"value": 510 / 784}),
    (4, False, {}, "pixels that are not zero in at least 0.1% of the images",
     {"value": 783 / 784, "verdict": None, "seeds": None}),
    (4, True, inactive(MOST), "denoising, area under the curve", {"value": 0.87}),
    # Pixel 0 alone is never inked, and of 100 inactive rows it is one: 99 rows disagree.
    (4, True, inactive(RAREST), f"{ROWS_AND_PIXELS}agreement", {"value": 685 / 784}),
    (4, True, inactive(RAREST), f"{ROWS_AND_PIXELS}Jaccard's index", {"value": 684 / 783}),
    (4, True, {}, "share of pixel values that are not zero",
     {"value": 783 / 2 / 784, "verdict": None}),
    # Two pairs, (10 + 30) / 2, because one seed diverged in one of them.
    (5, False,
     plain(shifted(0, 10, 20, 30), run([SHAPE] * 3, [0.01, NAN, 0.01], first_seed=1)),
     "layer 4, denoising minus deblurring", {"value": 20, "seeds": 3, "diverged": 1}),
    (6, False, residual(run([LATE] * 6)), "deblurring, coding layer", {"value": 4}),
    (8, False, residual(skips(OUT)), "deblurring, mean of the skips into the output",
     {"value": 5 * 0.3 / 6}),
    (9, False, residual(skips(NEGATIVE)), "denoising, among the active ones", {"value": 2 / 3}),
    (9, False, residual(skips({(0, 0): [-1, -1, 1]})),
     "denoising, among active and inactive ones", {"value": 2 / 3 / 15}),
    (9, True, LARGE, "denoising, among the active ones of the mean matrix",
     {"value": 1, "low": 0, "high": 1, "verdict": UNDECIDED}),
    (10, False, residual(skips(ALL | UNET)), "denoising, mean |tau| on the counterdiagonal",
     {"value": 0.3}),
    (10, False, residual(skips(ALL | UNET)), "denoising, mean |tau| off the counterdiagonal",
     {"value": 0.1}),
    (10, True, residual(skips({(5, 5): [1, 1, 1, 0]}, seeds=4)),
     "denoising, share of the counterdiagonal",
     {"value": 0, "seeds": 4, "diverged": 0, "verdict": UNDECIDED}),
    # Logarithms ln 0.001 and that minus and plus ln 2: half 4.303 ln 2 / sqrt 3 = 1.722.
    (12, False, losses(([0.02] * 3, [0.0005, 0.001, 0.002]), TWO),
     "denoising, loss without skips / loss with skips",
     {"value": 20, "low": 20 / math.exp(4.3026527 * math.log(2) / math.sqrt(3)),
     "verdict": UNDECIDED}),
    # A diverged seed has the loss of answering zero, 0.1: the mean of 0.001, 0.001 and 0.1 is
    # 0.1 ** ((3 + 3 + 1) / 3).
    (12, False, losses(([0.02] * 3, [0.001, 0.001, NAN]), TWO),
     "denoising, loss without skips / loss with skips",
     {"value": 0.02 / 0.1 ** (7 / 3), "seeds": 3, "diverged": 1, "verdict": UNDECIDED}),
    (13, False, read(LEADS), f"{LEAD}, sums", {"value": 2 / 8}),
    (13, False, read(LEADS), f"{LEAD}, per kernel", {"value": (2.5 - 3) / 5.5}),
    # Of the skips proper, layer 1 has none, and layer 2 the one from the first convolution.
    (13, False, read(LEADS), f"{LEAD}, sums without the layer just before", {"value": 1}),
    (13, False, read((0, 0, 0)), f"{LEAD}, sums", {"value": 0}),
    (13, True, read(*[LEADS] * 5, collapsed=2), f"{LEAD}, sums", {"value": 2 / 8, "seeds": 5}),
    (13, True, read(*[LEADS] * 4, collapsed=1),
     f"{LEAD}, sums (undecided: fewer than 5 living networks)", {"value": None, "seeds": 4}),
    (13, True, read(LEADS, collapsed=2), "networks that collapsed", {"value": 2}),
    (14, False, dense([UNUSED]), INPUTS, {"value": 1}),
    (14, False, dense([UNUSED]), "unused output channels", {"value": 1}),
    (14, False, dense([READ]), INPUTS, {"value": 0}),
    (14, False, dense([READ]), f"{INPUTS} of the dense block alone", {"value": 1}),
    (16, False, switching((6, 0), (3, 1)), "residual, deblurring", {"value": 0.9}),
    (16, False, switching((6, 0), (3, 1)), "residual, deblurring, switches in a seed",
     {"value": 10}),
    (16, True, switching((6, 0), (3, 1)), "residual, deblurring", {"value": 0.75}),
    (16, True, switching((6, 0), (3, 1)), "residual, deblurring, switches after the first epoch",
     {"value": 4}),
    (17, False, living(160), "residual, denoising, layer 1", {"value": 0.8, "verdict": None}),
    (17, False, living(160), DEAD, {"value": 1 - 700 / (6 * 784)}),
    (17, False, all_four(run([[0] * LAYERS])), "residual, denoising", {"value": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("number", "revised", "runs", "name", "expected"), FINDINGS)
def test_findings(
    number: int, revised: bool, runs: Runs, name: str, expected: dict[str, Any]
) -> None:
    found = find(number, runs, revised)[name]
    assert {key: getattr(found, key) for key in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        (pixels(0.66, 784), SUPPORTED),
        (pixels(0.2, 500), UNDECIDED),  # 500 / 784 = 63.8%
        (pixels(0.2, 700), CONTRADICTED),  # 89%
        (pixels(0.2, 400), CONTRADICTED),  # 51%
        (None, NOT_RUN),
    ],
)
def test_claim_4_counts_pixels(counted: Any, expected: Verdict) -> None:
    found = find(4, {}, frequencies=counted).values()
    assert rules.verdict_of(f for f in found if f.verdict is not None) is expected
    without = find(4, inactive(RAREST), revised=True, frequencies=None)
    assert {one.verdict for one in without.values()} == {NOT_RUN, None}


def test_claim_15_is_proved_by_tests_that_exist() -> None:
    text = (Path(__file__).parents[2] / EQUIVALENCE_TEST).read_text("utf-8")
    assert "def test_without_regularizer_they_are_those_of_torch(" in text


def test_what_never_switches_has_no_share_of_additions() -> None:
    results = read(*[(1, 1, 0)] * 3)
    for seed, (on, off) in zip(results[DENSENET], ((0, 0), (9, 1), (0, 0)), strict=True):
        seed["history"] = {1: {"switched_on": [on, 0, 0, 0], "switched_off": [0, off, 0, 0]}}
    found = find(16, results | all_four(run([SHAPE])))
    assert found["DenseNet, kernels (seeds with switches)"].value == 0.9
    assert found["DenseNet, switches in a seed"].value == pytest.approx(10 / 3)
    assert found["residual, denoising"].value == 0.5  # nothing is added, or removed


def test_claim_17_revised_is_an_estimate() -> None:
    row: dict[str, Any] = {"protocol": "paper", "experiment": "autoencoder-denoising"}
    row |= {"change": {"inactive_biases": "frozen"}}
    frozen = make_run(run([[784] * LAYERS] * 3), "frozen", 1, row)
    seeds = run([[350] * LAYERS, [700] * LAYERS, [700] * LAYERS], living=[[700] * LAYERS] * 3)
    found = find(17, plain(seeds), revised=True, every=make_study({"frozen": frozen}))
    # 1/2, 1, 1: mean 5/6, standard error 0.2887 / sqrt 3 = 1/6.
    share = found["autoencoder, denoising, active among living rows"]
    told = [share.value, share.low, share.high]
    assert told == pytest.approx([5 / 6, 5 / 6 - 4.3026527 / 6, 1])
    assert {one.verdict for one in found.values()} == {None}
    of_all = {name: found[f"{name}, active among all rows"] for name in (
        "autoencoder, denoising", "autoencoder, denoising, inactive_biases frozen")}  # fmt: skip
    assert [one.seeds for one in of_all.values()] == [3, 3]
    assert [one.value for one in of_all.values()] == [pytest.approx(1750 / 3 / 784), 1]


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ((0.1, 0.1, 0.9), 0.8),  # 9 against 1, of 10
        ((0.1, 0.9, 0.9), 0.65),  # and 3 against 1, of 4
        ((0.1, 0.1, 0.1), None),
        ((0.9, 0.9, 0.9), 1.3 / 3),
    ],
)
def test_networks_that_did_not_collapse_stand_beside_all(
    accuracies: Sequence[float], expected: float | None
) -> None:
    # Growth 2, one layer; a second layer that reads a part of it, by 1, 3 and 9.
    def norms(into_last: float) -> list[Any]:
        return [[[1], [1]], [[1, 0], [0, 0]], [[0, 0, into_last, 0], [0] * 4], [[0, 0, 1, 1, 1, 1]]]

    results = dense([norms(1), norms(3), norms(9)])
    for seed, accuracy in zip(results[DENSENET], accuracies, strict=True):
        seed["accuracy"] = accuracy
    lead, inputs = find(13, results).get(f"{LEAD}, sums {OTHERS}"), f"{INPUTS} {OTHERS}"
    assert (lead and lead.value) == (expected and pytest.approx(expected))
    assert (inputs in find(14, results)) == (expected is not None)


def test_claims_as_json_and_csv() -> None:
    runs = {"paper-residual-denoising": run([RISING] * 3)}  # and one seed that diverged
    tables = render_all(make_study(runs | {"authors-autoencoder-denoising": run([SHAPE], [NAN])}))
    found = json.loads(tables["claims.json"])["claims"]
    assert list(found) == [str(number) for number in range(1, 18)]
    assert found["11"]["paper"]["verdict"] == "undecided"  # 3 of 3: from 0.29
    (triangle,) = found["11"]["paper"]["findings"]
    assert (triangle["value"], triangle["low"]) == (1, pytest.approx(0.025 ** (1 / 3)))
    shape = found["1"]["authors"]["findings"][0]
    assert (shape["value"], shape["seeds"], shape["diverged"]) == (0, 1, 1)
    frame = pd.read_csv(io.StringIO(tables["claims.csv"]), keep_default_na=False)
    columns = "claim protocol rules name value std low high n diverged verdict"
    assert list(frame) == columns.split()
    # Without fresh seeds the revised rules decide nothing.
    assert set(frame[frame["rules"] == "revised"]["verdict"]) == {"not run", ""}
    rows = frame.query("rules == 'registered' and claim == 11")
    assert rows["value"].tolist() == ["1.0", ""]
    assert rows["verdict"].tolist() == ["undecided", "not run"]


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [((0.1, 0.1, 0.1), "all 3"), ((0.1, 0.1, 0.2), "2 of 3"), ((0.2, 0.1001, 0.2), None)],
)
def test_verdicts_on_collapsed_networks_are_marked(
    accuracies: Sequence[float], words: str | None
) -> None:
    # Layers 1 and 1 have no lead: the rule of the claim alone would say contradicted.
    (seeds,) = read(*[(1, 1, 0)] * 3).values()
    seeds = [seed | {"accuracy": a} for seed, a in zip(seeds, accuracies, strict=True)]
    tables = render_all(make_study({f"authors-{DENSENET}": seeds}))
    text, mark = tables["claims.md"], COLLAPSED_MARK
    found = json.loads(tables["claims.json"])["claims"]
    marked = {number for number, one in found.items() if one["authors"]["collapsed"]}
    assert "lead of the last layer, sums: 0 (0), interval 0 to 0, 3 seeds: contradicted" in text
    if words is None:
        assert (mark in text, marked) == (False, set())
        assert "| not run | **contradicted**: 0 (n = 3) |" in text
    else:
        assert marked == {"13", "14"}
        assert f"| not run | **undecided**{mark}: 0 (n = 3) |" in text
        assert text.count(f"*Code:* undecided{mark}") == 2
        assert f"{words} following the code. Their" in text


def test_both_rules_stand_side_by_side() -> None:
    """By registered seeds and two fresh ones, then by six, of which the output is 20 rows wider."""

    def seeds(first: int, more: int) -> Seeds:
        active = [[300] * 5 + [500 + more + k % 3] for k in range(6)]
        return run(active, tau={(0, 0): 1.0}, first_seed=first)

    names = [f"paper-{name}" for name in all_four(None)]
    old = {name: seeds(0, 0) + seeds(10, 0)[:2] for name in names}
    new = {n: seeds(0, 0) + seeds(10, 20 if "residual" in n else 0) for n in names}
    before, after = (render_all(make_study(runs)) for runs in (old, new))
    first, then = (json.loads(tables["claims.json"]) for tables in (before, after))
    assert first["claims"] == then["claims"]
    assert first["revised"]["claims"]["7"]["paper"]["verdict"] == "not run"
    found = then["revised"]["claims"]["7"]
    assert (found["paper"]["verdict"], found["authors"]["verdict"]) == ("supported", "not run")
    (line,) = (line for line in after["claims.md"].splitlines() if line.startswith("| 7 |"))
    assert line.endswith(
        "| **undecided**: 0; 0 (n = 6) | **supported**: 20; 20 (n = 6) | not run | not run |"
    )
    assert f"Revised: {REVISED[6].why}" in after["claims.md"]
    assert "- *Text, revised:* supported" in after["claims.md"]
    assert "- *Text, fresh seeds:*" in after["claims.md"]  # the registered rule again
    answers = json.loads(after["questions.json"])["fresh-seeds"]["answers"]
    assert "by the revised rules, following" in answers[-1]["sentence"]
