import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from bregman_nas.report import changes, measures
from bregman_nas.report.data import Study
from bregman_nas.report.figures import FIGURES
from bregman_nas.report.tables import render_all
from bregman_nas.settings import RunRow
from tests.report.studies import DASH, MINUS, SETTINGS, make_run, make_study, texts

OWN, CHANGED, OTHER = "paper-residual-denoising", "paper-threshold", "authors-constant"
ROWS = {
    OWN: {"protocol": "paper"},
    "authors-residual-denoising": {"protocol": "authors"},
    CHANGED: {"protocol": "paper", "change": {"skip_threshold": 28}, "epochs": 2},
    OTHER: {"protocol": "authors", "change": {"schedule": {"kind": "constant"}}, "epochs": 2},
}
Tau = Mapping[tuple[int, int], float]


def seed(number: int, loss: float, widths: Sequence[int], tau: Tau | None) -> dict[str, Any]:
    """A seed with these numbers in epoch 2, and others before and after."""
    then: dict[str, Any] = {"held_out_loss": loss, "active_rows": widths}
    if tau is not None:
        then["skips"] = [[tau.get((l, i), 0.0) for i in range(l + 1)] for l in range(3)]
    return {
        **{"seed": number, "mse": loss, "active": [2, 2, 2], "tau": None if tau is None else {}},
        "history": {1: {"active_rows": [1, 1, 1], "held_out_loss": 9.0}, 2: then},
    }


def compare(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], rows: Mapping[str, Any] = ROWS
) -> Study:
    """A study of three layers from the seeds of its runs."""
    rows = {n: {"experiment": "residual-denoising", "seeds": 3, **row} for n, row in rows.items()}
    made = {n: make_run(seeds, n, 3, rows[n]) for n, seeds in runs.items()}
    known = {name: RunRow.model_validate(row) for name, row in rows.items()}
    return make_study(made, settings=SETTINGS.model_copy(update={"runs": known, "arms": {}}))


@pytest.fixture
def study() -> Study:
    """The protocol's own run with four seeds, one diverged; a changed one with two of them."""
    return compare(
        {
            OWN: [
                seed(0, 0.001, (100, 200, 300), {(0, 0): -0.5, (2, 1): 0.25}),
                seed(1, 0.002, (100, 400, 300), {(0, 0): 0.1}),
                seed(2, math.nan, (1, 1, 1), {}),
                seed(9, 0.5, (7, 7, 7), {}),
            ],
            CHANGED: [
                seed(0, 0.002, (50, 200, 300), {(2, 2): -2.0}),
                seed(1, 0.005, (300, 150, 300), {}),
                seed(2, 0.006, (80, 80, 300), {}),
            ],
        }
    )


def test_what_is_measured_of_a_seed_by_hand() -> None:
    tau = {(1, 0): -0.5, (1, 1): 0.25, (2, 2): 0.1}
    made = {"seed": 4, "held_out": 0.0005, "active": [90, 30, 150, 260], "tau": tau}
    found = measures.numbers(make_run([made]), 1).loc[4].to_dict()
    assert found["ten_mse"] == pytest.approx(0.005)
    # Hidden layers 90, 30, 150; from layer 2 on 30, 150, 260, close to a line.
    assert (found["coding_width"], found["coding_layer"]) == (30, 2)
    assert found["coding_share"] == pytest.approx(30 / 150)
    assert found["rising_line"] == 1
    assert (found["skips_on"], found["largest_skip"]) == (3, 0.5)
    assert (found["width_1"], found["width_4"]) == (90, 260)

    inactive = measures.numbers(make_run([{"active": [0, 0, 5]}]), 1)
    assert inactive.loc[0, "coding_share"] == 1  # no layer is narrower than another
    shallow = measures.numbers(make_run([{"active": [5], "tau": None}]), 1)
    assert list(shallow) == ["ten_mse", "rows_on", "rows_living", "width_1"]
    assert measures.numbers(make_run([{}]), 50).empty  # the run ended before


def test_differences_are_paired_by_seed(study: Study) -> None:
    (group,) = changes.groups(study)
    assert (group.experiment, group.epoch, group.layers) == ("residual-denoising", 2, 3)
    own, changed, *_ = group.rows
    assert own.numbers.index.tolist() == [0, 1, 2]  # seed 9 is none of the changed run's
    assert (changed.name, changed.words) == (CHANGED, "skip threshold 28")
    share = changed.gap("coding_share")
    assert share is not None
    assert share.mean == pytest.approx(0.0)  # 50/200, 150/300 less 100/200, 100/400
    rows = {(row["run"], row["measure"]): row for row in changes.rows([group])}
    # 10 times 0.002, 0.005, 0.006; less 0.001 and 0.002; the protocol's own seed 2 diverged.
    line = rows[CHANGED, "ten_mse"]
    numbers = [line[name] for name in ("mean", "difference_mean", "difference_std")]
    assert numbers == pytest.approx([0.13 / 3, 0.02, 0.02 / math.sqrt(2)])
    assert (line["pairs"], line["nan_pairs"]) == (3, 1)
    assert [row["status"] for (run, _), row in rows.items() if run == OTHER] == ["not run"]


def test_the_table_for_readers(study: Study) -> None:
    text = render_all(study)["ablation.md"]
    for line in (
        "| text | as it is | 3, 1 NaN | 0.01500 (0.00707) |  |  |  |",
        # t for 97.5% and one degree of freedom, 12.7062, times 0.01414 / sqrt 2.
        "| text | skip threshold 28 | 3 | 0.04333 (0.02082) | +0.02000 (0.01414) "
        f"| {MINUS}0.10706 to +0.14706 | 2 |",
        f"| code | schedule constant: not run | 0 | {DASH} | {DASH} | {DASH} | 0 |",
    ):
        assert line in text, line


def test_the_figure_shows_each_run_beside_its_protocol(study: Study) -> None:
    figure = FIGURES["changed"](study)
    found = texts(figure)
    assert "skip threshold 28" in found
    assert "schedule constant" not in found  # has no seed yet
    assert {"2 seeds + 1 diverged, 1.5 skips on", "3 seeds, 0.3 skips on"} <= {*found}
    panel = next(axes for axes in figure.axes if axes.get_title() == "skip threshold 28")
    behind, *seeds = (np.asarray(line.get_ydata()).tolist() for line in panel.lines)
    assert behind == [100, 300, 300]
    assert seeds == [[50, 200, 300], [300, 150, 300], [80, 80, 300]]


def test_more_runs_than_panels_in_a_line_go_on_below() -> None:
    rows: dict[str, Any] = {
        f"paper-scale-{k}": {"protocol": "paper", "change": {"initial_scale": k}, "epochs": 2}
        for k in range(1, 6)
    }
    figure = FIGURES["changed"](
        compare({name: [seed(0, 0.1, (1, 2, 3), {})] for name in rows}, rows)
    )
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[4:] == ["", "initial scale 4", "initial scale 5", ""]


def test_without_skips_with_one_pair_and_as_long_as_nothing_is_changed() -> None:
    one = [seed(0, 0.001, (10, 20, 30), None)]
    study = compare({OWN: one, CHANGED: one})
    assert f"| text | as it is | {DASH} |  |  | {DASH} |  |  |" in render_all(study)["ablation.md"]
    assert "1 seed" in texts(FIGURES["changed"](study))
    study = compare({OWN: one})
    assert changes.groups(study) == []
    assert "runs in which something is changed: not run" in texts(FIGURES["changed"](study))
