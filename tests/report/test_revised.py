import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from bregman_nas.report.claims import (
    CLAIMS,
    decide,
    decide_revised,
    interventions,
    resampling,
    training,
)
from bregman_nas.report.claims.claim import (
    Finding,
    Results,
    Verdict,
    more_than_negligible,
    surely,
)
from bregman_nas.report.claims.revised import REVISED, Revision
from bregman_nas.report.data import DENSENET, NETWORKS, TASKS, Run, Study
from bregman_nas.report.records import Pixels
from bregman_nas.report.tables import render_all

SUPPORTED, CONTRADICTED = Verdict.SUPPORTED, Verdict.CONTRADICTED
UNDECIDED, NOT_RUN = Verdict.UNDECIDED, Verdict.NOT_RUN
LAYERS = 6
NAN = math.nan
Tau = Mapping[tuple[int, int], float | Sequence[float]]
Seeds = list[dict[str, Any]]
Runs = dict[str, Any]
Decide = Callable[..., Verdict | None]
Find = Callable[..., Finding]

SHAPE = [400, 300, 200, 300, 400, 500]
FLAT = [500] * LAYERS
COUNTS = Pixels(
    nonzero_share=0.2, ever_nonzero=783, nonzero_in_one_per_thousand=0, nonzero_in_one_per_hundred=0
)


def run(
    of_seeds: Sequence[Sequence[float]],
    losses: Sequence[float] | None = None,
    tau: Tau | None = None,
    living: int = 700,
    first_seed: int = 10,
) -> Seeds:
    """The seeds of a restoration run with these widths; skips that are not named are 0."""
    found = []
    for index, active in enumerate(of_seeds):
        values = {
            name: v[index] if isinstance(v, Sequence) else v for name, v in (tau or {}).items()
        }
        seed = {"seed": first_seed + index, "active": active, "living": [living] * LAYERS}
        found.append(seed | {"tau": values, "mse": losses[index] if losses else 0.01})
    return found


def with_skips(tau: Tau, seeds: int = 3) -> Seeds:
    return run([SHAPE] * seeds, tau=tau)


def results(network: str, one: Seeds, other: Seeds | None = None) -> Runs:
    """Of a network: for denoising, and for deblurring."""
    return {f"{network}-denoising": one, f"{network}-deblurring": other or one}


@pytest.fixture
def find(make_study: Callable[..., Study]) -> Callable[..., list[Finding]]:
    """The findings of a claim on runs of `paper`."""

    def of(number: int, runs: Runs, kept: Mapping[str, Run] | None = None) -> list[Finding]:
        made = {f"paper-{name}": seeds for name, seeds in runs.items()}
        counts = {"pixels": COUNTS, "frequencies": np.arange(784) / 784}
        return REVISED[number].findings(Results(make_study(made, **counts), "paper", kept or {}))

    return of


@pytest.fixture
def decided(find: Callable[..., list[Finding]]) -> Decide:
    def of(number: int, runs: Runs) -> Verdict | None:
        verdicts = [one.verdict for one in find(number, runs) if one.verdict is not None]
        worst = (CONTRADICTED, NOT_RUN, UNDECIDED, SUPPORTED)
        return min(verdicts, key=worst.index) if verdicts else None

    return of


@pytest.fixture
def finding(find: Callable[..., list[Finding]]) -> Find:
    def of(number: int, runs: Runs, name: str, kept: Mapping[str, Run] | None = None) -> Finding:
        (one,) = (one for one in find(number, runs, kept) if one.name == name)
        return one

    return of


def test_all_claims_are_there_and_those_with_another_rule_say_why() -> None:
    assert list(REVISED) == list(range(1, 18))
    revised = {number: one for number, one in REVISED.items() if isinstance(one, Revision)}
    assert list(revised) == [1, 4, 7, 8, 9, 10, 13, 14, 15, 16, 17]
    assert all(REVISED[one.number] is one for one in CLAIMS if one.number not in revised)
    for claim in revised.values():
        assert claim.why.endswith(".")
        assert claim.rule.startswith("Supported if " if claim.supported_if else "No verdict.")
        assert not claim.statistic.endswith(".")


