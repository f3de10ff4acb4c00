"""Many seeds: in local processes, in lockstep, or on a Dask cluster."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Never
from uuid import uuid4

import joblib
import torch

from bregman_nas.errors import UserError
from bregman_nas.search.job import Job
from bregman_nas.search.progress import shown
from bregman_nas.search.records import Record, check_one_device
from bregman_nas.search.seed import devices, search_seed, search_together


def search_seeds(
    jobs: Sequence[Job], workers: int | None = None, scheduler: str | None = None
) -> list[Record]:
    """Search all seeds of a run and return their records, in the order of the jobs.

    Args:
        jobs: the seeds.
        workers: how many at a time, one thread each; by default one for each core. In lockstep:
            how many in one batch; by default all.
        scheduler: address of a Dask scheduler to send them to, instead of local processes. Its
            workers must see the repository at the same path.

    Raises:
        UserError: if the device or the scheduler cannot be used, a valid record is from another
            device, or a worker is killed.
        KeyboardInterrupt: on SIGINT or SIGTERM; the workers stop too.
    """
    if not jobs:
        return []
    first, run = jobs[0], jobs[0].run
    _check_options(first, scheduler)
    frozen = getattr(run.experiment, "inactive_biases", "learned") == "frozen"
    if first.engine == "lockstep" and (run.of is not None or frozen):
        print(f"{run.name} cannot be trained in lockstep: one seed at a time", file=sys.stderr)
        jobs = [replace(job, engine="compact") for job in jobs]
    if scheduler is not None:
        command = uuid4().hex
        jobs = [replace(job, command=command) for job in jobs]
    with _stopped_when_interrupted(jobs if scheduler else ()), shown([j.workspace for j in jobs]):
        if scheduler is not None:
            return _search_on_cluster(jobs, scheduler)
        check_one_device(run.name, devices(jobs))
        if jobs[0].engine == "lockstep":
            return search_together(jobs, workers)
        return _search_in_processes(jobs, min(workers or os.cpu_count() or 1, len(jobs)))


def _check_options(job: Job, scheduler: str | None) -> None:
    """Raise before any work if the options cannot be used."""
    if job.tf32 and not job.device.startswith("cuda"):
        raise UserError(f"--tf32 is for NVIDIA GPUs, not for --device {job.device}")
    if scheduler is not None:  # it is the workers that must have the device
        if job.engine == "lockstep":
            raise UserError("--scheduler cannot run --engine lockstep; leave one of them out")
        return
    try:
        torch.zeros(1, device=job.device).item()
    except Exception as error:  # each backend that is not there has its own
        # torch says in its first sentence what is wrong, then how it was compiled.
        reason = str(error).splitlines()[0].split(". ")[0]
        raise UserError(f"--device {job.device} cannot be used: {reason}") from error


def _search_in_processes(jobs: Sequence[Job], count: int) -> list[Record]:
    # One process for each seed and not threads: torch's thread count is the process's.
    how: Any = {"batch_size": 1, "pre_dispatch": "all", "return_as": "generator"}
    each: Any = {"initializer": _end_with_parent, "initargs": (os.getpid(),)}
    tasks = [joblib.delayed(search_seed)(job) for job in jobs]
    try:
        with joblib.parallel_config("loky", inner_max_num_threads=1, **each):
            # The workers begin with it and never hear Ctrl-C, of which they would print tracebacks
            # while they import torch. This process ends them.
            with _handled(signal.SIG_IGN, signal.SIGINT):
                records = joblib.Parallel(count, **how)(tasks)
            return list(records)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker was killed, possibly because the memory is full; finished seeds are kept, "
            f"and the same command with fewer --workers than {count} continues"
        ) from error


def _end_with_parent(parent: int) -> None:
    """End this process once its parent has ended in whatever way; a checkpoint is left."""

    def watch() -> Never:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _search_on_cluster(jobs: Sequence[Job], scheduler: str) -> list[Record]:
    # Not by joblib: without workers, or with one thread, it would search here without a word.
    from distributed import Client, KilledWorker

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors are reported below
    try:
        client = Client(scheduler)
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"--scheduler {scheduler} cannot be used: {error}") from error
    with client:
        if not client.scheduler_info()["workers"]:
            print(f"{scheduler} has no workers yet; waiting for one", file=sys.stderr)
            client.wait_for_workers(1)
        try:
            return list(client.gather(client.map(search_seed, jobs, pure=False)))
        except KilledWorker as error:
            raise UserError(
                f"a seed killed several workers of {scheduler}, possibly because their memory is "
                "full; start fewer on each machine, and the same command continues"
            ) from error
        except CancelledError as error:
            raise UserError(
                f"the connection to {scheduler} was lost; the same command continues"
            ) from error


@contextmanager
def _stopped_when_interrupted(remote: Sequence[Job]) -> Iterator[None]:
    """Treat SIGTERM, as batch systems send it, like Ctrl-C, and stop jobs on other machines.

    Those jobs, which no signal reaches, are stopped at once, whatever Dask does first.
    """

    def interrupt(*_: Any) -> Never:
        stop()
        raise KeyboardInterrupt

    def stop() -> None:
        for job in remote:
            job.workspace.mkdir(parents=True, exist_ok=True)
            job.stop.touch()

    with _handled(interrupt, signal.SIGTERM, *([signal.SIGINT] if remote else [])):
        try:
            yield
        except BaseException:
            stop()
            raise


@contextmanager
def _handled(handler: Any, *signals: signal.Signals) -> Iterator[None]:
    """Handle signals in another way while the body runs, if it runs in the main thread."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in signals if in_main_thread}
    try:
        yield
    finally:
        for number, old in before.items():  # None: it was not set from Python
            signal.signal(number, signal.SIG_DFL if old is None else old)
