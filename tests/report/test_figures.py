import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from bregman_nas.report.data import Study
from bregman_nas.report.figures import FIGURES, densenet, draw
from bregman_nas.report.figures.panels import FULL_WIDTH, study_style
from tests.helpers import PROJECT
from tests.report.studies import EPOCHS, densenets, make_study, norms, texts

NAN = math.nan


def test_figures_are_drawn_at_the_size_at_which_they_are_printed(
    complete: Study, partial: Study
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
    assert draw(complete).startswith(f"figures {', '.join(FIGURES)} in ")
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


def test_figures_say_what_is_missing(partial: Study) -> None:
    assert "DenseNet: not run" in texts(FIGURES["kernels"](make_study({})))
    for name in ("digits", "widths", "skips", "rows", "skips-over-epochs", "changed"):
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


def test_living_densenets_are_drawn_and_collapsed_ones_counted() -> None:
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


def test_numbers_over_the_epochs(complete: Study) -> None:
    panel = FIGURES["rows"](complete).axes[0]
    active = panel.lines[0].get_ydata()
    # 210 + 6 (s + e) of seed s after epoch e, and the median of s is 1/2.
    assert np.asarray(active).tolist() == [213 + 6 * epoch for epoch in range(1, EPOCHS + 1)]
    layer = FIGURES["rows-by-layer"](complete).axes[1].lines[0].get_ydata()
    assert np.asarray(layer).tolist() == [20.5 + epoch for epoch in range(1, EPOCHS + 1)]
    # The skips into layer l are on from epoch l on, and there are four epochs.
    assert {"1", "2", "3", "4", "never"} <= {*texts(FIGURES["skips-over-epochs"](complete))}


def test_losses_stand_beside_the_article_and_trivial_answers(complete: Study) -> None:
    figure = FIGURES["losses"](complete)
    assert {"Autoencoder", "article", "No network", "Input unchanged"} <= {*texts(figure)}
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[:2] == ["Autoencoder", "article"]
    assert figure.axes[0].get_xscale() == "log"
    bars = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    found = {names[round(y)]: x for x, y in (np.ravel(bar.get_xydata()) for bar in bars)}
    assert found["Input unchanged"] == pytest.approx(0.1)
    assert math.sqrt(0.07 * 0.09) in [pytest.approx(x) for x in found.values()]
