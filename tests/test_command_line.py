"""The commands as a user runs them: quick help, clear mistakes, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # Dask has it
import pytest

from bregman_nas import cli
from bregman_nas.search.job import Job
from bregman_nas.search.records import record_path, run_folder
from bregman_nas.search.seed import search_seed
from tests.helpers import job_in, new_project, wait_until

# The command itself, with checkpoints all the time, and Ctrl-C heard also where pytest was started
# in the background.
COMMAND = """
import functools, signal, sys
from bregman_nas.search import job
job.Job = functools.partial(job.Job, seconds_between_checkpoints=0)
signal.signal(signal.SIGINT, signal.default_int_handler)
from bregman_nas.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run_command(project: Path, *arguments: str) -> int:
    return cli.main(["--project", str(project), *arguments])


def complaint(capfd: pytest.CaptureFixture[str]) -> str:
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches without worker processes."""

    def here(jobs: list[Job], *_: object) -> list[Any]:
        return [search_seed(job) for job in jobs]

    monkeypatch.setattr("bregman_nas.search.executor.search_seeds", here)


def test_help_is_quick_and_needs_no_torch() -> None:
    code = (
        "import sys, bregman_nas.cli\n"
        "bregman_nas.cli.main(['--help'])\n"
        "slow = ('torch', 'numpy', 'pandas', 'pydantic', 'rich')\n"
        "print([m for m in slow if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Usage: bregman-nas" in said
    assert said.endswith("\n[]\n")


def test_it_can_be_run_as_a_module_and_says_its_version() -> None:
    command = [sys.executable, "-m", "bregman_nas", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"{version('bregman-nas')}\n"


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [command.name for command in cli.app.registered_commands]
    assert len(commands) > 8
    for command in commands:
        assert cli.main([str(command), "--help"]) == 0
        usage, sentence, *_ = [line for line in capsys.readouterr().out.splitlines() if line]
        assert usage.startswith(f"Usage: bregman-nas {command}")
        assert len(sentence.split()) > 4


@pytest.mark.parametrize("seeds", ["one", "3-1", "0-99999999", ""])
def test_wrong_seeds_show_the_usage(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._seed_numbers("0,2,5-9") == [0, 2, 5, 6, 7, 8, 9]
    assert cli.main(["search", "paper-autoencoder", "--seeds", seeds]) == 2
    assert "Usage: bregman-nas" in capsys.readouterr().err


def test_the_nearest_command_and_run_are_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serch"]) == 2
    assert "Did you mean 'search'" in capsys.readouterr().err
    assert run_command(project, "search", "paper-autoencodr") == 1
    assert "did you mean paper-autoencoder?" in capsys.readouterr().err


def test_prepare_looks_at_the_data_of_runs_alone_wherever_the_project_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"protocol": "paper", "experiment": "autoencoder", "seeds": 1}
    project = new_project(tmp_path, {"runs": {"only": row}, "first_steps.starts": {}})
    assert cli.main(["prepare", "--project", str(project)]) == 0
    assert cli.main(["--project", "/", "prepare", "--project", str(project)]) == 0
    data = project / "data"
    assert capsys.readouterr().out == 2 * f"wrote {data / 'manifest.json'} {data / 'pixels.csv'}\n"
    noted = json.loads((data / "manifest.json").read_text("utf-8"))
    assert list(noted["datasets"]) == ["mnist"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--device", "abacus"],
        ["--device", "hpu"],
        ["--scheduler", "nowhere"],
        ["--scheduler", "tls://127.0.0.1:8786"],
        ["--engine", "lockstep", "--scheduler", "tcp://127.0.0.1:8786"],
        ["--tf32"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_an_impossible_option_is_a_clear_error(
    project: Path, capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run_command(project, "search", "paper-autoencoder", *arguments) == 1
    (line,) = complaint(capfd).splitlines()
    assert line.startswith("bregman-nas: ")
    assert arguments[0] in line
    assert not (project / "results").exists()


@pytest.mark.parametrize("command", ["prepare", "aggregate", "figures", "demo", "bench"])
def test_outside_of_the_repository_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run_command(tmp_path, command) == 1
    assert not list(tmp_path.iterdir())
    assert f"{tmp_path / 'params.yaml'} cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("where", [".", ".dvc/tmp/exps/x", "build/demo"])
def test_under_dvc_the_user_is_told_how_to_get_the_results_back(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Not in copies, as for an experiment and the demo: nothing of the clone is removed there."""
    (project / ".git").mkdir()
    (project / where).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(project / where)
    assert run_command(project, "search", "nothing") == 1
    assert "git restore" not in complaint(capfd)
    monkeypatch.setenv("DVC_STAGE", "search@nothing")
    assert run_command(project, "search", "nothing") == 1
    assert ("`git restore` brings" in complaint(capfd)) == (where == ".")


