"""Search seeds, one or several in lockstep, from their start or checkpoints to their records."""

import platform
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import filelock
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from bregman_nas.atomic import check_writable, remove_leftovers, write_atomically
from bregman_nas.data import files
from bregman_nas.data.degradation import Examples
from bregman_nas.errors import UserError
from bregman_nas.search import records
from bregman_nas.search.checkpoint import Checkpoints, to_bytes
from bregman_nas.search.core.lockstep import LockstepSearch
from bregman_nas.search.core.searches import searcher, train
from bregman_nas.search.digest import CODE, COMMIT, digests
from bregman_nas.search.job import Clock, Job, host, set_arithmetic
from bregman_nas.search.progress import Progress
from bregman_nas.search.records import Record


def search_seed(job: Job) -> Record:
    """Search one seed; see `search_together`."""
    return search_together([job])[0]


def search_together(jobs: Sequence[Job], at_once: int | None = None) -> list[Record]:
    """Search seeds of one run, or take their valid records; returns these in the order of the jobs.

    Several seeds, only with the engine `lockstep`, are trained side by side, `at_once` at most.
    They continue from checkpoints, also in other groups; bit for bit in the same, on a CPU with as
    many threads. While another process works on a seed, this one waits, then uses its record.

    Raises:
        UserError: if the data cannot be used, the device's memory does not hold the seeds, or the
            file `Job.stop` appears.
        OSError: if results or checkpoints cannot be written.
    """
    first = jobs[0]
    if first.engine != "lockstep":
        torch.set_num_threads(1)
    set_arithmetic(first.tf32)
    seeds = [_Seed(job) for job in sorted(jobs, key=lambda job: job.seed)]
    with ExitStack() as locks:  # the operating system frees them however their owner ends
        # Always from the lowest to the highest: two such commands never wait for each other.
        for seed in seeds:
            lock = filelock.FileLock(seed.job.workspace / "lock")
            try:
                locks.enter_context(lock.acquire(blocking=False))
            except filelock.Timeout:
                seed.progress.tell("another process is searching this seed; waiting for its record")
                locks.enter_context(lock)
        done = {seed.job.seed: record for seed in seeds if (record := seed.reusable_record())}
        while missing := [seed for seed in seeds if seed.job.seed not in done]:
            group = _next_group(missing, at_once or len(jobs))
            try:
                _search(group, done)
            except torch.OutOfMemoryError as error:
                raise UserError(
                    f"the memory of {first.device} does not hold {len(group)} of the seeds of "
                    f"{first.run.name} at a time; try fewer --workers, or another --device"
                ) from error
    return [done[job.seed] for job in jobs]


def devices(jobs: Sequence[Job]) -> dict[int, str]:
    """The device that each seed of a run was, or will be, searched on."""
    here = host(jobs[0].device, jobs[0].tf32)["device"]
    found = ((job.seed, _valid_record(job, _data_of(job)[0], lambda _: None)) for job in jobs)
    return {seed: records.device_of(record) if record else here for seed, record in found}


def _valid_record(job: Job, data: dict[str, str], tell: Callable[[str], None]) -> Record | None:
    """The record of a finished seed if it is still valid; `tell` is told why one is not."""
    if job.record.exists():
        try:
            record = records.read_record(job.record)
            fault = records.fault_of(record, job.run, job.seed, data, CODE)
            if fault is None:
                return record
            tell(f"{job.record.name} {fault}; the seed runs again")
        except UserError as error:
            tell(f"{error}; the seed runs again")
    return None


def _data_of(job: Job) -> tuple[dict[str, str], Record | None]:
    """The digests of a seed's data, and the record whose architecture it trains, if any.

    The data are the images, which need not exist while the record is valid, and for an arm also the
    search whose architecture it trains.
    """
    run = job.run
    data = files.sha256(run.experiment.dataset, run.source, job.project)
    if run.of is None:
        return data, None
    path = records.record_path(job.project, run.of, job.seed)
    if not path.exists():
        raise UserError(
            f"{run.name} needs seed {job.seed} of {run.of}, which has not been searched; run "
            f"`bregman-nas search {run.of} --seeds {job.seed}` first"
        )
    record = records.read_record(path)
    written = run.of, job.seed, records.checksum(record["result"], record["history"])
    if (record["run"], record["seed"], record["checksum"]) != written:
        raise UserError(
            f"{path} was edited, or is of another seed: restore it, or search that seed again"
        )
    return {**data, "found": record["digests"]["all"]}, record


