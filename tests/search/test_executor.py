"""Many seeds: by local processes, and on a Dask cluster of which one worker is killed."""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import filelock
import pytest
from distributed import Client

from bregman_nas.errors import UserError
from bregman_nas.search.executor import search_seeds
from bregman_nas.search.job import Job
from bregman_nas.search.records import Record, read_record
from bregman_nas.search.seed import search_seed
from tests.helpers import job_in, new_project, wait_until

Begin = Callable[..., BaseProcess]

SEEDS = (1, 0)
TINY = {"experiments.autoencoder.epochs": 2}


def content(records: list[Record]) -> list[dict[str, Any]]:
    """Records without when and where they were made."""
    return [{k: part for k, part in one.items() if k != "provenance"} for one in records]


@pytest.fixture
def alone(tmp_path: Path) -> list[Record]:
    """What each seed gives by itself."""
    project = new_project(tmp_path / "alone", TINY)
    return [search_seed(job_in(project, seed=seed)) for seed in SEEDS]


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Two seeds that take long, with a checkpoint after each stretch."""
    project = new_project(tmp_path, {"experiments.autoencoder.epochs": 1_000})
    return [job_in(project, seed=seed, seconds_between_checkpoints=0) for seed in SEEDS]


def test_seeds_side_by_side_give_what_each_gives_alone(tmp_path: Path, alone: list[Record]) -> None:
    project = new_project(tmp_path / "side-by-side", TINY)
    jobs = [job_in(project, seed=seed) for seed in SEEDS]
    records = search_seeds(jobs, workers=2)
    assert content(records) == content(alone)
    assert search_seeds(jobs, workers=2) == records, "finished seeds were searched again"


def test_a_worker_that_is_killed_is_a_clear_error(jobs: list[Job]) -> None:
    """As by the system where the memory is full."""

    def kill_them() -> None:
        saved = [job.workspace / "last.ckpt" for job in jobs]
        wait_until(lambda: any(path.exists() for path in saved), "a seed was at work", 180)
        for path in Path("/proc").glob("[0-9]*/task/*/children"):
            if path.parts[2] == path.parts[4] == str(os.getpid()):
                for child in path.read_text("ascii").split():
                    if b"popen_loky" in Path("/proc", child, "cmdline").read_bytes():
                        os.kill(int(child), signal.SIGKILL)

    killer = threading.Thread(target=kill_them)
    killer.start()
    with pytest.raises(UserError, match=r"killed.* fewer --workers than 2"):
        search_seeds(jobs, workers=2)
    killer.join()


def test_what_an_interrupted_command_left_stops_no_later_one(tmp_path: Path) -> None:
    job = job_in(new_project(tmp_path / "left", TINY), seconds_between_checkpoints=0)
    interrupted = replace(job, command="interrupted")
    interrupted.stop.parent.mkdir(parents=True)
    interrupted.stop.touch()
    with pytest.raises(UserError, match="paper-autoencoder seed 0 was told to stop"):
        search_seed(interrupted)
    assert (job.workspace / "last.ckpt").exists()
    (record,) = search_seeds([job], workers=1)
    assert record["provenance"]["interruptions"] == 1
    assert not interrupted.stop.exists()


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Client]:
    """A client of a scheduler with two workers on the loopback interface, as on a cluster."""
    address_file = tmp_path / "scheduler.json"
    file = ["--scheduler-file", str(address_file)]
    loopback = ["--host", "127.0.0.1", "--no-dashboard"]
    command = [sys.executable, "-m", "dask"]
    worker = ["worker", *loopback, *file, "--no-nanny", "--nworkers=1", "--nthreads=1"]
    with (tmp_path / "dask.log").open("wb") as log:
        quiet: dict[str, Any] = {"stdout": log, "stderr": log, "cwd": tmp_path}
        scheduler = [*command, "scheduler", *loopback, "--port=0", *file]
        processes = [subprocess.Popen(scheduler, **quiet)]
        try:
            processes += [subprocess.Popen([*command, *worker], **quiet) for _ in range(2)]
            wait_until(address_file.exists, "there was a scheduler")
            with Client(scheduler_file=str(address_file)) as client:
                client.wait_for_workers(2, timeout=60)
                # So that both begin at the same time.
                for module in ("bregman_nas.search.core.mlp", "torch._dynamo"):
                    client.run(importlib.import_module, module)
                yield client
        finally:
            for process in processes:
                process.kill()
                process.wait()


def is_free(job: Job) -> bool:
    """Whether no process works on the seed."""
    try:
        filelock.FileLock(job.workspace / "lock").acquire(blocking=False).lock.release()
    except filelock.Timeout:
        return False
    return True


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts commands that search jobs, returns once all are at work, and kills them in the end."""
    context = multiprocessing.get_context("spawn")
    commands: list[BaseProcess] = []

    def start(jobs: list[Job], **how: Any) -> BaseProcess:
        commands.append(context.Process(target=search_seeds, args=(jobs,), kwargs=how))
        commands[-1].start()
        saved = [job.workspace / "last.ckpt" for job in jobs]
        wait_until(lambda: all(path.exists() for path in saved), "all seeds were at work", 180)
        return commands[-1]

    yield start
    for command in commands:
        command.kill()
        command.join()


