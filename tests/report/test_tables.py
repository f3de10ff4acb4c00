import io
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bregman_nas.errors import UserError
from bregman_nas.report.data import Study, read_study
from bregman_nas.report.tables import aggregate, check_current, render_all
from tests.report.studies import DASH, LAYERS, SETTINGS, make_study, write_project

NAMES = [f"{n}-{t}" for n in ("autoencoder", "residual") for t in ("denoising", "deblurring")]


@pytest.fixture(scope="module")
def of_some(partial: Study) -> dict[str, str]:
    return render_all(partial)


def test_numbers_of_table_1(complete: Study) -> None:
    table = json.loads(render_all(complete)["table1.json"])
    cell = table["authors"]["autoencoder"]["denoising"]["test"]
    # Standard deviation of 0.07 and 0.09: 0.02 / sqrt 2. The 97.5% quantile of t with one degree
    # of freedom is 12.7062, the standard error of the mean 0.01.
    assert (cell["seeds"], cell["nan_seeds"]) == (2, 0)
    assert cell["mse"]["mean"] == pytest.approx(0.008)
    named = {"mean": 0.08, "std": 0.0141421, "low": 0.08 - 0.127062, "high": 0.08 + 0.127062}
    assert cell["ten_mse"] == pytest.approx(named, rel=1e-4)
    # Welch against 0.081 (0.012), 10 runs: squared standard errors 1e-4 and 1.44e-5.
    assert cell["welch"]["t"] == pytest.approx(-0.001 / math.sqrt(1.144e-4))
    held_out = table["authors"]["autoencoder"]["denoising"]["held_out"]
    assert held_out["mse"]["mean"] == pytest.approx(0.016)
    baseline = table["paper"]["mean_image"]["deblurring"]["test"]
    assert (baseline["mse"]["mean"], baseline["welch"]) == (pytest.approx(0.02), None)
    assert table["article"]["residual"]["deblurring"] == {"mean": 0.112, "std": 0.006, "seeds": 10}


def test_table_1_says_what_is_missing(of_some: dict[str, str]) -> None:
    table = json.loads(of_some["table1.json"])
    assert table["authors"]["autoencoder"]["denoising"]["test"] is None
    assert table["authors"]["zero"]["denoising"]["test"] is None
    one_seed = table["paper"]["autoencoder"]["denoising"]["test"]
    assert one_seed["mse"] == {"mean": 0.008, "std": None, "low": None, "high": None}
    assert one_seed["welch"] is None
    one_diverged = table["paper"]["residual"]["denoising"]["test"]
    assert (one_diverged["seeds"], one_diverged["nan_seeds"]) == (3, 1)
    assert one_diverged["mse"]["mean"] == pytest.approx(0.002)
    for line in (
        "| **Autoencoders** | 0.081 (0.012) | 0.0800, n = 1 | not run |",
        "| 0.005 (0.000) | 0.0200 (0.0141), 1 of 3 seeds NaN | not run |",
        f"{DASH}, 1 of 1 seeds NaN |",
        f"| {DASH} | {DASH} |\n",  # of one seed there is no test
        "Not fitted yet",
    ):
        assert line in of_some["table1.md"]
    assert r"Zero & held out & code &  & not run &  &  &  \\" in of_some["table1-detailed.tex"]
    rows = pd.read_csv(io.StringIO(of_some["table1.csv"]))
    missing = rows[(rows["protocol"] == "authors") & (rows["answer"] == "autoencoder")]
    assert set(missing["status"]) == {"not run"}
    numbers = missing.filter(regex="^(seeds|nan_seeds|mse_|ten_mse_|welch_)")
    assert numbers.isna().all(axis=None)


def test_widths_in_long_form(of_some: dict[str, str]) -> None:
    table = pd.read_csv(io.StringIO(of_some["widths.csv"])).set_index("run")
    run = table.loc["paper-residual-denoising"]
    assert len(run) == 3 * (1 + LAYERS)  # the diverged seed too
    by_hand, *layers = run[run["seed"] == 1].drop(columns="seed").to_numpy().tolist()
    assert str(by_hand) == "[0.0, 784.0, nan, nan, 1.0]"
    assert layers == [[l, 10 * l + 5, 5 * l, 660, 0] for l in range(1, LAYERS + 1)]
    assert "authors-residual-deblurring" not in of_some["widths.md"]


