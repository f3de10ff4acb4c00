"""All seeds of a run in lockstep, from start or checkpoint to their records."""

import gc
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bregman_nas.data import files
from bregman_nas.search.checkpoint import Checkpoints, remove_leftovers
from bregman_nas.search.digest import digests
from bregman_nas.search.lockstep import LockstepSearch
from bregman_nas.search.progress import Progress
from bregman_nas.search.records import (
    Record,
    check_one_device,
    device_of,
    record_path,
    reusable_record,
)
from bregman_nas.search.schedule import LearningRate
from bregman_nas.search.seed import Clock, Job, finish, host, only_process_on, set_arithmetic
from bregman_nas.settings import SettingsError


def search_in_lockstep(jobs: Sequence[Job], at_once: int | None = None) -> list[Record]:
    """Search seeds of one run as one batch, or return the records that still hold.

    Where the device's memory does not hold all of them, half as many are tried at a time, and so
    on. There is one checkpoint for all, between two epochs.

    Args:
        jobs: seeds of one run, on one device.
        at_once: how many side by side at most; by default all.

    Returns:
        Their records, in the order of the jobs.

    Raises:
        MixedDevicesError: if a record that still holds is from another device.
        SettingsError: if the device's memory does not even hold one seed.
        DataError: if the data cannot be used.
        OSError: if results or checkpoints cannot be written.
    """
    first = jobs[0]
    set_arithmetic(first.tf32)
    images = files.load(first.run.experiment.dataset, first.run.source, first.project)
    seeds = {job.seed: _Seed(job, images) for job in sorted(jobs, key=lambda job: job.seed)}
    with ExitStack() as locks:
        # Always from the lowest to the highest: two such commands never wait for each other.
        for seed in seeds.values():
            locks.enter_context(only_process_on(seed.job, seed.progress))
        # The locks on the lowest and the highest make this folder ours.
        folder = first.workspace.with_name(f"lockstep-{min(seeds):02d}-{max(seeds):02d}")
        records = {}
        for number, seed in seeds.items():
            record = seed.reusable_record()
            if record is not None:
                records[number] = record
        device = host(first.device, first.tf32)["device"]
        found = {number: device_of(record) for number, record in records.items()}
        missing = [seed for number, seed in seeds.items() if number not in records]
        check_one_device(first.run.name, found | {seed.job.seed: device for seed in missing})
        records |= _search_in_groups(missing, images, folder, at_once or len(missing))
    return [records[job.seed] for job in jobs]


class _Seed:
    """A seed and what is known of it."""

    def __init__(self, job: Job, images: files.ImageSet) -> None:
        self.job = job
        self.current = digests(job.run, job.seed, images.sha256)
        epochs = job.run.experiment.epochs
        self.progress = Progress(job.workspace, job.run.name, job.seed, epochs)
        self.begin(None)

    def begin(self, saved: dict[str, Any] | None) -> None:
        """Stand at the start, or where `state_dict` was called."""
        run = self.job.run
        self.rate = LearningRate(run.optimizer.learning_rate, run.protocol.schedule)
        self.history: list[dict[str, Any]] = []
        if saved is not None:
            self.rate.load_state_dict(saved["learning_rate"])
            self.history = saved["history"]

    def end_epoch(self, search: Any, summed_loss: float, batches: int, clock: Clock) -> None:
        """Note an epoch, of so many batches, whose losses have this sum."""
        used = self.rate.value
        entry = {
            "epoch": len(self.history) + 1,
            "learning_rate": used,
            "train_loss": summed_loss / batches,
            **search.observe(used),
        }
        self.rate.end_epoch(summed_loss)
        self.history.append(entry)
        self.progress.epoch(entry, clock.seconds())

    def state_dict(self, search: Any) -> dict[str, Any]:
        """Everything from which the seed continues bit for bit."""
        return {
            "searcher": _on_cpu(search.state_dict()),
            "learning_rate": self.rate.state_dict(),
            "history": self.history,
        }

    def reusable_record(self) -> Record | None:
        """The record that still holds, if there is one; leftovers of killed searches go."""
        job = self.job
        for path in job.files():
            remove_leftovers(path)
        path = record_path(job.project, job.run.name, job.seed)
        record = reusable_record(path, self.current, self.progress.tell)
        if record is not None:
            self.progress.finish(record["history"][-1], reused=True)
        return record


