"""The training loop: which images in which order, and what is noted."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bregman_nas.data.degradation import Examples, Problem
from bregman_nas.data.files import ImageSet
from bregman_nas.search.core.loop import BATCHES_PER_STRETCH, Position, train
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.search.core.searches import Search
from bregman_nas.settings import Constant, Plateau

CONSTANT = Constant(kind="constant")
IMAGES = 101


class Recorder(Search[nn.Module]):
    """A search that learns nothing and remembers all."""

    def __init__(self, losses: tuple[float, ...] = (1.0,), images: int = IMAGES) -> None:
        self.losses = losses
        self.examples = Examples(torch.arange(images)[:, None], torch.arange(images)[:, None])
        self.epochs: list[list[list[int]]] = []
        self.rates: list[float] = []
        self.ended: list[float] = []

    def train_examples(self, epoch: int) -> Examples:
        if epoch == len(self.epochs):
            self.epochs.append([])
        return self.examples

    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        assert inputs is self.examples.inputs
        assert targets is self.examples.targets
        assert len(batches) <= BATCHES_PER_STRETCH
        self.rates.append(learning_rate)
        self.epochs[-1] += [inputs[batch][:, 0].tolist() for batch in batches]
        return len(batches) * self.losses[min(len(self.epochs), len(self.losses)) - 1]

    def end_epoch(self, learning_rate: float) -> None:
        self.ended.append(learning_rate)

    def observe(self, learning_rate: float) -> dict[str, Any]:
        return {"seen_after": len(self.epochs), "seen_with": learning_rate}

    def result(self) -> dict[str, Any]:
        raise NotImplementedError

    def _problem(self, images: ImageSet) -> Problem:
        raise NotImplementedError


def run(recorder: Recorder, position: Position | None = None, **how: Any) -> Position:
    position = position or Position()
    settings: dict[str, Any] = {"seed": 0, "epochs": 3, "batch_size": 2, **how}
    rate = settings.pop("rate", None) or LearningRate(0.1, CONSTANT)
    train(recorder, rate, position, **settings)
    return position


@pytest.mark.parametrize("batch_size", [1, 2, 10, 101, 500])
def test_each_image_is_used_once_in_an_epoch(batch_size: int) -> None:
    recorder = Recorder()
    run(recorder, batch_size=batch_size)
    assert len(recorder.epochs) == 3
    for batches in recorder.epochs:
        assert sorted(image for batch in batches for image in batch) == list(range(IMAGES))
        *full, last = map(len, batches)
        assert set(full) <= {batch_size}
        assert last == (IMAGES - 1) % batch_size + 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, batch_size: int = 2, position: Position | None = None) -> list[list[int]]:
        recorder = Recorder()
        if position is not None:
            recorder.epochs = [[] for _ in range(position.epoch)]
        run(recorder, position, seed=seed, batch_size=batch_size)
        return [[image for batch in epoch for image in batch] for epoch in recorder.epochs]

    first = order(0)
    torch.manual_seed(3)
    assert order(0) == first
    assert order(0, batch_size=7) == first, "the size of the batches moved the images"
    assert order(0, position=Position(epoch=2))[2] == first[2], "an epoch depends on those before"
    others = [*first, *order(1)]
    assert len({tuple(epoch) for epoch in others}) == 6
    assert list(range(IMAGES)) not in others


def test_an_epoch_can_be_continued_in_its_middle() -> None:
    whole = Recorder()
    run(whole, epochs=2)
    rest = Recorder()
    rest.epochs = [[]]
    position = Position(epoch=0, batch=30, summed_loss=30.0)
    run(rest, position, epochs=2)
    assert rest.epochs[0] == whole.epochs[0][30:]
    assert rest.epochs[1] == whole.epochs[1]
    assert [entry["train_loss"] for entry in position.history] == [1.0, 1.0]


def test_the_history_has_an_entry_for_each_epoch() -> None:
    # 51 batches of 2 in an epoch; the loss is the mean over the batches.
    recorder = Recorder(losses=(8.0, 4.0, 3.0))
    told: list[dict[str, Any]] = []
    rate = LearningRate(0.1, Plateau(kind="plateau", factor=0.5, patience=0, threshold=0.4))
    position = run(recorder, rate=rate, epochs=4, after_epoch=told.append)
    rates = [0.1, 0.1, 0.1, 0.05]  # the third loss was not much better, nor was the fourth
    assert position.history == told
    assert told == [
        {
            "epoch": number,
            "learning_rate": used,
            "train_loss": pytest.approx(loss),
            "seen_after": number,
            "seen_with": used,
        }
        for number, used, loss in zip(range(1, 5), rates, (8.0, 4.0, 3.0, 3.0), strict=True)
    ]
    assert recorder.ended == rates
    assert recorder.rates == [rate for rate in rates for _ in range(2)]  # 51 = 32 + 19
    assert rate.value == 0.025
    assert (position.epoch, position.batch, position.summed_loss) == (4, 0, 0.0)


def test_a_checkpoint_is_possible_after_each_stretch() -> None:
    recorder = Recorder(images=BATCHES_PER_STRETCH * 4)
    seen: list[tuple[int, int, float, int]] = []
    position = Position()

    def look() -> None:
        history = len(position.history)
        seen.append((position.epoch, position.batch, position.summed_loss, history))

    run(recorder, position, epochs=2, after_stretch=look)
    assert seen == [(0, 32, 32.0, 0), (1, 0, 0.0, 1), (1, 32, 32.0, 1), (2, 0, 0.0, 2)]


def test_a_finished_search_is_not_continued() -> None:
    recorder = Recorder()
    run(recorder, Position(epoch=3))
    assert recorder.epochs == []
