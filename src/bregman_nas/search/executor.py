"""Many seeds: side by side on this machine, as one batch, or on a Dask cluster."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import joblib

from bregman_nas.search.lockstep_seeds import search_in_lockstep
from bregman_nas.search.progress import shown
from bregman_nas.search.records import Record
from bregman_nas.search.seed import Job, search_seed


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
    """
    if not jobs:
        return []
    with ExitStack() as stack:
        stack.enter_context(shown([job.workspace for job in jobs]))
        if jobs[0].engine == "lockstep":
            return search_in_lockstep(jobs, workers)
        if scheduler is not None:
            from distributed import Client

            stack.enter_context(Client(scheduler))
            stack.enter_context(joblib.parallel_config("dask"))
            count = -1
        else:
            count = min(workers or os.cpu_count() or 1, len(jobs))
            # One process for each seed and not threads: torch's thread count is the process's.
            stack.enter_context(joblib.parallel_config("loky", inner_max_num_threads=1))
        parallel: Any = joblib.Parallel(n_jobs=count, batch_size=1, pre_dispatch="all")
        return list(parallel(joblib.delayed(search_seed)(job) for job in jobs))
