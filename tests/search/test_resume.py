"""A search that is killed, at whatever moment, ends with the record it would have had."""

import io
import json
import os
import signal
import stat
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from bregman_nas import atomic
from bregman_nas.atomic import replace
from bregman_nas.search import checkpoint
from bregman_nas.search.checkpoint import Checkpoints
from bregman_nas.search.records import picture_path, record_path
from bregman_nas.search.seed import Clock, Job, search_seed

JobIn = Callable[..., Job]
Start = Callable[[Job], BaseProcess]
NewProject = Callable[..., Path]
WaitUntil = Callable[..., None]

MLP_RUNS = ["paper-autoencoder", "authors-residual"]
RUNS = [*MLP_RUNS, "authors-densenet"]


def outcome(job: Job) -> dict[str, Any]:
    """All that a search leaves, but when and where it ran."""
    record = record_path(job.project, job.run.name, job.seed)
    lines = record.read_text("utf-8").splitlines()
    picture = picture_path(job.project, job.run.name, job.seed)
    return {
        "record": [line for line in lines if not line.startswith('"provenance"')],
        "picture": picture.read_bytes() if picture.exists() else None,
        "network": (job.workspace / "network.pt").read_bytes(),
        "files": sorted(path.name for path in job.workspace.iterdir()),
    }


def provenance(job: Job) -> dict[str, Any]:
    record = json.loads(record_path(job.project, job.run.name, job.seed).read_text("utf-8"))
    content: dict[str, Any] = record["provenance"]
    return content


def version(file: Path) -> int | None:
    """Changes whenever the file is replaced."""
    return file.stat().st_mtime_ns if file.exists() else None


def epoch_of(job: Job) -> int:
    """The epochs that are finished, as the progress file says."""
    try:
        note = json.loads((job.workspace / "progress.json").read_text("utf-8"))
    except (OSError, ValueError):
        return 0
    return int(note["epoch"])


@pytest.mark.parametrize("run", RUNS)
def test_killed_again_and_again_and_continued(
    new_project: NewProject, job_in: JobIn, start: Start, wait_until: WaitUntil, run: str
) -> None:
    # Long enough that it cannot end between two looks at it.
    longer = {f"experiments.{run.split('-')[1]}.epochs": 12}
    job = job_in(new_project("killed", longer), run, seconds_between_checkpoints=0)
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
    kill_as_soon_as(lambda: version(last) != found, "there was a new checkpoint")
    left = temporaries()
    kill_as_soon_as(lambda: temporaries() - left, "another was being written")
    found_before = version(before)
    kill_as_soon_as(lambda: version(before) != found_before, "there was another one before")
    kill_as_soon_as(lambda: epoch_of(job) >= 2, "the second epoch was finished")
    record = search_seed(job)

    # Those after which no checkpoint was written before the next one are forgotten.
    assert provenance(job)["interruptions"] >= 3
    for path in job.workspace.glob(".*"):  # what was half-written when it was killed
        path.unlink()
    whole = job_in(new_project("whole", longer), run)
    assert search_seed(whole)["result"] == record["result"]
    assert outcome(job) == outcome(whole)
    assert provenance(whole)["interruptions"] == 0
    if run in MLP_RUNS:
        living = record["history"][-1]["living_rows"]
        assert min(living) < 784, "nothing was compacted: the test is too easy"
    if run.startswith("authors"):
        rates = [entry["learning_rate"] for entry in record["history"]]
        assert rates[-1] < rates[0], "the schedule never acted: the test is too easy"


class PowerCut(BaseException):
    """Ends a search at once, past every `except Exception`."""


