import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from bregman_nas.report import ablation, figure7
from bregman_nas.report.paper.ablation import ablation as for_the_article
from bregman_nas.settings import Ablation, Variant

LAYERS = 3
DASH = "\N{EN DASH}"
SETTINGS = Ablation(
    experiment="residual-denoising",
    epochs=2,
    seeds=3,
    variants={
        "paper-threshold": Variant(base="paper", change={"skip_threshold": 28}),
        "authors-constant": Variant(base="authors", change={"schedule": {"kind": "constant"}}),
    },
)
Widths = tuple[int, int, int]
WriteRun = Callable[..., None]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Writes the history.csv of a run, for each seed its loss in epoch 2, widths and skips."""

    def write(
        folder: str, seeds: dict[int, tuple[float, Widths, dict[str, float]]], skips: bool = True
    ) -> None:
        lines = []
        for seed, (loss, widths, on) in seeds.items():
            for epoch in (1, 2, 3):
                line: dict[str, float] = {"seed": seed, "epoch": epoch}
                line["held_out_loss"] = loss if epoch == 2 else 9.0
                for layer, width in enumerate(widths, start=1):
                    line[f"width_{layer}"] = width if epoch == 2 else 1
                for l in range(LAYERS if skips else 0):
                    for i in range(l + 1):
                        name = f"skip_{l}_{i}"
                        line[name] = on.get(name, 0.0) if epoch == 2 else 0.5
                lines.append(line)
        path = tmp_path / "results" / folder / "history.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(lines, columns=["seed"] if not lines else None).to_csv(path, index=False)

    return write


@pytest.fixture
def two_runs(tmp_path: Path, write_run: WriteRun) -> Path:
    """The protocol's own run with four seeds, one diverged; a variant with two of them."""
    write_run(
        "paper-residual-denoising",
        {
            0: (0.001, (100, 200, 300), {"skip_0_0": -0.5, "skip_2_1": 0.25}),
            1: (0.002, (100, 400, 300), {"skip_0_0": 0.1}),
            2: (math.nan, (1, 1, 1), {}),
            9: (0.5, (7, 7, 7), {}),
        },
    )
    write_run(
        "ablation/paper-threshold",
        {
            2: (0.006, (80, 80, 300), {}),
            1: (0.005, (300, 150, 300), {}),
            0: (0.002, (50, 200, 300), {"skip_2_2": -2.0}),
        },
    )
    write_run("ablation/authors-constant", {})
    return tmp_path


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def test_what_is_measured_of_a_seed_by_hand() -> None:
    line = {"seed": 4, "held_out_loss": 0.0005, "width_1": 90, "width_2": 30, "width_3": 150}
    line |= {"width_4": 260, "skip_0_0": 0.0, "skip_1_0": -0.5, "skip_1_1": 0.25, "skip_2_0": 0.0}
    line |= {"skip_2_1": 0.0, "skip_2_2": 0.1} | {f"skip_3_{i}": 0.0 for i in range(4)}
    found = ablation.measure(pd.DataFrame([line])).iloc[0]
    assert found.name == 4
    assert found["ten_mse"] == pytest.approx(0.005)
    # Hidden layers 90, 30, 150; from layer 2 on 30, 150, 260, close to a line.
    assert (found["coding_width"], found["coding_layer"]) == (30, 2)
    assert found["coding_share"] == pytest.approx(30 / 150)
    assert found["rising_line"] == 1
    assert (found["skips_on"], found["largest_skip"]) == (3, 0.5)
    assert found[["width_1", "width_4"]].tolist() == [90, 260]


def test_without_active_rows_there_is_no_narrower_layer() -> None:
    line = {"seed": 0, "held_out_loss": 0.1, "width_1": 0, "width_2": 0, "width_3": 5}
    assert ablation.measure(pd.DataFrame([line])).loc[0, "coding_share"] == 1


def test_a_network_without_hidden_layers_and_skips_has_a_loss_and_a_width() -> None:
    line = {"seed": 0, "held_out_loss": 0.1, "width_1": 5}
    assert list(ablation.measure(pd.DataFrame([line])).columns) == ["ten_mse", "width_1"]


