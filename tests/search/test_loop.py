"""The training loop: which images in which order, and what is noted."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bregman_nas.data.degradation import Examples, Problem
from bregman_nas.data.files import ImageSet
from bregman_nas.search.core.searches import BATCHES_PER_STRETCH, LearningRate, Search, train
from bregman_nas.settings import Constant, Plateau

IMAGES = 101


class Recorder(Search[nn.Module]):
    """A search that learns nothing and remembers all."""

    def __init__(self, losses: tuple[float, ...] = (1.0,), images: int = IMAGES) -> None:
        self.losses, self.device = losses, torch.device("cpu")
        self.examples = Examples(torch.arange(images)[:, None], torch.arange(images)[:, None])
        self.problem = Problem(*[self.examples] * 3)
        self.epoch, self.batch, self.summed_loss = 0, 0, 0.0
        self.history: list[dict[str, Any]] = []
        self.epochs: dict[int, list[list[int]]] = {}
        self.rates: list[float] = []
        self.ended: list[float] = []

    def train_examples(self, epoch: int) -> Examples:
        self.epochs[epoch] = []
        return self.examples

    def train_batches(self, batches: Sequence[Tensor]) -> None:
        assert len(batches) <= BATCHES_PER_STRETCH
        self.rates.append(self.rate.value)
        epoch = max(self.epochs)
        inputs = self.problem.train.inputs
        self.epochs[epoch] += [inputs[batch][:, 0].tolist() for batch in batches]
        self.summed_loss += len(batches) * self.losses[min(epoch, len(self.losses) - 1)]
        self.batch += len(batches)

    def compact(self, learning_rate: float) -> None:
        self.ended.append(learning_rate)

    def observe(self, learning_rate: float) -> dict[str, Any]:
        return {"seen_after": len(self.epochs), "seen_with": learning_rate}

    def result(self) -> dict[str, Any]:
        raise NotImplementedError

    def _problem(self, images: ImageSet) -> Problem:
        raise NotImplementedError

    def go(self, seed: int = 0, start: int = 0, **how: Any) -> None:
        self.seed, self.epoch = seed, start or self.epoch
        self.rate = LearningRate(0.1, how.pop("schedule", Constant(kind="constant")))
        train(self, **{"epochs": 3, "batch_size": 2, **how})


@pytest.mark.parametrize("batch_size", [1, 10, 101, 500])
def test_each_image_is_used_once_in_an_epoch(batch_size: int) -> None:
    recorder = Recorder()
    recorder.go(batch_size=batch_size)
    assert len(recorder.epochs) == 3
    for batches in recorder.epochs.values():
        assert sorted(image for batch in batches for image in batch) == list(range(IMAGES))
        *full, last = map(len, batches)
        assert set(full) <= {batch_size}
        assert last == (IMAGES - 1) % batch_size + 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(epoch: int, **how: Any) -> tuple[int, ...]:
        recorder = Recorder()
        recorder.go(**how)
        return tuple(image for batch in recorder.epochs[epoch] for image in batch)

    epochs = [order(epoch) for epoch in range(3)]
    torch.manual_seed(3)
    assert order(2) == epochs[2]
    assert order(2, batch_size=7) == epochs[2], "the size of the batches moved the images"
    assert order(2, start=2) == epochs[2], "an epoch depends on those before"
    assert len({*epochs, *(order(epoch, seed=1) for epoch in range(3)), tuple(range(IMAGES))}) == 7


def test_an_epoch_can_be_continued_in_its_middle() -> None:
    whole, rest = Recorder(), Recorder()
    whole.go(epochs=2)
    rest.batch, rest.summed_loss = 30, 30.0
    rest.go(epochs=2)
    assert rest.epochs == {0: whole.epochs[0][30:], 1: whole.epochs[1]}
    assert [entry["train_loss"] for entry in rest.history] == [1.0, 1.0]
    rest.epochs.clear()
    rest.go(epochs=2)
    assert not rest.epochs, "a finished search is not continued"


def test_the_history_has_an_entry_for_each_epoch() -> None:
    recorder, losses = Recorder(losses=(8.0, 4.0, 3.0)), (8.0, 4.0, 3.0, 3.0, 3.0)
    schedule = Plateau(kind="plateau", factor=0.5, patience=0, threshold=0.4)
    told: list[int] = []

    def note() -> None:
        told.append(len(recorder.history))

    recorder.go(schedule=schedule, epochs=5, after_epoch=note)
    rates = [0.1, 0.1, 0.1, 0.05, 0.025]  # the third loss was not much better, nor those after
    assert told == [1, 2, 3, 4, 5]
    assert recorder.history == [
        {
            "epoch": number,
            "learning_rate": used,
            "train_loss": pytest.approx(loss),  # the mean over 51 batches
            "seen_after": number,
            "seen_with": used,
        }
        for number, used, loss in zip(range(1, 6), rates, losses, strict=True)
    ]
    assert recorder.ended == rates
    assert recorder.rates == [rate for rate in rates for _ in range(2)]  # 51 = 32 + 19
    assert (recorder.epoch, recorder.batch, recorder.summed_loss) == (5, 0, 0.0)


def test_a_checkpoint_is_possible_after_each_stretch() -> None:
    recorder, seen = Recorder(images=BATCHES_PER_STRETCH * 4), []

    def look() -> None:
        history = len(recorder.history)
        seen.append((recorder.epoch, recorder.batch, recorder.summed_loss, history))

    recorder.go(epochs=2, after_stretch=look)
    assert seen == [(0, 32, 32.0, 0), (1, 0, 0.0, 1), (1, 32, 32.0, 1), (2, 0, 0.0, 2)]
