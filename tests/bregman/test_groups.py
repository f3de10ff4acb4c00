"""Parameter groups by rule."""

import math

import pytest
import torch
from torch import nn

from bregman_nas import (
    L1,
    ByKind,
    GroupLasso,
    HeadLasso,
    NonNegativeL1,
    Regularizer,
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
    with pytest.raises(ValueError, match=r"exclude: no parameter is like 2\.\*; there are"):
        parameter_groups(network, ByKind(rows=0.1, exclude=["2.*"]))
    with pytest.raises(TypeError, match="a list of patterns"):
        ByKind(rows=0.1, exclude="1.*")


def test_a_rule_that_fits_nothing_or_names_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no parameter sparse; the network has weight, bias"):
        parameter_groups(nn.Linear(2, 2), ByKind(kernels=0.1))
    with pytest.raises(ValueError, match="no parameter is named skp; there are bias, weight"):
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
    with pytest.raises(ValueError, match=r"weight: the output channels .* in groups"):
        parameter_groups(module, ByKind(channels=1.0))


def test_the_functional_of_heads_is_that_of_their_rows() -> None:
    # Two heads, width 4: head 0 has rows 0, 1, 4, 5, 8, 9, with 24 entries.
    rows = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second = rows[[0, 1, 4, 5, 8, 9]], rows[[2, 3, 6, 7, 10, 11]]
    heads, one = HeadLasso(0.2, 2), GroupLasso(0.2, ())
    assert float(heads.value(rows)) == pytest.approx(float(one.value(first) + one.value(second)))
    for of_heads, of_one in (
        (heads.prox(rows), one.prox),
        (heads.subgradient(rows), one.subgradient),
    ):
        torch.testing.assert_close(of_heads[[0, 1, 4, 5, 8, 9]], of_one(first))
        torch.testing.assert_close(of_heads[[2, 3, 6, 7, 10, 11]], of_one(second))
    assert Regularizer.from_dict(heads.to_dict()) == heads


@pytest.mark.parametrize("heads", [0, -1, 1.5])
def test_an_impossible_number_of_heads_is_refused(heads: int) -> None:
    with pytest.raises(
        ValueError, match=f"heads must be a whole number of at least 1, got {heads}"
    ):
        HeadLasso(0.1, heads)
    with pytest.raises(ValueError, match=r"weight: 3 heads do not share the rows .* \(12, 4\)"):
        parameter_groups(nn.Linear(4, 12), lambda name, *_: HeadLasso(0.1, 3))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (torch.float32, 1e-15),
        (torch.float32, 3e-23),
        (torch.float32, 1e-30),
        (torch.float32, 1e-42),
        (torch.float32, 1e30),
        (torch.bfloat16, 1e-30),
        (torch.float64, 1e-170),
        (torch.float64, 1e200),
    ],
)
def test_groups_whose_squares_leave_the_numbers_have_a_subgradient(
    dtype: torch.dtype, value: float
) -> None:
    weight = torch.full((2, 784), value, dtype=dtype)
    weight[1] = 0
    found = GroupLasso(0.07, (0,)).subgradient(weight)
    # mu sqrt(n) times the direction, whose entries are 1 / sqrt(n).
    torch.testing.assert_close(found[0], torch.full((784,), 0.07, dtype=dtype))
    assert not found[1].any()


def test_a_start_without_subgradient_is_refused() -> None:
    network = nn.Linear(2, 2)
    nn.init.constant_(network.bias, -1)
    with pytest.raises(ValueError, match="bias: NonNegativeL1"):
        parameter_groups(network, lambda name, *_: NonNegativeL1(0.1) if name == "bias" else Zero())
    nn.init.constant_(network.bias, math.nan)
    with pytest.raises(ValueError, match="bias has values that are not finite"):
        parameter_groups(network, ByKind(rows=0.1))
