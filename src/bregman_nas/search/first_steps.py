"""The first steps of searches with the DenseNet, one by one: does a network grow, or die before?

A search begins with few kernels, and its history, which has epochs, does not show what becomes of
them in the first few hundred steps. Here the same steps are made again, and the network is looked
at after each. They are also made with the other choice of row 21 (ReLU on the logits, or none), all
else the same.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from bregman_nas.atomic import write_atomically
from bregman_nas.data.files import load
from bregman_nas.errors import UserError
from bregman_nas.networks.densenet import DenseNet
from bregman_nas.randomness import generator
from bregman_nas.search.core.compact_densenet import CompactDenseNet
from bregman_nas.search.core.densenet import DenseNetSearch
from bregman_nas.search.records import run_folder
from bregman_nas.settings import Run

#: Of the training images, on which the network is looked at.
IMAGES = 32
COLUMNS = ("seed", "relu_logits", "step", "firing", "varying", "active", "furthest")

Row = dict[str, float | int]


def write_first_steps(run: Run, project: Path, steps: int) -> Path:
    """Make the first steps of all seeds of a run; returns the path of `first_steps.csv`.

    Of each seed the steps with the protocol's own logits come first, then those with the others.

    Args:
        run: with the DenseNet.
        project: the repository; the file is put into the run's folder.
        steps: how many, of the first epoch at most.

    Raises:
        UserError: if the run is not with the DenseNet, or the images cannot be had.
    """
    if run.experiment.network != "densenet":
        raise UserError(f"first-steps is for runs with the DenseNet, which {run.name} is not")
    images = load(run.experiment.dataset, run.source, project)
    rows: list[Row] = []
    for seed in run.seeds:
        for logits in sorted(("relu", "linear"), key=lambda choice: choice != run.protocol.logits):
            protocol = run.protocol.model_copy(update={"logits": logits})
            search = DenseNetSearch(run.model_copy(update={"protocol": protocol}), images, seed)
            of_seed = {"seed": seed, "relu_logits": int(logits == "relu")}
            rows += [{**of_seed, **row} for row in first_steps(search, run, seed, steps)]
            last = rows[-1]
            print(
                f"{run.name} seed {seed}, {logits} logits: after {last['step']} steps "
                f"{last['active']} active kernels, last convolution "
                f"{'fires' if last['firing'] else 'does not fire'}",
                flush=True,
            )
    path = run_folder(project, run.name) / "first_steps.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_atomically(path, text.encode())
    return path


def first_steps(search: DenseNetSearch, run: Run, seed: int, steps: int) -> Iterator[Row]:
    """Train, and look at the network before the first step and after each.

    Args:
        search: at its start, by the engine `compact`.
        run: settings of the optimizer and the batches.
        seed: decides the order of the images, as in `loop.train`.
        steps: how many, of the first epoch at most.

    Yields:
        `step`, the number of steps made, and what `look` sees.
    """
    examples = search.train_examples(0)
    order = torch.randperm(len(examples), generator=generator(seed, "order", 0))
    images = examples.inputs[:IMAGES]
    yield {"step": 0, **look(search, images)}
    for step, batch in enumerate(order.split(run.batch_size)[:steps], start=1):
        search.train_batches(
            examples.inputs, examples.targets, [batch], run.optimizer.learning_rate
        )
        yield {"step": step, **look(search, images)}


@torch.no_grad()
def look(search: DenseNetSearch, images: Tensor) -> Row:
    """What decides whether a network can learn.

    Args:
        search: by the engine `compact`.
        images: [n, 1, side, side].

    Returns:
        `firing`: the share of the outputs of the last convolution, over images and pixels, that its
        ReLU lets pass. Where none passes, no kernel has a gradient.
        `varying`: the share of the pixels at which that output differs from image to image.
        `active`: the number of active kernels, of all convolutions.
        `furthest`: of the kernels that are not active, the largest norm of v, as a share of the
        threshold mu sqrt(9) above which a kernel is on; 0 if all are active.
    """
    trainer = search.trainer
    assert isinstance(trainer, CompactDenseNet)
    output = _into_the_linear_layer(search.full_network(), images)
    regularizer = trainer.kernel_regularizer
    shares = torch.cat(
        [
            (regularizer.norms(kernels.v) / regularizer.threshold(kernels.v.shape)).flatten()
            for kernels in (trainer.first, *trainer.kernels)
        ]
    )
    off = shares[shares <= 1]
    return {
        "firing": float((output > 0).double().mean()),
        "varying": float((output != output[0]).any(0).double().mean()),
        "active": int((shares > 1).sum()),
        "furthest": float(off.max()) if len(off) else 0.0,
    }


def _into_the_linear_layer(net: DenseNet, images: Tensor) -> Tensor:
    """What the last convolution puts out, after ReLU, [n, pixels]."""
    seen: list[Tensor] = []
    handle = net.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with handle:
        net(images)
    return seen[0]
