"""All seeds of a run in lockstep: records as of single searches, killed, continued."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map_only

from bregman_nas import cli
from bregman_nas.errors import UserError
from bregman_nas.search import seed
from bregman_nas.search.checkpoint import Checkpoints
from bregman_nas.search.core.lockstep import LockstepSearch
from bregman_nas.search.core.searches import BATCHES_PER_STRETCH
from bregman_nas.search.executor import search_seeds
from bregman_nas.search.job import Job
from bregman_nas.search.records import Record, read_record, write_record
from bregman_nas.search.seed import search_seed, search_together
from tests.helpers import job_in, new_project

Patch = pytest.MonkeyPatch

SEEDS = (2, 0, 1)
RUNS = ["paper-autoencoder", "authors-residual", "authors-densenet"]
#: But for the order of sums in single precision; what is counted is equal.
near = partial(pytest.approx, rel=1e-2, abs=1e-4)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A shorter search than elsewhere."""
    return new_project(tmp_path, {"batch_size": 250, "experiments.autoencoder.epochs": 2})


@pytest.fixture
def jobs(project: Path) -> list[Job]:
    return jobs_of(project, seconds_between_checkpoints=0)


def jobs_of(project: Path, run: str = RUNS[0], **how: Any) -> list[Job]:
    return [job_in(project, run, number, engine="lockstep", **how) for number in SEEDS]


@pytest.mark.parametrize("run", RUNS)
def test_the_records_are_those_of_single_searches(tmp_path: Path, run: str) -> None:
    jobs = jobs_of(new_project(tmp_path / "lockstep"), run)
    records: list[Any] = [*search_seeds(jobs)]
    assert [record["seed"] for record in records] == list(SEEDS)
    single = new_project(tmp_path / "single")
    for job, record in zip(jobs, records, strict=True):
        assert read_record(job.record) == record
        alone: Any = search_seed(job_in(single, run, job.seed, engine="textbook"))
        made, made_alone = record.pop("provenance"), alone.pop("provenance")
        theirs, ours = alone.pop("digests"), record.pop("digests")
        assert ours.keys() - theirs.keys() == {"lockstep"}
        assert ours["code"] == theirs["code"]
        for one in (record, alone):  # digests of numbers that are rounded differently
            del one["checksum"], one["network"]
        assert record == tree_map_only(float, near, alone), f"seed {job.seed}"
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


def outcome(jobs: list[Job]) -> list[Any]:
    """All that the searches leave, except when they were made."""
    left: list[Any] = []
    for job in jobs:
        record: Any = read_record(job.record)
        del record["provenance"]
        left += [record, job.network.read_bytes()]
        left.append(sorted(path.name for path in job.workspace.iterdir()))
    return left


def stop_after_saves(patch: Patch, limit: int) -> list[tuple[int, int]]:
    """Let the power go after so many seeds were saved; returns their positions."""
    positions: list[tuple[int, int]] = []
    save = Checkpoints.save

    def save_and_stop(checkpoints: Checkpoints, state: dict[str, Any]) -> None:
        save(checkpoints, state)
        positions.append((state["search"]["epoch"], state["search"]["batch"]))
        if len(positions) == limit:
            raise KeyboardInterrupt

    patch.setattr(Checkpoints, "save", save_and_stop)
    return positions


def stop_at_the_first_checkpoint(monkeypatch: Patch, jobs: list[Job], n: int | None = None) -> None:
    with monkeypatch.context() as patch:
        stop_after_saves(patch, n or len(jobs))
        with pytest.raises(KeyboardInterrupt):
            search_together(jobs, n)


@pytest.mark.parametrize("run", RUNS)
def test_stopped_at_every_checkpoint_and_record_and_continued(
    tmp_path: Path, monkeypatch: Patch, run: str
) -> None:
    # More batches in an epoch than in a stretch.
    few = {"batch_size": 20, "experiments.autoencoder.epochs": 2, "experiments.residual.epochs": 2}
    jobs = jobs_of(new_project(tmp_path / "stopped", few), run, seconds_between_checkpoints=0)
    epochs = jobs[0].run.experiment.epochs
    stops = [(e, b) for e in range(epochs) for b in (BATCHES_PER_STRETCH, 0)]
    stops = [(e, b) if b else (e + 1, 0) for e, b in stops]
    for number, stop in enumerate(stops):
        # At every other checkpoint the power goes before all seeds were saved: made once more.
        for limit in (1 + number % 2, 3) if number in (0, 1) else (3,):
            with monkeypatch.context() as patch:
                positions = stop_after_saves(patch, limit)
                with pytest.raises(KeyboardInterrupt):
                    search_together(jobs)
            assert positions == [stop] * limit
    # The locks are free, and a seed without a record does not lose its checkpoint.
    write = write_record
    for finished in range(3):

        def write_one(path: Path, record: Record, limit: int = finished) -> None:
            if sum(job.record.exists() for job in jobs) > limit:
                raise KeyboardInterrupt
            write(path, record)

        with monkeypatch.context() as patch:
            patch.setattr("bregman_nas.search.records.write_record", write_one)
            patch.setattr(LockstepSearch, "train_batches", lambda *_: pytest.fail("trained again"))
            if finished < 2:
                with pytest.raises(KeyboardInterrupt):
                    search_together(jobs)
            else:
                records = search_together(jobs)
    assert all(record["provenance"]["interruptions"] >= len(stops) for record in records)
    whole = jobs_of(new_project(tmp_path / "whole", few), run)
    search_together(whole)
    assert outcome(jobs) == outcome(whole)


