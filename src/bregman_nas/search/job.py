"""A job: one seed of a run, where and how it is computed, and for how long."""

import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import torch

from bregman_nas.search.progress import Progress
from bregman_nas.search.records import picture_path, record_path
from bregman_nas.settings import Engine, Run


@dataclass(frozen=True)
class Job:
    """A seed to be searched; it can be sent to another process or machine.

    Attributes:
        run: protocol, experiment and other settings.
        seed: its number.
        project: the repository, at the same path wherever the job may run.
        engine: how it is computed.
        device: a torch device.
        tf32: whether an NVIDIA GPU may round the factors of matrix products and convolutions to
            TF32, with 10 bits of mantissa instead of 23.
        seconds_between_checkpoints: from the end of one to the beginning of the next.
        command: the command that sent the job to a cluster, if it can tell the job to stop.
    """

    run: Run
    seed: int
    project: Path
    engine: Engine = "compact"
    device: str = "cpu"
    tf32: bool = False
    seconds_between_checkpoints: float = 60.0
    command: str = ""

    @property
    def workspace(self) -> Path:
        """The folder, ignored by git, of its checkpoints, lock and progress."""
        return self.project / "checkpoints" / self.run.name / f"seed-{self.seed:02d}"

    @property
    def stop(self) -> Path:
        """Once this file exists, the search stops with a checkpoint."""
        return self.workspace / f"stop-{self.command}"

    @property
    def network(self) -> Path:
        """The weights of the finished network, in the workspace."""
        return self.workspace / "network.pt"

    @property
    def record(self) -> Path:
        """The record of the finished seed."""
        return record_path(self.project, self.run.name, self.seed)

    @property
    def picture(self) -> Path:
        """The restored sample images."""
        return picture_path(self.project, self.run.name, self.seed)


@contextmanager
def only_process_on(job: Job, progress: Progress) -> Iterator[None]:
    """Hold the seed's lock, which the operating system frees however its owner ends."""
    job.workspace.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(job.workspace / "lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        progress.tell("another process is searching this seed; waiting for its record")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Clock:
    """The seconds a search took, over all its interruptions."""

    def __init__(
        self, seconds: float = 0.0, interruptions: int = 0, started: str = "", resumed: bool = False
    ) -> None:
        self.interruptions = interruptions + resumed
        self.started = started or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._before = seconds
        self._start = time.monotonic()
        # After an interruption a checkpoint is due at once, so that the interruption is counted.
        self._last_checkpoint = -math.inf if resumed else self._start

    def seconds(self) -> float:
        """Of work so far."""
        return self._before + time.monotonic() - self._start

    def checkpoint_is_due(self, seconds: float) -> bool:
        """Whether that many seconds have passed since the last checkpoint."""
        return time.monotonic() - self._last_checkpoint >= seconds

    def checkpoint_is_written(self) -> None:
        """Wait for the next checkpoint from now on."""
        self._last_checkpoint = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The arguments with which a clock continues after an interruption."""
        return {
            "seconds": self.seconds(),
            "interruptions": self.interruptions,
            "started": self.started,
        }


def set_arithmetic(tf32: bool) -> None:
    """Let NVIDIA GPUs compute in single precision or with TF32, and deterministically.

    By default torch lets convolutions use TF32, but not matrix products.
    """
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.deterministic = True


def host(device: str, tf32: bool = False) -> dict[str, Any]:
    """System, processor and cores of this machine, and the name of the device."""
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
