"""How fast seeds in lockstep are: against one at a time, and against the device's memory.

A step takes the same time at whatever epoch: the networks are computed whole, whatever is on. So a
whole run is taken from one epoch, on a GPU, or from a few steps, on a CPU.

No step can be faster than its memory traffic: of each network the weights, their gradients, v and
the two moments of Adam, each read once and written once, at the speed at which the device copies.
(Activations come on top; what a cache keeps, as of a small network, does not reach the memory.)
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bregman_nas.atomic import write_atomically
from bregman_nas.bench import peak_memory_mib
from bregman_nas.data.files import load
from bregman_nas.search.core.lockstep import LockstepSearch
from bregman_nas.search.core.searches import searcher
from bregman_nas.search.seed import host, set_arithmetic
from bregman_nas.settings import Run

SEEDS = 10
CPU_STEPS = 4
COPIED_BYTES = 2**28


def measure(run: Run, project: Path, device: str, seeds: int = SEEDS) -> dict[str, Any]:
    """Measure a run's seeds in lockstep, and one of them alone by the textbook loop.

    Args:
        run: what is searched.
        project: the repository.
        device: where.
        seeds: how many side by side.

    Returns:
        Among others `seconds` for all epochs of all seeds, with what comes before and after them;
        `ratio`, how many times as long the
        steps of one seed after the other take; `floor_share`, the time of the memory traffic over
        that of a step; `peak_memory_mib`, on a CPU that of this process so far.
    """
    set_arithmetic(tf32=False)
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    begin = time.perf_counter()
    images = load(run.experiment.dataset, run.source, project)
    search = LockstepSearch(run, images, range(seeds), device)
    made = time.perf_counter()
    rate = run.optimizer.learning_rate
    batches = search.batches(0, run.batch_size)
    measured = batches if on_gpu else batches[:CPU_STEPS]
    for epoch in range(2):  # a GPU's steps are made as they are, then recorded
        search.begin_epoch(epoch)
        search.train_batches(measured, [rate] * seeds)
    start = time.perf_counter()
    search.begin_epoch(2)
    begun = time.perf_counter()
    search.train_batches(measured, [rate] * seeds)
    trained = time.perf_counter()
    for one in search.searches:
        one.observe(rate)
    observed = time.perf_counter()
    for one in search.searches:
        one.result()
    judged = time.perf_counter()
    step = (trained - begun) / len(measured)
    between = begun - start + observed - trained
    epochs = run.experiment.epochs
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else peak_memory_mib()
    traffic = traffic_bytes(search.searches[0].network, seeds)
    bandwidth = copy_bandwidth(device)

    alone = searcher(run, images, 0, "textbook", device)
    examples = alone.train_examples(0)
    order = [batch[0] for batch in measured]
    alone.train_batches(examples.inputs, examples.targets, order[:2], rate)
    start = time.perf_counter()
    alone.train_batches(examples.inputs, examples.targets, order, rate)
    step_alone = (time.perf_counter() - start) / len(measured)
    return {
        "run": run.name,
        "seeds": seeds,
        "epochs": epochs,
        "steps_per_epoch": len(batches),
        "steps_measured": len(measured),
        "seconds_per_step": step,
        "seconds_per_step_alone": step_alone,
        "seconds": made - begin + epochs * (len(batches) * step + between) + judged - observed,
        "ratio": seeds * step_alone / step,
        "traffic_bytes_per_step": traffic,
        "copy_bytes_per_second": bandwidth,
        "floor_share": traffic / bandwidth / step,
        "peak_memory_mib": peak,
    }


def traffic_bytes(network: torch.nn.Module, seeds: int) -> int:
    """The bytes that a step of so many networks must at least read and write."""
    size = sum(param.numel() * param.element_size() for param in network.parameters())
    tensors, ways = 5, 2
    return tensors * ways * size * seeds


def copy_bandwidth(device: str, repetitions: int = 10) -> float:
    """Bytes read and written in a second by a copy from memory to memory on the device."""
    source = torch.ones(COPIED_BYTES // 4, device=device)
    target = torch.zeros_like(source)
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        target.copy_(source)
        target[0].item()  # waits for the copy
        seconds.append(time.perf_counter() - start)
    return 2 * COPIED_BYTES / min(seconds)


def report(measured: Sequence[dict[str, Any]]) -> str:
    """A Markdown table, one line a run."""
    lines = [
        "| run | seeds x epochs | time | ratio to one at a time | share of memory floor | memory |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['run']} | {one['seeds']} x {one['epochs']} | {one['seconds']:.0f} s "
        f"| {one['ratio']:.1f} | {one['floor_share']:.0%} | {one['peak_memory_mib']:.0f} MiB |"
        for one in measured
    ]
    return "\n".join(lines)


def measure_all(runs: Sequence[Run], project: Path) -> None:
    """Measure runs on the GPU, or where there is none and it is said, on the CPU; print, write."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        threads = torch.get_num_threads()
        print(f"There is no CUDA device: lockstep is measured on the CPU, {threads} threads.")
    measured = []
    for run in runs:
        measured.append(measure(run, project, device))
        print(report(measured[-1:]).splitlines()[-1], flush=True)
    print(f"\n{report(measured)}")
    path = project / "build" / "bench-lockstep.json"
    content = {"host": host(device), "load": os.getloadavg()[0], "runs": measured}
    write_atomically(path, f"{json.dumps(content, indent=2)}\n".encode())
    print(f"\nAll numbers: {path}\n")
