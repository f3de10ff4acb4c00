"""All seeds of a run in lockstep: records as of single searches, killed, continued, halved."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bregman_nas import cli
from bregman_nas.data.files import ImageSet
from bregman_nas.search import lockstep_seeds, seed
from bregman_nas.search.checkpoint import Checkpoints
from bregman_nas.search.executor import search_seeds
from bregman_nas.search.lockstep import LockstepSearch
from bregman_nas.search.lockstep_seeds import search_in_lockstep
from bregman_nas.search.records import (
    MixedDevicesError,
    Record,
    check_one_device,
    read_record,
    record_path,
    write_record,
)
from bregman_nas.search.seed import Job, search_seed
from bregman_nas.settings import Run, SettingsError

JobIn = Callable[..., Job]
NewProject = Callable[..., Path]

SEEDS = (2, 0, 1)
QUICK = {"batch_size": 100}
RUNS = ["paper-autoencoder", "authors-residual", "authors-densenet"]


@pytest.fixture
def project(new_project: NewProject) -> Path:
    """A shorter search than elsewhere."""
    return new_project(changes={"batch_size": 250, "experiments.autoencoder.epochs": 2})


def jobs_of(job_in: JobIn, project: Path, run: str = RUNS[0], **how: Any) -> list[Job]:
    return [job_in(project, run, number, engine="lockstep", **how) for number in SEEDS]


def messages_of(jobs: list[Job]) -> list[str]:
    notes = [json.loads((job.workspace / "progress.json").read_text("utf-8")) for job in jobs]
    return [message for note in notes for message in note["messages"]]


def assert_close(value: Any, expected: Any, where: str) -> None:
    """The same but for the order of sums in single precision: what is counted is equal."""
    if isinstance(expected, dict):
        assert value.keys() == expected.keys(), where
        for name, part in expected.items():
            assert_close(value[name], part, f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(value) == len(expected), where
        for number, part in enumerate(expected):
            assert_close(value[number], part, f"{where}[{number}]")
    elif isinstance(expected, float):
        assert value == pytest.approx(expected, rel=1e-2, abs=1e-4), where
    else:
        assert value == expected, where


@pytest.mark.parametrize("run", RUNS)
def test_the_records_are_those_of_single_searches(
    new_project: NewProject, job_in: JobIn, run: str
) -> None:
    jobs = jobs_of(job_in, new_project("lockstep"), run)
    records = search_seeds(jobs)
    assert [record["seed"] for record in records] == list(SEEDS)
    single = new_project("single")
    for job, record in zip(jobs, records, strict=True):
        assert read_record(record_path(job.project, run, job.seed)) == record
        alone = search_seed(job_in(single, run, job.seed, engine="textbook"))
        made, made_alone = record.pop("provenance"), alone.pop("provenance")
        assert_close(record, alone, f"seed {job.seed}")
        assert made["engine"] == "lockstep"
        assert made.pop("in_lockstep") == [0, 1, 2]
        assert made.keys() == made_alone.keys()
        assert made["host"] == made_alone["host"]
        here, there = (
            torch.load(one.network, weights_only=True)
            for one in (job, job_in(single, run, job.seed))
        )
        for name, value in there.items():
            assert torch.allclose(here[name], value, atol=1e-3), name
            assert here[name].untyped_storage().nbytes() == value.untyped_storage().nbytes()


class PowerCut(BaseException):
    """Ends a search at once, past every `except Exception`."""


def outcome(jobs: list[Job]) -> list[Any]:
    """All that the searches leave, but when they were made."""
    left: list[Any] = []
    for job in jobs:
        record = read_record(record_path(job.project, job.run.name, job.seed))
        del record["provenance"]
        left += [record, job.network.read_bytes()]
        left.append(sorted(path.name for path in job.workspace.iterdir()))
    return left


def stop_after_each_checkpoint(patch: pytest.MonkeyPatch) -> None:
    save = Checkpoints.save

    def save_and_stop(checkpoints: Checkpoints, state: dict[str, Any]) -> None:
        save(checkpoints, state)
        raise PowerCut

    patch.setattr(Checkpoints, "save", save_and_stop)


@pytest.mark.parametrize("run", RUNS)
def test_stopped_at_every_checkpoint_and_record_and_continued(
    new_project: NewProject, job_in: JobIn, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    jobs = jobs_of(job_in, new_project("stopped", QUICK), run, seconds_between_checkpoints=0)
    with monkeypatch.context() as patch:
        stop_after_each_checkpoint(patch)
        for _ in range(3):  # after each epoch
            with pytest.raises(PowerCut):
                search_in_lockstep(jobs)
    # The locks are free, and a seed without a record does not lose the checkpoint of all.
    write = write_record
    for finished in range(3):

        def write_one(
            path: Path, record: Record, limit: int = finished, jobs: list[Job] = jobs
        ) -> None:
            written = [record_path(j.project, j.run.name, j.seed).exists() for j in jobs]
            if sum(written) > limit:
                raise PowerCut
            write(path, record)

        with monkeypatch.context() as patch:
            patch.setattr(seed, "write_record", write_one)
            patch.setattr(LockstepSearch, "train_epoch", lambda *_: pytest.fail("trained again"))
            if finished < 2:
                with pytest.raises(PowerCut):
                    search_in_lockstep(jobs)
            else:
                records = search_in_lockstep(jobs)
    # Those after which no checkpoint was written are forgotten.
    assert {record["provenance"]["interruptions"] for record in records} == {3}
    whole = jobs_of(job_in, new_project("whole", QUICK), run)
    search_in_lockstep(whole)
    assert outcome(jobs) == outcome(whole)
    folder = jobs[0].workspace.parent / "lockstep-00-02"
    assert list(folder.iterdir()) == []


def test_finished_seeds_are_reused_and_only_the_missing_searched(
    project: Path, job_in: JobIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact = search_seed(job_in(project, seed=1))
    searched = spy(monkeypatch)
    records = search_in_lockstep(jobs_of(job_in, project))
    assert records[2] == compact
    assert searched == [[0, 2]]
    assert search_in_lockstep(jobs_of(job_in, project)) == records
    assert searched == [[0, 2]]


def spy(monkeypatch: pytest.MonkeyPatch, memory: float = math.inf) -> list[list[int]]:
    """The seeds of each batch that was begun, on a device that holds so many at a time."""
    begun: list[list[int]] = []

    class Spied(LockstepSearch):
        def __init__(self, run: Run, images: ImageSet, seeds: list[int], *more: Any) -> None:
            begun.append(list(seeds))
            if len(seeds) > memory:
                raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
            super().__init__(run, images, seeds, *more)

    monkeypatch.setattr(lockstep_seeds, "LockstepSearch", Spied)
    return begun


def test_where_memory_is_short_fewer_seeds_are_searched_at_a_time(
    project: Path, job_in: JobIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = spy(monkeypatch, memory=2)
    jobs = jobs_of(job_in, project)
    records = search_in_lockstep(jobs)
    assert begun == [[0, 1, 2], [0, 1], [2]]
    assert [record["provenance"]["in_lockstep"] for record in records] == [[2], [0, 1], [0, 1]]
    assert messages_of(jobs) == [
        "the memory of cpu does not hold 3 seeds side by side; now 2 at a time"
    ]


def test_one_seed_that_does_not_fit_is_a_clear_error(
    project: Path, job_in: JobIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = spy(monkeypatch, memory=0)
    with pytest.raises(SettingsError, match="does not even hold one seed of paper-autoencoder"):
        search_in_lockstep(jobs_of(job_in, project))
    assert begun == [[0, 1, 2], [0, 1], [0]]


def test_no_more_seeds_at_once_than_asked_for(
    project: Path, job_in: JobIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = spy(monkeypatch)
    search_seeds(jobs_of(job_in, project), workers=1)
    assert begun == [[0], [1], [2]]


def test_a_checkpoint_of_other_seeds_is_told_and_not_used(
    project: Path, job_in: JobIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(job_in, project, seconds_between_checkpoints=0)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "remove", lambda _: None)
        search_in_lockstep([jobs[0], jobs[1]])  # seeds 2 and 0
    for path in record_path(project, RUNS[0], 0).parent.glob("*.json"):
        path.unlink()
    search_in_lockstep(jobs)
    told = messages_of([jobs[1]])
    assert len(told) == 1
    assert told[0].endswith("lockstep-00-02/last.ckpt is of other seeds and is not used")


def test_records_of_two_devices_are_one_clear_error() -> None:
    check_one_device("paper-x", {})
    check_one_device("paper-x", {0: "cpu", 1: "cpu"})
    with pytest.raises(MixedDevicesError) as caught:
        check_one_device("paper-x", {0: "cpu", 1: "A GPU", 2: "cpu"})
    message = str(caught.value)
    assert "(on cpu: 0, 2; on A GPU: 1)" in message
    assert "results/paper-x/records" in message


def on_another_device(project: Path, number: int) -> None:
    path = record_path(project, RUNS[0], number)
    record = read_record(path)
    record["provenance"]["host"]["device"] = "A GPU"
    write_record(path, record)


@pytest.mark.parametrize("engine", ["compact", "lockstep"])
def test_no_results_are_written_from_records_of_two_devices(
    project: Path,
    job_in: JobIn,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
) -> None:
    search_seed(job_in(project))
    on_another_device(project, 0)
    monkeypatch.setenv("BREGMAN_NAS_ENGINE", engine)
    assert cli.main(["--project", str(project), "search", RUNS[0], "--workers", "1"]) == 1
    assert "(on A GPU: 0; on cpu: 1)" in capfd.readouterr().err
    assert not (project / "results" / RUNS[0] / "metrics.json").exists()
    if engine == "lockstep":
        assert not record_path(project, RUNS[0], 1).exists(), "an hour of work in vain"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tf32"], "--tf32 is for NVIDIA GPUs, not for --device cpu"),
        (["--engine", "lockstep", "--scheduler", "tcp://a:1"], "--scheduler sends seed by seed"),
    ],
)
def test_options_that_contradict_each_other(
    project: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["--project", str(project), "search", RUNS[0], *arguments]) == 1
    assert message in capfd.readouterr().err


def test_an_unknown_engine_in_the_environment_is_named(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BREGMAN_NAS_ENGINE", "steam")
    with pytest.raises(SystemExit) as ended:
        cli.main(["--project", str(project), "search", RUNS[0]])
    assert ended.value.code == 2
    assert "'steam' is not compact, textbook or lockstep" in capsys.readouterr().err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: torch finds none")
def test_on_a_cuda_device_a_search_is_continued_bit_for_bit(
    new_project: NewProject, job_in: JobIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: dict[str, Any] = {"device": "cuda", "seconds_between_checkpoints": 0}
    stopped, whole = (jobs_of(job_in, new_project(name), **how) for name in ("stopped", "whole"))
    with monkeypatch.context() as patch:
        stop_after_each_checkpoint(patch)
        with pytest.raises(PowerCut):
            search_in_lockstep(stopped)
    search_in_lockstep(stopped)
    search_in_lockstep(whole)
    assert outcome(stopped) == outcome(whole)