def test_nothing_run(make_study: Callable[..., Study]) -> None:
    verdicts = {one.claim.number: one.verdict for one in decide_revised(make_study({}))}
    assert verdicts == dict.fromkeys(range(1, 18), NOT_RUN) | {15: None, 17: None}


def test_registered_rules_see_old_seeds_and_revised_ones_at_least_three_fresh_ones(
    make_study: Callable[..., Study],
) -> None:
    def seeds(fresh: int) -> Seeds:
        return run([SHAPE] * 10, first_seed=0) + run([SHAPE] * fresh)

    def of(fresh: int) -> tuple[int | None, Verdict | None]:
        study = make_study({f"paper-autoencoder-{task}": seeds(fresh) for task in TASKS})
        old = next(one for one in decide(study) if one.claim.number == 5)
        new = next(one for one in decide_revised(study) if one.claim.number == 5)
        return old.seeds, new.verdict

    assert of(2) == (10, NOT_RUN)
    assert of(3) == (10, SUPPORTED)


def test_claim_1(decided: Decide, finding: Find) -> None:
    def of(good: int, bad: int, diverged: int = 0) -> Verdict | None:
        losses = [0.01] * (good + bad) + [NAN] * diverged
        seeds = [SHAPE] * good + [FLAT] * bad + [SHAPE] * diverged
        return decided(1, results("autoencoder", run(seeds, losses)))

    assert of(3, 0) is SUPPORTED
    # With k of n seeds flat, the middle is 300 k / n higher, at most 500 - 78.4: k <= 0.73 n.
    assert of(8, 2) is SUPPORTED  # 7 of 10 or fewer: 99.9%
    assert of(3, 7) is UNDECIDED  # 7 or fewer of 10: 62%
    assert of(0, 10) is CONTRADICTED
    assert of(2, 0) is UNDECIDED
    assert of(4, 0, diverged=1) is SUPPORTED
    assert of(3, 0, diverged=1) is UNDECIDED  # more than a fifth
    one_task = results("autoencoder", run([SHAPE] * 3), run([FLAT] * 3))
    assert decided(1, one_task) is CONTRADICTED
    found = finding(1, one_task, "deblurring, share of the resampled mean profiles with the shape")
    assert (found.value, found.seeds, found.diverged) == (0, 3, 0)
    assert finding(1, one_task, "denoising, width of layer 3").value == 200


def test_claim_4(decided: Decide, finding: Find, make_study: Callable[..., Study]) -> None:
    def of(*inactive: Sequence[int]) -> Runs:
        """Seeds in which all output rows but these are active."""
        rows = ([row for row in range(784) if row not in off] for off in inactive)
        seeds = run([SHAPE] * len(inactive))
        return results("autoencoder", [s | {"output": r} for s, r in zip(seeds, rows, strict=True)])

    rarest, often, middle = range(100), range(684, 784), range(317, 467)
    assert decided(4, of(rarest, rarest, rarest)) is SUPPORTED  # area 1
    assert decided(4, of(often, often, often)) is CONTRADICTED  # area 0
    assert decided(4, of(middle, middle, middle)) is CONTRADICTED  # area 1/2
    # 13 of 100 inactive rows are the most frequent ones: 87% of the pairs.
    mixed = [*range(87), *range(771, 784)]
    assert finding(4, of(mixed), "denoising, area under the curve").value == pytest.approx(0.87)
    assert decided(4, of(mixed, mixed, mixed)) is UNDECIDED
    assert decided(4, of(rarest, rarest)) is UNDECIDED
    assert decided(4, of([], [], [])) is UNDECIDED  # all are active
    # Pixel 0 alone is never inked, and of 100 inactive rows it is one: 99 rows disagree.
    name = "denoising, active output rows and pixels that are ever inked, "
    assert finding(4, of(rarest), f"{name}agreement").value == pytest.approx(685 / 784)
    assert finding(4, of(rarest), f"{name}Jaccard's index").value == pytest.approx(684 / 783)
    # The count stands beside.
    counted = finding(4, of(rarest), "share of pixel values that are not zero")
    assert (counted.value, counted.verdict) == (0.2, None)
    uncounted = make_study({f"paper-{name}": seeds for name, seeds in of(rarest).items()})
    found = REVISED[4].findings(Results(uncounted, "paper"))
    assert {one.verdict for one in found} == {NOT_RUN, None}