def test_small_networks_of_the_present_records(tmp_path: Path) -> None:
    dense = {"norms": [[[1]], [[1]], [[1, 1]]], "accuracy": 0.1}
    runs: dict[str, list[dict[str, Any]]]
    runs = {"authors-densenet-fashion": [dense], "paper-residual-denoising": [{"tau": {}}]}
    project = write_project(tmp_path, {**runs, "paper-autoencoder-denoising": [{}]})
    for run in (*runs, "paper-autoencoder-denoising"):
        about = {
            **{"run": run, "seed": 0},
            "record": read_study(project).runs[run].digests[0] if run in runs else "of before",
            "parameters": {"full": 3000, "small": 1000},
            "multiply_adds": {"full": 2500, "small": 1000},
            "difference": {"images": 10_000, "double": 1e-9, "single": 2e-6},
        }
        path = project / "results" / "networks" / run / "seed-00.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(about), "utf-8")
    path.parent.with_name("paper-residual-denoising").joinpath("seed-00.safetensors").touch()
    tables = render_all(read_study(project))
    assert tables["networks.csv"].splitlines()[1:] == [
        "authors-densenet-fashion,0,3000,1000,2500,1000,10000,1e-09,2e-06,0,1",
        "paper-residual-denoising,0,3000,1000,2500,1000,10000,1e-09,2e-06,1,0",
    ]
    assert "| authors-densenet-fashion \N{DAGGER} | 0 |" in tables["networks.md"]
    path.write_text(json.dumps({"run": "other"}), "utf-8")
    with pytest.raises(UserError, match=r"networks/.*json cannot be used: .*seed"):
        render_all(read_study(project))


def test_tables_that_are_not_of_the_results_are_refused(tmp_path: Path) -> None:
    study = read_study(write_project(tmp_path, {"paper-autoencoder-denoising": [{}]}))
    with pytest.raises(UserError, match="run `bregman-nas aggregate`"):
        check_current(study)
    assert aggregate(study).endswith(f"tables of 1 runs in {study.project / 'results'}")
    check_current(study)
    path = study.project / "results" / "table1.json"
    path.write_text(path.read_text("utf-8").replace("0.01", "0.02"), "utf-8")
    with pytest.raises(UserError, match=r"table1\.json does not match the results"):
        check_current(study)


def test_all_seeds_and_tests_that_rounding_does_not_decide() -> None:
    fresh = [{"mse": 0.01, "seed": 10 + k} for k in range(2)]
    near = [{"mse": 0.00052 + k / 10**7} for k in range(10)]
    far = [{"mse": 0.00060 + k / 10**7} for k in range(9)] + [{"mse": 0.01}]
    runs = {
        "paper-residual-denoising": [*near, *fresh],
        "authors-residual-denoising": far,
        "paper-residual-deblurring": fresh,
    }
    tables = render_all(make_study(runs))
    table = pd.read_csv(io.StringIO(tables["table1-tests.csv"])).to_dict("records")
    rows: dict[Any, Any] = {(row["run"], row["which"]): row for row in table}
    # Against 0.005 (0.000): 0.0052 rounds to it, although its seeds hardly spread.
    own = rows["paper-residual-denoising", "registered"]
    assert own["welch_p"] < 1e-9
    assert (own["printed_p"], own["signed_rank_p"]) == (1, 1)
    # One seed hides the others from a mean, and not from ranks: 2 / 2^10, all on one side.
    other = rows["authors-residual-denoising", "registered"]
    assert other["welch_p"] > 0.05
    assert other["signed_rank_p"] == pytest.approx(2 / 2**10)
    every = rows["paper-residual-denoising", "all"]
    assert (every["seeds"], every["mean"]) == (12, pytest.approx((10 * 0.0052045 + 2 * 0.1) / 12))
    assert [which for run, which in rows if run == "paper-residual-deblurring"] == ["all"]


def test_nothing_run_at_all() -> None:
    arm, changed = "paper-autoencoder-deblurring-found", "residual-denoising-scale-1"
    arms, runs = SETTINGS.arms, SETTINGS.runs
    planned = {"seeds": (), "planned": 5}
    arms = {**arms, arm: arms[arm].model_copy(update=planned)}
    runs = {**runs, changed: runs[changed].model_copy(update=planned)}
    settings = SETTINGS.model_copy(update={"arms": arms, "runs": runs})
    tables = render_all(make_study({}, settings=settings))
    for name, words in (
        ("table1.md", "not run"),
        ("widths.md", "Not run."),
        ("networks.md", "None yet."),
        ("table2.md", "has been compared with a uniform one yet.**"),
        ("table2.md", "| found, trained anew | planned, not computed |"),
        ("planned.md", f"| {arm} | found, trained anew | paper-autoencoder-deblurring | nothing |"),
        ("questions.md", "residual-denoising-scale-1 (0 of 5 seeds)"),
    ):
        assert words in tables[name]
    assert "All seeds" not in tables["table1.md"]
    assert tables["questions.md"].count("No results yet.") == 8
    table = pd.read_csv(io.StringIO(tables["table2.csv"]))
    assert set(table["status"]) == {"planned, not computed"}
    claims = pd.read_csv(io.StringIO(tables["claims.csv"])).dropna(subset="verdict")
    assert set(claims[claims["claim"] != 15]["verdict"]) == {"not run"}
