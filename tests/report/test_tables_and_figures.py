import csv
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from bregman_nas.report import figure1, figure3, figure4, figure5, figure6
from bregman_nas.report.figures import MODULES, draw
from bregman_nas.report.read import read_run, skips
from bregman_nas.report.style import FULL_WIDTH, add_skip_scale, study_style
from bregman_nas.report.tables import aggregate

PROJECT = Path(__file__).resolve().parents[2]
LAYERS = 6
EPOCHS = 4
GROWTH = 2
EXPERIMENTS = [
    f"{network}-{task}"
    for network in ("autoencoder", "residual")
    for task in ("denoising", "deblurring")
]
Row = dict[str, float]


def write_csv(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def architecture(seed: int, epoch: int, residual: bool) -> Row:
    row: Row = {f"width_{l}": 10 * l + seed + epoch for l in range(1, LAYERS + 1)}
    row |= {f"living_{l}": 700 - 10 * epoch for l in range(1, LAYERS + 1)}
    if residual:
        for l in range(LAYERS):
            for i in range(l + 1):
                # On from epoch l + 1 on, so that the first never is off and the last never on.
                row[f"skip_{l}_{i}"] = (-1) ** i * 0.1 * (seed + 1) if epoch > l else 0.0
    return row


def write_restoration_run(
    project: Path, run: str, test_mses: Sequence[float], first_seed: int = 0
) -> None:
    """Seeds from `first_seed` with these losses; `held_out_mse` is twice `test_mse`."""
    folder = project / "results" / run
    (folder / "records").mkdir(parents=True)
    residual = "residual" in run
    seeds, history = [], []
    for seed, mse in enumerate(test_mses, start=first_seed):
        row: Row = {"seed": seed, "test_mse": mse, "held_out_mse": 2 * mse, "train_loss": mse}
        row |= architecture(seed, EPOCHS, residual)
        row |= {f"effective_{l}": 5 * l for l in range(1, LAYERS + 1)}
        for part, value in (("test", 0.01), ("held_out", 0.02)):
            row |= {
                f"{part}_mse_{baseline}": value * factor
                for factor, baseline in enumerate(("input_unchanged", "mean_image", "zero"), 1)
            }
        seeds.append(row)
        history += [
            {"seed": seed, "epoch": epoch, "a_later_column": 1}
            | architecture(seed, epoch, residual)
            for epoch in range(1, EPOCHS + 1)
        ]
        grey = np.arange(84 * 224, dtype=np.uint32).reshape(84, 224) % 256
        picture = Image.fromarray(grey.astype(np.uint8))
        picture.save(folder / "records" / f"seed-{seed:02d}.png")
    write_csv(folder / "seeds.csv", seeds)
    write_csv(folder / "history.csv", history)


def kernel_norms(seed: int) -> list[np.ndarray]:
    shapes = [(GROWTH, 1), (GROWTH, GROWTH), (GROWTH, 2 * GROWTH), (1, 3 * GROWTH)]
    return [np.arange(math.prod(shape)).reshape(shape) * (seed + 1.0) for shape in shapes]


def write_densenet_run(project: Path, run: str, accuracies: Sequence[float]) -> None:
    folder = project / "results" / run
    (folder / "records").mkdir(parents=True)
    seeds = [
        {"seed": seed, "test_accuracy": accuracy, "test_loss": 0.3}
        for seed, accuracy in enumerate(accuracies)
    ]
    write_csv(folder / "seeds.csv", seeds)
    for seed in range(len(accuracies)):
        norms = [matrix.tolist() for matrix in kernel_norms(seed)]
        text = json.dumps({"result": {"kernel_norms": norms}})
        (folder / "records" / f"seed-{seed:02d}.json").write_text(text, "utf-8")


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if isinstance(text, Text)]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


