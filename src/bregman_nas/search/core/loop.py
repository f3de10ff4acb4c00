"""The training loop of one search, whatever the network: epochs, batches, and what is noted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from bregman_nas.randomness import generator
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.search.core.searches import Search

# Work between two looks at the clock: a checkpoint can be written after each such stretch.
BATCHES_PER_STRETCH = 32


@dataclass
class Position:
    """Where a search stands: the epoch, from 0, its next batch, and the loss of those before."""

    epoch: int = 0
    batch: int = 0
    summed_loss: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def end_epoch(self, search: Search[nn.Module], rate: LearningRate) -> dict[str, Any]:
        """Note an epoch whose batches have all been trained on; return the history's new entry."""
        used = rate.value
        search.end_epoch(used)
        entry = {
            "epoch": self.epoch + 1,
            "learning_rate": used,
            "train_loss": self.summed_loss / self.batch,
            **search.observe(used),
        }
        rate.end_epoch(self.summed_loss)
        self.history.append(entry)
        self.epoch, self.batch, self.summed_loss = self.epoch + 1, 0, 0.0
        return entry


def train(
    search: Search[nn.Module],
    rate: LearningRate,
    position: Position,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    after_stretch: Callable[[], None] = lambda: None,
    after_epoch: Callable[[dict[str, Any]], None] = lambda _: None,
) -> None:
    """Train from `position` to the end; `position` and `rate` are kept up to date.

    Args:
        search: what is trained.
        rate: the learning rate.
        position: where to start.
        seed: decides the order of the images, with the number of the epoch.
        epochs: how many in all.
        batch_size: of all batches but the last of an epoch, which may be smaller.
        after_stretch: called after every few batches, in a state that can be saved.
        after_epoch: called with the new entry of the history.
    """
    while position.epoch < epochs:
        examples = search.train_examples(position.epoch)
        order = torch.randperm(len(examples), generator=generator(seed, "order", position.epoch))
        batches = list(order.to(examples.inputs.device).split(batch_size))
        while position.batch < len(batches):
            stretch = batches[position.batch : position.batch + BATCHES_PER_STRETCH]
            position.summed_loss += search.train_batches(
                examples.inputs, examples.targets, stretch, rate.value
            )
            position.batch += len(stretch)
            if position.batch < len(batches):
                after_stretch()
        after_epoch(position.end_epoch(search, rate))
        after_stretch()
