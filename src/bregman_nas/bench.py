"""How much faster the compact trainers are than the textbook loop, in the same run.

A whole textbook search takes hours, so that none is run whole. At a few moments of a search both
trainers make some steps in turn, A B A B ..., on the same images: the ratio of the medians holds
although the machine's speed drifts. The early moments are reached by training; the last one is the
finished network of the study, where this machine has it. The time of a whole search is the sum over
its epochs of the time of a step, interpolated between the moments, times the number of steps. Rows
die early and fast, later slowly, so that a straight line between two moments lies above the truth.
(A textbook step takes the same time whatever is on: its state is that of the start.)

Beside the ratio stands its bound: what it would be if the compact trainer did nothing but its
matrix products and convolutions, in the library that torch has for them. What checkpoints cost is
the share of the time between two that writing one takes, early, when they are largest.
"""

import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bregman_nas.atomic import write_atomically
from bregman_nas.data.files import load
from bregman_nas.randomness import generator
from bregman_nas.search.checkpoint import Checkpoints
from bregman_nas.search.core import densenet, mlp
from bregman_nas.search.core.loop import BATCHES_PER_STRETCH
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.search.core.searches import searcher
from bregman_nas.search.seed import (
    SECONDS_BETWEEN_CHECKPOINTS,
    Job,
    host,
    release_inputs,
)
from bregman_nas.settings import Run

BATCHES = 12
MOMENTS = (0, 1, 3, 10, 30)
STARTS = 5
PRODUCTS = {
    torch.ops.aten.mm,
    torch.ops.aten.addmm,
    torch.ops.aten.addmm_,
    torch.ops.aten.convolution,
    torch.ops.aten.convolution_backward,
}


class Stretch(NamedTuple):
    """Both trainers at one moment of a search.

    Attributes:
        epoch: the number of epochs trained before.
        compact: median seconds of a step.
        textbook: likewise.
        products: mean seconds of the matrix products and convolutions in a compact step.
        active: active neurons or kernels.
    """

    epoch: int
    compact: float
    textbook: float
    products: float
    active: int


def measure(
    run: Run, project: Path, last_trained: int = MOMENTS[-1], seed: int = 0
) -> dict[str, Any]:
    """Measure both trainers at some moments of one search of a run, and searches side by side.

    Args:
        run: what is searched.
        project: the repository.
        last_trained: moments after this epoch are not trained up to.
        seed: of the search at whose moments the trainers are compared.

    Returns:
        The stretches, seconds and ratio over all epochs, throughput, and of a worker its peak
        memory and the seconds that a checkpoint takes.
    """
    torch.set_num_threads(1)
    stretches, steps = _stretches(run, project, last_trained, seed)
    epochs = run.experiment.epochs
    names = ("compact", "textbook", "products")
    seconds = {name: _whole(stretches, name, epochs) * steps for name in names}
    workers = os.cpu_count() or 1
    ((alone, _, _),) = _side_by_side(run, project, seed, 1)
    together = _side_by_side(run, project, seed, workers)
    return {
        "run": run.name,
        "seed": seed,
        "epochs": epochs,
        "steps_per_epoch": steps,
        "seconds": seconds,
        "ratio": seconds["textbook"] / seconds["compact"],
        "ratio_bound": seconds["textbook"] / seconds["products"],
        "stretches": [stretch._asdict() for stretch in stretches],
        "workers": workers,
        "throughput": sum(alone / seconds for seconds, _, _ in together),
        "peak_memory_mib": max(memory for _, memory, _ in together),
        "checkpoint_seconds": max(seconds for _, _, seconds in together),
    }


def _stretches(run: Run, project: Path, last_trained: int, seed: int) -> tuple[list[Stretch], int]:
    """The moments measured, and the number of steps of an epoch."""
    images = load(run.experiment.dataset, run.source, project)
    compact = searcher(run, images, seed, "compact")
    textbook = searcher(run, images, seed, "textbook")
    rate = LearningRate(run.optimizer.learning_rate, run.protocol.schedule)
    moments = [moment for moment in MOMENTS if moment <= min(last_trained, run.experiment.epochs)]
    found = []
    for epoch in range(moments[-1] + 1):
        examples, batches = _epoch(run, compact, seed, epoch)
        if epoch in moments:
            found.append(_stretch(epoch, compact, textbook, examples, batches, rate.value))
        if epoch < moments[-1]:
            loss = compact.train_batches(examples.inputs, examples.targets, batches, rate.value)
            compact.end_epoch(rate.value)
            rate.end_epoch(loss)
    finished = Job(run, seed, project).network
    if finished.exists():
        late = searcher(run, images, seed, "compact")
        late.network.load_state_dict(torch.load(finished, weights_only=True))
        trainers = mlp if run.experiment.network == "mlp" else densenet
        late.trainer = trainers.compact_trainer(run, late.network)
        late.end_epoch(rate.value)
        examples, batches = _epoch(run, late, seed, 0)
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
    compact.load_state_dict(_copied(compact_state))
    products = _products(compact, examples, batches[: BATCHES + 1], rate)
    compact.load_state_dict(compact_state)
    entry = compact.observe(rate)
    # The first step of each warms up.
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    active = sum(entry.get("active_rows") or entry["active_kernels"])
    return Stretch(epoch, medians["compact"], medians["textbook"], products, active)