def files(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


FIGURES = [f"figure{number}.{kind}" for number in MODULES for kind in ("png", "pdf")]
TABLES = [
    *("table1.csv", "table1.md", "table1.tex", "table1.json", "metrics.json"),
    *("widths.csv", "widths.md", "networks.csv", "networks.md"),
]


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs, two seeds each."""
    project = tmp_path_factory.mktemp("complete")
    for protocol in ("paper", "authors"):
        for experiment in EXPERIMENTS:
            write_restoration_run(project, f"{protocol}-{experiment}", [0.007, 0.009])
        write_densenet_run(project, f"{protocol}-densenet-fashion", [0.9, 0.92])
    aggregate(project)
    draw(project)
    return project


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of one seed, one with a diverged seed, one all diverged, the others not made."""
    project = tmp_path_factory.mktemp("partial")
    write_restoration_run(project, "paper-autoencoder-denoising", [0.008])
    write_restoration_run(project, "paper-residual-denoising", [math.nan, 0.001, 0.003])
    write_restoration_run(project, "authors-residual-deblurring", [math.nan])
    write_densenet_run(project, "authors-densenet-fashion", [0.9])
    aggregate(project)
    draw(project)
    return project


def test_numbers_of_table_1(complete: Path) -> None:
    table = json.loads((complete / "results" / "table1.json").read_text("utf-8"))
    cell = table["authors"]["autoencoder"]["denoising"]["test"]
    # Standard deviation of 0.07 and 0.09: 0.02 / sqrt 2. The 97.5% quantile of t with one degree
    # of freedom is 12.7062, the standard error of the mean 0.01.
    assert (cell["seeds"], cell["nan_seeds"]) == (2, 0)
    assert cell["mse"]["mean"] == pytest.approx(0.008)
    assert cell["ten_mse"]["mean"] == pytest.approx(0.08)
    assert cell["ten_mse"]["std"] == pytest.approx(0.0141421, rel=1e-5)
    assert cell["ten_mse"]["low"] == pytest.approx(0.08 - 0.127062, rel=1e-4)
    # Welch against 0.081 (0.012), 10 runs: squared standard errors 1e-4 and 1.44e-5.
    assert cell["welch"]["t"] == pytest.approx(-0.001 / math.sqrt(1.144e-4))
    assert table["authors"]["autoencoder"]["denoising"]["held_out"]["mse"]["mean"] == 0.016
    baseline = table["paper"]["mean_image"]["deblurring"]["test"]
    assert baseline["mse"]["mean"] == pytest.approx(0.02)
    assert baseline["welch"] is None
    assert table["article"]["residual"]["deblurring"] == {"mean": 0.112, "std": 0.006, "seeds": 10}


def test_figures_are_drawn_at_the_size_at_which_they_are_printed(
    complete: Path, partial: Path
) -> None:
    layout = (PROJECT / "paper" / "layout.typ").read_text("utf-8")
    margin = re.search(r"\"a4\",\s*margin: \(x: (\d+)mm", layout)
    assert margin is not None
    assert (210 - 2 * int(margin[1])) / 25.4 == pytest.approx(FULL_WIDTH)
    for project in (complete, partial):
        for module in MODULES.values():
            with study_style():
                figure = module.draw(project)
            assert figure.get_figwidth() == FULL_WIDTH
            sizes = [float(text.get_fontsize()) for text in texts(figure) if text.get_text()]
            assert min(sizes) >= 6.5


def test_one_figure_alone(complete: Path, tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to(complete / "results")
    draw(tmp_path, [2])
    drawn = files(tmp_path / "figures", [path.name for path in (tmp_path / "figures").iterdir()])
    assert drawn == files(complete / "figures", ["figure2.pdf", "figure2.png"])


def test_metrics_are_of_the_runs_made(partial: Path) -> None:
    metrics = json.loads((partial / "results" / "metrics.json").read_text("utf-8"))
    assert set(metrics) == {"paper", "authors"}
    assert set(metrics["paper"]) == {"autoencoder-denoising", "residual-denoising"}
    one_seed = {"ten_mse": pytest.approx(0.08), "ten_mse_std": None, "seeds": 1}
    assert metrics["paper"]["autoencoder-denoising"] == one_seed
    diverged = {"ten_mse": None, "ten_mse_std": None, "seeds": 1}
    assert metrics["authors"]["residual-deblurring"] == diverged


def test_table_1_for_readers(complete: Path) -> None:
    markdown = (complete / "results" / "table1.md").read_text("utf-8")
    assert (
        "| Autoencoders | 0.081 (0.012) | 0.0800 (0.0141), n = 2 | 0.0800 (0.0141), n = 2 "
        "| 0.147 (0.021) |" in markdown
    )
    latex = (complete / "results" / "table1.tex").read_text("utf-8")
    lines = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 2 + 5
    assert lines[2].startswith("Autoencoders & 0.081 (0.012) & 0.0800 (0.0141), n = 2 &")
    assert lines[4].startswith("Input unchanged & -- & 0.1000 & 0.1000 &")


def test_the_detailed_table_in_latex(complete: Path, partial: Path) -> None:
    def lines(project: Path) -> list[str]:
        text = (project / "results" / "table1-detailed.tex").read_text("utf-8")
        return [line for line in text.splitlines() if line.endswith(r"\\")]

    found = lines(complete)
    # A head; for each task its name, and five answers on two kinds of images under two protocols,
    # the networks behind the article.
    assert len(found) == 1 + 2 * (1 + 5 * 2 * 2 + 2)
    assert {line.count("&") for line in found if "multicolumn" not in line} == {7}
    assert r"Autoencoders &  & article & 10 &  & 0.081 (0.012) &  &  \\" in found
    # Of 0.008 +- 0.012706; Welch's t is -0.0935 (see above), with few degrees of freedom.
    ours = "0.008000 (0.001414) & 0.08000 (0.01414) & -0.04706 to 0.20706 & 0.9"
    assert any(
        line.startswith(f"Autoencoders & official test & paper & 2 & {ours}") for line in found
    )
    assert r"Zero & official test & paper &  & 0.030000 & 0.30000 &  &  \\" in found
    assert r"Zero & held out & authors &  & not run &  &  &  \\" in lines(partial)


def test_table_1_says_what_is_missing(partial: Path) -> None:
    results = partial / "results"
    table = json.loads((results / "table1.json").read_text("utf-8"))
    assert table["authors"]["autoencoder"]["denoising"]["test"] is None
    assert table["authors"]["zero"]["denoising"]["test"] is None
    one_seed = table["paper"]["autoencoder"]["denoising"]["test"]
    assert one_seed["mse"] == {"mean": 0.008, "std": None, "low": None, "high": None}
    assert one_seed["welch"] is None
    one_diverged = table["paper"]["residual"]["denoising"]["test"]
    assert (one_diverged["seeds"], one_diverged["nan_seeds"]) == (3, 1)
    assert one_diverged["mse"]["mean"] == pytest.approx(0.002)
    markdown = (results / "table1.md").read_text("utf-8")
    dash = "\N{EN DASH}"
    assert f"| Autoencoders | 0.081 (0.012) | 0.0800 ({dash}), n = 1 | not run |" in markdown
    assert "| 0.005 (0.000) | 0.0200 (0.0141), 1 of 3 seeds NaN | not run |" in markdown
    assert f"{dash} ({dash}), 1 of 1 seeds NaN |" in markdown

    rows = pd.read_csv(results / "table1.csv")
    wanted = (rows.protocol == "authors") & (rows.answer == "autoencoder")
    assert set(rows[wanted].status) == {"not run"}
    numbers = rows[wanted].filter(regex="^(seeds|nan_seeds|mse_|ten_mse_|welch_)")
    assert numbers.isna().all(axis=None)


def test_widths_in_long_form(partial: Path) -> None:
    table = pd.read_csv(partial / "results" / "widths.csv")
    run = table[table.run == "paper-residual-denoising"]
    assert len(run) == 3 * (1 + LAYERS)  # the diverged seed too
    by_hand, *layers = run[run.seed == 1].to_dict("records")
    assert (by_hand["layer"], by_hand["width"], by_hand["added_by_hand"]) == (0, 784, 1)
    assert math.isnan(by_hand["effective"])
    assert math.isnan(by_hand["living"])
    assert [row["width"] for row in layers] == [10 * l + 1 + EPOCHS for l in range(1, LAYERS + 1)]
    assert layers[-1]["effective"] == 30
    assert layers[-1]["living"] == 660
    assert not any(row["added_by_hand"] for row in layers)


def test_active_and_effective_widths_for_readers(partial: Path) -> None:
    markdown = (partial / "results" / "widths.md").read_text("utf-8")
    # Layer 1: 10 + seed + EPOCHS active rows in the seeds 1 and 2, which converged; 5 effective.
    assert "| paper-residual-denoising | 2 | active | 15.5 (0.7) | 25.5 (0.7) |" in markdown
    assert "| paper-residual-denoising | 2 | effective | 5.0 (0.0) | 10.0 (0.0) |" in markdown
    assert "| paper-autoencoder-denoising | 1 | active | 14.0 (\N{EN DASH}) |" in markdown
    assert "authors-residual-deblurring" not in markdown


def test_small_networks_of_the_present_records(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    for run, digest, result in (
        ("authors-densenet-fashion", "new", {"test_accuracy": 0.1, "test_loss": 2.3}),
        ("paper-residual-denoising", "new", {"test_mse": 0.1}),
        ("paper-autoencoder-denoising", "old", {"test_mse": 0.1}),
    ):
        about = {
            "run": run,
            "seed": 0,
            "record": digest,
            "parameters": {"full": 3000, "small": 1000},
            "multiply_adds": {"full": 2500, "small": 1000},
            "difference": {"images": 10_000, "double": 1e-9, "single": 2e-6},
        }
        for part, content in (
            (f"networks/{run}", about),
            (f"{run}/records", {"digests": {"all": "new"}, "result": result}),
        ):
            (folder / part).mkdir(parents=True)
            (folder / part / "seed-00.json").write_text(json.dumps(content), "utf-8")
    (folder / "networks" / "paper-residual-denoising" / "seed-00.safetensors").touch()
    aggregate(tmp_path)
    collapsed, row = pd.read_csv(folder / "networks.csv").to_dict("records")
    assert (collapsed["run"], collapsed["collapsed"]) == ("authors-densenet-fashion", 1)
    assert row["collapsed"] == 0
    assert (row["run"], row["parameters_small"]) == ("paper-residual-denoising", 1000)
    assert row["weights_committed"] == 1
    told = (folder / "networks.md").read_text("utf-8")
    assert (
        "| paper-residual-denoising | 0 | 3,000 | 1,000 | 2,500 | 1,000 | 2.5 | 1.0e-09 | 2.0e-06 "
        "| 10,000 | yes |"
    ) in told
    assert "| authors-densenet-fashion \N{DAGGER} | 0 |" in told
    assert "\N{DAGGER}: collapsed to one answer" in told


def test_skips_have_a_lower_triangle(complete: Path) -> None:
    run = read_run(complete, "paper", "residual-denoising")
    assert run is not None
    tau = skips(run.seeds)
    assert tau.shape == (2, LAYERS, LAYERS)
    assert tau[1, 3, 2] == 0.2
    assert tau[1, 3, 1] == -0.2
    assert np.isnan(tau[:, 2, 3]).all()


def test_figures_say_what_is_missing(partial: Path) -> None:
    names = sorted(path.name for path in (partial / "figures").iterdir())
    assert names == sorted(FIGURES)
    for module in (figure1, figure3, figure4, figure5, figure6):
        assert any("not run" in text for text in words(module.draw(partial)))
    assert (
        "Denoising, \N{LEFT DOUBLE QUOTATION MARK}paper\N{RIGHT DOUBLE QUOTATION MARK} "
        "(2 seeds + 1 diverged)" in words(figure3.draw(partial))
    )
    assert "all seeds diverged" in words(figure3.draw(partial))


def test_nothing_run_at_all(tmp_path: Path) -> None:
    aggregate(tmp_path)
    assert "not run" in (tmp_path / "results" / "table1.md").read_text("utf-8")
    draw(tmp_path)
    assert len(list((tmp_path / "figures").iterdir())) == len(FIGURES)


def test_digits_are_those_of_the_lowest_seed_of_both_networks(tmp_path: Path) -> None:
    write_restoration_run(tmp_path, "paper-autoencoder-denoising", [math.nan, 0.1, 0.1])
    write_restoration_run(tmp_path, "paper-residual-denoising", [0.1, 0.1], first_seed=2)
    assert any("(seed 2)" in text for text in words(figure1.draw(tmp_path)))


def test_same_results_same_bytes_and_no_torch(complete: Path) -> None:
    """In another process, with another hash seed and other settings of matplotlib's user."""
    figures, tables = complete / "figures", complete / "results"
    first = files(figures, FIGURES) | files(tables, TABLES)
    program = (
        "import sys, pathlib, matplotlib\n"
        "matplotlib.rcParams['font.size'] = 20\n"
        "from bregman_nas.report.figures import draw\n"
        "from bregman_nas.report.tables import aggregate\n"
        "project = pathlib.Path(sys.argv[1])\n"
        "aggregate(project)\n"
        "draw(project)\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", program, str(complete)], check=True, env=environment)
    assert files(figures, FIGURES) | files(tables, TABLES) == first


def test_block_sums_by_hand() -> None:
    norms = np.array([[1.0, 2.0, 10.0, 20.0], [3.0, 4.0, 30.0, 40.0]])
    assert figure4.block_sums(norms, growth=2).tolist() == [10.0, 100.0]
    assert figure4.block_sums(norms, growth=1).tolist() == [4.0, 6.0, 40.0, 60.0]


def test_block_sum_matrix_by_hand() -> None:
    # Norms count up from 0 in reading order: 0 + 1; 0 + 1 + 2 + 3; 0 + 1 + 4 + 5, 2 + 3 + 6 + 7;
    # 0 + 1, 2 + 3, 4 + 5.
    nan = math.nan
    expected = [[1, nan, nan, nan], [nan, 6, nan, nan], [nan, 10, 18, nan], [nan, 1, 5, 9]]
    np.testing.assert_array_equal(figure4.block_sum_matrix(kernel_norms(0)), expected)


def test_kernels_that_are_zero_are_grey(complete: Path) -> None:
    images = [image for axes in figure4.draw(complete).axes for image in axes.images]
    assert len(images) == 4
    for image in images:
        for precision in (np.float32, np.float64):
            shown = image.cmap(np.asarray(image.norm(np.zeros(1, precision))))
            assert shown == pytest.approx(np.array([[0.85, 0.85, 0.85, 1]]))


def test_collapsed_networks_have_their_own_panels(tmp_path: Path) -> None:
    write_densenet_run(tmp_path, "authors-densenet-fashion", [0.1, 0.9, 0.1])
    figure = figure4.draw(tmp_path)
    collapsed, _, others, _ = (axes for axes in figure.axes if axes.images)
    assert collapsed.get_title().endswith("(collapsed: 2 seeds, test accuracy 10.0%)")
    assert others.get_title().endswith("(the others: 1 seed, test accuracy 90.0%)")
    # The norms grow with the number of the seed: 1 and 3 times those of seed 0, and 2 times.
    last = kernel_norms(0)[-1][0, -1]
    pictures = [np.asarray(axes.images[0].get_array()) for axes in (collapsed, others)]
    assert [picture[-1, -1] for picture in pictures] == [2 * last, 2 * last]


def test_kernel_norms_of_all_seeds(complete: Path) -> None:
    run = read_run(complete, "paper", "densenet-fashion")
    assert run is not None
    first, *_, last = run.kernel_norms
    assert first.shape == (2, GROWTH, 1)
    assert last[1].tolist() == [[0, 2, 4, 6, 8, 10]]


def test_cells_of_the_skips() -> None:
    minus = "\N{MINUS SIGN}"
    # Deviations of 0.1 from the mean: sqrt(0.02 / 1).
    assert figure3.cell(np.array([-0.2, -0.4])) == f"{minus}0.30\n(0.14)"
    assert figure3.cell(np.array([-0.2])) == f"{minus}0.20"
    assert figure3.cell(np.array([-0.001, 0.0])) == "0.00\n(0.00)"
    assert figure3.cell(np.zeros(2)) == "0"


def test_the_scale_of_the_skips_saturates_nowhere() -> None:
    figure = Figure()
    panels = figure.subplots(1, 2)
    scale = add_skip_scale(figure, panels, [np.array([0.0, 0.01, 0.02, -0.4, np.nan])], "skip")
    levels = np.asarray(scale.norm(np.array([-0.4, -0.2, 0.0, 0.01, 0.02, 0.4])))
    assert levels[[0, 2, 5]] == pytest.approx([0, 0.5, 1])
    assert (np.diff(levels) > 0.05).all()
    ticks = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
    assert ticks[len(ticks) // 2] == "0"
    assert {"0.2", "\N{MINUS SIGN}0.2", "0.02"} <= set(ticks)


def test_first_active_epochs() -> None:
    history = pd.DataFrame(
        {
            "seed": [0, 0, 0, 1, 1, 1, 2, 2, 2],
            "epoch": [1, 2, 3] * 3,
            "skip_0_0": [0, 0.1, 0, 0.1, 0.1, 0.1, 0, 0, 0],
        }
    )
    first = figure6.first_active_epochs(history, "skip_0_0")
    assert first.loc[0] == 2
    assert first.loc[1] == 1
    assert math.isnan(first.loc[2])
    assert figure6.first_active_in_words(first) == "1.5 (1\u20132); 2 of 3"
    assert figure6.first_active_in_words(first[:1]) == "2"
    assert figure6.first_active_in_words(first[2:]) == "never"