def test_finished_seeds_are_reused_and_only_the_missing_searched(
    project: Path, jobs: list[Job], monkeypatch: Patch
) -> None:
    compact = search_seed(job_in(project, seed=1))
    searched = spy(monkeypatch)
    records = search_together(jobs)
    assert records[2] == compact
    assert search_together(jobs) == records
    assert searched == [[0, 2]]


def spy(monkeypatch: Patch) -> list[list[int]]:
    """The seeds of each batch that was begun."""
    begun: list[list[int]] = []

    class Spied(LockstepSearch):
        def __init__(self, searches: Any) -> None:
            super().__init__(searches)
            begun.append([search.seed for search in self.searches])

    monkeypatch.setattr(seed, "LockstepSearch", Spied)
    return begun


def test_seeds_that_do_not_fit_are_a_clear_error(jobs: list[Job], monkeypatch: Patch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(LockstepSearch, "train_batches", fail)
    with pytest.raises(UserError, match=r"memory of cpu does not hold 3 of .* fewer --workers"):
        search_together(jobs)


@pytest.mark.parametrize(
    ("before", "now", "groups", "continued"),
    [
        (3, 2, [[0, 1], [2]], [0, 2]),
        (3, 1, [[0], [1], [2]], [0, 1, 2]),
        (1, 3, [[1, 2], [0]], [0]),
        (2, 3, [[2], [0, 1]], [0]),
    ],
)
def test_seeds_saved_together_are_continued_in_other_groups(
    jobs: list[Job],
    monkeypatch: Patch,
    before: int,
    now: int,
    groups: list[list[int]],
    continued: list[int],
) -> None:
    stop_at_the_first_checkpoint(monkeypatch, jobs, before)
    begun = spy(monkeypatch)
    search_seeds(jobs, workers=now)
    assert begun == groups
    for job in jobs:
        note = json.loads((job.workspace / "progress.json").read_text("utf-8"))
        assert note["messages"] == (["continues in epoch 2"] if job.seed in continued else [])


def test_a_run_that_cannot_be_in_lockstep_is_trained_seed_by_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"experiments.autoencoder.inactive_biases": "frozen"}
    job = job_in(new_project(tmp_path, changes), engine="lockstep")
    (record,) = search_seeds([job], workers=1)
    assert record["provenance"]["engine"] == "compact"
    assert "paper-autoencoder cannot be trained in lockstep" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["compact", "lockstep"])
def test_no_results_are_written_from_records_of_two_devices(
    project: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: Patch,
    engine: str,
) -> None:
    job = job_in(project)
    record = search_seed(job)
    record["provenance"]["host"]["device"] = "A GPU"
    write_record(job.record, record)
    monkeypatch.setenv("BREGMAN_NAS_ENGINE", engine)
    assert cli.main(["--project", str(project), "search", RUNS[0], "--workers", "1"]) == 1
    said = capfd.readouterr().err
    assert "(on A GPU: 0; on cpu: 1)" in said
    assert f"results/runs/{RUNS[0]}/records" in said
    assert not (project / "results" / RUNS[0] / "metrics.json").exists()
    assert not job_in(project, seed=1).record.exists(), "an hour of work in vain"


def test_an_unknown_engine_in_the_environment_is_named(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Patch
) -> None:
    monkeypatch.setenv("BREGMAN_NAS_ENGINE", "steam")
    assert cli.main(["--project", str(project), "search", RUNS[0]]) == 2
    assert "'steam' is not one of 'compact', 'textbook', 'lockstep'" in capsys.readouterr().err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: torch finds none")
def test_on_a_cuda_device_a_search_is_continued_bit_for_bit(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    how: dict[str, Any] = {"device": "cuda", "seconds_between_checkpoints": 0}
    stopped, whole = (jobs_of(new_project(tmp_path / name), **how) for name in ("stopped", "whole"))
    stop_at_the_first_checkpoint(monkeypatch, stopped)
    search_together(stopped)
    search_together(whole)
    assert outcome(stopped) == outcome(whole)
