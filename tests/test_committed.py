"""What is committed belongs together: code, records, results."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from bregman_nas.data import files
from bregman_nas.search.digest import CODE
from bregman_nas.search.records import fault_of, read_record, record_path, run_folder
from bregman_nas.search.results import write_results
from bregman_nas.settings import load_settings
from tests.helpers import PROJECT

SETTINGS = load_settings(PROJECT / "params.yaml")


@pytest.mark.parametrize("name", SETTINGS.names)
def test_records_are_of_accepted_code_and_the_settings_and_the_results_are_theirs(
    name: str, tmp_path: Path
) -> None:
    run, folder, records = SETTINGS.run(name), run_folder(PROJECT, name), {}
    data = files.sha256(run.experiment.dataset, run.source, PROJECT)
    for path in sorted((folder / "records").glob("seed-*.json")):
        record = read_record(path)
        seed = record["seed"]
        if run.of is not None:
            data["found"] = read_record(record_path(PROJECT, run.of, seed))["digests"]["all"]
        assert fault_of(record, run, seed, data, CODE) is None, path
        assert path == record_path(PROJECT, name, seed)
        records[seed] = record
    if run.seeds:
        write_results(tmp_path, [records[seed] for seed in run.seeds])
    for made in tmp_path.iterdir():
        assert (folder / made.name).read_bytes() == made.read_bytes(), made.name


def test_first_steps_are_of_all_starts() -> None:
    table = pd.read_csv(PROJECT / "results" / "first_steps.csv")
    made = {str(name): tuple(seeds) for name, seeds in table.groupby("start")["seed"]}
    assert made == {start.name: start.seeds for start in SETTINGS.starts}
    assert set(table["steps"]) == {SETTINGS.first_steps.steps}


def test_the_lock_file_is_of_what_is_committed() -> None:
    changed = ["git", "-C", str(PROJECT), "status", "--porcelain"]
    if subprocess.run(changed, capture_output=True, text=True, check=True).stdout:
        pytest.skip("there is work that is not committed")
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    status = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert json.loads(status.stdout) == {}, (
        "say `make study`, or `dvc commit` if nothing would change"
    )
