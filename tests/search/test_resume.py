"""A search that is killed, at whatever moment, ends with the record it would have had."""

import json
import os
import pickle
import signal
import stat
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from bregman_nas import atomic
from bregman_nas.search import records
from bregman_nas.search.checkpoint import Checkpoints
from bregman_nas.search.job import Clock, Job
from bregman_nas.search.seed import search_seed
from tests.helpers import job_in, new_project, wait_until

Start = Callable[[Job], BaseProcess]
Patch = pytest.MonkeyPatch

MLP_RUNS = ["paper-autoencoder", "authors-residual"]


def outcome(job: Job) -> dict[str, Any]:
    """All that a search leaves, except when and where it ran."""
    lines = job.record.read_text("utf-8").splitlines()
    return {
        "record": [line for line in lines if not line.startswith('"provenance"')],
        "picture": job.picture.read_bytes() if job.picture.exists() else None,
        "network": job.network.read_bytes(),
        "files": sorted(path.name for path in job.workspace.iterdir()),
    }


def version(file: Path) -> int | None:
    """Changes whenever the file is replaced."""
    return file.stat().st_mtime_ns if file.exists() else None


def epoch_of(job: Job) -> int:
    """The number of finished epochs, as the progress file says."""
    try:
        return int(json.loads((job.workspace / "progress.json").read_text("utf-8"))["epoch"])
    except (OSError, ValueError):
        return 0


@pytest.mark.parametrize("run", [*MLP_RUNS, "authors-densenet"])
def test_killed_again_and_again_and_continued(tmp_path: Path, start: Start, run: str) -> None:
    # Long enough that it cannot end between two looks at it.
    longer = {f"experiments.{run.split('-')[1]}.epochs": 12}
    job = job_in(new_project(tmp_path / "killed", longer), run, seconds_between_checkpoints=0)
    last, before = job.workspace / "last.ckpt", job.workspace / "before.ckpt"

    def kill_as_soon_as(holds: Callable[[], object], what: str) -> None:
        process = start(job)
        wait_until(lambda: holds() or not process.is_alive(), what)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, f"it had ended before {what}"

    def temporaries() -> set[Path]:
        return set(last.parent.glob(".last.ckpt.*"))

    kill_as_soon_as(temporaries, "the first checkpoint was being written")
    kill_as_soon_as(last.exists, "there was a checkpoint")
    found = version(last)
    kill_as_soon_as(lambda: version(last) not in (found, None), "there was a new checkpoint")
    left = temporaries()
    kill_as_soon_as(lambda: temporaries() - left, "another was being written")
    found = version(before)
    kill_as_soon_as(lambda: version(before) != found, "there was another one before")
    kill_as_soon_as(lambda: epoch_of(job) >= 2, "the second epoch was finished")
    record = search_seed(job)

    # An interruption is forgotten if no checkpoint was written before the next one.
    assert record["provenance"]["interruptions"] >= 3
    for path in job.workspace.glob(".*"):  # what was half-written when it was killed
        path.unlink()
    whole = job_in(new_project(tmp_path / "whole", longer), run)
    assert search_seed(whole)["provenance"]["interruptions"] == 0
    assert outcome(job) == outcome(whole)
    if run in MLP_RUNS:
        living = record["history"][-1]["living_rows"]
        assert min(living) < 784, "nothing was compacted: the test is too easy"
    if run.startswith("authors"):
        rates = [entry["learning_rate"] for entry in record["history"]]
        assert rates[-1] < rates[0], "the schedule never acted: the test is too easy"


def cut_short(*_: object) -> None:
    raise KeyboardInterrupt


def test_stopped_between_the_last_epoch_and_the_record(tmp_path: Path, monkeypatch: Patch) -> None:
    job = job_in(new_project(tmp_path / "stopped"), seconds_between_checkpoints=0)
    with monkeypatch.context() as patch:
        patch.setattr(records, "write_record", cut_short)
        with pytest.raises(KeyboardInterrupt):
            search_seed(job)
    found = [path.exists() for path in (job.network, job.picture, job.record)]
    assert found == [True, True, False], "a record was written before what belongs to it"
    search_seed(job)
    whole = job_in(new_project(tmp_path / "whole"))
    search_seed(whole)
    assert outcome(job) == outcome(whole)


