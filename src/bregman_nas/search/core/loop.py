"""The training loop, whatever the network: epochs, batches, and what is noted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from bregman_nas.search.core.lockstep import LockstepSearch
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

    def end_epoch(self, search: Search[nn.Module], rate: LearningRate) -> None:
        """Note an epoch whose batches have all been trained on."""
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


def train(
    search: Search[nn.Module] | LockstepSearch,
    rates: Sequence[LearningRate],
    positions: Sequence[Position],
    *,
    epochs: int,
    batch_size: int,
    after_stretch: Callable[[], None] = lambda: None,
    after_epoch: Callable[[], None] = lambda: None,
) -> None:
    """Train from the positions to the end; they and the rates are kept up to date.

    Args:
        search: of one seed or several.
        rates: the learning rate of each seed.
        positions: where each starts, all in the same batch.
        epochs: how many in all.
        batch_size: of all batches but the last of an epoch, which may be smaller.
        after_stretch: called after every few batches, in a state that can be saved.
        after_epoch: called once the history has its new entry.
    """
    now = positions[0]
    while now.epoch < epochs:
        search.begin_epoch(now.epoch)
        batches = search.batches(now.epoch, batch_size)
        while now.batch < len(batches):
            stretch = batches[now.batch : now.batch + BATCHES_PER_STRETCH]
            losses = search.train_batches(stretch, [rate.value for rate in rates])
            for position, loss in zip(positions, losses, strict=True):
                position.summed_loss += loss
                position.batch += len(stretch)
            if now.batch < len(batches):
                after_stretch()
        for one, rate, position in zip(search.searches, rates, positions, strict=True):
            position.end_epoch(one, rate)
        after_epoch()
        after_stretch()
