"""How much faster the compact trainers are than the textbook loop, in the same run.

A whole textbook search takes hours, so that none is run whole. At a few moments of a search both
trainers make some steps in turn, A B A B ..., on the same images: the ratio of the medians holds
although the machine's speed drifts. The early moments are reached by training; the last one is the
finished network of the study, where this machine has it. The time of a whole search is the sum over
its epochs of the time of a step, on straight lines between the moments, times the number of steps.
Rows die early and fast, later slowly, so that such a line lies above the truth.
"""

import copy
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bregman_nas.atomic import write_atomically
from bregman_nas.data.files import load
from bregman_nas.randomness import generator
from bregman_nas.search.core import densenet, mlp
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.search.core.searches import searcher
from bregman_nas.search.seed import Job, host
from bregman_nas.settings import Engine, Run

BATCHES = 12
MOMENTS = (0, 1, 3, 10, 30)
ENGINES: tuple[Engine, ...] = ("compact", "textbook")


def measure(run: Run, project: Path, last_trained: int, seed: int) -> dict[str, Any]:
    """Measure both trainers at some moments of one search of a run.

    Args:
        run: what is searched.
        project: the repository.
        last_trained: moments after this epoch are not trained up to.
        seed: of the search.

    Returns:
        `seconds` of a whole search and their `ratio`; `stretches`, for each moment the epochs
        trained before, the median seconds of a step and the active neurons or kernels.
    """
    torch.set_num_threads(1)
    images = load(run.experiment.dataset, run.source, project)
    compact, textbook = (searcher(run, images, seed, engine) for engine in ENGINES)
    rate = LearningRate(run.optimizer.learning_rate, run.protocol.schedule)
    epochs, stretches = run.experiment.epochs, []
    moments = [moment for moment in MOMENTS if moment <= min(last_trained, epochs)]
    for epoch in range(moments[-1] + 1):
        examples, batches = _epoch(run, compact, seed, epoch)
        if epoch in moments:
            stretches.append(_stretch(epoch, compact, textbook, examples, batches, rate.value))
        if epoch < moments[-1]:
            loss = compact.train_batches(examples.inputs, examples.targets, batches, rate.value)
            compact.end_epoch(rate.value)
            rate.end_epoch(loss)
    finished = Job(run, seed, project).network
    if finished.exists():
        compact.network.load_state_dict(torch.load(finished, weights_only=True))
        trainers = mlp if run.experiment.network == "mlp" else densenet
        compact.trainer = trainers.compact_trainer(run, compact.network)
        compact.end_epoch(rate.value)
        stretches.append(_stretch(epochs, compact, textbook, examples, batches, rate.value))
    seconds = {name: len(batches) * whole(stretches, name, epochs) for name in ENGINES}
    return {
        "run": run.name,
        "seed": seed,
        "epochs": epochs,
        "steps_per_epoch": len(batches),
        "seconds": seconds,
        "ratio": seconds["textbook"] / seconds["compact"],
        "stretches": stretches,
    }


def _epoch(run: Run, search: Any, seed: int, epoch: int) -> tuple[Any, list[Tensor]]:
    """The images of an epoch, and the numbers of those of each batch."""
    examples = search.train_examples(epoch)
    order = torch.randperm(len(examples), generator=generator(seed, "order", epoch))
    return examples, list(order.split(run.batch_size))


def _stretch(
    epoch: int, compact: Any, textbook: Any, examples: Any, batches: list[Tensor], rate: float
) -> dict[str, float | int]:
    state = copy.deepcopy(compact.state_dict())  # what is measured must not change what is trained
    times: dict[str, list[float]] = {name: [] for name in ENGINES}
    for batch in batches[: BATCHES + 1]:
        for name, trainer in zip(ENGINES, (compact, textbook), strict=True):
            start = time.perf_counter()
            trainer.train_batches(examples.inputs, examples.targets, [batch], rate)
            times[name].append(time.perf_counter() - start)
    compact.load_state_dict(state)
    entry = compact.observe(rate)
    active = sum(entry.get("active_rows") or entry["active_kernels"])
    # The first step of each warms up.
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    return {"epoch": epoch, **medians, "active": active}


def whole(stretches: Sequence[dict[str, Any]], name: str, epochs: int) -> float:
    """The sum over all epochs of the seconds of a step; after the last moment they stay."""
    at, steps = ([stretch[key] for stretch in stretches] for key in ("epoch", name))
    return float(np.interp(np.arange(epochs) + 0.5, at, steps).sum())


def measure_runs(runs: Sequence[Run], project: Path, last_trained: int, seed: int) -> Path:
    """Measure runs, and write results/bench.json and bench.md after each; returns the latter.

    What the file has of other runs and seeds stays if it is from a machine of the same kind.
    """
    path, machine = project / "results" / "bench.json", host("cpu")
    content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    searches = {}
    if content.get("host") == machine:
        searches = {(one["run"], one["seed"]): one for one in content["runs"]}
    for run in runs:
        searches[run.name, seed] = measure(run, project, last_trained, seed)
        content = {"host": machine, "runs": [searches[key] for key in sorted(searches)]}
        write_atomically(path, f"{json.dumps(content, indent=2)}\n".encode())
        write_atomically(path.with_suffix(".md"), as_markdown(content).encode())
        print(table([searches[run.name, seed]])[-1], flush=True)
    return path.with_suffix(".md")


def as_markdown(content: dict[str, Any]) -> str:
    """The content of bench.json for readers."""
    machine = content["host"]
    lines = [
        f"# Speed on {machine['processor']}, {machine['cores']} cores",
        "",
        "One thread a search. *Textbook*, *compact*: time of a whole search, between the measured "
        "moments",
        "on a straight line; *ratio*: the former divided by the latter. A step: textbook, compact.",
        "",
        *table(content["runs"]),
        "",
    ]
    return "\n".join(lines)


def table(measured: Sequence[dict[str, Any]]) -> list[str]:
    """A Markdown table, one line a search."""
    names = ("run", "seed", "textbook", "compact", "ratio", "first step", "last step measured")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for one in measured:
        minutes = {name: one["seconds"][name] / 60 for name in ENGINES}
        first, last = (
            f"{1e3 * stretch['textbook']:.0f}, {1e3 * stretch['compact']:.1f} ms"
            for stretch in (one["stretches"][0], one["stretches"][-1])
        )
        lines.append(
            f"| {one['run']} | {one['seed']} | {minutes['textbook']:.0f} min "
            f"| {minutes['compact']:.1f} min | {one['ratio']:.1f} | {first} "
            f"| {last} (after {one['stretches'][-1]['epoch']} epochs) |"
        )
    return lines
