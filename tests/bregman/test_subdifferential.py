"""v lies in the subdifferential of J_delta (2.2), tested from the definition alone."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from bregman_nas.bregman import (
    L1,
    AdaBreg,
    GroupLasso,
    LinBreg,
    NonNegativeL1,
    Regularizer,
    Zero,
    ZeroIndicator,
)

SHAPE = (4, 3, 2, 2)
REGULARIZERS = [
    Zero(),
    L1(0.0),
    L1(0.3),
    NonNegativeL1(0.3),
    GroupLasso(0.0, (0,)),
    GroupLasso(0.3, (0,)),
    GroupLasso(0.3, (0, 1)),
    GroupLasso(0.3, ()),
    GroupLasso(0.3, (0, 1, 2, 3)),
    ZeroIndicator(),
]
DELTAS = (0.5, 1.0, 3.0)

each_regularizer = pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
each_delta = pytest.mark.parametrize("delta", DELTAS)


def draw(numbers: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=numbers, dtype=torch.float64)


def probes(theta: Tensor, v: Tensor, numbers: torch.Generator) -> Iterator[Tensor]:
    """Points z around theta, near and far; along v too, where a violation would show first."""
    yield torch.zeros_like(theta)
    yield -theta
    for length in (1e-4, 1e-2, 1.0, 30.0):
        rows = torch.rand(theta.shape[:1] + (1,) * (theta.ndim - 1), generator=numbers) < 0.5
        entries = torch.rand(theta.shape, generator=numbers) < 0.1
        for direction in (v, v * rows, v * entries, draw(numbers, *theta.shape)):
            yield theta + length * direction
            yield theta - length * direction
            yield (theta + length * direction).clamp_min(0)


def is_subgradient(v: Tensor, theta: Tensor, regularizer: Regularizer, delta: float) -> bool:
    """Whether J_delta(z) >= J_delta(theta) + <v, z - theta> at every probed z."""

    def j_delta(z: Tensor) -> float:
        return (regularizer.value(z) + (z * z).sum() / (2 * delta)).item()

    numbers = torch.Generator().manual_seed(0)
    return all(
        j_delta(z) >= j_delta(theta) + (v * (z - theta)).sum().item() - 1e-11 * (1 + j_delta(theta))
        for z in probes(theta, v, numbers)
    )


def sparse_start(regularizer: Regularizer, numbers: torch.Generator) -> Tensor:
    """A point of the regularizer's domain with rows, kernels and entries that are zero."""
    theta = draw(numbers, *SHAPE)
    theta[1] = 0
    theta[:, 2] = 0
    theta[0, 0, 0] = 0
    if isinstance(regularizer, NonNegativeL1):
        return theta.abs()
    return torch.zeros(SHAPE, dtype=torch.float64) if regularizer == ZeroIndicator() else theta


@pytest.mark.parametrize("regularizer", [L1(0.3), GroupLasso(0.3, (0,))], ids=repr)
def test_the_check_notices_a_wrong_v(regularizer: Regularizer) -> None:
    theta = sparse_start(regularizer, torch.Generator().manual_seed(1))
    v = theta / 2 + regularizer.subgradient(theta)
    assert is_subgradient(v, theta, regularizer, delta=2.0)
    assert not is_subgradient(v, theta, regularizer, delta=1.0)
    too_small = v - 0.05 * (theta != 0) * theta.sign()
    assert not is_subgradient(too_small, theta, regularizer, delta=2.0)
    beyond_threshold = torch.where(theta == 0, 0.7, v)
    assert not is_subgradient(beyond_threshold, theta, regularizer, delta=2.0)


@each_delta
@each_regularizer
def test_v_is_a_subgradient_at_its_prox(regularizer: Regularizer, delta: float) -> None:
    numbers = torch.Generator().manual_seed(2)
    for scale in (0.0, 0.2, 0.6, 3.0):
        v = scale * draw(numbers, *SHAPE)
        assert is_subgradient(v, regularizer.prox(v, delta), regularizer, delta)


@each_regularizer
def test_the_subgradient_is_one_and_zero_on_zero_groups(regularizer: Regularizer) -> None:
    theta = sparse_start(regularizer, torch.Generator().manual_seed(3))
    subgradient = regularizer.subgradient(theta)
    assert is_subgradient(subgradient + theta, theta, regularizer, delta=1.0)
    assert not subgradient[theta == 0].any()


@pytest.mark.parametrize("optimizer_class", [AdaBreg, LinBreg])
@each_delta
@each_regularizer
def test_at_the_start_v_is_a_subgradient_and_its_prox_theta(
    regularizer: Regularizer, delta: float, optimizer_class: type[AdaBreg | LinBreg]
) -> None:
    theta = sparse_start(regularizer, torch.Generator().manual_seed(4))
    param = nn.Parameter(theta.clone())
    optimizer = optimizer_class([param], regularizer=regularizer, delta=delta)
    v = optimizer.subgradient(param)
    assert is_subgradient(v, theta, regularizer, delta)
    torch.testing.assert_close(regularizer.prox(v, delta), theta, rtol=1e-13, atol=1e-15)
    assert torch.equal(regularizer.prox(v, delta) != 0, theta != 0)


@each_delta
@each_regularizer
@pytest.mark.parametrize("method", ["AdaBreg", "AdaBreg fused", "LinBreg"])
def test_v_stays_a_subgradient_in_every_step(
    regularizer: Regularizer, delta: float, method: str
) -> None:
    numbers = torch.Generator().manual_seed(5)
    param = nn.Parameter(sparse_start(regularizer, numbers))
    optimizer = (
        LinBreg([param], lr=0.3, momentum=0.5, delta=delta, regularizer=regularizer)
        if method == "LinBreg"
        else AdaBreg(
            [param], lr=0.1, delta=delta, regularizer=regularizer, fused=method.endswith("fused")
        )
    )
    for _ in range(10):
        param.grad = draw(numbers, *SHAPE)
        optimizer.step()
        v = optimizer.subgradient(param)
        assert is_subgradient(v, param.detach(), regularizer, delta)
        assert torch.equal(param, regularizer.prox(v, delta))
