"""Many seeds: side by side on this machine, as one batch, or on a Dask cluster."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, Never
from uuid import uuid4

import joblib

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
        MixedDevicesError: if a record that still holds is from another device.
        KeyboardInterrupt: on SIGINT or SIGTERM; the workers stop too.
    """
    if not jobs:
        return []
    with ExitStack() as stack:
        stack.enter_context(_terminated_as_interrupted())
        stack.enter_context(shown([job.workspace for job in jobs]))
        if jobs[0].engine == "lockstep":
            return search_in_lockstep(jobs, workers)
        if scheduler is not None:
            from distributed import Client

            stack.enter_context(Client(scheduler))
            stack.enter_context(joblib.parallel_config("dask"))
            command = uuid4().hex
            jobs = [replace(job, command=command) for job in jobs]
            stack.enter_context(_stopped_by_interruption(jobs))
            parallel: Any = joblib.Parallel(n_jobs=-1, batch_size=1, pre_dispatch="all")
            return list(parallel(joblib.delayed(search_seed)(job) for job in jobs))
        check_one_device(jobs[0].run.name, devices(jobs))
        count = min(workers or os.cpu_count() or 1, len(jobs))
        # One process for each seed and not threads: torch's thread count is the process's.
        stack.enter_context(joblib.parallel_config("loky", inner_max_num_threads=1))
        parallel = joblib.Parallel(n_jobs=count, batch_size=1, pre_dispatch="all")
        return list(parallel(joblib.delayed(_search_for)(os.getpid(), job) for job in jobs))


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
