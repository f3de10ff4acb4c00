"""One seed of one search, from start or checkpoint to its record: the unit that is distributed."""

import io
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock
import torch

from bregman_nas.atomic import check_writable, remove_leftovers, write_atomically
from bregman_nas.data import files
from bregman_nas.data.degradation import Examples
from bregman_nas.errors import UserError
from bregman_nas.networks.densenet import DenseNet
from bregman_nas.search.checkpoint import Checkpoints, save_atomically
from bregman_nas.search.core.loop import Position, train
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.search.core.searches import searcher
from bregman_nas.search.digest import COMMIT, code_of, digests
from bregman_nas.search.outcome import active_groups, logits_ever_positive, weights_digest
from bregman_nas.search.progress import Progress
from bregman_nas.search.records import (
    Record,
    checksum,
    device_of,
    picture_path,
    read_record,
    record_path,
    reusable_record,
    write_record,
)
from bregman_nas.settings import Engine, Run

SECONDS_BETWEEN_CHECKPOINTS = 60.0


@dataclass(frozen=True)
class Job:
    """A seed to be searched; it can be sent to another process or machine.

    Attributes:
        run: protocol, experiment and what else is set.
        seed: the number of the seed.
        project: the repository, at the same path wherever the job may run.
        engine: how it is computed.
        device: a torch device.
        tf32: whether an NVIDIA GPU may round the factors of matrix products and convolutions to
            TF32, 10 bits after the point instead of 23.
        seconds_between_checkpoints: that much time passes between two, or up to half as much again
            where writing one takes long.
        command: of the command that it is for, where that can tell it to stop.
    """

    run: Run
    seed: int
    project: Path
    engine: Engine = "compact"
    device: str = "cpu"
    tf32: bool = False
    seconds_between_checkpoints: float = SECONDS_BETWEEN_CHECKPOINTS
    command: str = ""

    @property
    def workspace(self) -> Path:
        """The folder, ignored by git, of its checkpoints, lock and progress."""
        return self.project / "checkpoints" / self.run.name / f"seed-{self.seed:02d}"

    @property
    def stop(self) -> Path:
        """Where this file appears, a search of this seed alone stops with a checkpoint."""
        return self.workspace / f"stop-{self.command}"

    @property
    def network(self) -> Path:
        """The file of the finished network, in the workspace."""
        return self.workspace / "network.pt"

    def files(self) -> tuple[Path, ...]:
        """All files that the search writes as a whole or not at all."""
        return (
            Checkpoints.path(self.workspace),
            Checkpoints.path_before(self.workspace),
            self.network,
            record_path(self.project, self.run.name, self.seed),
            picture_path(self.project, self.run.name, self.seed),
        )


class StoppedError(UserError):
    """A search was told to stop."""


def search_seed(job: Job) -> Record:
    """Search one seed, or return its record where that still holds.

    The record and the picture of restored images are written as soon as the search ends. While
    another process works on the same seed, this one waits and then takes over its record.

    Raises:
        UserError: if the data cannot be used.
        OSError: if results or checkpoints cannot be written.
        StoppedError: if the file `job.stop` appears.
    """
    torch.set_num_threads(1)
    set_arithmetic(job.tf32)
    data = _sha256(job)
    progress = Progress(job.workspace, job.run.name, job.seed, job.run.experiment.epochs)
    with only_process_on(job, progress):
        for path in job.files():
            remove_leftovers(path)
        for stop in job.workspace.glob("stop-*"):
            if stop != job.stop:  # of a command that is gone
                stop.unlink()
        record = current_record(job, data, progress.tell)
        if record is not None:
            progress.finish(record["history"][-1], reused=True)
            return record
        return _search(job, data, digests(job.run, job.seed, data), progress)


def current_record(job: Job, data: Mapping[str, str], tell: Callable[[str], None]) -> Record | None:
    """The seed's record if it still holds; see `reusable_record`."""
    path = record_path(job.project, job.run.name, job.seed)
    return reusable_record(path, job.run, job.seed, data, code_of(job.run), tell)


