"""A job: one seed of a run, where and how it is computed, and for how long."""

import math
import os
import platform
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bregman_nas.search.records import record_path
from bregman_nas.settings import Engine, Run


@dataclass(frozen=True)
class Job:
    """A seed to be searched; it can be sent to another process or machine.

    Attributes:
        project: the repository, at the same path wherever the job may run.
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
        """The sample images, in rows: clean, degraded, restored."""
        return self.record.with_suffix(".png")


class Clock:
    """The seconds a search took, over all its interruptions, and when a checkpoint is due."""

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._state = dict(saved or {"seconds": 0.0, "interruptions": -1, "started": started})
        self._state["interruptions"] += 1
        self._start = time.monotonic()
        # After an interruption a checkpoint is due at once, so that the interruption is counted.
        self.last_checkpoint = -math.inf if saved else self._start

    def checkpoint_is_due(self, seconds: float) -> bool:
        """Whether that many seconds have passed since the last checkpoint."""
        return time.monotonic() - self.last_checkpoint >= seconds

    def state_dict(self) -> dict[str, Any]:
        """`seconds` of work so far, number of `interruptions`, and when it `started`."""
        seconds = self._state["seconds"] + time.monotonic() - self._start
        return {**self._state, "seconds": seconds}


def set_arithmetic(tf32: bool) -> None:
    """Let NVIDIA GPUs compute in single precision or with TF32, and deterministically.

    By default torch lets convolutions use TF32, but not matrix products.
    """
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.deterministic = True


def host(device: str, tf32: bool = False) -> dict[str, Any]:
    """System, processor and cores of this machine, and the name of the device."""
    cpuinfo = Path("/proc/cpuinfo")  # of Linux
    text = cpuinfo.read_text("utf-8") if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*:\s*(.*\S)", text, re.MULTILINE)
    kind = torch.device(device).type
    name = torch.cuda.get_device_name(device) if kind == "cuda" else kind
    return {
        "system": sys.platform,
        "processor": model[1] if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "device": f"{name} with TF32" if tf32 else name,
    }