def test_claim_7(decided: Decide) -> None:
    def of(with_skips: Sequence[float], without: Sequence[float]) -> Verdict | None:
        runs = {
            f"{network}-{task}": run([[*SHAPE[:5], output] for output in outputs])
            for network, outputs in (("residual", with_skips), ("autoencoder", without))
            for task in TASKS
        }
        return decided(7, runs)

    # Standard errors 1 / sqrt 3 each, 4 degrees of freedom: half 2.776 sqrt(2/3) = 2.27.
    around = [499.0, 500, 501]
    assert of([519, 520, 521], around) is SUPPORTED
    assert of([509, 510, 511], around) is SUPPORTED  # 7.7 to 12.3
    assert of([504, 505, 506], around) is CONTRADICTED  # 2.7 to 7.3
    assert of(around, around) is CONTRADICTED
    assert of(around, [519, 520, 521]) is CONTRADICTED
    assert of([480, 500, 520], around) is UNDECIDED
    assert of([520.0], [500.0]) is UNDECIDED


def test_claim_8(decided: Decide) -> None:
    out: dict[tuple[int, int], float | Sequence[float]] = {(5, i): 0.3 for i in range(1, 6)}
    good = with_skips(out)
    assert decided(8, results("residual", good)) is SUPPORTED
    for change in ({(5, 0): 0.03}, {(5, 0): -0.03}, {(5, 3): 0.0}, {(5, 3): 0.01}):
        other = with_skips(out | change)
        assert decided(8, results("residual", other, good)) is CONTRADICTED
        # For deblurring the average alone is claimed.
        assert decided(8, results("residual", good, other)) is SUPPORTED
    small = with_skips({(5, i): 0.01 for i in range(6)})
    assert decided(8, results("residual", good, small)) is CONTRADICTED
    # Skips -0.1, 0.1, 0.3: mean 0.1, half the interval 4.303 * 0.2 / sqrt 3 = 0.5.
    for unclear in ({(5, 4): [-0.1, 0.1, 0.3]}, {(5, 0): [-0.1, 0.1, 0.3]}):
        assert decided(8, results("residual", with_skips(out | unclear))) is UNDECIDED


def test_claim_9(decided: Decide, finding: Find) -> None:
    negative = with_skips({(0, 0): -1, (3, 1): -1, (2, 2): 1})
    positive = with_skips({(0, 0): 1, (3, 1): 1, (2, 2): -1})
    assert decided(9, results("residual", negative)) is SUPPORTED
    assert decided(9, results("residual", positive)) is CONTRADICTED
    assert decided(9, results("residual", negative, positive)) is CONTRADICTED
    assert decided(9, results("residual", with_skips({(5, 0): -1}))) is CONTRADICTED  # no other
    # In two seeds of three each is positive, and the large third one decides the mean.
    mean = with_skips({(0, 0): [0.1, 0.1, -1]})
    name = "denoising, among the active ones of the mean matrix"
    found = finding(9, results("residual", mean), name)
    # Without the third seed, in 8 of 27 samples, the share is 0.
    assert (found.value, found.low, found.high, found.verdict) == (1, 0, 1, UNDECIDED)
    assert decided(9, results("residual", with_skips({(0, 0): -1}, seeds=2))) is UNDECIDED


