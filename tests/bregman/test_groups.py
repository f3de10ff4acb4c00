"""Parameter groups by rule."""

import pytest
import torch
from torch import nn

from bregman_nas import (
    L1,
    ByKind,
    GroupLasso,
    NonNegativeL1,
    Zero,
    architecture,
    parameter_groups,
)

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


def test_names_that_are_excluded_stay_free() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    rule = ByKind(rows=0.1, exclude=["1.*"])
    assert set(architecture(network, rule)) == {"0.weight"}
    with pytest.raises(ValueError, match=r"exclude: 2\.\* matches none of 0\.weight, "):
        parameter_groups(network, ByKind(rows=0.1, exclude=["2.*"]))
    with pytest.raises(TypeError, match="a list of patterns"):
        ByKind(rows=0.1, exclude="1.*")


def test_a_rule_that_fits_nothing_or_names_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no parameter sparse; the network has weight, bias"):
        parameter_groups(nn.Linear(2, 2), ByKind(kernels=0.1))
    with pytest.raises(ValueError, match="scalars: no parameter is named skp, but "):
        parameter_groups(nn.Linear(2, 2), ByKind(rows=0.1, scalars={"skp": 1.0}))


@pytest.mark.parametrize(
    ("rule", "module", "groups"),
    [
        (ByKind(rows=1.0), nn.Linear(2, 3), [3]),
        (ByKind(columns=1.0), nn.Linear(2, 3), [2]),
        (ByKind(kernels=1.0), nn.Conv2d(4, 6, 3, groups=2), [6, 2]),
        (ByKind(channels=1.0), nn.Conv1d(4, 6, 3, groups=2), [6]),
        (ByKind(kernels=1.0), nn.ConvTranspose2d(4, 6, 3, groups=2), [4, 3]),
        (ByKind(channels=1.0), nn.ConvTranspose3d(4, 6, 3), [6]),
        (ByKind(heads=1.0), nn.MultiheadAttention(8, 4), [4]),
        (ByKind(scalars={"weight": 1.0}), nn.PReLU(5), [5]),
    ],
    ids=repr,
)
def test_a_kind_has_so_many_groups_each_of_which_switches_off_alone(
    rule: ByKind, module: nn.Module, groups: list[int]
) -> None:
    (group,) = [g for g in parameter_groups(module, rule) if g["regularizer"] != Zero()]
    (weight,), regularizer = group["params"], group["regularizer"]
    values = weight.detach().clone().abs() + 1
    active = regularizer.active(values)
    assert list(active.shape) == groups
    assert active.all()
    size = values.numel() // active.numel()
    # Pushed to zero one entry after another, its group is off only when all of it is.
    counts = set()
    for entry in range(values.numel()):
        values.view(-1)[entry] = 0
        counts.add(int(regularizer.active(values).sum()))
    assert counts == set(range(active.numel())) | ({active.numel()} if size > 1 else set())


def test_a_weight_has_groups_of_one_kind() -> None:
    for both in ({"rows": 1.0, "columns": 1.0}, {"kernels": 1.0, "channels": 1.0}):
        with pytest.raises(ValueError, match="groups of one kind"):
            ByKind(**both)  # type: ignore[arg-type]
    module = nn.ConvTranspose2d(4, 6, 3, groups=2)
    with pytest.raises(ValueError, match=r"weight: a grouped transposed convolution has no"):
        parameter_groups(module, ByKind(channels=1.0))


def test_a_start_without_subgradient_is_refused() -> None:
    network = nn.Linear(2, 2)
    nn.init.constant_(network.bias, -1)
    with pytest.raises(ValueError, match="bias: NonNegativeL1"):
        parameter_groups(network, lambda name, *_: NonNegativeL1(0.1) if name == "bias" else Zero())