def devices(jobs: Sequence[Job]) -> dict[int, str]:
    """What each seed of a run was, or is to be, searched on."""
    first = jobs[0]
    data = _sha256(first)
    here = host(first.device, first.tf32)["device"]
    found = {}
    for job in jobs:
        record = current_record(job, data, lambda _: None)  # the search will tell
        found[job.seed] = here if record is None else device_of(record)
    return found


def _sha256(job: Job) -> dict[str, str]:
    """Of the images, which need not be there where the record still holds.

    For an arm also the digest of the search whose architecture it trains.
    """
    data = files.sha256(job.run.experiment.dataset, job.run.source, job.project)
    return data if job.run.of is None else {**data, "found": _found(job)["digests"]["all"]}


def _found(job: Job) -> Record:
    """The record of the search whose architecture an arm trains."""
    assert job.run.of is not None
    path = record_path(job.project, job.run.of, job.seed)
    if not path.exists():
        raise UserError(
            f"{job.run.name} trains what {job.run.of} finds, and its seed {job.seed} is not "
            f"searched; run `bregman-nas search {job.run.of} --seeds {job.seed}` first"
        )
    record = read_record(path)
    if (record["run"], record["seed"]) != (job.run.of, job.seed):
        raise UserError(f"{path} is of seed {record['seed']} of {record['run']}; restore it")
    if "active_groups" not in record:
        raise UserError(f"{path} is an old record, which does not say which rows are active")
    if record.get("checksum") != checksum(record["result"], record["history"]):
        raise UserError(f"{path} was edited: its numbers do not have its checksum; restore it")
    return record


def _search(
    job: Job, data: Mapping[str, str], current: dict[str, str], progress: Progress
) -> Record:
    run, experiment = job.run, job.run.experiment
    images = files.load(run.experiment.dataset, run.source, job.project)
    found = None if run.of is None else _found(job)
    search = searcher(run, images, job.seed, job.engine, job.device, found)
    del images  # only some searches keep them
    rate = LearningRate(run.optimizer.learning_rate, run.protocol.schedule)
    position = Position()
    clock = Clock()
    check_writable(record_path(job.project, run.name, job.seed).parent)
    key = f"{current['all']} {job.engine} {host(job.device, job.tf32)['device']}"
    checkpoints = Checkpoints(job.workspace, key, progress.tell, job.device)
    saved = checkpoints.load()
    if saved is not None:
        search.load_state_dict(saved["searcher"])
        rate.load_state_dict(saved["learning_rate"])
        position = Position(**saved["position"])
        clock = Clock(**saved["clock"], resumed=True)
        progress.tell(continues_in(position.epoch, experiment.epochs))
        del saved

    def checkpoint_if_due() -> None:
        stop = job.stop.exists()
        if stop or clock.checkpoint_is_due(job.seconds_between_checkpoints):
            with clock.checkpoint():
                checkpoints.save(
                    {
                        "searcher": search.state_dict(),
                        "learning_rate": rate.state_dict(),
                        "position": vars(position),
                        "clock": clock.state_dict(),
                    }
                )
        if stop:
            raise StoppedError(f"{run.name} seed {job.seed} was told to stop")

    train(
        search,
        rate,
        position,
        seed=job.seed,
        epochs=experiment.epochs,
        batch_size=run.batch_size,
        after_stretch=checkpoint_if_due,
        after_epoch=lambda entry: progress.epoch(entry, clock.seconds()),
    )
    release_inputs(search)
    record = finish(job, search, data, current, position.history, clock)
    checkpoints.remove()
    progress.finish(position.history[-1], reused=False)
    return record


def continues_in(epoch: int, epochs: int) -> str:
    """What the user is told of a search that continues after so many of its epochs."""
    return f"continues in epoch {epoch + 1}" if epoch < epochs else "continues after its last epoch"


def release_inputs(search: Any) -> None:
    """Free the images that a search was trained on: judging it takes as much memory again."""
    targets = search.problem.train.targets
    search.problem = replace(search.problem, train=Examples(targets, targets))


