"""All seeds of a run in lockstep, from start or checkpoint to their records."""

import gc
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bregman_nas.atomic import check_writable, remove_leftovers
from bregman_nas.data import files
from bregman_nas.errors import UserError
from bregman_nas.search.checkpoint import Checkpoints
from bregman_nas.search.core.lockstep import Course, LockstepSearch, train
from bregman_nas.search.core.loop import BATCHES_PER_STRETCH
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.search.digest import digests
from bregman_nas.search.progress import Progress
from bregman_nas.search.records import (
    Record,
    check_one_device,
    device_of,
    record_path,
)
from bregman_nas.search.seed import (
    Clock,
    Job,
    continues_in,
    current_record,
    finish,
    host,
    only_process_on,
    set_arithmetic,
)


def search_in_lockstep(jobs: Sequence[Job], at_once: int | None = None) -> list[Record]:
    """Search seeds of one run as one batch, or return the records that still hold.

    Where the device's memory does not hold all of them, half as many are tried at a time, and so
    on. Seeds side by side share their checkpoints; seeds that were saved together, also in another
    division, are continued together: bit for bit where the division, and on a CPU the number of
    threads, are the same.

    Args:
        jobs: seeds of one run, on one device.
        at_once: how many side by side at most; by default all.

    Returns:
        Their records, in the order of the jobs.

    Raises:
        UserError: if a record that still holds is from another device, the device's memory does
            not even hold one seed, or the data cannot be used.
        OSError: if results or checkpoints cannot be written.
    """
    first = jobs[0]
    set_arithmetic(first.tf32)
    data = files.sha256(first.run.experiment.dataset, first.run.source, first.project)
    seeds = {job.seed: _Seed(job, data) for job in sorted(jobs, key=lambda job: job.seed)}
    with ExitStack() as locks:
        # Always from the lowest to the highest: two such commands never wait for each other.
        for seed in seeds.values():
            locks.enter_context(only_process_on(seed.job, seed.progress))
        records = {}
        for number, seed in seeds.items():
            record = seed.reusable_record()
            if record is not None:
                records[number] = record
        device = host(first.device, first.tf32)["device"]
        found = {number: device_of(record) for number, record in records.items()}
        missing = [seed for number, seed in seeds.items() if number not in records]
        check_one_device(first.run.name, found | {seed.job.seed: device for seed in missing})
        if missing:
            images = files.load(first.run.experiment.dataset, first.run.source, first.project)
            records |= _search_in_groups(missing, images, at_once or len(missing))
        for folder in _folders(first):
            if _seeds_of(folder) <= seeds.keys():  # else it may be another process's
                shutil.rmtree(folder)
    return [records[job.seed] for job in jobs]


class _Seed:
    """A seed and what is known of it."""

    def __init__(self, job: Job, data: Mapping[str, str]) -> None:
        self.job = job
        self.data = data
        self.current = digests(job.run, job.seed, data, lockstep=True)
        epochs = job.run.experiment.epochs
        self.progress = Progress(job.workspace, job.run.name, job.seed, epochs)
        self.begin(None)

    def begin(self, saved: dict[str, Any] | None) -> None:
        """Stand at the start, or where `state_dict` was called."""
        run = self.job.run
        self.course = Course(LearningRate(run.optimizer.learning_rate, run.protocol.schedule))
        if saved is not None:
            self.course.rate.load_state_dict(saved["learning_rate"])
            self.course.history = saved["history"]
            self.course.summed_loss = saved["summed_loss"]

    def state_dict(self, search: Any) -> dict[str, Any]:
        """Everything from which the seed continues bit for bit."""
        return {
            "searcher": _on_cpu(search.state_dict()),
            "learning_rate": self.course.rate.state_dict(),
            "history": self.course.history,
            "summed_loss": self.course.summed_loss,
        }

    def reusable_record(self) -> Record | None:
        """The record that still holds, if there is one; leftovers of killed searches go."""
        job = self.job
        for path in job.files():
            remove_leftovers(path)
        record = current_record(job, self.data, self.progress.tell)
        if record is not None:
            self.progress.finish(record["history"][-1], reused=True)
        return record


@dataclass(frozen=True)
class _Saved:
    """What a checkpoint of some seeds side by side holds.

    Attributes:
        epoch: the current one, from 0.
        batch: the next batch of the epoch.
        clock: of the search.
        seeds: by number, what `_Seed.state_dict` returned.
    """

    epoch: int
    batch: int
    clock: dict[str, Any]
    seeds: dict[int, dict[str, Any]]


def _folders(job: Job) -> list[Path]:
    """The checkpoints of seeds side by side, in whatever division."""
    return sorted(job.workspace.parent.glob("lockstep-*"))


def _folder(seeds: Iterable[int], job: Job) -> Path:
    """Where just these seeds are saved; the locks on all of them make it ours to write to."""
    spans: list[list[int]] = []
    for seed in sorted(seeds):
        if spans and seed == spans[-1][1] + 1:
            spans[-1][1] = seed
        else:
            spans.append([seed, seed])
    name = "+".join(f"{low:02d}-{high:02d}" for low, high in spans)
    return job.workspace.with_name(f"lockstep-{name}")