@pytest.mark.parametrize("command", [["prepare"], ["search", "paper-autoencoder"]])
def test_missing_data_are_a_clear_error(
    project: Path, capfd: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (project / "data" / "sample").unlink()
    assert run_command(project, *command) == 1
    assert "`git restore data/sample` brings the sample back" in complaint(capfd)
    assert not (project / "results").exists()
    assert not (project / "data" / "manifest.json").exists()


@pytest.mark.usefixtures("in_this_process")
def test_a_search_of_all_seeds_writes_the_results_of_the_run(tmp_path: Path) -> None:
    project = new_project(tmp_path, {"experiments.autoencoder.epochs": 1})
    folder = run_folder(project, "paper-autoencoder")
    assert run_command(project, "search", "paper-autoencoder", "--seeds", "1") == 0
    assert [path.name for path in folder.iterdir()] == ["records"]
    assert run_command(project, "search", "paper-autoencoder") == 0
    declared = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert declared.keys() == {"metrics.json", "seeds.csv", "history.csv"}
    assert json.loads(declared["metrics.json"])["seeds"] == 2
    small = project / "results" / "networks" / "paper-autoencoder"
    assert {path.name for path in small.iterdir()} == {"seed-00.json", "seed-00.safetensors"}
    for path in (project / "results").rglob("seed-*"):
        path.unlink()
    assert run_command(project, "search", "paper-autoencoder") == 0
    for name, content in declared.items():
        assert (folder / name).read_bytes() == content, f"{name} differs from run to run"


def test_a_run_without_seeds_has_results_that_say_so(tmp_path: Path) -> None:
    project = new_project(tmp_path, {"runs.authors-densenet.seeds": 0})
    assert run_command(project, "search", "authors-densenet") == 0
    folder = run_folder(project, "authors-densenet")
    assert json.loads((folder / "metrics.json").read_text("utf-8")) == {"seeds": 0, "diverged": 0}
    assert (folder / "seeds.csv").read_text("utf-8") == "seed\n"


@pytest.mark.usefixtures("in_this_process")
def test_a_full_disk_is_a_clear_error_and_truncates_nothing(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = new_project(tmp_path, {"experiments.autoencoder.epochs": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert run_command(project, "search", "paper-autoencoder") == 1
    message = complaint(capfd)
    file = job_in(project).workspace / "progress.json"
    assert message == f"bregman-nas: [Errno 28] No space left on device: '{file}'\n"
    assert not record_path(project, "paper-autoencoder", 0).exists()
    assert list(job_in(project).workspace.glob(".*")) == []
    assert run_command(project, "search", "paper-autoencoder") == 0


def test_ctrl_c_stops_the_workers_and_leaves_a_state_to_continue_from(
    tmp_path: Path,
) -> None:
    project = new_project(tmp_path, {"experiments.autoencoder.epochs": 1000})
    jobs = [job_in(project, seed=seed) for seed in (0, 1)]
    arguments = ["--project", str(project), "search", "paper-autoencoder", "--workers", "2"]
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    workers = []
    try:
        for job in jobs:
            wait_until((job.workspace / "before.ckpt").exists, "both seeds were at work", 180)
        workers = psutil.Process(command.pid).children(recursive=True)
        assert len(workers) >= 2
        os.killpg(command.pid, signal.SIGINT)
        _, said = command.communicate(timeout=20)
        assert psutil.wait_procs(workers, timeout=5)[1] == []
    finally:
        command.kill()
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
    assert command.returncode == 130
    assert "interrupted; the same command continues from the checkpoints" in said
    assert "Traceback" not in said
    assert [path for path in (project / "results").rglob("*") if path.is_file()] == []
    for job in jobs:
        # The last one may just be about to be written.
        assert (job.workspace / "before.ckpt").exists()
