"""How fast the engines are.

A whole textbook search takes hours, so both trainers are timed at a few moments of a search. There
they make some steps in turn, A B A B ..., on the same images, so that the ratio of the medians
holds even if the machine's speed drifts. The early moments are reached by training; the last one is
the finished network of the study, if this machine has it. Between them the time of a step is
interpolated. Rows die early and fast, later slowly, so this overestimates the time.

In lockstep a step takes the same time in every epoch.
"""

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bregman_nas.atomic import write_atomically
from bregman_nas.data.files import load
from bregman_nas.report.render import render
from bregman_nas.search.core import densenet, mlp
from bregman_nas.search.core.lockstep import LockstepSearch
from bregman_nas.search.core.searches import searcher, train
from bregman_nas.search.job import Job, host, set_arithmetic
from bregman_nas.settings import Engine, Run

BATCHES = 12
MOMENTS = (0, 1, 3, 10, 30)
ENGINES: tuple[Engine, ...] = ("compact", "textbook")
LOCKSTEP_BATCHES = {"cpu": 4, "cuda": 100}


def measure(run: Run, project: Path, last_trained: int, seed: int) -> dict[str, Any]:
    """Time both trainers at some moments of one search, of those trained for up to `last_trained`.

    Returns:
        The run, the seed, and for each engine the `seconds` of a whole search.
    """
    torch.set_num_threads(1)
    images = load(run.experiment.dataset, run.source, project)
    compact, textbook = (searcher(run, images, seed, engine) for engine in ENGINES)
    epochs, size = run.experiment.epochs, run.batch_size
    last = max(moment for moment in MOMENTS if moment <= min(last_trained, epochs))
    batches = torch.arange(len(compact.problem.train)).split(size)
    steps: dict[int, list[float]] = {}

    def time_steps() -> list[float]:
        state = copy.deepcopy(compact.state_dict())  # measuring must not change the training
        textbook.problem = compact.problem
        times: list[list[float]] = [[], []]
        for batch in batches[: BATCHES + 1]:
            for search, taken in zip((compact, textbook), times, strict=True):
                start = time.perf_counter()
                search.train_batches([batch])
                taken.append(time.perf_counter() - start)
        compact.load_state_dict(state)
        return [float(np.median(taken[1:])) for taken in times]  # the first warms up

    def note() -> None:
        if compact.epoch in MOMENTS:
            steps[compact.epoch] = time_steps()

    note()
    train(compact, last, size, after_epoch=note)
    finished = Job(run, seed, project).network
    if finished.exists():
        compact.network.load_state_dict(torch.load(finished, weights_only=True))
        space: Any = mlp if run.experiment.network == "mlp" else densenet
        compact.trainer = space.trainer_of(run, compact.network, "compact")
        compact.compact(compact.rate.value)
        steps[epochs] = time_steps()
    whole = [len(batches) * seconds for seconds in whole_search(steps, epochs)]
    return {"run": run.name, "seed": seed, "seconds": dict(zip(ENGINES, whole, strict=True))}


def whole_search(steps: Mapping[int, Sequence[float]], epochs: int) -> list[float]:
    """The seconds of a step of each engine summed over all epochs; constant after the last."""
    middles, engines = np.arange(epochs) + 0.5, zip(*steps.values(), strict=True)
    return [float(np.interp(middles, list(steps), taken).sum()) for taken in engines]


def measure_runs(runs: Sequence[Run], project: Path, last_trained: int, seed: int) -> Path:
    """Measure runs, and write results/bench.json and bench.md after each; returns the latter.

    Results of other runs and seeds are kept if they come from the same kind of machine.
    """
    path, machine = project / "results" / "bench.json", host("cpu")
    content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    kept = content["runs"] if content.get("host") == machine else []
    searches = {(one["run"], one["seed"]): one for one in kept}
    for run in runs:
        searches[run.name, seed] = measure(run, project, last_trained, seed)
        content = {"host": machine, "runs": [searches[key] for key in sorted(searches)]}
        write_atomically(path, f"{json.dumps(content, indent=2)}\n".encode())
        write_atomically(path.with_suffix(".md"), render("bench.md.j2", **content).encode())
        print(searches[run.name, seed], flush=True)
    return path.with_suffix(".md")


def measure_lockstep(run: Run, project: Path, device: str, seeds: int) -> tuple[float, float]:
    """The seconds of a step of so many seeds in lockstep, and of one by the textbook loop."""
    set_arithmetic(tf32=False)
    images = load(run.experiment.dataset, run.source, project)
    searches = (searcher(run, images, seed, "textbook", device) for seed in range(seeds))
    together = LockstepSearch(searches)
    batches = together.batches(0, run.batch_size)[: LOCKSTEP_BATCHES[device]]
    together.begin_epoch(0)
    alone = searcher(run, images, 0, "textbook", device)
    alone.begin_epoch(0)
    order = [batch[0] for batch in batches]

    def seconds(train: Callable[[], object]) -> float:
        for _ in range(2):  # on a GPU, steps are first made directly, then recorded
            train()
        start = time.perf_counter()
        train()
        return (time.perf_counter() - start) / len(batches)

    step = seconds(lambda: together.train_batches(batches))
    return step, seconds(lambda: alone.train_batches(order))


def print_lockstep(runs: Sequence[Run], project: Path, seeds: int = 10) -> None:
    """Print a table of the speed of seeds in lockstep, on the GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"| run, {seeds} seeds on {host(device)['device']} | step | ratio to one at a time |")
    print("|---|---|---|")
    for run in runs:
        step, alone = measure_lockstep(run, project, device, seeds)
        print(f"| {run.name} | {1e3 * step:.1f} ms | {seeds * alone / step:.1f} |", flush=True)
