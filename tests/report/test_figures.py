import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bregman_nas.report.data import Study, read_study
from bregman_nas.report.figures import FIGURES, architecture, densenet, draw
from bregman_nas.report.figures.panels import FULL_WIDTH, add_skip_scale, study_style
from tests.helpers import PROJECT

LAYERS, EPOCHS, GROWTH = 6, 4, 2
NAN, MINUS = math.nan, "\N{MINUS SIGN}"
MakeProject = Callable[..., Path]
MakeStudy = Callable[..., Study]
Texts = Callable[..., dict[str, float]]


def restoration(name: str, losses: Sequence[float]) -> list[dict[str, Any]]:
    """Layer l has 10 l + seed + epoch active rows; tau(l, i) is on from epoch l + 1 on."""

    def at(number: int, epoch: int) -> dict[str, Any]:
        active = [10 * l + number + epoch for l in range(1, LAYERS + 1)]
        sizes = [0.1 * (number + 1) if epoch > l else 0.0 for l in range(LAYERS)]
        skips = [[(-1) ** i * size for i in range(l + 1)] for l, size in enumerate(sizes)]
        return {"active_rows": active} | ({"skips": skips} if "residual" in name else {})

    found = []
    for number, mse in enumerate(losses):
        last, history = at(number, EPOCHS), {e: at(number, e) for e in range(1, EPOCHS)}
        tau = {(l, i): x for l, row in enumerate(last.get("skips", [])) for i, x in enumerate(row)}
        one = {"mse": mse, "active": last["active_rows"], "history": history}
        found.append(one | ({"tau": tau} if tau else {}))
    return found


def norms(number: int) -> list[np.ndarray]:
    """They count up from 0 in reading order, times the number of the seed and one."""
    shapes = [(GROWTH, 1), (GROWTH, GROWTH), (GROWTH, 2 * GROWTH), (1, 3 * GROWTH)]
    return [np.arange(math.prod(shape)).reshape(shape) * (number + 1.0) for shape in shapes]


def densenets(accuracies: Sequence[float]) -> list[dict[str, Any]]:
    return [
        {"accuracy": accuracy, "norms": [matrix.tolist() for matrix in norms(number)]}
        for number, accuracy in enumerate(accuracies)
    ]


@pytest.fixture(scope="module")
def complete(make_project: MakeProject) -> Study:
    """All runs, two seeds each, and what is drawn of them."""
    names = [f"{n}-{t}" for n in ("autoencoder", "residual") for t in ("denoising", "deblurring")]
    runs = {f"{p}-{n}": restoration(n, [0.007, 0.009]) for p in ("paper", "authors") for n in names}
    study = read_study(make_project(runs | {"authors-densenet-fashion": densenets([0.9, 0.92])}))
    assert draw(study).startswith(f"figures {', '.join(FIGURES)} in ")
    return study


@pytest.fixture(scope="module")
def partial(make_project: MakeProject) -> Study:
    """One run of one seed, one with a diverged seed, one all diverged, the others not made."""
    runs = {
        "paper-autoencoder-denoising": [0.008],
        "paper-residual-denoising": [NAN, 0.001, 0.003],
        "authors-residual-deblurring": [NAN],
    }
    return read_study(make_project({name: restoration(name, of) for name, of in runs.items()}))


def test_figures_are_drawn_at_the_size_at_which_they_are_printed(
    complete: Study, partial: Study, make_study: MakeStudy, texts: Texts
) -> None:
    layout = (PROJECT / "paper" / "layout.typ").read_text("utf-8")
    margin = re.search(r"\"a4\",\s*margin: \(x: (\d+)mm", layout)
    assert margin is not None
    assert (210 - 2 * int(margin[1])) / 25.4 == pytest.approx(FULL_WIDTH)
    for study in (complete, partial, make_study({})):
        for made in FIGURES.values():
            with study_style():
                figure = made(study)
            assert figure.get_figwidth() == FULL_WIDTH
            assert min(texts(figure).values()) >= 6.5
            assert not [text for text in texts(figure) if re.search("paper|authors", text)]


def test_same_results_same_bytes_and_no_torch(complete: Study) -> None:
    """In another process, with another hash seed and other settings of matplotlib's user."""
    files = sorted((complete.project / "figures").iterdir())
    assert len(files) == 2 * len(FIGURES)
    first = [path.read_bytes() for path in files]
    program = """
import sys, pathlib, matplotlib
matplotlib.rcParams["font.size"] = 20
from bregman_nas.report import data, figures, tables
study = data.read_study(pathlib.Path(sys.argv[1]))
tables.aggregate(study)
figures.draw(study, ["widths", "rows"])
assert "torch" not in sys.modules
"""
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", program, str(complete.project)]
    subprocess.run(command, check=True, env=environment)
    assert [path.read_bytes() for path in files] == first


def test_figures_say_what_is_missing(partial: Study, texts: Texts) -> None:
    for name in ("digits", "widths", "skips", "kernels", "rows", "skips-over-epochs", "changed"):
        assert any("not run" in text for text in texts(FIGURES[name](partial)))
    found = texts(FIGURES["skips"](partial))
    assert "Residual autoencoder, denoising, text (2 seeds + 1 diverged)" in found
    assert "all seeds diverged" in found


def test_digits_are_those_of_the_lowest_seed_of_both_networks(complete: Study) -> None:
    runs = dict(complete.runs)
    runs["paper-residual-denoising"] = runs["paper-residual-denoising"].only([1])
    figure = FIGURES["digits"](Study(complete.project, complete.settings, runs))
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert [title[-8:] for title in titles] == ["(seed 1)", *3 * ["(seed 0)"]]


