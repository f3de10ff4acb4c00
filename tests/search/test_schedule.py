"""A learning rate continues from its state, whatever its schedule."""

import json
import math

import pytest
import torch

from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.settings import Constant, Plateau

CONSTANT = Constant(kind="constant")
PLATEAU = Plateau(kind="plateau", factor=0.5, patience=5, threshold=0.01)
IMPATIENT = Plateau(kind="plateau", factor=0.3, patience=0, threshold=0.0)


def losses(seed: int, epochs: int = 100) -> list[float]:
    """A curve that falls, more and more slowly, with noise; at the end it is flat, then broken."""
    numbers = torch.Generator().manual_seed(seed)
    noise = torch.rand(epochs, generator=numbers, dtype=torch.float64).tolist()
    falling = [1 / (1 + 0.2 * k) + 0.03 * x for k, x in enumerate(noise)]
    return [*falling, *[0.1] * 12, math.inf, math.nan, 0.05]


@pytest.mark.parametrize("schedule", [PLATEAU, IMPATIENT, CONSTANT])
@pytest.mark.parametrize("epochs_before", [0, 1, 7, 30])
def test_it_continues_from_its_state(schedule: Plateau | Constant, epochs_before: int) -> None:
    whole, curve = LearningRate(0.1, schedule), losses(1)
    for loss in curve[:epochs_before]:
        whole.end_epoch(loss)
    resumed = LearningRate(0.1, schedule)
    resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    for loss in curve[epochs_before:]:
        assert resumed.value == whole.value
        whole.end_epoch(loss)
        resumed.end_epoch(loss)
    assert (whole.value == 0.1) == (schedule is CONSTANT)
