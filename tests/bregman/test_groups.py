"""Parameter groups by rule, and the example that uses them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bregman_nas.bregman import L1, AdaBreg, GroupLasso, NonNegativeL1, Zero
from bregman_nas.bregman.groups import ByKind, architecture, parameter_groups, start_sparsely_

PROJECT = Path(__file__).resolve().parents[2]
RULE = ByKind(rows=0.1, kernels=0.2, scalars={"tau": 0.3})


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5))
        self.tau = nn.Parameter(torch.ones(()))
        self.linear = nn.Linear(4, 10)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_each_parameter_has_the_functional_of_its_kind() -> None:
    network = Network()
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = {
        group["regularizer"]: {names[id(parameter)] for parameter in group["params"]}
        for group in parameter_groups(network, RULE)
    }
    free = {"inner.0.bias", "inner.1.weight", "inner.1.bias", "linear.bias"}
    assert found == {
        L1(0.3): {"tau"},
        GroupLasso(0.2, (0, 1)): {"inner.0.weight"},
        GroupLasso(0.1, (0,)): {"linear.weight"},
        Zero(): free,
    }


def test_a_rule_that_fits_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no parameter sparse; the network has weight, bias"):
        parameter_groups(nn.Linear(2, 2), ByKind(kernels=0.1))


def test_a_scalar_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="no parameter is named skp; there are bias, weight"):
        parameter_groups(nn.Linear(2, 2), ByKind(rows=0.1, scalars={"skp": 1.0}))


def test_the_start_is_sparse_and_the_architecture_says_so() -> None:
    network = Network()
    bias = network.linear.bias.clone()
    start_sparsely_(parameter_groups(network, RULE), density=0.2)
    found = architecture(network, RULE)
    assert set(found) == {"tau", "inner.0.weight", "linear.weight", "frozen.weight"}
    assert not found["tau"]
    assert found["inner.0.weight"].shape == (5, 2)
    assert int(found["inner.0.weight"].sum()) == 2
    assert found["linear.weight"].tolist() == (network.linear.weight != 0).any(1).tolist()
    assert int(found["linear.weight"].sum()) == 2
    assert torch.equal(network.linear.bias, bias)


def test_groups_switch_on_in_training() -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 8)
    rule = ByKind(rows=0.05)
    groups = parameter_groups(network, rule)
    start_sparsely_(groups, density=0.1)
    optimizer = AdaBreg(groups, lr=0.01)
    images = torch.randn(64, 3)
    targets = torch.cat([images, torch.zeros(64, 5)], dim=1)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.mse_loss(network(images), targets).backward()
        optimizer.step()
    assert architecture(network, rule)["weight"][:3].all()


def test_the_example_runs_on_the_sample(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, PROJECT / "examples" / "own_network.py", tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "epoch 10:" in ended.stdout
    weights = load_file(tmp_path / "own-network.safetensors")
    kernels = (weights["body.weight"] != 0).flatten(2).any(2)
    assert f"body.weight: {int(kernels.sum())} of 256" in ended.stdout
    assert 0 < int(kernels.sum()) < 256


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (torch.float32, 3e-23),
        (torch.float32, 1e-30),
        (torch.float32, 1e-42),
        (torch.bfloat16, 1e-30),
        (torch.float64, 1e-170),
    ],
)
def test_groups_whose_norm_underflows_are_refused(dtype: torch.dtype, value: float) -> None:
    network = nn.Linear(784, 2).to(dtype)
    with torch.no_grad():
        network.weight[0] = value
    with pytest.raises(ValueError, match="weight: 1 of 2 groups are not zero, but too small"):
        parameter_groups(network, ByKind(rows=0.07))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_small_and_zero_groups_are_taken(dtype: torch.dtype) -> None:
    network = nn.Linear(784, 2).to(dtype)
    with torch.no_grad():
        network.weight[0] = 1e-15
        network.weight[1] = 0
    parameter_groups(network, ByKind(rows=0.07))


def test_a_start_without_subgradient_is_refused() -> None:
    with pytest.raises(ValueError, match="bias: NonNegativeL1"):
        parameter_groups(Negative(), lambda *_: NonNegativeL1(0.1))


class Negative(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(-torch.ones(3))
