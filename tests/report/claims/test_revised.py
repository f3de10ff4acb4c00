import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bregman_nas.report.claims import table, training
from bregman_nas.report.claims.claim import Finding, Verdict
from bregman_nas.report.claims.results import Results
from bregman_nas.report.claims.revised.claims import REVISED
from bregman_nas.report.claims.revised.revision import Revision, fresh, registered, verdict
from bregman_nas.report.read import NETWORKS, TASKS, Run

SUPPORTED, CONTRADICTED = Verdict.SUPPORTED, Verdict.CONTRADICTED
UNDECIDED, NOT_RUN = Verdict.UNDECIDED, Verdict.NOT_RUN
LAYERS = 6
NAN = math.nan
Tau = Mapping[tuple[int, int], float | Sequence[float]]

SHAPE = [400.0, 300, 200, 300, 400, 500]
FLAT = [500.0] * LAYERS


def run(
    of_seeds: Sequence[Sequence[float]],
    losses: Sequence[float] | None = None,
    tau: Tau | None = None,
    folder: Path = Path(),
    living: float = 700,
) -> Run:
    """A restoration run with these widths; skips that are not named are 0."""
    seeds = len(of_seeds)
    columns: dict[str, Any] = {
        "seed": range(10, 10 + seeds),
        "test_mse": losses or [0.01] * seeds,
        **{f"width_{l}": [w[l - 1] for w in of_seeds] for l in range(1, LAYERS + 1)},
        **{f"living_{l}": [living] * seeds for l in range(1, LAYERS + 1)},
    }
    for l in range(LAYERS):
        for i in range(l + 1):
            columns[f"skip_{l}_{i}"] = (tau or {}).get((l, i), 0.0)
    return Run(folder, pd.DataFrame(columns))


def with_skips(tau: Tau, seeds: int = 3) -> Run:
    return run([SHAPE] * seeds, tau=tau)


def results(network: str, one: Run, other: Run | None = None, **more: Any) -> Results:
    """Of a network: for denoising, and for deblurring."""
    runs = {f"{network}-denoising": one, f"{network}-deblurring": other or one}
    return Results(runs, **more)


def decided(number: int, found: Results) -> Verdict | None:
    return verdict(REVISED[number - 1].decide(found))


def finding(number: int, found: Results, name: str) -> Finding:
    (one,) = (f for f in REVISED[number - 1].decide(found) if f.name == name)
    return one


def test_all_claims_are_there_and_those_with_another_rule_say_why() -> None:
    assert [claim.number for claim in REVISED] == list(range(1, 18))
    revised = {claim.number: claim for claim in REVISED if isinstance(claim, Revision)}
    assert list(revised) == [1, 4, 7, 8, 9, 10, 13, 14, 15, 16, 17]
    assert all(REVISED[n] is table.CLAIMS[n] for n in range(17) if n + 1 not in revised)
    for claim in revised.values():
        assert claim.why.endswith(".")
        assert claim.rule.startswith("Supported if " if claim.supported_if else "No verdict.")
        assert not claim.statistic.endswith(".")


def test_nothing_run() -> None:
    verdicts = {claim.number: verdict(claim.decide(Results({}))) for claim in REVISED}
    assert verdicts == dict.fromkeys(range(1, 18), NOT_RUN) | {15: None, 17: None}


def test_seeds_are_told_apart_and_two_fresh_ones_are_none() -> None:
    old = run([SHAPE] * 10)
    seeds = pd.concat([old.seeds.assign(seed=range(10)), old.seeds[:3]], ignore_index=True)
    found = results("autoencoder", Run(Path(), seeds), Run(Path(), seeds[:12]), pixels={"a": 1})
    denoising = fresh(found).restoration("autoencoder", "denoising")
    assert denoising is not None
    assert denoising.seeds["seed"].tolist() == [10, 11, 12]
    assert fresh(found).restoration("autoencoder", "deblurring") is None
    assert fresh(found).pixels == {"a": 1}
    assert decided(3, fresh(found)) is NOT_RUN
    of_ten = registered(found).restoration("autoencoder", "deblurring")
    assert of_ten is not None
    assert of_ten.seeds["seed"].tolist() == list(range(10))


def test_claim_1() -> None:
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


def test_claim_4(tmp_path: Path) -> None:
    frequencies = np.arange(784) / 784

    def of(*inactive: Sequence[int]) -> Results:
        """Seeds in which all output rows but these are active."""
        (tmp_path / "records").mkdir(exist_ok=True)
        for seed, off in enumerate(inactive, start=10):
            rows = [row for row in range(784) if row not in off]
            text = json.dumps({"result": {"output_rows": rows}})
            (tmp_path / "records" / f"seed-{seed}.json").write_text(text, "utf-8")
        found = run([SHAPE] * len(inactive), folder=tmp_path)
        counts = {"nonzero_share": 0.2, "ever_nonzero": 783}
        return results("autoencoder", found, frequencies=frequencies, pixels=counts)

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
    assert decided(4, results("autoencoder", run([SHAPE] * 3))) is NOT_RUN