def test_stopped_between_the_last_epoch_and_the_record(
    new_project: NewProject, job_in: JobIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_in(new_project("stopped"), seconds_between_checkpoints=0)
    record = record_path(job.project, job.run.name, job.seed)
    left_in_this_order = [job.network, picture_path(job.project, job.run.name, job.seed), record]
    replace = os.replace

    for files_written in range(3):
        written: list[Path] = []

        def replace_until_the_power_goes(
            temporary: str, path: Path, written: list[Path] = written, limit: int = files_written
        ) -> None:
            if path in left_in_this_order:
                assert path == left_in_this_order[len(written)]
                if len(written) == limit:
                    raise PowerCut
                written.append(path)
            replace(temporary, path)

        with monkeypatch.context() as patch:
            patch.setattr("os.replace", replace_until_the_power_goes)
            with pytest.raises(PowerCut):
                search_seed(job)
        assert len(written) == files_written
        assert not record.exists()

    search_seed(job)
    whole = job_in(new_project("whole"))
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


def loaded_number(checkpoints: Checkpoints) -> int | None:
    found = checkpoints.load()
    return None if found is None else int(found["number"])


def test_the_newest_checkpoint_is_loaded(checkpoints: Checkpoints, told: list[str]) -> None:
    assert checkpoints.load() is None
    for number in range(4):
        checkpoints.save(state(number))
        found = checkpoints.load()
        assert found is not None
        assert found["number"] == number
        assert torch.equal(found["tensor"], state(number)["tensor"])
    assert told == []


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "cut off":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        flipped = bytes([content[middle] ^ 1])
        path.write_bytes(content[:middle] + flipped + content[middle + 1 :])


@pytest.mark.parametrize("how", ["empty", "cut off", "one bit"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(
    checkpoints: Checkpoints, told: list[str], how: str
) -> None:
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    damage(checkpoints.last, how)
    assert loaded_number(checkpoints) == 1
    assert told == [f"{checkpoints.last} is damaged and is not used"]

    damage(checkpoints.before, how)
    assert loaded_number(checkpoints) is None
    assert told[2] == f"{checkpoints.before} is damaged and is not used"


def test_checkpoints_need_no_hard_links(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_links(*_: Any) -> None:
        raise OSError("not on this file system")

    monkeypatch.setattr(os, "link", without_links)
    for number in (1, 2, 3):
        checkpoints.save(state(number))
    assert loaded_number(checkpoints) == 3
    damage(checkpoints.last, "one bit")
    assert loaded_number(checkpoints) == 2


def test_a_damaged_checkpoint_does_not_push_out_the_good_one(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each moment at least one checkpoint is whole, also if the next save is cut short."""
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    damage(checkpoints.last, "one bit")
    assert loaded_number(checkpoints) == 1
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", cut_short)
        with pytest.raises(PowerCut):
            checkpoints.save(state(3))
    assert loaded_number(checkpoints) == 1
    checkpoints.save(state(3))
    checkpoints.save(state(4))
    damage(checkpoints.last, "one bit")
    assert loaded_number(checkpoints) == 3


def cut_short(*_: object) -> None:
    raise PowerCut


@pytest.mark.parametrize("fault", ["damaged", "of another engine"])
def test_what_cannot_be_used_does_not_push_out_what_can_also_without_having_been_loaded(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    if fault == "damaged":
        damage(checkpoints.last, "one bit")
    else:
        Checkpoints(tmp_path, "another", print).save(state(3))
    again = Checkpoints(tmp_path, "digest", print)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", cut_short)
        with pytest.raises(PowerCut):
            again.save(state(4))
    assert loaded_number(Checkpoints(tmp_path, "digest", print)) == 1


def test_an_interruption_in_a_write_is_an_interruption(checkpoints: Checkpoints) -> None:
    def interrupted(_: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint._save(state(1), interrupted)


def test_tensors_of_a_device_are_loaded_to_the_device_of_the_search(tmp_path: Path) -> None:
    # As if it had been saved on the third of several devices, of the kind "meta".
    here = Checkpoints(tmp_path, "digest", print, device="meta")
    storage = torch.ones(3).untyped_storage()
    assert here._restored(storage, "cpu").device.type == "cpu"
    assert here._restored(storage, "cuda:3").device.type == "meta"


def test_a_checkpoint_is_due_by_the_time_and_by_what_the_last_one_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    clock = Clock()
    due = []
    for now, cost in ((59, 0), (60, 0.5), (120, 0), (121, 0.8), (201, 0), (202, 9), (300, 0)):
        due.append(clock.checkpoint_is_due(60))
        if due[-1]:
            with clock.checkpoint():
                now += cost
    # One that takes 0.5 s lets 60 s pass, 0.8 s 80 s, and 9 s not 900 s but 90 s.
    assert due == [False, True, False, True, False, True, False]
    assert Clock(resumed=True).checkpoint_is_due(60), "one is due at once after an interruption"


def test_whether_a_folder_can_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "some" / "folder"
    atomic.check_writable(folder)
    assert list(folder.iterdir()) == []
    monkeypatch.setattr("tempfile.TemporaryFile", failing)
    with pytest.raises(OSError, match="No space left"):
        atomic.check_writable(folder)


def test_a_checkpoint_of_something_else_is_told_and_not_used(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.save(state(1))
    told: list[str] = []
    others = Checkpoints(tmp_path, "another digest", told.append)
    assert others.load() is None
    assert told == [
        f"{checkpoints.last} was made with other settings, data, code, engine, device or version "
        "of torch and is not used"
    ]
    others.save(state(2))
    assert loaded_number(others) == 2


def test_a_checkpoint_of_another_version_of_torch_is_not_continued(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(state(1))
    monkeypatch.setattr(torch, "__version__", "another")
    assert Checkpoints(tmp_path, "digest", print).load() is None


@pytest.mark.parametrize("forged", ["bytes", "list", "pipe"])
def test_what_only_looks_like_a_checkpoint_is_told_and_the_one_before_it_used(
    checkpoints: Checkpoints, told: list[str], monkeypatch: pytest.MonkeyPatch, forged: str
) -> None:
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    checkpoints.last.unlink()
    if forged == "pipe":
        os.mkfifo(checkpoints.last)
    elif forged == "list":
        replace(checkpoints.last, lambda file: checkpoints._write([1, 2], file))  # type: ignore[arg-type]
    else:
        with monkeypatch.context() as patch:
            patch.setattr(torch, "save", lambda _, stream: stream.write(b"no state"))
            replace(checkpoints.last, lambda file: checkpoints._write({}, file))
    assert loaded_number(checkpoints) == 1
    fault = "no file" if forged == "pipe" else "damaged"
    assert told == [f"{checkpoints.last} is {fault} and is not used"]


def test_no_code_of_a_checkpoint_is_run(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(state(1))
    load = torch.load
    weights_only: list[object] = []

    def spy(*args: Any, **kwargs: Any) -> Any:
        weights_only.append(kwargs.get("weights_only"))
        return load(*args, **kwargs)

    monkeypatch.setattr(torch, "load", spy)
    assert loaded_number(checkpoints) == 1
    assert weights_only == [True]


def test_removed_checkpoints_are_gone(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.remove()
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    checkpoints.remove()
    assert list(tmp_path.iterdir()) == []


def failing(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


WAYS_TO_FAIL = ["os.fsync", "os.replace", "os.fdopen", "os.chmod"]


@pytest.mark.parametrize("what", WAYS_TO_FAIL)
def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "file"
    atomic.write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(what, failing)
        with pytest.raises(OSError, match="No space left"):
            atomic.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


class FullDisk:
    """A file that takes no more after its first bytes."""

    def __init__(self, handle: int, mode: str) -> None:
        self._file = open(handle, mode)  # noqa: SIM115  closed below
        self._left = 200

    def write(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            failing()
        self._file.write(piece)

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def test_a_full_disk_is_named_with_the_file(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(state(1))
    monkeypatch.setattr("os.fdopen", FullDisk)
    with pytest.raises(OSError, match=r"No space left on device: .*last\.ckpt") as caught:
        checkpoints.save(state(2))
    assert caught.value.errno == 28
    with pytest.raises(OSError, match=r"No space left on device: .*network\.pt"):
        checkpoint.save_atomically(checkpoints.last.with_name("network.pt"), state(2))
    assert loaded_number(checkpoints) == 1
    assert sorted(path.name for path in checkpoints.last.parent.iterdir()) == [
        "before.ckpt",
        "last.ckpt",
    ]


def test_what_is_saved_as_a_stream_is_what_torch_saves(tmp_path: Path) -> None:
    checkpoint.save_atomically(tmp_path / "file", state(3))
    buffer = io.BytesIO()
    torch.save(state(3), buffer)
    assert (tmp_path / "file").read_bytes() == buffer.getvalue()


@pytest.mark.parametrize("what", ["os.fsync", "os.replace"])
def test_a_failing_save_leaves_a_checkpoint(
    checkpoints: Checkpoints, told: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    with monkeypatch.context() as patch:
        patch.setattr(what, failing)
        with pytest.raises(OSError, match="No space left"):
            checkpoints.save(state(3))
    assert loaded_number(checkpoints) == 2
    assert told == []
    checkpoints.save(state(4))
    assert loaded_number(checkpoints) == 4


def test_a_file_is_replaced_as_a_whole_in_folders_that_did_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "some" / "folder" / "file"
    atomic.write_atomically(path, b"a long content")
    atomic.write_atomically(path, b"short")
    assert path.read_bytes() == b"short"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic.write_atomically(tmp_path / "file", b"content")
    finally:
        assert os.umask(before) == 0o027
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
