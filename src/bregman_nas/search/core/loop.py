"""The training loop of one search, whatever the network: epochs, batches, and what is noted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from bregman_nas.data.degradation import Examples
from bregman_nas.randomness import generator
from bregman_nas.search.core.schedule import LearningRate

# Work between two looks at the clock: a checkpoint can be written after each such stretch.
BATCHES_PER_STRETCH = 32


class Searcher(Protocol):
    """One network being searched: how it is trained, and what can be seen of it."""

    def train_examples(self, epoch: int) -> Examples:
        """The images of this epoch."""

    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        """Make one step for each batch; return the sum of the batches' losses."""

    def end_epoch(self, learning_rate: float) -> None:
        """Between two epochs: the time for compaction. The learning rate will not rise."""

    def observe(self, learning_rate: float) -> dict[str, Any]:
        """What the history keeps of the network as it is now."""

    def state_dict(self) -> dict[str, Any]:
        """Everything from which training continues bit for bit."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""


@dataclass
class Position:
    """Where a search stands.

    Attributes:
        epoch: the current one, from 0.
        batch: the next batch of the epoch.
        summed_loss: of the epoch's batches so far.
        history: one entry for each finished epoch.
    """

    epoch: int = 0
    batch: int = 0
    summed_loss: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


def train(
    searcher: Searcher,
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
        searcher: what is trained.
        rate: the learning rate.
        position: where to start; changed in place.
        seed: decides the order of the images, with the number of the epoch.
        epochs: how many in all.
        batch_size: of all batches but the last of an epoch, which may be smaller.
        after_stretch: called after every few batches, in a state that can be saved.
        after_epoch: called with the new entry of the history.
    """
    while position.epoch < epochs:
        examples = searcher.train_examples(position.epoch)
        order = torch.randperm(len(examples), generator=generator(seed, "order", position.epoch))
        batches = list(order.to(examples.inputs.device).split(batch_size))
        while position.batch < len(batches):
            stretch = batches[position.batch : position.batch + BATCHES_PER_STRETCH]
            position.summed_loss += searcher.train_batches(
                examples.inputs, examples.targets, stretch, rate.value
            )
            position.batch += len(stretch)
            if position.batch < len(batches):
                after_stretch()
        used = rate.value
        searcher.end_epoch(used)
        entry = {
            "epoch": position.epoch + 1,
            "learning_rate": used,
            "train_loss": position.summed_loss / len(batches),
            **searcher.observe(used),
        }
        rate.end_epoch(position.summed_loss)
        position.history.append(entry)
        position.epoch, position.batch, position.summed_loss = position.epoch + 1, 0, 0.0
        after_epoch(entry)
        after_stretch()
