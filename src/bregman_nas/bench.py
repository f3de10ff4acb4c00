"""How much faster the compact trainers are than the textbook loop, in the same run.

A whole textbook search takes hours, so that it is not run whole. The compact search is. At a few
of its epochs, early and late, both trainers make a few steps in turn, A B A B ..., on the same
images: the ratio of the medians holds although the machine's speed drifts. The time of a whole
search is the sum over its epochs of the time of a step, interpolated between the epochs measured,
times the number of steps. (A textbook step takes the same time whatever is on: its state is that of
the start.)
"""

import json
import os
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bregman_nas.data.files import load
from bregman_nas.randomness import generator
from bregman_nas.search.checkpoint import write_atomically
from bregman_nas.search.schedule import LearningRate
from bregman_nas.search.seed import host, searcher
from bregman_nas.settings import Run

BATCHES = 12
SHARES = (0.0, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)


@dataclass(frozen=True)
class Stretch:
    """Both trainers at one moment of a search.

    Attributes:
        epoch: the number of epochs trained before.
        compact: median seconds of a step.
        textbook: likewise.
        active: active neurons or kernels.
    """

    epoch: int
    compact: float
    textbook: float
    active: int


def measure(run: Run, seed: int, project: Path, epochs: int) -> dict[str, Any]:
    """Search one seed with the compact trainer, and measure both on the way.

    Args:
        run: what is searched.
        seed: its number.
        project: the repository.
        epochs: how many; fewer than the run's give the ratio over these alone.

    Returns:
        The stretches, seconds and ratio over all epochs, and the peak memory of this process, which
        holds both trainers.
    """
    torch.set_num_threads(1)
    images = load(run.experiment.dataset, run.source, project)
    compact = searcher(run, images, seed, "compact")
    textbook = searcher(run, images, seed, "textbook")
    rate = LearningRate(run.optimizer.learning_rate, run.protocol.schedule)
    moments = sorted({round(share * epochs) for share in SHARES})
    stretches: list[Stretch] = []
    steps = 0
    for epoch in range(epochs + 1):
        examples = compact.train_examples(epoch)
        order = torch.randperm(len(examples), generator=generator(seed, "order", epoch))
        batches = list(order.split(run.batch_size))
        steps = len(batches)
        if epoch in moments:
            stretches.append(_stretch(epoch, compact, textbook, examples, batches, rate.value))
        if epoch < epochs:
            loss = compact.train_batches(examples.inputs, examples.targets, batches, rate.value)
            compact.end_epoch(rate.value)
            rate.end_epoch(loss)
    seconds = {name: _whole(stretches, name, epochs, steps) for name in ("compact", "textbook")}
    return {
        "run": run.name,
        "seed": seed,
        "epochs": epochs,
        "steps_per_epoch": steps,
        "seconds": seconds,
        "ratio": seconds["textbook"] / seconds["compact"],
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "stretches": [vars(stretch) for stretch in stretches],
    }


def _stretch(
    epoch: int, compact: Any, textbook: Any, examples: Any, batches: list[Tensor], rate: float
) -> Stretch:
    times: dict[str, list[float]] = {"compact": [], "textbook": []}
    # What is measured must not change what is trained.
    compact_state = _copied(compact.state_dict())
    for batch in batches[: BATCHES + 1]:
        for name, trainer in (("compact", compact), ("textbook", textbook)):
            start = time.perf_counter()
            trainer.train_batches(examples.inputs, examples.targets, [batch], rate)
            times[name].append(time.perf_counter() - start)
    compact.load_state_dict(compact_state)
    entry = compact.observe(rate)
    # The first step of each warms up.
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    active = sum(entry.get("active_rows") or entry["active_kernels"])
    return Stretch(epoch, medians["compact"], medians["textbook"], active)


def _copied(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {name: _copied(value) for name, value in state.items()}
    if isinstance(state, list):
        return [_copied(value) for value in state]
    return state


def _whole(stretches: Sequence[Stretch], name: str, epochs: int, steps: int) -> float:
    """Seconds of all epochs, from the seconds of a step at some of them."""
    at = [stretch.epoch for stretch in stretches]
    step = [getattr(stretch, name) for stretch in stretches]
    middles = np.arange(epochs) + 0.5
    return float(np.interp(middles, at, step).sum() * steps)


def report(measured: Sequence[dict[str, Any]]) -> str:
    """A Markdown table, one line a run."""
    lines = [
        "| run | textbook | compact | ratio | step, first epoch | step, last epoch |",
        "|---|---|---|---|---|---|",
    ]
    for one in measured:
        first, last = one["stretches"][0], one["stretches"][-1]
        lines.append(
            f"| {one['run']} | {one['seconds']['textbook'] / 60:.0f} min "
            f"| {one['seconds']['compact'] / 60:.1f} min | {one['ratio']:.1f} "
            f"| {first['textbook'] * 1e3:.0f} → {first['compact'] * 1e3:.1f} ms "
            f"| {last['textbook'] * 1e3:.0f} → {last['compact'] * 1e3:.1f} ms |"
        )
    return "\n".join(lines)


def write(measured: Sequence[dict[str, Any]], path: Path) -> None:
    """Write all numbers as JSON, with the machine that they were measured on."""
    content = {"host": host("cpu"), "load": os.getloadavg()[0], "runs": list(measured)}
    write_atomically(path, f"{json.dumps(content, indent=2)}\n".encode())