def test_claim_10(decided: Decide, finding: Find) -> None:
    everything = {(l, i): 0.1 for l in range(LAYERS) for i in range(l + 1)}
    unet = {(5, 0): 0.3, (4, 1): -0.3, (3, 2): 0.3}
    beside = with_skips({(5, 5): -0.9, (0, 0): 0.9})
    assert decided(10, results("residual", beside)) is SUPPORTED
    # 0.9 on it, 1.8 beside it: a third, below 1/2 and above 1/7.
    third = with_skips(everything | unet)
    assert decided(10, results("residual", third)) is CONTRADICTED
    assert decided(10, results("residual", beside, third)) is CONTRADICTED
    mixed = with_skips({(5, 0): [1, 0, 0], (5, 5): [0, 1, 1]})
    assert decided(10, results("residual", mixed)) is UNDECIDED  # mean 1/3, of 1, 0, 0
    # Without any skip, there is no share.
    assert decided(10, results("residual", with_skips({}))) is UNDECIDED
    some = finding(
        10,
        results("residual", with_skips({(5, 5): [1, 1, 1, 0]}, seeds=4)),
        "denoising, share of the counterdiagonal",
    )
    assert (some.value, some.seeds, some.diverged, some.verdict) == (0, 4, 0, UNDECIDED)


def dense(of_seeds: Sequence[Any], collapsed: int = 0) -> Runs:
    """A DenseNet of growth 1 from its kernel norms; then so many that collapsed, all zero."""
    zero = [[[0]], [[0]], [[0, 0]], [[0, 0, 0]]]
    living = [{"norms": norms, "accuracy": 0.8} for norms in of_seeds]
    return {DENSENET: [*living, *[{"norms": zero, "accuracy": 0.1}] * collapsed]}


def test_claims_13_and_14_are_decided_by_living_networks(decided: Decide, finding: Find) -> None:
    def of(living: int, layers: tuple[float, float], collapsed: int) -> Runs:
        first, last = layers
        # The last convolution reads channel 0 alone, layer 2 both; nothing reads channel 2.
        norms = [[[9]], [[first]], [[last / 2, last / 2]], [[1, 0, 0]]]
        return dense([norms] * living, collapsed)

    assert decided(13, of(5, (1, 3), collapsed=20)) is SUPPORTED
    assert decided(13, of(5, (3, 1), collapsed=20)) is CONTRADICTED
    assert decided(13, of(4, (1, 3), collapsed=0)) is UNDECIDED
    assert decided(13, of(0, (1, 3), collapsed=3)) is UNDECIDED
    name = "lead of the last layer, sums"
    found = finding(13, of(5, (1, 3), collapsed=2), name)
    assert (found.value, found.seeds) == (0.5, 5)  # (3 - 1) / 4
    few = finding(13, of(4, (1, 3), 1), f"{name} (undecided: fewer than 5 living networks)")
    assert (few.value, few.seeds) == (None, 4)
    assert finding(13, of(5, (1, 3), collapsed=2), "networks that collapsed").value == 2
    # Channel 2 is read by nobody, but all are written; then layer 2 writes nothing either.
    assert decided(14, of(6, (1, 3), collapsed=9)) is CONTRADICTED
    assert decided(14, of(6, (1, 0), collapsed=9)) is SUPPORTED
    assert decided(14, of(5, (1, 0), collapsed=9)) is UNDECIDED  # 5 of 5: from 0.48
    assert decided(14, of(4, (1, 0), collapsed=9)) is UNDECIDED


def test_claim_15_has_no_verdict_and_names_its_test(find: Callable[..., list[Finding]]) -> None:
    (found,) = find(15, {})
    assert found == Finding(f"holds by test: {training.EQUIVALENCE_TEST}")