def finish(
    job: Job,
    search: Any,
    data: Mapping[str, str],
    current: dict[str, str],
    history: list[dict[str, Any]],
    clock: "Clock",
    **provenance: Any,
) -> Record:
    """Write what a search that has ended leaves: network, picture, and record, in this order.

    Args:
        job: the seed.
        search: as it is after the last epoch.
        data: SHA-256 of each file of the images.
        current: the digests of the seed.
        history: of all its epochs.
        clock: of the search.
        provenance: what else the record says of how it was made.

    Returns:
        The record.
    """
    run = job.run
    network = search.full_network()
    # Cloned, for a view would be saved with all that it is a view of.
    weights = {name: x.cpu().clone() for name, x in network.state_dict().items()}
    result = search.result()
    if isinstance(network, DenseNet):
        images = search.problem.test.inputs
        result["logits_ever_positive"] = logits_ever_positive(network, images)
    record: Record = {
        "run": run.name,
        "seed": job.seed,
        "digests": current,
        "settings": run.decisive(),
        "data": dict(data),
        "checksum": checksum(result, history),
        "result": result,
        "active_groups": active_groups(network),
        "network": weights_digest(weights),
        "provenance": {
            **COMMIT,
            "engine": job.engine,
            "seconds": round(clock.seconds(), 1),
            "interruptions": clock.interruptions,
            "started": clock.started,
            "host": host(job.device, job.tf32),
            "versions": {name: version(name) for name in ("bregman-nas", "torch", "numpy")}
            | {"python": platform.python_version()},
            **provenance,
        },
        "history": history,
    }
    save_atomically(job.network, weights)
    picture = search.picture()
    if picture is not None:
        path = picture_path(job.project, run.name, job.seed)
        write_atomically(path, _png(picture))
    write_record(record_path(job.project, run.name, job.seed), record)
    return record


def set_arithmetic(tf32: bool) -> None:
    """Let NVIDIA GPUs compute in single precision, or with TF32; the same each time.

    Without this torch would let convolutions, and them alone, use TF32.
    """
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.deterministic = True


@contextmanager
def only_process_on(job: Job, progress: Progress) -> Iterator[None]:
    """Hold the seed's lock, which the operating system frees however its owner ends."""
    job.workspace.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(job.workspace / "lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        progress.tell("another process works on this seed; a second one waits for its record")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Clock:
    """The seconds a search took, over all its interruptions."""

    def __init__(
        self,
        seconds: float = 0.0,
        interruptions: int = 0,
        started: str = "",
        resumed: bool = False,
    ) -> None:
        self.interruptions = interruptions + resumed
        self.started = started or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._before = seconds
        self._start = time.monotonic()
        # After an interruption one is due at once: the next may come before it is noted.
        self._checkpoint = -math.inf if resumed else self._start
        self._cost = 0.0

    def seconds(self) -> float:
        """Of work so far."""
        return self._before + time.monotonic() - self._start

    def checkpoint_is_due(self, seconds: float) -> bool:
        """Whether it is time for the next checkpoint.

        Args:
            seconds: between two; up to half as many again where the last one took over 1% of them.
        """
        between = min(max(seconds, 100 * self._cost), 1.5 * seconds)
        return time.monotonic() - self._checkpoint >= between

    @contextmanager
    def checkpoint(self) -> Iterator[None]:
        """A checkpoint is written in the body."""
        begin = time.monotonic()
        yield
        self._checkpoint = time.monotonic()
        self._cost = self._checkpoint - begin

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which a clock continues after an interruption."""
        return {
            "seconds": self.seconds(),
            "interruptions": self.interruptions,
            "started": self.started,
        }


def host(device: str, tf32: bool = False) -> dict[str, Any]:
    """Processor, cores and system of this machine, and what the device is."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = (x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
            processor = next(names, processor)
    except OSError:
        pass  # not Linux
    kind = torch.device(device).type
    name = torch.cuda.get_device_name(device) if kind == "cuda" else kind
    return {
        "system": sys.platform,
        "processor": processor,
        "cores": os.cpu_count(),
        "device": f"{name} with TF32" if tf32 else name,
    }


def _png(picture: torch.Tensor) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture.numpy()).save(buffer, format="png", optimize=True)
    return buffer.getvalue()