def test_a_picture_that_is_not_there(
    make_study: MakeStudy, texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the repository has one
    study = make_study({"paper-autoencoder-denoising": [{}]})
    assert "no picture" in texts(FIGURES["digits"](study))


def test_block_sums_by_hand() -> None:
    # 0 + 1; 0 + 1 + 2 + 3; 0 + 1 + 4 + 5, 2 + 3 + 6 + 7; 0 + 1, 2 + 3, 4 + 5.
    expected = [[1, NAN, NAN, NAN], [NAN, 6, NAN, NAN], [NAN, 10, 18, NAN], [NAN, 1, 5, 9]]
    np.testing.assert_array_equal(densenet.block_sums(norms(0)), expected)


def test_kernels_that_are_zero_are_white(complete: Study) -> None:
    left, right = FIGURES["kernels"](complete).axes[:2]
    for picture in (left.images[0], right.collections[0]):
        for precision in (np.float32, np.float64):
            assert picture.cmap(np.asarray(picture.norm(np.zeros(1, precision)))).min() == 1
            assert picture.cmap(np.asarray(picture.norm(np.full(1, 1e-3, precision)))).min() < 0.9


def test_living_densenets_are_drawn_and_collapsed_ones_counted(
    make_study: MakeStudy, texts: Texts
) -> None:
    study = make_study({"authors-densenet-fashion": densenets([0.1, 0.9, 0.1])})
    living = FIGURES["kernels"](study).axes[0]
    told = "1 seed, test accuracy 90.0%\n(not shown: 2 seeds that collapsed to 10.0%)"
    assert living.get_title().endswith(told)
    # The norms grow with the number of the seed: 2 times those of seed 0.
    picture = np.asarray(living.images[0].get_array())
    assert picture[-1, -1] == 2 * norms(0)[-1][0, -1]
    all_lost = make_study({"authors-densenet-fashion": densenets([0.1, 0.1])})
    assert [*texts(FIGURES["kernels"](all_lost))] == [
        "DenseNet: not shown: 2 seeds that collapsed to 10.0%"
    ]


def test_errors_stand_under_each_digit(complete: Study) -> None:
    panels = FIGURES["digits"](complete).axes[::4]  # of the first column
    picture = complete.runs["paper-autoencoder-denoising"].picture(0)
    assert picture is not None
    clean, degraded, restored = picture / 255
    for panel, grey in ((panels[2], degraded), (panels[4], restored)):
        errors = [10 * ((grey - clean)[:, 28 * k : 28 * k + 28] ** 2).mean() for k in range(4)]
        told = [label.get_text() for label in panel.get_xticklabels()]
        assert told == [f"{error:.3f}" for error in errors]


def test_totals_are_over_all_layers(complete: Study) -> None:
    panel = FIGURES["rows"](complete).axes[0]
    active = panel.lines[0].get_ydata()
    # 210 + 6 (s + e) of seed s after epoch e, and the median of s is 1/2.
    assert np.asarray(active).tolist() == [213 + 6 * epoch for epoch in range(1, EPOCHS + 1)]
    layer = FIGURES["rows-by-layer"](complete).axes[1].lines[0].get_ydata()
    assert np.asarray(layer).tolist() == [20.5 + epoch for epoch in range(1, EPOCHS + 1)]


def test_losses_stand_beside_the_article_and_trivial_answers(complete: Study, texts: Texts) -> None:
    figure = FIGURES["losses"](complete)
    assert {"Autoencoder", "article", "No network", "Input unchanged"} <= {*texts(figure)}
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[:2] == ["Autoencoder", "article"]
    assert figure.axes[0].get_xscale() == "log"
    bars = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    found = {names[round(y)]: x for x, y in (np.ravel(bar.get_xydata()) for bar in bars)}
    assert found["Input unchanged"] == pytest.approx(0.1)
    assert math.sqrt(0.07 * 0.09) in [pytest.approx(x) for x in found.values()]


def test_cells_of_the_skips() -> None:
    # Deviations of 0.1 from the mean: sqrt(0.02 / 1).
    assert architecture.cell(np.array([-0.2, -0.4])) == f"{MINUS}0.30\n(0.14)"
    assert architecture.cell(np.array([-0.2])) == f"{MINUS}0.20"
    assert architecture.cell(np.array([-0.001, 0.0])) == "0.00\n(0.00)"
    assert architecture.cell(np.zeros(2)) == "0"


def test_the_scale_of_the_skips_saturates_nowhere() -> None:
    figure = Figure()
    panels = figure.subplots(1, 2)
    scale = add_skip_scale(figure, panels, [np.array([0.0, 0.01, 0.02, -0.4, np.nan])], "skip")
    levels = np.asarray(scale.norm(np.array([-0.4, -0.2, 0.0, 0.01, 0.02, 0.4])))
    assert levels[[0, 2, 5]] == pytest.approx([0, 0.5, 1])
    assert (np.diff(levels) > 0.05).all()
    ticks = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
    assert ticks[len(ticks) // 2] == "0"
    assert {"0.2", f"{MINUS}0.2", "0.02"} <= set(ticks)


def test_first_active_epochs() -> None:
    tau = [0, 0.1, 0, 0.1, 0.1, 0.1, 0, 0, 0]
    skips = pd.DataFrame({"seed": [0, 0, 0, 1, 1, 1, 2, 2, 2], "epoch": [1, 2, 3] * 3, "tau": tau})
    first = architecture.first_active_epochs(skips.assign(l=0, i=0))[0, 0]
    assert first.loc[[0, 1]].tolist() == [2, 1]
    assert math.isnan(first.loc[2])
    assert architecture.first_active_in_words(first) == "1.5 (1\u20132); 2 of 3"
    assert architecture.first_active_in_words(first[:1]) == "2"
    assert architecture.first_active_in_words(first[2:]) == "never"