def test_differences_are_paired_by_seed(two_runs: Path) -> None:
    own, variant, *_ = ablation.rows(two_runs, SETTINGS)
    assert own.run == "paper-residual-denoising"
    assert own.numbers.index.tolist() == [0, 1, 2]  # seed 9 is none of the variant's
    assert (variant.run, variant.words) == ("ablation/paper-threshold", "skip_threshold 28")
    loss, difference = variant.summary("ten_mse"), variant.difference_of("ten_mse")
    assert loss is not None
    assert difference is not None
    # 10 times 0.002, 0.005, 0.006; less 0.001 and 0.002; the protocol's own seed 2 diverged.
    assert loss.mean == pytest.approx(0.13 / 3)
    assert (difference.seeds, difference.nan_seeds) == (3, 1)
    assert difference.mean == pytest.approx(0.02)
    assert difference.std == pytest.approx(0.02 / math.sqrt(2))
    # Shares 50/200, 150/300 less 100/200, 100/400.
    share = variant.difference_of("coding_share")
    assert share is not None
    assert share.mean == pytest.approx(0.0)


def test_the_tables_for_readers(two_runs: Path) -> None:
    ablation.write(two_runs, SETTINGS)
    text = (two_runs / "results" / "ablation.md").read_text("utf-8")
    assert "# Ablation: residual-denoising at epoch 2" in text
    minus = "\N{MINUS SIGN}"
    # t for 97.5% and one degree of freedom, 12.7062, times 0.01414 / sqrt 2.
    for line in (
        "| paper | as it is | 3, 1 NaN | 0.01500 (0.00707) |  |  |  |",
        # Narrowest 50, 150 less 100, 100: t times 70.71 / sqrt 2.
        "| paper | skip_threshold 28 | 93 (51) | +0 (71) "
        f"| {minus}635 to +635 | 0.58 (0.38) | +0.00 (0.35) | {minus}3.18 to +3.18 | 1, 2, 1 "
        "| 1 of 3 |",
        # Skips on 1, 0 less 2, 1; largest 2, 0 less 0.5, 0.1.
        "| paper | skip_threshold 28 | 0.3 (0.6) of 6 "
        f"| {minus}1.0 (0.0) | {minus}1.0 to {minus}1.0 | 0.67 (1.15) | +0.70 (1.13) "
        f"| {minus}9.46 to +10.86 |",
        "| paper | skip_threshold 28 | 3 | 0.04333 (0.02082) | +0.02000 (0.01414) "
        f"| {minus}0.10706 to +0.14706 | 2 |",
        f"| authors | schedule constant: not run | 0 | {DASH} | {DASH} | {DASH} | 0 |",
        "| paper | as it is | 100 (0) |  |  | 0.38 (0.18) |  |  | 1, 1 | 1 of 2 |",
        "| paper | as it is | 1.5 (0.7) of 6 |  |  | 0.30 (0.28) |  |  |",
        "| paper | as it is | 100 (0) | 300 (141) | 300 (0) |",
    ):
        assert line in text, line


def test_numbers_for_the_article(two_runs: Path) -> None:
    ablation.write(two_runs, SETTINGS)
    content = json.loads((two_runs / "results" / "ablation.json").read_text("utf-8"))
    assert (content["experiment"], content["epoch"]) == ("residual-denoising", 2)
    variant = content["runs"]["ablation/paper-threshold"]
    assert variant["change"] == {"skip_threshold": 28}
    loss = variant["measures"]["ten_mse"]
    assert (loss["seeds"], loss["difference"]["pairs"]) == (3, 3)
    assert loss["difference"]["nan_pairs"] == 1
    assert [seed["width_1"] for seed in variant["by_seed"]] == [50, 300, 80]
    own = content["runs"]["paper-residual-denoising"]
    assert own["measures"]["ten_mse"]["difference"] is None
    assert own["by_seed"][2]["ten_mse"] is None
    assert content["runs"]["ablation/authors-constant"]["measures"] is None

    rows = pd.read_csv(two_runs / "results" / "ablation.csv")
    line = rows[(rows.run == "ablation/paper-threshold") & (rows.measure == "ten_mse")].iloc[0]
    assert line["difference_mean"] == pytest.approx(0.02)
    assert (line["pairs"], line["nan_pairs"]) == (3, 1)
    missing = rows[rows.run == "ablation/authors-constant"]
    assert missing.status.tolist() == ["not run"]


