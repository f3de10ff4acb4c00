"""The first steps of many searches with the DenseNet: which networks grow, and which die at once.

A network starts with few kernels. If its last ReLU passes nothing, no kernel has a gradient, and
the network gives the same answer for every image for good. Here many seeds make their first steps,
under a protocol and with one of its choices changed, and each is examined before and after.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from bregman_nas.atomic import write_atomically
from bregman_nas.data.degradation import Examples
from bregman_nas.data.files import load
from bregman_nas.networks import DenseNet
from bregman_nas.randomness import generator
from bregman_nas.search.core.densenet import convolutions, network, problem, trainer_of
from bregman_nas.search.records import active
from bregman_nas.settings import Run

#: Of the training images, on which a network is examined.
IMAGES = 200
GROWS, DEAD, UNDECIDED = "grows", "dead", "undecided"

Row = dict[str, float | int | str]


def write_first_steps(starts: Sequence[Run], steps: int, project: Path) -> Path:
    """Make the first steps of all seeds of some searches; returns the path of the table.

    The table, `results/first_steps.csv`, has one row for each search and seed: the search, its
    choices, the seed, and what `first_steps` returns.
    """
    rows: list[Row] = []
    for run in starts:
        train = problem(run, load(run.experiment.dataset, run.source, project)).train
        choices: Row = {"start": run.name, "density": run.experiment.density}
        for name in ("initial_scale", "logits", "first_moment"):
            choices[name] = getattr(run.protocol, name)
        for seed in run.seeds:
            rows.append({**choices, "seed": seed, **first_steps(run, seed, steps, train)})
            print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    path = project / "results" / "first_steps.csv"
    text = pd.DataFrame(rows).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_atomically(path, text.encode())
    return path


def first_steps(run: Run, seed: int, steps: int, train: Examples) -> Row:
    """Make the first steps of a search, of its first epoch at most, and examine its network.

    Returns:
        `path`, whether a path of active kernels leads from the image to the last convolution;
        `last_bias`, of the last convolution; `firing`, `varying` and `kernels`, see `look`, at the
        start (`..._0`) and after the last step; `steps`, their number; and `outcome`.
    """
    net = network(run, seed)
    trainer = trainer_of(run, net, "compact")
    images = train.inputs[:IMAGES]
    assert net.last.bias is not None
    path, last_bias = int(has_path(net)), float(net.last.bias.detach())
    before = look(net, net.linear, images)
    # As in `loop.train`.
    order = torch.randperm(len(train), generator=generator(seed, "order", 0))
    batches = list(order.split(run.batch_size)[:steps])
    trainer.train_batches(train, batches, run.optimizer.learning_rate)
    net.load_state_dict(trainer.full_parameters())
    after = look(net, net.linear, images)
    return {
        "path": path,
        "last_bias": last_bias,
        **{f"{name}_0": value for name, value in before.items()},
        "steps": len(batches),
        **after,
        "outcome": outcome(before, after),
    }


def outcome(before: dict[str, float], after: dict[str, float]) -> str:
    """Classify a network by what `look` returned at the start and after the last step.

    It is dead if the last ReLU passes nothing. Otherwise it grows if it has more active kernels
    than at the start, and is undecided if not.
    """
    if after["firing"] == 0:
        return DEAD
    return GROWS if after["kernels"] > before["kernels"] else UNDECIDED


@torch.no_grad()
def look(net: nn.Module, linear: nn.Linear, images: Tensor) -> dict[str, float]:
    """Measure what decides whether a DenseNet can learn, on images [n, 1, side, side].

    `linear` is its last layer, which follows the last ReLU.

    Returns:
        `firing`: the share of the outputs of the last convolution, over images and pixels, that its
        ReLU passes. If it is 0, no kernel has a gradient.
        `varying`: the share of the pixels at which that output differs between images.
        `kernels`: the number of active kernels, of all convolutions.
    """
    seen: list[Tensor] = []
    with linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        net(images)
    weights = [module.weight for module in net.modules() if isinstance(module, nn.Conv2d)]
    return {
        "firing": float((seen[0] > 0).double().mean()),
        "varying": float((seen[0] != seen[0][0]).any(0).double().mean()),
        "kernels": sum(int(active(weight).sum()) for weight in weights),
    }


def has_path(net: DenseNet) -> bool:
    """Whether active kernels lead from the image to the output of the last convolution."""
    first, *layers, last = (active(conv.weight) for conv in convolutions(net))
    reached = first.any(1)
    for layer in layers:
        reached = torch.cat([reached, (layer & reached).any(1)])
    return bool((last & reached).any())
