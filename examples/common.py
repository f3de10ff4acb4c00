"""What the examples share: the committed sample of Fashion-MNIST, training, and a table."""

import copy
import gzip
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bregman_nas import architecture, parameter_groups, start_sparsely_, warn_of_stuck_groups
from bregman_nas.bregman.base import BregmanOptimizer
from bregman_nas.bregman.groups import Rule

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample" / "fashion-mnist"
BATCH, DENSITY = 32, 0.1

#: Makes an optimizer from parameters or parameter groups.
Optimizer = Callable[..., torch.optim.Optimizer]


def images(part: str) -> tuple[Tensor, Tensor]:
    """Images [n, 1, 28, 28] between -1 and 1, and their classes; part is `train` or `t10k`."""
    pixels, classes = (
        np.frombuffer(gzip.decompress((SAMPLE / f"{part}-{kind}-ubyte.gz").read_bytes()), np.uint8)
        for kind in ("images-idx3", "labels-idx1")
    )
    maps = torch.tensor(pixels[16:]).reshape(-1, 1, 28, 28) / 127.5 - 1
    return maps, torch.tensor(classes[8:]).long()


def train(network: nn.Module, optimizer: torch.optim.Optimizer, epochs: int) -> float:
    """Train on the sample; returns the accuracy on its test images."""
    inputs, classes = images("train")
    test, answers = images("t10k")
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(network(inputs[batch]), classes[batch]).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        return accuracy(network, test, answers)


@torch.no_grad()
def accuracy(network: nn.Module, inputs: Tensor, classes: Tensor) -> float:
    """The share of images whose class has the greatest output."""
    return float((network(inputs).argmax(1) == classes).double().mean())


def compare(
    make: Callable[[], nn.Module],
    rules: list[tuple[str, Rule, Callable[..., BregmanOptimizer]]],
    cut_out: Callable[[nn.Module], nn.Module],
    *,
    epochs: int,
    lr: float,
) -> None:
    """Print how dense Adam and sparse trainings of a network end, and what is cut out of it.

    Args:
        make: the network.
        rules: for each training its name, its rule and its optimizer, from parameter groups.
        cut_out: gives the small network that computes the same.
        epochs: of each training.
        lr: of dense Adam.
    """
    torch.set_num_threads(1)  # tensors are small: another thread costs more than it brings
    test, answers = images("t10k")
    print(
        "| | groups on: start | switched on | end | of | accuracy | parameters | small | ", end=""
    )
    print("its accuracy | differs (double) | differs (single) | seconds |")
    print("|---" * 12 + "|")

    torch.manual_seed(0)
    dense, began = make(), time.perf_counter()
    right = train(dense, torch.optim.Adam(dense.parameters(), lr=lr), epochs)
    count = sum(p.numel() for p in dense.parameters())
    seconds = time.perf_counter() - began
    print(f"| dense Adam | | | | | {right:.1%} | {count:,} | | | | | {seconds:.0f} |", flush=True)

    for name, rule, optimizer_for in rules:
        torch.manual_seed(0)
        network, began = make(), time.perf_counter()
        start_sparsely_(network, rule, density=DENSITY)
        start = architecture(network, rule)
        optimizer = optimizer_for(parameter_groups(network, rule))
        warn_of_stuck_groups(optimizer, network, rule)
        right = train(network, optimizer, epochs)
        seconds = time.perf_counter() - began

        end = architecture(network, rule)
        new = sum(int((end[key] & ~start[key]).sum()) for key in end)
        begun, on = (sum(int(part.sum()) for part in found.values()) for found in (start, end))
        total = sum(part.numel() for part in end.values())
        differences = []
        for dtype in (torch.float64, torch.float32):
            both = [copy.deepcopy(network).to(dtype)]
            both.append(small := cut_out(both[0]))
            with torch.no_grad():
                outputs = [net(test.to(dtype)) for net in both]
            differences.append(f"{float((outputs[0] - outputs[1]).abs().max()):.0e}")
        less = sum(p.numel() for p in small.parameters())
        print(
            f"| {name} | {begun} | {new} | {on} | {total} | {right:.1%} | {count:,} | {less:,} | "
            f"{accuracy(small, test, answers):.1%} | {' | '.join(differences)} | {seconds:.0f} |",
            flush=True,
        )