def test_as_long_as_no_variant_is_run_the_protocols_show_all_their_seeds(
    tmp_path: Path, write_run: WriteRun
) -> None:
    write_run(
        "authors-residual-denoising",
        {seed: (0.001, (10, 20, 30), {}) for seed in range(5)},
    )
    own = {row.run: row for row in ablation.rows(tmp_path, SETTINGS)}["authors-residual-denoising"]
    assert own.numbers.index.tolist() == [0, 1, 2, 3, 4]


def test_a_run_that_ends_before_the_epoch_is_not_compared(
    tmp_path: Path, write_run: WriteRun
) -> None:
    write_run("paper-residual-denoising", {0: (0.001, (10, 20, 30), {})})
    later = SETTINGS.model_copy(update={"epochs": 50})
    ablation.write(tmp_path, later)
    text = (tmp_path / "results" / "ablation.md").read_text("utf-8")
    assert "| paper | as it is: not run | 0 |" in text


def test_a_study_without_skips_has_tables_and_a_figure(tmp_path: Path, write_run: WriteRun) -> None:
    for folder in ("paper-residual-denoising", "ablation/paper-threshold"):
        write_run(folder, {0: (0.001, (10, 20, 30), {})}, skips=False)
    ablation.write(tmp_path, SETTINGS)
    text = (tmp_path / "results" / "ablation.md").read_text("utf-8")
    assert "| 1 | 1 of 1 |\n" in text
    assert f"| paper | as it is | {DASH} |  |  | {DASH} |  |  |" in text
    found = for_the_article(tmp_path / "results" / "ablation.json", {})
    assert found is not None
    assert found["changes"] == {"paper": ["skip_threshold 28"]}
    assert [row[-3:-1] for row in found["rows"][:2]] == [[DASH, DASH]] * 2
    assert [told["name"] for told in found["told"]] == [
        "the loss",
        "the width of the narrowest hidden layer",
    ]
    assert "1 seed" in words(figure7.draw(tmp_path))


def test_nothing_run_at_all(tmp_path: Path) -> None:
    ablation.write(tmp_path, SETTINGS)
    text = (tmp_path / "results" / "ablation.md").read_text("utf-8")
    assert text.count(": not run |") == 4 * 4
    assert words(figure7.draw(tmp_path)).count("not run") == 4


def test_the_figure_shows_each_run_beside_its_protocol(two_runs: Path) -> None:
    ablation.write(two_runs, SETTINGS)
    figure = figure7.draw(two_runs)
    found = words(figure)
    for expected in (
        "\N{LEFT DOUBLE QUOTATION MARK}paper\N{RIGHT DOUBLE QUOTATION MARK}",
        "skip_threshold 28",
        "schedule constant",
        "2 seeds + 1 diverged\n1.5 skips on, mean",
        "3 seeds\n0.3 skips on, mean",
    ):
        assert expected in found
    assert found.count("not run") == 2
    panel = next(axes for axes in figure.axes if axes.get_title() == "skip_threshold 28")
    behind, *seeds = (np.asarray(line.get_ydata()) for line in panel.lines)
    assert behind.tolist() == [100, 300, 300]
    assert [line.tolist() for line in seeds] == [[50, 200, 300], [300, 150, 300], [80, 80, 300]]


def test_more_variants_than_panels_in_a_line_go_on_below(
    tmp_path: Path, write_run: WriteRun
) -> None:
    variants = {
        f"paper-scale-{scale}": Variant(base="paper", change={"initial_scale": scale})
        for scale in range(1, 6)
    }
    ablation.write(tmp_path, SETTINGS.model_copy(update={"variants": variants}))
    figure = figure7.draw(tmp_path)
    assert len(figure.axes) == 2 * figure7.COLUMNS
    assert [axes.get_title() for axes in figure.axes][4:] == [
        "",
        "initial_scale 4",
        "initial_scale 5",
        "",
    ]