class _Seed:
    """A seed and the state of its training."""

    search: Any = None
    saved: dict[str, Any] | None = None  # the state to continue from

    def __init__(self, job: Job) -> None:
        run = job.run
        self.job = job
        self.data, self._found = _data_of(job)
        self.digests = digests(run, job.seed, self.data, lockstep=job.engine == "lockstep")
        self.progress = Progress(job.workspace, run.name, job.seed, run.experiment.epochs)
        key = f"{self.digests['all']} {job.engine} {host(job.device, job.tf32)['device']}"
        self.checkpoints = Checkpoints(job.workspace, key, self.progress.tell, job.device)

    def reusable_record(self) -> Record | None:
        """The record if it is still valid; removes what killed searches left."""
        job, checkpoints = self.job, self.checkpoints
        for path in (checkpoints.last, job.network, job.record, job.picture):
            remove_leftovers(path)
        for stop in job.workspace.glob("stop-*"):
            if stop != job.stop:  # of a command that is gone
                stop.unlink()
        record = _valid_record(job, self.data, self.progress.tell)
        if record is not None:
            self.progress.epoch(record["history"][-1], "taken from its record")
        return record

    def begin(self) -> Any:
        """Make the search, at its start or at the saved state."""
        job, run = self.job, self.job.run
        images = files.load(run.experiment.dataset, run.source, job.project)
        engine = "textbook" if job.engine == "lockstep" else job.engine
        self.search = searcher(run, images, job.seed, engine, job.device, self._found)
        if self.saved is not None:
            self.search.load_state_dict(self.saved["search"])
            self.saved = None
        return self.search

    def finish(self, clock: Clock, together: list[int]) -> Record:
        """Write the network, the sample images and the record, in this order."""
        job, run, search, history = self.job, self.job.run, self.search, self.search.history
        # Without the inputs trained on there is memory for the evaluation.
        targets = search.problem.train.targets
        search.problem = replace(search.problem, train=Examples(targets, targets))
        network = search.full_network()
        weights = {name: x.cpu().clone() for name, x in network.state_dict().items()}
        result = search.result()
        provenance = {
            **COMMIT,
            "engine": job.engine,
            **clock.state_dict(),
            "host": host(job.device, job.tf32),
            "versions": {name: version(name) for name in ("bregman-nas", "torch", "numpy")}
            | {"python": platform.python_version()},
        }
        provenance["seconds"] = round(provenance["seconds"], 1)
        if job.engine == "lockstep":
            provenance["in_lockstep"] = together
        record: Record = {
            "run": run.name,
            "seed": job.seed,
            "digests": self.digests,
            "settings": run.decisive(),
            "data": self.data,
            "checksum": records.checksum(result, history),
            "result": result,
            "active_groups": records.active_groups(network),
            "network": records.weights_digest(weights),
            "provenance": provenance,
            "history": history,
        }
        write_atomically(job.network, to_bytes(weights))
        if (picture := search.picture()) is not None:
            write_atomically(job.picture, records.png(picture))
        records.write_record(job.record, record)
        self.checkpoints.remove()
        self.progress.epoch(history[-1], "done")
        self.search = None
        return record


def _next_group(missing: list[_Seed], size: int) -> list[_Seed]:
    """The seeds to train next, all at the same position, with `saved` set to their states."""

    def place(state: dict[str, Any] | None) -> tuple[int, int]:
        return (state["search"]["epoch"], state["search"]["batch"]) if state else (0, 0)

    found = [(seed, states := seed.checkpoints.states(), next(states, None)) for seed in missing]
    last, _, least = min(found, key=lambda one: place(one[2]))
    group: list[_Seed] = []
    for seed, older, state in found:
        if state is not None and place(state) > place(least) and last.job.seed in state["together"]:
            # A search was killed after it had saved this seed, and before it saved the last one.
            state = next(older, None)
        if place(state) == place(least) and len(group) < size:
            seed.saved = state
            group.append(seed)
    return group


def _search(group: list[_Seed], done: dict[int, Record]) -> None:
    """Train seeds to their end; adds their records."""
    job, numbers = group[0].job, [seed.job.seed for seed in group]
    run, epochs = job.run, job.run.experiment.epochs
    check_writable(job.record.parent)
    saved = group[0].saved
    clock = Clock(saved and saved["clock"])
    if saved is not None:
        now = min(saved["search"]["epoch"] + 1, epochs)
        group[0].progress.tell(f"continues in epoch {now}")

    def save_if_due() -> None:
        stop = job.stop.exists()
        if stop or clock.checkpoint_is_due(job.seconds_between_checkpoints):
            for seed in group:
                state = {"search": seed.search.state_dict(), "clock": clock.state_dict()}
                state["together"] = numbers
                # Copied: saving a view would save the tensors of all seeds.
                seed.checkpoints.save(tree_map_only(Tensor, torch.clone, state))
            clock.last_checkpoint = time.monotonic()
        if stop:
            raise UserError(f"{run.name} seed {job.seed} was told to stop")

    def note_progress() -> None:
        for seed in group:
            seed.progress.epoch(seed.search.history[-1])

    searches = (seed.begin() for seed in group)
    search = LockstepSearch(searches) if job.engine == "lockstep" else next(searches)
    train(search, epochs, run.batch_size, after_stretch=save_if_due, after_epoch=note_progress)
    for seed in group:
        done[seed.job.seed] = seed.finish(clock, numbers)
