"""A learning rate continues from its state, whatever its schedule."""

import json
import math

import pytest

from bregman_nas.search.core.searches import LearningRate
from bregman_nas.settings import Constant, Plateau

CONSTANT = Constant(kind="constant")
PLATEAU = Plateau(kind="plateau", factor=0.5, patience=5, threshold=0.01)
#: They fall, are flat, then broken.
LOSSES = [1.0, 0.5, 0.1, *[0.1] * 14, math.inf, math.nan, 0.05]


@pytest.mark.parametrize("schedule", [PLATEAU, CONSTANT])
def test_it_continues_from_its_state_after_every_epoch(schedule: Plateau | Constant) -> None:
    whole = LearningRate(0.1, schedule)
    for loss in LOSSES:
        resumed = LearningRate(0.1, schedule)
        resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
        for rate in (whole, resumed):
            rate.step(loss)
        assert resumed.state_dict() == whole.state_dict()
    assert whole.value == (0.1 if schedule is CONSTANT else 0.025)
