"""How fast seeds in lockstep are, against one at a time by the textbook loop.

A step takes the same time at whatever epoch: the networks are computed whole, whatever is on.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bregman_nas.atomic import write_atomically
from bregman_nas.data.files import load
from bregman_nas.search.core.lockstep import LockstepSearch
from bregman_nas.search.core.searches import searcher
from bregman_nas.search.seed import host, set_arithmetic
from bregman_nas.settings import Run

SEEDS = 10
STEPS = {"cpu": 4, "cuda": 100}


def measure(run: Run, project: Path, device: str, seeds: int = SEEDS) -> dict[str, Any]:
    """The seconds of a step of so many seeds in lockstep, and of one alone, on a device."""
    set_arithmetic(tf32=False)
    images = load(run.experiment.dataset, run.source, project)
    rate = run.optimizer.learning_rate
    together = LockstepSearch(run, images, range(seeds), device)
    batches = together.batches(0, run.batch_size)[: STEPS[device]]
    together.begin_epoch(0)
    step = _seconds(lambda: together.train_batches(batches, [rate] * seeds)) / len(batches)
    alone = searcher(run, images, 0, "textbook", device)
    examples, order = alone.train_examples(0), [batch[0] for batch in batches]
    one = _seconds(lambda: alone.train_batches(examples.inputs, examples.targets, order, rate))
    one /= len(batches)
    return {
        "run": run.name,
        "seeds": seeds,
        "step": step,
        "alone": one,
        "ratio": seeds * one / step,
    }


def _seconds(train: Callable[[], object]) -> float:
    for _ in range(2):  # a GPU's steps are made as they are, then recorded
        train()
    start = time.perf_counter()
    train()
    return time.perf_counter() - start


def measure_all(runs: Sequence[Run], project: Path) -> None:
    """Measure runs on the GPU, or where there is none, on the CPU; print and write."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"| run, {SEEDS} seeds on {host(device)['device']} | step | ratio to one at a time |")
    print("|---|---|---|")
    measured = []
    for run in runs:
        measured.append(measure(run, project, device))
        one = measured[-1]
        print(f"| {run.name} | {1e3 * one['step']:.1f} ms | {one['ratio']:.1f} |", flush=True)
    path = project / "build" / "bench-lockstep.json"
    content = {"host": host(device), "runs": measured}
    write_atomically(path, f"{json.dumps(content, indent=2)}\n".encode())
    print(f"\nwrote {path}")
