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
from bregman_nas.bregman.groups import Rule

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample" / "fashion-mnist"
BATCH, DENSITY = 32, 0.1


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
    rules: list[tuple[str, Rule, Callable[..., torch.optim.Optimizer]]],
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
        "| | groups on: start | switched on | end | of | accuracy | parameters | small | "
        "its accuracy | differs (double) | differs (single) | CPU seconds |"
    )
    print("|---" * 12 + "|")
    for name, rule, optimizer_for in [("dense Adam", None, None), *rules]:
        torch.manual_seed(0)
        network, began = make(), time.process_time()
        groups, smaller = [""] * 4, [""] * 4
        if rule is None or optimizer_for is None:
            right = train(network, torch.optim.Adam(network.parameters(), lr=lr), epochs)
        else:
            start_sparsely_(network, rule, density=DENSITY)
            start = switches(network, rule)
            optimizer = optimizer_for(parameter_groups(network, rule))
            warn_of_stuck_groups(optimizer, network, rule)
            right = train(network, optimizer, epochs)
            end = switches(network, rule)
            groups = [str(int(on.sum())) for on in (start, end & ~start, end)] + [str(len(end))]
        seconds = time.process_time() - began
        count = sum(p.numel() for p in network.parameters())
        if rule is not None:
            small = cut_out(network)
            less = sum(p.numel() for p in small.parameters())
            differences = [
                difference(network, cut_out, test.to(t)) for t in (torch.double, torch.float)
            ]
            smaller = [
                f"{less:,}",
                f"{accuracy(small, test, answers):.1%}",
                *map("{:.0e}".format, differences),
            ]
        cells = [name, *groups, f"{right:.1%}", f"{count:,}", *smaller, f"{seconds:.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def switches(network: nn.Module, rule: Rule) -> Tensor:
    """Of all groups one after the other, whether they are on."""
    return torch.cat([on.flatten() for on in architecture(network, rule).values()])


@torch.no_grad()
def difference(
    network: nn.Module, cut_out: Callable[[nn.Module], nn.Module], inputs: Tensor
) -> float:
    """The greatest difference of any output, divided by the greatest output if that is over 1."""
    full = copy.deepcopy(network).to(inputs.dtype)
    outputs = full(inputs)
    gap = (cut_out(full)(inputs) - outputs).abs().max()
    return float(gap / outputs.abs().max().clamp_min(1))