def _search_in_groups(
    missing: list[_Seed], images: files.ImageSet, folder: Path, size: int
) -> dict[int, Record]:
    records: dict[int, Record] = {}
    while missing:
        group = missing[:size]
        try:
            records |= _search(group, images, folder)
            missing = missing[size:]
            continue
        except torch.OutOfMemoryError as error:
            job = group[0].job
            if len(group) == 1:
                raise SettingsError(
                    f"the memory of {job.device} does not even hold one seed of {job.run.name}; "
                    f"use another device, such as --device cpu ({str(error).splitlines()[0]})"
                ) from error
            size = (len(group) + 1) // 2
            group[0].progress.tell(
                f"the memory of {job.device} does not hold {len(group)} seeds side by side; "
                f"now {size} at a time"
            )
        # Only here, where the error is gone, nothing refers to its tensors any more.
        gc.collect()
        torch.cuda.empty_cache()
    return records


def _search(group: list[_Seed], images: files.ImageSet, folder: Path) -> dict[int, Record]:
    job, numbers = group[0].job, [seed.job.seed for seed in group]
    run, experiment = job.run, job.run.experiment
    device = host(job.device, job.tf32)["device"]
    parts = (*(group[0].current[part] for part in ("settings", "data", "code")), device)
    checkpoints = Checkpoints(folder, " ".join(parts), group[0].progress.tell)
    for path in (checkpoints.last, checkpoints.before):
        remove_leftovers(path)
    saved = checkpoints.load()
    if saved is not None and not set(numbers) <= saved["seeds"].keys():
        group[0].progress.tell(f"{checkpoints.last} is of other seeds and is not used")
        saved = None
    begin, clock, states = 0, Clock(), None
    if saved is not None:
        begin, clock = saved["epoch"], Clock(**saved["clock"], resumed=True)
        states = {number: saved["seeds"][number]["searcher"] for number in numbers}
        group[0].progress.tell(f"continues in epoch {begin + 1}")
    for seed in group:
        seed.begin(None if saved is None else saved["seeds"][seed.job.seed])
    search = LockstepSearch(run, images, numbers, job.device, states)
    for epoch in range(begin, experiment.epochs):
        batches = search.batches(epoch, run.batch_size)
        losses = search.train_epoch(epoch, batches, [seed.rate.value for seed in group])
        for seed, one, loss in zip(group, search.searches, losses, strict=True):
            seed.end_epoch(one, loss, len(batches), clock)
        if clock.since_checkpoint() >= job.seconds_between_checkpoints:
            checkpoints.save(
                {
                    "epoch": epoch + 1,
                    "clock": clock.state_dict(),
                    "seeds": {
                        seed.job.seed: seed.state_dict(one)
                        for seed, one in zip(group, search.searches, strict=True)
                    },
                }
            )
            clock.note_checkpoint()
    records = {}
    for seed, one in zip(group, search.searches, strict=True):
        record = finish(
            seed.job, one, images, seed.current, seed.history, clock, in_lockstep=numbers
        )
        # Of a search of this seed alone, which was never finished.
        Checkpoints(seed.job.workspace, "", seed.progress.tell).remove()
        seed.progress.finish(seed.history[-1], reused=False)
        records[seed.job.seed] = record
    checkpoints.remove()
    return records


def _on_cpu(state: Any) -> Any:
    """A nested state whose tensors can be loaded on a machine without the device."""
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {name: _on_cpu(value) for name, value in state.items()}
    if isinstance(state, list):
        return [_on_cpu(value) for value in state]
    return state