def _seeds_of(folder: Path) -> set[int]:
    """Those saved in a folder."""
    spans = (span.split("-") for span in folder.name.removeprefix("lockstep-").split("+"))
    return {seed for low, high in spans for seed in range(int(low), int(high) + 1)}


def _checkpoints(folder: Path, seed: _Seed) -> Checkpoints:
    job = seed.job
    device = host(job.device, job.tf32)["device"]
    parts = (*(seed.current[part] for part in ("settings", "data", "code", "lockstep")), device)
    return Checkpoints(folder, " ".join(parts), seed.progress.tell)


def _furthest(missing: Sequence[_Seed]) -> _Saved | None:
    """The checkpoint that holds some of these seeds and has come furthest, if there is one."""
    best, ours = None, {seed.job.seed for seed in missing}
    for folder in _folders(missing[0].job):
        if not ours & _seeds_of(folder):
            continue
        found = _checkpoints(folder, missing[0]).load()
        if found is None:
            continue
        saved = _Saved(**found)
        if best is None or (saved.epoch, saved.batch) > (best.epoch, best.batch):
            best = saved
    return best


def _search_in_groups(missing: list[_Seed], images: files.ImageSet, size: int) -> dict[int, Record]:
    records: dict[int, Record] = {}
    while missing:
        saved = _furthest(missing)
        together = missing if saved is None else [s for s in missing if s.job.seed in saved.seeds]
        group = together[:size]
        try:
            records |= _search(group, images, saved)
            missing = [seed for seed in missing if seed not in group]
            continue
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            job = group[0].job
            if len(group) == 1:
                raise UserError(
                    f"the memory of {job.device} does not even hold one seed of {job.run.name}; "
                    f"use another device, such as --device cpu ({str(error).splitlines()[0]})"
                ) from error
            size = (len(group) + 1) // 2
            group[0].progress.tell(
                f"the memory of {job.device} does not hold {len(group)} seeds side by side; "
                f"now {size} at a time"
            )
        # Only here, where the error is gone, nothing refers to its tensors any more.
        del saved
        gc.collect()
        torch.cuda.empty_cache()
        # Memory may also run short when the first of a group are finished.
        found = {seed.job.seed: seed.reusable_record() for seed in group}
        finished = {number: record for number, record in found.items() if record is not None}
        records |= finished
        missing = [seed for seed in missing if seed.job.seed not in finished]
    return records


_SAID_WHERE_MEMORY_IS_SHORT = ("out of memory", "ALLOC_FAILED", "not enough memory")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is that the device's memory is full.

    Torch has its own class for it, but libraries, the CPU, and a CUDA graph that cannot be
    recorded say it in other ways.
    """
    while error is not None:
        said = str(error)
        if isinstance(error, torch.OutOfMemoryError) or (
            isinstance(error, RuntimeError)
            and any(words in said for words in _SAID_WHERE_MEMORY_IS_SHORT)
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _search(group: list[_Seed], images: files.ImageSet, saved: _Saved | None) -> dict[int, Record]:
    job, numbers = group[0].job, [seed.job.seed for seed in group]
    run, experiment = job.run, job.run.experiment
    check_writable(record_path(job.project, run.name, job.seed).parent)
    checkpoints = _checkpoints(_folder(numbers, job), group[0])
    for path in (checkpoints.last, checkpoints.before):
        remove_leftovers(path)
    begin, batch, clock, states = 0, 0, Clock(), None
    if saved is not None:
        begin, batch, clock = saved.epoch, saved.batch, Clock(**saved.clock, resumed=True)
        states = {number: saved.seeds[number]["searcher"] for number in numbers}
        group[0].progress.tell(continues_in(begin, experiment.epochs))
    for seed in group:
        seed.begin(None if saved is None else saved.seeds[seed.job.seed])
    search = LockstepSearch(run, images, numbers, job.device, states)
    del saved, states

    def checkpoint_if_due(epoch: int, batch: int) -> None:
        if clock.checkpoint_is_due(job.seconds_between_checkpoints):
            with clock.checkpoint():
                pairs = zip(group, search.searches, strict=True)
                states = {seed.job.seed: seed.state_dict(one) for seed, one in pairs}
                checkpoints.save(vars(_Saved(epoch, batch, clock.state_dict(), states)))

    def note_progress() -> None:
        for seed in group:
            seed.progress.epoch(seed.course.history[-1], clock.seconds())

    train(
        search,
        [seed.course for seed in group],
        begin,
        batch,
        epochs=experiment.epochs,
        batch_size=run.batch_size,
        # A CPU needs minutes for an epoch.
        stretch=BATCHES_PER_STRETCH if job.device == "cpu" else None,
        after_stretch=checkpoint_if_due,
        after_epoch=note_progress,
    )
    records = {}
    for seed, one in zip(group, search.searches, strict=True):
        history = seed.course.history
        record = finish(
            seed.job, one, images.sha256, seed.current, history, clock, in_lockstep=numbers
        )
        # Of a search of this seed alone, which was never finished.
        Checkpoints(seed.job.workspace, "", seed.progress.tell).remove()
        seed.progress.finish(history[-1], reused=False)
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
