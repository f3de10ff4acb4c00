"""How much faster the compact trainers are than the textbook loop, in the same run.

A whole textbook search takes hours, so that none is run whole. At a few moments of a search both
trainers make some steps in turn, A B A B ..., on the same images: the ratio of the medians holds
although the machine's speed drifts. The early moments are reached by training; the last one is the
finished network of the study, where this machine has it. The time of a whole search is the sum over
its epochs of the time of a step, interpolated between the moments, times the number of steps. Rows
die early and fast, later slowly, so that a straight line between two moments lies above the truth.
(A textbook step takes the same time whatever is on: its state is that of the start.)
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from torch import Tensor

from bregman_nas.data.files import load
from bregman_nas.randomness import generator
from bregman_nas.search import densenet, mlp
from bregman_nas.search.checkpoint import write_atomically
from bregman_nas.search.loop import BATCHES_PER_STRETCH
from bregman_nas.search.schedule import LearningRate
from bregman_nas.search.seed import Job, host, searcher
from bregman_nas.settings import Run

BATCHES = 12
MOMENTS = (0, 1, 3, 10)
STARTS = 5


class Stretch(NamedTuple):
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


def measure(run: Run, project: Path, last_trained: int = MOMENTS[-1]) -> dict[str, Any]:
    """Measure both trainers at some moments of a run's first seed, and seeds side by side.

    Args:
        run: what is searched.
        project: the repository.
        last_trained: moments after this epoch are not trained up to.

    Returns:
        The stretches, seconds and ratio over all epochs, throughput and peak memory of a worker.
    """
    torch.set_num_threads(1)
    stretches, steps = _stretches(run, project, last_trained)
    epochs = run.experiment.epochs
    seconds = {name: _whole(stretches, name, epochs) * steps for name in ("compact", "textbook")}
    workers = os.cpu_count() or 1
    (alone, _), *_ = _side_by_side(run, project, 1)
    together = _side_by_side(run, project, workers)
    return {
        "run": run.name,
        "epochs": epochs,
        "steps_per_epoch": steps,
        "seconds": seconds,
        "ratio": seconds["textbook"] / seconds["compact"],
        "stretches": [stretch._asdict() for stretch in stretches],
        "workers": workers,
        "throughput": sum(alone / seconds for seconds, _ in together),
        "peak_memory_mib": max(memory for _, memory in together),
    }


def _stretches(run: Run, project: Path, last_trained: int) -> tuple[list[Stretch], int]:
    """The moments measured, and the number of steps of an epoch."""
    images = load(run.experiment.dataset, run.source, project)
    compact = searcher(run, images, 0, "compact")
    textbook = searcher(run, images, 0, "textbook")
    rate = LearningRate(run.optimizer.learning_rate, run.protocol.schedule)
    moments = [moment for moment in MOMENTS if moment <= min(last_trained, run.experiment.epochs)]
    found = []
    for epoch in range(moments[-1] + 1):
        examples, batches = _epoch(run, compact, 0, epoch)
        if epoch in moments:
            found.append(_stretch(epoch, compact, textbook, examples, batches, rate.value))
        if epoch < moments[-1]:
            loss = compact.train_batches(examples.inputs, examples.targets, batches, rate.value)
            compact.end_epoch(rate.value)
            rate.end_epoch(loss)
    finished = Job(run, 0, project).network
    if finished.exists():
        late = searcher(run, images, 0, "compact")
        late.network.load_state_dict(torch.load(finished, weights_only=True))
        trainers = mlp if run.experiment.network == "mlp" else densenet
        late.trainer = trainers.compact_trainer(run, late.network)
        late.end_epoch(rate.value)
        examples, batches = _epoch(run, late, 0, 0)
        epochs = run.experiment.epochs
        found.append(_stretch(epochs, late, textbook, examples, batches, rate.value))
    return found, len(batches)


def _epoch(run: Run, search: Any, seed: int, epoch: int) -> tuple[Any, list[Tensor]]:
    """The images of an epoch, and the numbers of those of each batch."""
    examples = search.train_examples(epoch)
    order = torch.randperm(len(examples), generator=generator(seed, "order", epoch))
    return examples, list(order.split(run.batch_size))


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


def _whole(stretches: Sequence[Stretch], name: str, epochs: int) -> float:
    """The sum over all epochs of the seconds of a step, from those at some moments.

    After the last moment a step takes as long as there.
    """
    at = [stretch.epoch for stretch in stretches]
    step = [getattr(stretch, name) for stretch in stretches]
    return float(np.interp(np.arange(epochs) + 0.5, at, step).sum())


def _side_by_side(run: Run, project: Path, workers: int) -> list[tuple[float, float]]:
    """Seconds of a step and peak memory in MiB of each of some seeds at the same time."""
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        parallel: Any = joblib.Parallel(n_jobs=workers, batch_size=1, pre_dispatch="all")
        return list(parallel(joblib.delayed(_worker)(run, project, k) for k in range(workers)))


def _worker(run: Run, project: Path, seed: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    search = searcher(run, load(run.experiment.dataset, run.source, project), seed)
    examples, batches = _epoch(run, search, seed, 0)
    rate = run.optimizer.learning_rate
    times = []
    for batch in batches[:BATCHES_PER_STRETCH]:
        start = time.perf_counter()
        search.train_batches(examples.inputs, examples.targets, [batch], rate)
        times.append(time.perf_counter() - start)
    return statistics.median(times), peak_memory_mib()


def peak_memory_mib() -> float:
    """Of this process, from its start."""
    try:
        # Not getrusage: on Linux it counts what the parent held when it forked.
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def start_up(project: Path) -> dict[str, float]:
    """Median seconds of two commands that should answer at once."""
    here = Path(sys.executable).parent
    commands: dict[str, list[str | Path]] = {
        "bregman-nas --help": [here / "bregman-nas", "--help"],
        "dvc status": [here / "dvc", "status"],
    }
    return {name: _median_seconds(command, project) for name, command in commands.items()}


def _median_seconds(command: Sequence[str | Path], folder: Path) -> float:
    times = []
    for _ in range(STARTS):
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def report(measured: Sequence[dict[str, Any]]) -> str:
    """A Markdown table, one line a run."""
    lines = [
        "| run | textbook | compact | ratio | step, first epoch | step, last measured "
        "| seeds side by side | throughput | peak memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in measured:
        first, last = one["stretches"][0], one["stretches"][-1]
        cells = [
            one["run"],
            f"{one['seconds']['textbook'] / 60:.0f} min",
            f"{one['seconds']['compact'] / 60:.1f} min",
            f"{one['ratio']:.1f}",
            f"{first['textbook'] * 1e3:.0f} → {first['compact'] * 1e3:.1f} ms",
            f"{last['textbook'] * 1e3:.0f} → {last['compact'] * 1e3:.1f} ms "
            f"(after {last['epoch']})",
            str(one["workers"]),
            f"{one['throughput']:.2f}",
            f"{one['peak_memory_mib'] / 1024:.2f} GiB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(measured: Sequence[dict[str, Any]], starts: dict[str, float], project: Path) -> Path:
    """Write all numbers as JSON, with the machine that they were measured on."""
    path = project / "results" / "bench.json"
    content = {
        "host": host("cpu"),
        "load_before": os.getloadavg()[2],
        "start_up_seconds": starts,
        "runs": list(measured),
    }
    write_atomically(path, f"{json.dumps(content, indent=2)}\n".encode())
    return path