class _ProductsTimed(TorchDispatchMode):
    """While it is on, adds up the seconds that matrix products and convolutions take."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket not in PRODUCTS:
            return func(*args, **(kwargs or {}))
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        self.seconds += time.perf_counter() - start
        return result


def _products(trainer: Any, examples: Any, batches: list[Tensor], rate: float) -> float:
    """Mean seconds of the matrix products and convolutions in a step."""
    trainer.train_batches(examples.inputs, examples.targets, batches[:1], rate)
    with _ProductsTimed() as timed:
        trainer.train_batches(examples.inputs, examples.targets, batches[1:], rate)
    return float(timed.seconds) / len(batches[1:])


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


def _side_by_side(run: Run, project: Path, seed: int, workers: int) -> list[tuple[float, ...]]:
    """Of each of some workers at the same time what `_worker` measures.

    All search the same seed: how fast they are then differs by nothing but their number.
    """
    # New processes: one that has worked before would still hold what it had then.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        return list(pool.map(_worker, [run] * workers, [project] * workers, [seed] * workers))


def _worker(run: Run, project: Path, seed: int) -> tuple[float, float, float]:
    """Median seconds of a step, peak memory in MiB, and seconds of writing a checkpoint."""
    torch.set_num_threads(1)
    search = searcher(run, load(run.experiment.dataset, run.source, project), seed)
    examples, batches = _epoch(run, search, seed, 0)
    rate = run.optimizer.learning_rate
    # A start is no measure: of the DenseNet nearly all is off.
    search.train_batches(examples.inputs, examples.targets, batches, rate)
    search.end_epoch(rate)
    examples, batches = _epoch(run, search, seed, 1)
    times = []
    for batch in batches[:BATCHES_PER_STRETCH]:
        start = time.perf_counter()
        search.train_batches(examples.inputs, examples.targets, [batch], rate)
        times.append(time.perf_counter() - start)
    # What a search does besides takes memory too.
    search.end_epoch(rate)
    search.observe(rate)
    workspaces = project / "checkpoints"  # not the folder for temporary files: it may be in memory
    workspaces.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspaces) as folder:
        checkpoints = Checkpoints(Path(folder), "", print)
        start = time.perf_counter()
        checkpoints.save({"searcher": search.state_dict()})
        saving = time.perf_counter() - start
    del examples
    release_inputs(search)
    search.result()
    return statistics.median(times), peak_memory_mib(), saving


def peak_memory_mib() -> float:
    """Of this process, from its start."""
    try:
        # Not getrusage: on Linux it counts what the parent held when it forked.
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def start_up(project: Path) -> dict[str, float]:
    """Median seconds of commands that should answer at once."""
    here = Path(sys.executable).parent
    commands: dict[str, list[str | Path]] = {
        "bregman-nas --help": [here / "bregman-nas", "--help"],
    }
    # Only if it has nothing to do, else it would search for hours.
    if subprocess.run([here / "dvc", "status", "--quiet"], cwd=project).returncode == 0:
        commands["dvc repro, nothing to do"] = [here / "dvc", "repro"]
    else:
        print("The study is not up to date: a dvc repro with nothing to do is not measured.")
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
        "| run | seed | textbook | compact | ratio | if products alone | step, first epoch "
        "| step, last measured | side by side | throughput | peak memory "
        "| checkpoints |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in measured:
        first, last = one["stretches"][0], one["stretches"][-1]
        cells = [
            one["run"],
            str(one["seed"]),
            f"{one['seconds']['textbook'] / 60:.0f} min",
            f"{one['seconds']['compact'] / 60:.1f} min",
            f"{one['ratio']:.1f}",
            f"{one['ratio_bound']:.1f}",
            f"{first['textbook'] * 1e3:.0f} → {first['compact'] * 1e3:.1f} ms",
            f"{last['textbook'] * 1e3:.0f} → {last['compact'] * 1e3:.1f} ms "
            f"(after {last['epoch']})",
            str(one["workers"]),
            f"{one['throughput']:.2f}",
            f"{one['peak_memory_mib'] * 2**20 / 1e9:.2f} GB",
            f"{one['checkpoint_seconds'] / SECONDS_BETWEEN_CHECKPOINTS:.1%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(
    measured: Sequence[dict[str, Any]], starts: dict[str, float], project: Path, load: float
) -> Path:
    """Write all numbers as JSON, with the machine that they were measured on, and as a table.

    What the file has of other runs and seeds stays if it is from a machine of the same kind.

    Args:
        measured: what `measure` returned of each run.
        starts: what `start_up` returned.
        project: the repository.
        load: of the machine before, its average over a minute; about 0 if it was idle.
    """
    path = project / "results" / "bench.json"
    machine = host("cpu")
    everything = [*_written(path, machine), *measured]
    searches = {(one["run"], one["seed"]): one for one in everything}
    content = {
        "host": machine,
        "load_before": load,
        "start_up_seconds": starts,
        "runs": [searches[key] for key in sorted(searches)],
    }
    write_atomically(path, f"{json.dumps(content, indent=2)}\n".encode())
    write_atomically(path.with_suffix(".md"), as_markdown(content).encode())
    return path


NOTES = """\
One thread a search. *Textbook*, *compact*: time of a whole search, between the measured moments on
a straight line. *Ratio*: the former divided by the latter; *if products alone*: what it would be if
the compact trainer did nothing but its matrix products and convolutions. *Throughput*: of searches
side by side, one alone is 1. *Memory*: the peak of a worker. *Checkpoints*: the share of the time
between two that writing one takes at the start.
"""


def as_markdown(content: dict[str, Any]) -> str:
    """What `write` writes as JSON, for readers."""
    machine = content["host"]
    starts = "".join(f"- `{name}`: {s:.2f} s\n" for name, s in content["start_up_seconds"].items())
    return (
        f"# Speed on {machine['processor']}, {machine['cores']} cores\n\n"
        f"{NOTES}\n{report(content['runs'])}\n\n{starts}"
    )


def _written(path: Path, machine: dict[str, Any]) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    content = json.loads(path.read_text("utf-8"))
    return list(content["runs"]) if content["host"] == machine else []
