"""Networks trained beside the searched one, on the sample."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from bregman_nas.baselines.architectures import Architecture
from bregman_nas.baselines.searchers import Retraining, Training
from bregman_nas.data.files import ImageSet, load
from bregman_nas.search.core.loop import Position, train
from bregman_nas.search.core.mlp import problem
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.settings import Run

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load("mnist", "sample", PROJECT)


def short_run(*, skips: bool, **changes: Any) -> Run:
    """Two layers, on half of the sample; `changes` are of the experiment."""
    return Run.model_validate(
        {
            "name": "short",
            "source": "sample",
            "optimizer": {"learning_rate": 0.001, "betas": [0.9, 0.999], "eps": 1e-8, "delta": 1.0},
            "batch_size": 16,
            "protocol": {
                "skip_threshold": 1,
                "schedule": {"kind": "constant"},
                "initial_scale": 5,
                "first_moment": "corrected",
                "held_out": 30000,
                "noise": "every-epoch" if skips else "once",
                "logits": "linear",
            },
            "experiment": {
                "network": "mlp",
                "dataset": "mnist",
                "skips": skips,
                "mu": 0.07,
                "density": 0.05,
                "depth": 2,
                "noise_std": 0.05,
                "blur": {"size": 3, "std": 1.0} if skips else None,
                "input_mean": 0.1307,
                "input_std": 0.3081,
                "epochs": 2,
                **changes,
            },
            "seeds": (0,),
        }
    )


def found(*, skips: bool) -> Architecture:
    """60 hidden rows, 300 of the output."""
    rows = torch.zeros(2, 784, dtype=torch.bool)
    rows[0, 100:160] = True
    rows[1, 200:500] = True
    return Architecture(rows, torch.tensor([[True, False], [True, True]]) if skips else None)


def trained(training: Training, epochs: int, position: Position | None = None) -> Position:
    run, position = training.run, position or Position()
    rate = LearningRate(run.optimizer.learning_rate, run.protocol.schedule)
    train(training, rate, position, seed=0, epochs=epochs, batch_size=run.batch_size)
    return position


@pytest.mark.parametrize("skips", [False, True])
def test_an_arm_is_trained_on_the_images_and_batches_of_the_search(
    images: ImageSet, skips: bool
) -> None:
    run = short_run(skips=skips)
    old = found(skips=skips)
    fast, readable = (
        Retraining(run, images, 0, "found", old, engine) for engine in ("compact", "textbook")
    )
    same = problem(run, images, 0)
    assert torch.equal(fast.problem.train.inputs, same.train.inputs)
    assert torch.equal(fast.problem.test.inputs, same.test.inputs)
    before = fast.result()
    ours, theirs = (trained(training, 2).history for training in (fast, readable))
    for entry, reference in zip(ours, theirs, strict=True):
        assert entry.keys() == reference.keys()
        assert entry["active_rows"] == [60, 300]
        for loss in ("train_loss", "held_out_loss"):
            assert entry[loss] == pytest.approx(reference[loss], rel=1e-3)
    a, b = fast.result(), readable.result()
    assert a.keys() == b.keys() == before.keys()
    assert a["test_mse"] == pytest.approx(b["test_mse"], rel=1e-3)
    assert a["test_mse"] < before["test_mse"]
    assert a["parameters"] == a["parameters_found"] == old.parameters()
    assert not a["dead"]
    assert ("skips" in a) == (old.skips is not None)
    if old.skips is not None:
        assert a["skips"][1][1] != 0  # allowed
    assert fast.picture().shape == (3 * 28, 8 * 28)
    architecture = Architecture.of(fast.full_network())
    assert torch.equal(architecture.rows, old.rows)


@pytest.mark.parametrize("skips", [False, True])
def test_an_arm_continues_bit_for_bit(images: ImageSet, skips: bool) -> None:
    run = short_run(skips=skips)
    whole, begun, resumed = (
        Retraining(run, images, 3, "random", found(skips=skips)) for _ in range(3)
    )
    trained(whole, 2)
    position = trained(begun, 1)
    resumed.load_state_dict(copy.deepcopy(begun.state_dict()))
    trained(resumed, 2, position)
    assert resumed.result() == whole.result()


def test_a_network_that_puts_out_nothing_is_flagged(images: ImageSet) -> None:
    nothing = Architecture(torch.zeros(2, 784, dtype=torch.bool), None)
    training = Retraining(short_run(skips=False), images, 0, "found", nothing)
    trained(training, 1)
    result = training.result()
    assert result["dead"]
    clean = training.problem.test.targets
    assert result["test_mse"] == pytest.approx(float(clean.square().mean()))
    assert result["parameters"] == 0
