"""Networks trained beside the searched one, on the sample."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bregman_nas.baselines.architectures import Architecture
from bregman_nas.baselines.searchers import Training, largest_rows
from bregman_nas.data.files import ImageSet
from bregman_nas.networks import ResidualMLP
from bregman_nas.search.core.mlp import problem
from bregman_nas.search.core.searches import searcher, train
from bregman_nas.search.records import active_groups
from bregman_nas.settings import load_settings
from tests.helpers import new_project

MakeArm = Callable[..., Any]


@pytest.fixture
def arm(tmp_path: Path, digits: ImageSet) -> MakeArm:
    """Makes arms of two layers, for two epochs on a sixth of the sample; others can be changed."""

    def make(
        method: str, *, skips: bool, engine: Any = "compact", rows: int = 60, **change: Any
    ) -> Any:
        of = "authors-constant" if skips else "paper-autoencoder"
        change = {"epochs": 2, "held_out": 50_000, **change}
        row = {"of": of, "method": method, "change": change, "seeds": 1}
        project = new_project(tmp_path, {"arms": {"arm": row}})
        run = load_settings(project / "params.yaml").run("arm")
        return searcher(run, digits, 3, engine, "cpu", found(skips=skips, rows=rows))

    return make


def found(*, skips: bool, rows: int = 60) -> dict[str, Any]:
    """The record of a search that found 60 hidden rows, and 300 of the output."""
    net = ResidualMLP(784, 2, skips=skips)
    with torch.no_grad():
        for layer, kept in zip(net.layers, (slice(100, 160), slice(200, 500)), strict=True):
            layer.weight[: kept.start] = layer.weight[kept.stop :] = 0
            if not rows:
                layer.weight.zero_()
    result = {"skips": [[0.5], [0.5, -0.5]]} if skips else {}
    return {"active_groups": active_groups(net), "result": result}


def trained(training: Training, epochs: int) -> None:
    train(training, epochs, training.run.batch_size)


@pytest.mark.parametrize("skips", [False, True])
def test_an_arm_is_trained_on_the_images_of_the_search(
    arm: MakeArm, digits: ImageSet, skips: bool
) -> None:
    training, old = arm("found", skips=skips), Architecture.from_record(found(skips=skips))
    same = problem(training.run, digits, 3)
    assert torch.equal(training.problem.train.inputs, same.train.inputs)
    assert torch.equal(training.problem.test.inputs, same.test.inputs)
    before = training.result()
    trained(training, 1)
    (entry,) = training.history
    assert entry["active_rows"] == [60, 300]
    result = training.result()
    assert result["test_mse"] < before["test_mse"]
    assert result["parameters"] == result["parameters_found"] == old.parameters()
    assert not result["dead"]
    assert ("skips" in result) == skips
    if skips:
        assert result["skips"][1][1] != 0  # allowed
    assert training.picture().shape == (3 * 28, 8 * 28)
    assert torch.equal(Architecture.of(training.full_network()).rows, old.rows)


def test_a_network_that_puts_out_nothing_is_flagged(arm: MakeArm) -> None:
    training = arm("found", skips=False, rows=0)
    trained(training, 1)
    result = training.result()
    assert result["dead"]
    clean = training.problem.test.targets
    assert result["test_mse"] == pytest.approx(float(clean.square().mean()))
    assert result["parameters"] == 0


@pytest.mark.parametrize("engine", ["compact", "textbook"])
def test_proximal_adam_shrinks_each_row_after_each_step(arm: MakeArm, engine: str) -> None:
    """A single step of Adam moves each entry that has a gradient by the learning rate."""
    training = arm("proximal-adam", skips=True, engine=engine, mu=1.0)
    before = [layer.weight.detach().clone() for layer in training.full_network().layers]
    training.train_batches([torch.arange(16)])
    net = training.full_network()
    for old, layer in zip(before, net.layers, strict=True):
        norms = old.norm(dim=1)
        # Rows that never fire have no gradient: the prox alone acts, with threshold lr mu 28.
        shrunk = old * (1 - 0.028 / norms)[:, None]
        still = torch.isclose(layer.weight, shrunk, rtol=1e-4, atol=1e-6).all(1)
        moved = (layer.weight - shrunk).abs().max(1).values
        assert still.any()
        assert ((moved[~still] > 0.0008) & (moved[~still] < 0.0012)).all()
    # The skips have moved by the learning rate, which is their threshold.
    assert float(net.skips.detach().abs().max()) < 1e-5


@pytest.mark.parametrize("skips", [False, True])
def test_pruning_keeps_the_largest_rows_at_half_time(arm: MakeArm, skips: bool) -> None:
    whole, resumed = (arm("pruned", skips=skips) for _ in range(2))
    trained(whole, 1)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    rows = Architecture.of(whole.full_network()).rows
    assert int(rows.sum()) == 360
    trained(resumed, 2)
    trained(whole, 2)
    assert torch.equal(Architecture.of(whole.full_network()).rows, rows)
    assert resumed.result() == whole.result()


def test_the_largest_rows_of_all_layers() -> None:
    net = ResidualMLP(3, 2, skips=False)
    with torch.no_grad():
        for layer, norms in zip(net.layers, ([1.0, 5.0, 2.0], [3.0, 0.5, 4.0]), strict=True):
            layer.weight.copy_(torch.diag(torch.tensor(norms)))
    expected = torch.tensor([[False, True, False], [True, False, True]])
    assert torch.equal(largest_rows(net, 3), expected)