def test_claim_16(decided: Decide, finding: Find, make_run: Callable[..., Run]) -> None:
    def of(*counts: tuple[int, int]) -> Runs:
        """After a first epoch of 500 rows on, so many rows on, and off."""
        none = [0] * LAYERS
        seeds = [
            seed
            | {
                "history": {
                    1: {"switched_on": [500, *none[1:]], "switched_off": none},
                    2: {"switched_on": [0, on, *none[2:]], "switched_off": [*none[1:], off]},
                }
            }
            for seed, (on, off) in zip(run([SHAPE] * len(counts)), counts, strict=True)
        ]
        names = (f"{network}-{task}" for network in NETWORKS for task in TASKS)
        return {name: make_run(seeds, f"paper-{name}", epochs=2) for name in names}

    assert decided(16, of((3, 1), (3, 1), (3, 1))) is SUPPORTED
    assert decided(16, of((3, 2), (3, 2), (3, 2))) is CONTRADICTED  # growth, but more turnover
    assert decided(16, of((1, 3), (1, 3), (1, 3))) is CONTRADICTED
    assert decided(16, of((3, 1), (3, 2), (3, 1))) is UNDECIDED
    assert decided(16, of((3, 1), (3, 1))) is UNDECIDED
    assert finding(16, of((3, 1)), "residual, deblurring").value == 0.75
    switches = finding(16, of((3, 1)), "residual, deblurring, switches after the first epoch")
    assert (switches.value, switches.verdict) == (4, None)