def state(number: int) -> dict[str, Any]:
    return {"number": number, "tensor": torch.full((3,), float(number))}


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def checkpoints(tmp_path: Path, told: list[str]) -> Checkpoints:
    return Checkpoints(tmp_path, "digest", told.append)


def numbers(checkpoints: Checkpoints) -> list[int]:
    """Of the states that can be used, newest first."""
    return [int(found["number"]) for found in checkpoints.states()]


def test_the_newest_two_states_are_kept(checkpoints: Checkpoints, told: list[str]) -> None:
    assert numbers(checkpoints) == []
    for number in range(4):
        checkpoints.save(state(number))
        assert numbers(checkpoints) == [number, number - 1][: number + 1]
    assert torch.equal(next(checkpoints.states())["tensor"], state(3)["tensor"])
    assert told == []
    checkpoints.remove()
    assert list(checkpoints.last.parent.iterdir()) == []


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(
    checkpoints: Checkpoints, told: list[str]
) -> None:
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    damage(checkpoints.last)
    assert numbers(checkpoints) == [1]
    assert told == [f"{checkpoints.last} is damaged and is not used"]
    damage(checkpoints.before)
    assert numbers(checkpoints) == []
    assert told[2] == f"{checkpoints.before} is damaged and is not used"


def test_a_checkpoint_runs_no_code(checkpoints: Checkpoints) -> None:
    checkpoints.save({"code": print})
    with pytest.raises(pickle.UnpicklingError):
        numbers(checkpoints)


@pytest.mark.parametrize("last", ["good", "damaged", "of another engine"])
@pytest.mark.parametrize("what", ["torch.save", "os.fsync", "os.replace"])
def test_a_save_that_is_cut_short_leaves_the_newest_good_checkpoint(
    checkpoints: Checkpoints, told: list[str], monkeypatch: Patch, last: str, what: str
) -> None:
    folder = checkpoints.last.parent
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    if last == "damaged":
        damage(checkpoints.last)
    elif last == "of another engine":
        Checkpoints(folder, "another", print).save(state(3))
    again = Checkpoints(folder, "digest", told.append)
    with monkeypatch.context() as patch:
        patch.setattr(what, cut_short)
        with pytest.raises(KeyboardInterrupt):
            again.save(state(4))
    good = 2 if last == "good" else 1
    assert numbers(again)[0] == good
    assert bool(told) == (last != "good")
    again.save(state(4))
    assert numbers(again) == [4, good]


@pytest.mark.parametrize("other", ["key", "version of torch"])
def test_a_checkpoint_of_something_else_is_told_and_not_used(
    checkpoints: Checkpoints, told: list[str], monkeypatch: Patch, other: str
) -> None:
    checkpoints.save(state(1))
    if other == "version of torch":
        monkeypatch.setattr(torch, "__version__", "another")
    others = Checkpoints(checkpoints.last.parent, "digest" if other != "key" else "", told.append)
    assert numbers(others) == []
    assert told == [
        f"{checkpoints.last} was made with other settings, data, code, engine, device or version "
        "of torch and is not used"
    ]
    others.save(state(2))
    assert numbers(others) == [2]


def test_tensors_of_a_device_are_loaded_to_the_device_of_the_search(tmp_path: Path) -> None:
    # As if it had been saved on the third of several devices, of the kind "meta".
    here = Checkpoints(tmp_path, "digest", print, device="meta")
    storage = torch.ones(3).untyped_storage()
    assert here._restored(storage, "cpu").device.type == "cpu"
    assert here._restored(storage, "cuda:3").device.type == "meta"


def test_when_a_checkpoint_is_due(monkeypatch: Patch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    clock, due = Clock(), []
    for now in (59, 60, 119, 121):
        due.append(clock.checkpoint_is_due(60))
        if due[-1]:
            clock.last_checkpoint = now
    assert due == [False, True, False, True]
    resumed = Clock(clock.state_dict())
    assert resumed.state_dict() == {**clock.state_dict(), "interruptions": 1}
    assert resumed.checkpoint_is_due(60), "one is due at once after an interruption"


def failing(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("what", ["os.fsync", "os.replace"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: Patch, what: str
) -> None:
    path = tmp_path / "folder" / "file"
    atomic.write_atomically(path, b"a long content")
    atomic.write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(what, failing)
        with pytest.raises(OSError, match="No space left"):
            atomic.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic.write_atomically(tmp_path / "file", b"content")
    finally:
        assert os.umask(before) == 0o027
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
