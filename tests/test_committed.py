"""What is committed belongs together: code, records, results, tables."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bregman_nas.data import files
from bregman_nas.report import ablation
from bregman_nas.report.tables import aggregate
from bregman_nas.search.digest import digests
from bregman_nas.search.records import read_record, record_path, run_folder
from bregman_nas.search.results import write_results
from bregman_nas.settings import load_settings

PROJECT = Path(__file__).resolve().parents[1]
SETTINGS = load_settings(PROJECT / "params.yaml")
RUNS = SETTINGS.runs


@pytest.fixture
def copied_results(tmp_path: Path) -> Path:
    """A project with the committed results of the runs, and of nothing made of them."""
    shutil.copytree(PROJECT / "results", tmp_path / "results")
    for path in (tmp_path / "results").iterdir():
        if path.is_file():
            path.unlink()
    (tmp_path / "data").mkdir()
    shutil.copy(PROJECT / "data" / "manifest.json", tmp_path / "data")
    return tmp_path


@pytest.mark.parametrize("name", RUNS)
def test_results_are_those_of_the_records(name: str, tmp_path: Path) -> None:
    run = SETTINGS.run(name)
    records = [read_record(record_path(PROJECT, name, seed)) for seed in range(run.seeds)]
    write_results(tmp_path, records)
    for made in tmp_path.iterdir():
        committed = run_folder(PROJECT, name) / made.name
        assert committed.read_bytes() == made.read_bytes(), committed


@pytest.mark.parametrize("name", RUNS)
def test_records_are_those_of_the_code_settings_and_data(name: str) -> None:
    run = SETTINGS.run(name)
    data = files.sha256(run.experiment.dataset, run.source, PROJECT)
    for path in sorted((run_folder(PROJECT, name) / "records").glob("seed-*.json")):
        record = read_record(path)
        lockstep = "lockstep" in record["digests"]
        assert record["digests"] == digests(run, record["seed"], data, lockstep=lockstep), path
        assert path == record_path(PROJECT, name, record["seed"])


def test_tables_are_those_of_the_results(copied_results: Path) -> None:
    aggregate(copied_results)
    ablation.write(copied_results, SETTINGS.ablation)
    made = [path for path in (copied_results / "results").iterdir() if path.is_file()]
    assert len(made) > 10
    for path in made:
        committed = PROJECT / "results" / path.name
        assert committed.read_bytes() == path.read_bytes(), committed


def test_first_steps_are_of_all_seeds_of_the_densenet() -> None:
    runs = [run for name in SETTINGS.seeds if (run := SETTINGS.run(name)).seeds]
    for run in (run for run in runs if run.experiment.network == "densenet"):
        table = pd.read_csv(run_folder(PROJECT, run.name) / "first_steps.csv")
        for _, of_logits in table.groupby("relu_logits"):
            steps = of_logits.groupby("seed")["step"].max()
            assert steps.to_dict() == dict.fromkeys(range(run.seeds), SETTINGS.first_steps)
        assert set(table["relu_logits"]) == {0, 1}