def test_claim_17_is_an_estimate(
    decided: Decide, finding: Find, make_run: Callable[..., Run], make_study: Callable[..., Study]
) -> None:
    found = results("autoencoder", run([[350] * LAYERS, [700] * LAYERS, [700] * LAYERS]))
    row: dict[str, Any] = {"protocol": "paper", "experiment": "autoencoder-denoising"}
    row |= {"change": {"inactive_biases": "frozen"}}
    frozen = make_run(run([[784] * LAYERS] * 3, living=784, first_seed=0), "frozen", 1, row)
    kept = interventions(make_study({"frozen": frozen}), "paper")
    assert list(kept) == ["autoencoder, denoising, inactive_biases frozen"]
    assert decided(17, found) is None
    # 1/2, 1, 1: mean 5/6, standard error 0.2887 / sqrt 3 = 1/6.
    share = finding(17, found, "autoencoder, denoising, active among living rows")
    assert share.value == pytest.approx(5 / 6)
    assert share.low == pytest.approx(5 / 6 - 4.3026527 / 6)
    assert share.high == 1
    of_all = finding(17, found, "autoencoder, denoising, active among all rows")
    assert of_all.value == pytest.approx(1750 / 3 / 784)
    assert finding(17, found, "residual, denoising, active among all rows").seeds == 0
    name = f"{next(iter(kept))}, active among all rows"
    assert finding(17, found, name, kept).value == 1


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
    means = resampling.resampled_means(np.array([[0.0, NAN], [1.0, NAN]]))
    assert means.shape == (resampling.RESAMPLES, 2)
    values, counts = np.unique(means[:, 0], return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert counts / resampling.RESAMPLES == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    assert np.isnan(means[:, 1]).all()


def test_the_shape_is_that_of_the_mean_profile() -> None:
    # Each seed alone has a step of 100 in the wrong direction; their mean has none.
    one = [400.0, 200, 300, 200, 300, 500]
    other = [400.0, 300, 200, 300, 200, 500]
    widths = np.array([one, other] * 10)
    assert resampling.share_with_shape(widths[:1]) == 0
    # The mean of layers 2 to 5 is 250 -+ 50 (2 k / 20 - 1) for k of one kind, and two neighbours
    # differ by 100 |2 k / 20 - 1|, at most 39 for 7 <= k <= 13: of 2^20, 1 - 2 * 60460 do.
    assert resampling.share_with_shape(widths) == pytest.approx(1 - 2 * 60460 / 2**20, abs=0.02)


def test_the_negative_share_of_the_mean_matrix_by_hand() -> None:
    # (0, 0): -1 and 0.5, mean -0.25. (1, 0): 1 and -0.5, mean 0.25. (1, 1): -1 and 0, mean -0.5.
    # Row 2 leads into the output.
    tau = np.zeros((2, 3, 3))
    tau[:, 0, 0], tau[:, 1, 0], tau[:, 1, 1] = [-1, 0.5], [1, -0.5], [-1, 0]
    tau[:, 2] = -1
    share, low, high = resampling.negative_share_of_the_mean(lower(tau))
    assert share == pytest.approx(2 / 3)
    # Resamples: seed 0 twice 2/3, both 2/3, seed 1 twice one of its two active ones.
    assert [low, high] == pytest.approx([1 / 2, 2 / 3])
    # A matrix with none but those into the output.
    tau[:, :2] = 0
    assert resampling.negative_share_of_the_mean(lower(tau)) == (0, 0, 0)


def test_equal_skips_have_a_seventh_on_the_counterdiagonal() -> None:
    assert pytest.approx(1 / 7) == resampling.EQUAL_SHARE
    shares = resampling.counterdiagonal_share_of_active(
        lower(np.array([1.0, -2.0, 0.0])[:, None, None] * np.ones((3, 6, 6)))
    )
    assert shares[:2] == pytest.approx([resampling.EQUAL_SHARE] * 2)
    assert np.isnan(shares[2])  # a network without skips


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
    areas = resampling.areas_under_the_curve(active, frequency)
    assert areas[:3].tolist() == [3.5 / 4, 0, 1]
    assert np.isnan(areas[3:]).all()


def test_agreement_of_rows_and_pixels_by_hand(make_run: Callable[..., Run]) -> None:
    (seed, *_), none = run([SHAPE]), run([SHAPE], first_seed=11)
    made = make_run([seed | {"output": [0, 783]}, *none])
    active = made.output
    assert active.shape == (2, 784)
    assert np.flatnonzero(active[0]).tolist() == [0, 783]
    inked = np.zeros(784, dtype=bool)
    inked[[0, 1, 2]] = True  # one in both, four in one of them: 781 of 784 agree
    same, jaccard = resampling.agreement(active, inked)
    assert same.tolist() == [781 / 784, 781 / 784]
    assert jaccard.tolist() == [1 / 4, 0]
    assert resampling.agreement(active[1:], inked & False)[1].tolist() == [0]


def test_both_rules_stand_side_by_side(make_study: Callable[..., Study]) -> None:
    """With registered seeds, and with fresh ones beside them, of the output 20 rows wider."""

    def seeds(first: int, more: int) -> list[dict[str, Any]]:
        return [
            {"seed": first + k, "active": [300] * 5 + [500 + more + k % 3], "tau": {(0, 0): 1.0}}
            for k in range(6)
        ]

    revision = REVISED[7]
    assert isinstance(revision, Revision)
    names = [f"paper-{n}-{t}" for n in ("autoencoder", "residual") for t in TASKS]
    old = {name: seeds(0, 0) for name in names}
    new = {n: old[n] + seeds(10, 20 if "residual" in n else 0) for n in names}
    before, after = (render_all(make_study(runs)) for runs in (old, new))
    first, then = (json.loads(tables["claims.json"]) for tables in (before, after))
    assert first["claims"] == then["claims"]
    assert first["verdicts"] == then["verdicts"]
    assert first["revised"]["claims"]["7"]["paper"]["verdict"] == "not run"
    claim = then["revised"]["claims"]["7"]
    assert (claim["paper"]["verdict"], claim["authors"]["verdict"]) == ("supported", "not run")
    assert claim["why"] == revision.why
    assert then["revised"]["claims"]["3"]["why"] is None
    (line,) = (line for line in after["claims.md"].splitlines() if line.startswith("| 7 |"))
    assert line.endswith(
        "| **undecided**: 0; 0 (n = 6) | **supported**: 20; 20 (n = 6) | not run | not run |"
    )
    assert f"Revised: {revision.why}" in after["claims.md"]
    assert "- *Paper, revised:* supported" in after["claims.md"]
    assert "- *Paper, fresh seeds:*" in after["claims.md"]  # the registered rule again
    answers = json.loads(after["questions.json"])["fresh-seeds"]["answers"]
    assert "by the revised rules, under" in answers[-1]["sentence"]