def test_claim_7() -> None:
    def of(with_skips: Sequence[float], without: Sequence[float]) -> Verdict | None:
        runs = {
            f"{network}-{task}": run([[*SHAPE[:5], output] for output in outputs])
            for network, outputs in (("residual", with_skips), ("autoencoder", without))
            for task in TASKS
        }
        return decided(7, Results(runs))

    # Standard errors 1 / sqrt 3 each, 4 degrees of freedom: half 2.776 sqrt(2/3) = 2.27.
    around = [499.0, 500, 501]
    assert of([519, 520, 521], around) is SUPPORTED
    assert of([509, 510, 511], around) is SUPPORTED  # 7.7 to 12.3
    assert of([504, 505, 506], around) is CONTRADICTED  # 2.7 to 7.3
    assert of(around, around) is CONTRADICTED
    assert of(around, [519, 520, 521]) is CONTRADICTED
    assert of([480, 500, 520], around) is UNDECIDED
    assert of([520.0], [500.0]) is UNDECIDED


def test_claim_8() -> None:
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


def test_claim_9() -> None:
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


def test_claim_10() -> None:
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


def dense(folder: Path, of_seeds: Sequence[Any], collapsed: int = 0) -> Results:
    """A DenseNet of growth 1 from its kernel norms; then so many that collapsed, all zero."""
    (folder / "records").mkdir(exist_ok=True)
    zero = [[[0]], [[0]], [[0, 0]], [[0, 0, 0]]]
    norms = [*of_seeds, *[zero] * collapsed]
    for seed, matrices in enumerate(norms):
        text = json.dumps({"result": {"kernel_norms": matrices}})
        (folder / "records" / f"seed-{seed:02d}.json").write_text(text, "utf-8")
    accuracy = [0.8] * len(of_seeds) + [0.1] * collapsed
    seeds = {"seed": range(len(norms)), "test_loss": 1.0, "test_accuracy": accuracy}
    return Results({"densenet-fashion": Run(folder, pd.DataFrame(seeds))})


def test_claims_13_and_14_are_decided_by_living_networks(tmp_path: Path) -> None:
    def of(living: int, layers: tuple[float, float], collapsed: int) -> Results:
        first, last = layers
        # The last convolution reads channel 0 alone, layer 2 both; nothing reads channel 2.
        norms = [[[9]], [[first]], [[last / 2, last / 2]], [[1, 0, 0]]]
        return dense(tmp_path, [norms] * living, collapsed)

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


def test_claim_15_has_no_verdict_and_names_its_test() -> None:
    (found,) = REVISED[14].decide(Results({}))
    assert found == Finding(f"holds by test: {training.EQUIVALENCE_TEST}")


def test_claim_16(tmp_path: Path) -> None:
    def of(*seeds: tuple[int, int]) -> Results:
        """After a first epoch of 500 rows on, so many rows on, and off."""
        lines = []
        for seed, (on, off) in enumerate(seeds, start=10):
            for epoch, switches in ((2, (on, off)), (1, (500, 0))):
                line = {"seed": seed, "epoch": epoch}
                for l in range(1, LAYERS + 1):
                    line[f"width_{l}"] = 100
                    line[f"switched_on_{l}"] = switches[0] if l == 2 else 0
                    line[f"switched_off_{l}"] = switches[1] if l == 5 else 0
                lines.append(line)
        pd.DataFrame(lines).to_csv(tmp_path / "history.csv", index=False)
        found = run([SHAPE] * len(seeds), folder=tmp_path)
        return Results({f"{network}-{task}": found for network in NETWORKS for task in TASKS})

    assert decided(16, of((3, 1), (3, 1), (3, 1))) is SUPPORTED
    assert decided(16, of((3, 2), (3, 2), (3, 2))) is CONTRADICTED  # growth, but more turnover
    assert decided(16, of((1, 3), (1, 3), (1, 3))) is CONTRADICTED
    assert decided(16, of((3, 1), (3, 2), (3, 1))) is UNDECIDED
    assert decided(16, of((3, 1), (3, 1))) is UNDECIDED
    assert finding(16, of((3, 1)), "residual, deblurring").value == 0.75
    switches = finding(16, of((3, 1)), "residual, deblurring, switches after the first epoch")
    assert (switches.value, switches.verdict) == (4, None)


def test_claim_17_is_an_estimate() -> None:
    found = run([[350.0] * LAYERS, [700.0] * LAYERS, [700.0] * LAYERS])
    frozen = run([[784.0] * LAYERS] * 3, living=784)
    of = results("autoencoder", found, interventions={"biases frozen": frozen})
    assert decided(17, of) is None
    # 1/2, 1, 1: mean 5/6, standard error 0.2887 / sqrt 3 = 1/6.
    share = finding(17, of, "autoencoder, denoising, active among living rows")
    assert share.value == pytest.approx(5 / 6)
    assert share.low == pytest.approx(5 / 6 - 4.3026527 / 6)
    assert share.high == 1
    of_all = finding(17, of, "autoencoder, denoising, active among all rows")
    assert of_all.value == pytest.approx(1750 / 3 / 784)
    assert finding(17, of, "residual, denoising, active among all rows").seeds == 0
    assert finding(17, of, "biases frozen, active among all rows").value == 1