@pytest.mark.parametrize(
    ("how", "status"), [(signal.SIGTERM, 1), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_the_workers_end_with_the_command(
    jobs: list[Job], begin: Begin, how: signal.Signals, status: int
) -> None:
    command = begin(jobs, workers=2)
    os.kill(command.pid or 0, how)
    command.join(60)
    assert command.exitcode == status  # 1: SIGTERM has become an exception
    wait_until(lambda: all(is_free(job) for job in jobs), "the workers ended", 30)


def test_the_workers_of_a_cluster_stop_with_the_command(
    jobs: list[Job], dask: Client, begin: Begin
) -> None:
    command = begin(jobs, scheduler=dask.scheduler_info()["address"])
    os.kill(command.pid or 0, signal.SIGINT)
    command.join(60)
    assert command.exitcode == 1
    wait_until(lambda: all(is_free(job) for job in jobs), "the workers stopped", 60)
    assert len(dask.scheduler_info()["workers"]) == 2
    # The same command begins where it stopped.
    assert all((job.workspace / "last.ckpt").exists() for job in jobs)
    left = [next(job.workspace.glob("stop-*")) for job in jobs]
    begin(jobs, scheduler=dask.scheduler_info()["address"])
    wait_until(lambda: not any(path.exists() for path in left), "both were at work again", 60)
    assert not any(is_free(job) for job in jobs)


def test_on_a_cluster_a_killed_worker_costs_no_seed(
    tmp_path: Path,
    alone: list[Record],
    dask: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = new_project(tmp_path / "cluster", TINY)
    jobs = [job_in(project, seed=seed, seconds_between_checkpoints=0) for seed in SEEDS]
    process_ids = dask.run(os.getpid)
    killed: list[int] = []

    def kill_one_that_is_at_work() -> None:
        checkpoints = [job.workspace / "last.ckpt" for job in jobs]
        wait_until(lambda: any(path.exists() for path in checkpoints), "a seed was at work")
        busy = [address for address, tasks in dask.processing().items() if tasks]
        os.kill(process_ids[busy[0]], signal.SIGKILL)
        killed.append(process_ids[busy[0]])

    killer = threading.Thread(target=kill_one_that_is_at_work)
    killer.start()
    records = search_seeds(jobs, scheduler=dask.scheduler_info()["address"])
    killer.join()
    assert len(killed) == 1
    assert content(records) == content(alone)
    assert len(dask.scheduler_info()["workers"]) == 1, "one is left, with one thread"
    assert [read_record(job.record) for job in jobs] == records
    monkeypatch.setattr("bregman_nas.search.seed.searcher", None)  # it must not search here
    (record,) = search_seeds([job_in(project, seed=2)], scheduler=dask.scheduler_info()["address"])
    assert record["seed"] == 2
