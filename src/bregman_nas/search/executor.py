"""Many seeds: side by side on this machine, as one batch, or on a Dask cluster."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, Never
from uuid import uuid4

import joblib
import torch

from bregman_nas.errors import UserError
from bregman_nas.search.lockstep_seeds import search_in_lockstep
from bregman_nas.search.progress import shown
from bregman_nas.search.records import Record, check_one_device
from bregman_nas.search.seed import Job, devices, search_seed


def search_seeds(
    jobs: Sequence[Job], workers: int | None = None, scheduler: str | None = None
) -> list[Record]:
    """Search all seeds and return their records, in the order of the jobs.

    Args:
        jobs: the seeds.
        workers: how many side by side, one thread each; by default one for each core. In lockstep:
            how many in one batch; by default all.
        scheduler: address of a Dask scheduler to send them to, instead of local processes. Its
            workers must see the repository at the same path.

    Raises:
        UserError: if the device or the scheduler cannot be used, a record that still holds is from
            another device, or a worker is ended from outside.
        KeyboardInterrupt: on SIGINT or SIGTERM; the workers stop too.
    """
    if not jobs:
        return []
    _check_options(jobs[0], scheduler)
    with ExitStack() as stack:
        stack.enter_context(_terminated_as_interrupted())
        stack.enter_context(shown([job.workspace for job in jobs]))
        if jobs[0].engine == "lockstep":
            return search_in_lockstep(jobs, workers)
        if scheduler is not None:
            return _search_on_cluster(jobs, scheduler)
        check_one_device(jobs[0].run.name, devices(jobs))
        count = min(workers or os.cpu_count() or 1, len(jobs))
        # One process for each seed and not threads: torch's thread count is the process's.
        stack.enter_context(joblib.parallel_config("loky", inner_max_num_threads=1))
        parallel = joblib.Parallel(n_jobs=count, batch_size=1, pre_dispatch="all")
        try:
            return list(parallel(joblib.delayed(_search_for)(os.getpid(), job) for job in jobs))
        except BrokenProcessPool as error:
            raise UserError(
                "a worker was ended from outside, as where the memory is full; finished seeds are "
                f"kept, and the same command with fewer --workers than {count} continues"
            ) from error


def _check_options(job: Job, scheduler: str | None) -> None:
    """Find out before any work whether the jobs can be done as they are meant to be."""
    if job.tf32 and not job.device.startswith("cuda"):
        raise UserError(f"--tf32 is for NVIDIA GPUs, not for --device {job.device}")
    if scheduler is not None:  # it is the workers that must have the device
        if job.engine == "lockstep":
            raise UserError("--scheduler sends seed by seed; --engine lockstep batches them here")
        return
    try:
        torch.zeros(1, device=job.device).item()
    except Exception as error:  # each backend that is not there has its own
        # torch says in its first sentence what is wrong, then how it was compiled.
        reason = str(error).splitlines()[0].split(". ")[0]
        raise UserError(f"--device {job.device} cannot be used: {reason}") from error


def _search_on_cluster(jobs: Sequence[Job], scheduler: str) -> list[Record]:
    # Not by joblib: where there is one thread, or no worker yet, it searches here, silently.
    from distributed import Client, KilledWorker

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what is wrong is said below
    try:
        client = Client(scheduler)
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"--scheduler {scheduler} cannot be used: {error}") from error
    command = uuid4().hex
    jobs = [replace(job, command=command) for job in jobs]
    with client, _stopped_by_interruption(jobs):
        if not client.scheduler_info()["workers"]:
            print(f"{scheduler} has no workers yet; the search waits for one", file=sys.stderr)
            client.wait_for_workers(1)
        try:
            futures: Any = client.map(search_seed, jobs, pure=False)
            return list(client.gather(futures))
        except KilledWorker as error:
            raise UserError(
                f"a seed ended several workers of {scheduler}, as where their memory is full; "
                "start fewer on each machine, and the same command continues"
            ) from error
        except CancelledError as error:
            raise UserError(
                f"the connection to {scheduler} was lost; the same command continues"
            ) from error


def _search_for(command: int, job: Job) -> Record:
    """Search a seed for the command of this process id, and not longer than that lives."""
    if os.getpid() != command:
        _end_with_parent(command)
    return search_seed(job)


@cache  # a worker may get several seeds
def _end_with_parent(parent: int) -> None:
    """End this process once its parent, however that ended, is gone; a checkpoint is left."""

    def watch() -> Never:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _stopped_by_interruption(jobs: Sequence[Job]) -> Iterator[None]:
    """Let workers elsewhere, which no signal reaches, know when the body has been left early.

    They know it at once, whatever joblib and Dask do first when they are interrupted.
    """

    def stop() -> None:
        for job in jobs:
            job.stop.parent.mkdir(parents=True, exist_ok=True)
            job.stop.touch()

    def interrupt(*_: Any) -> Never:
        stop()
        raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM)
    # Signals are the main thread's.
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, interrupt) for number in signals if in_main_thread}
    try:
        yield
    except BaseException:
        stop()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """In the body SIGTERM, as batch systems send it, is what Ctrl-C is."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        # None: it was not set from Python.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
