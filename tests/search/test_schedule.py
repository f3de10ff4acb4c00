"""The learning rate is torch's, epoch by epoch."""

import json
import math

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

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


@pytest.mark.parametrize("schedule", [PLATEAU, IMPATIENT])
def test_the_rate_on_a_plateau_is_that_of_torch(schedule: Plateau) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    how = {"factor": schedule.factor, "threshold": schedule.threshold, "threshold_mode": "rel"}
    torchs = ReduceLROnPlateau(optimizer, patience=schedule.patience, **how)  # type: ignore[arg-type]
    ours = LearningRate(0.1, schedule)
    rates = []
    for loss in losses(0):
        ours.end_epoch(loss)
        torchs.step(loss)
        rates.append(ours.value)
        assert ours.value == optimizer.param_groups[0]["lr"]
    assert len(set(rates)) > 2
    assert sorted(rates, reverse=True) == rates, "it never rises"


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
