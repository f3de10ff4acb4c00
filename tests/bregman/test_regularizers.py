"""Each J, its prox and its subgradient: by hand, and from the definition of the subdifferential.

theta = prox(v) holds exactly where v is in the subdifferential of J_delta at theta, (2.2).
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bregman_nas import (
    L1,
    AdaBreg,
    GroupLasso,
    HeadLasso,
    LinBreg,
    NonNegativeL1,
    Regularizer,
    Zero,
    ZeroIndicator,
)

SHAPE = (6, 3, 2, 2)
REGULARIZERS = [
    Zero(),
    L1(0.0),
    L1(0.3),
    NonNegativeL1(0.3),
    *(GroupLasso(0.3, dims) for dims in ((0,), (1,), (0, 1), (), (0, 1, 2, 3))),
    GroupLasso(0.0, (0,)),
    ZeroIndicator(),
    HeadLasso(0.3, 2),
]
each_regularizer = pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
each_delta = pytest.mark.parametrize("delta", [0.5, 1.0, 3.0])


def draw(numbers: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=numbers, dtype=torch.float64)


def shape_for(regularizer: Regularizer) -> tuple[int, ...]:
    return (6, 4) if isinstance(regularizer, HeadLasso) else SHAPE


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
    theta = draw(numbers, *shape_for(regularizer))
    theta[1::2] = 0  # rows 1, 3, 5 are head 1
    theta[:, 2] = 0
    theta[0, 0] = 0
    if isinstance(regularizer, NonNegativeL1):
        return theta.abs()
    return torch.zeros_like(theta) if regularizer == ZeroIndicator() else theta


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
@pytest.mark.parametrize("method", ["AdaBreg", "AdaBreg fused", "LinBreg"])
def test_v_is_a_subgradient_at_the_start_and_in_every_step(
    regularizer: Regularizer, delta: float, method: str
) -> None:
    numbers = torch.Generator().manual_seed(5)
    theta = sparse_start(regularizer, numbers)
    assert not regularizer.subgradient(theta)[theta == 0].any()
    param = nn.Parameter(theta.clone())
    options: dict[str, Any] = {"delta": delta, "regularizer": regularizer}
    optimizer: AdaBreg | LinBreg
    if method == "LinBreg":
        optimizer = LinBreg([param], lr=0.3, momentum=0.5, **options)
    else:
        optimizer = AdaBreg([param], lr=0.1, fused=method.endswith("fused"), **options)
    v = optimizer.subgradient(param)
    assert is_subgradient(v, theta, regularizer, delta)
    torch.testing.assert_close(regularizer.prox(v, delta), theta, rtol=1e-13, atol=1e-15)
    assert torch.equal(regularizer.prox(v, delta) != 0, theta != 0)
    for _ in range(10):
        param.grad = draw(numbers, *theta.shape)
        optimizer.step()
        v = optimizer.subgradient(param)
        assert is_subgradient(v, param.detach(), regularizer, delta)
        assert torch.equal(param, regularizer.prox(v, delta))


@each_delta
def test_shrinkage_by_hand(delta: float) -> None:
    v = torch.tensor([2.0, 0.5, 0.25, 0.0, -0.5, -2.0])
    shrunk = torch.tensor([1.5, 0.0, 0.0, 0.0, 0.0, -1.5])
    assert torch.equal(L1(0.5).prox(v, delta), delta * shrunk)
    assert torch.equal(NonNegativeL1(0.5).prox(v, delta), delta * shrunk.clamp_min(0))
    assert torch.equal(Zero().prox(v, delta), delta * v)
    assert not ZeroIndicator().prox(v, delta).any()
    # Rows of n = 4 and mu = 1/2: the threshold is 1.
    rows = torch.tensor([[4.0, 0, 0, 3], [0, 1, 0, 0], [0, 0.5, 0.5, 0.5], [0, 0, 0, 0]])
    found = GroupLasso(0.5, (0,)).prox(rows, delta)
    torch.testing.assert_close(found[0], delta * torch.tensor([3.2, 0, 0, 2.4]))
    assert not found[1:].any(), "at the threshold and below: exactly zero"


@pytest.mark.parametrize(
    ("shape", "group_dims"),
    [
        ((3, 4), (0,)),
        ((3, 4), (1,)),
        ((3, 2), (0, 1)),
        ((2, 3), ()),
        ((5,), (0,)),
        ((2, 2, 2, 2), (0, 1)),
        ((2, 2, 2, 2), ()),
    ],
)
def test_group_lasso_written_out(shape: tuple[int, ...], group_dims: tuple[int, ...]) -> None:
    theta, regularizer = draw(torch.Generator(), *shape), GroupLasso(0.3, group_dims)
    value, subgradient, count = 0.0, np.zeros(shape), 0
    for index in itertools.product(*(range(shape[d]) for d in group_dims)):
        at = dict(zip(group_dims, index, strict=True))
        where = tuple(at.get(d, slice(None)) for d in range(len(shape)))
        group = np.atleast_1d(theta.numpy()[where])
        norm = math.sqrt((group**2).sum())
        value += 0.3 * math.sqrt(group.size) * norm
        subgradient[where] = 0.3 * math.sqrt(group.size) * theta.numpy()[where] / norm
        assert regularizer.threshold(shape) == pytest.approx(0.3 * math.sqrt(group.size))
        count += 1
    assert regularizer.value(theta).item() == pytest.approx(value)
    np.testing.assert_allclose(regularizer.subgradient(theta).numpy(), subgradient)
    assert (regularizer.norms(theta).ndim, regularizer.norms(theta).numel()) == (theta.ndim, count)


@pytest.mark.parametrize(
    ("regularizer", "theta", "value"),
    [
        (Zero(), [1.0, -2.0], 0.0),
        (L1(0.5), [1.0, -2.0], 1.5),
        (NonNegativeL1(0.5), [1.0, 2.0], 1.5),
        (NonNegativeL1(0.5), [1.0, -1e-9], math.inf),
        (ZeroIndicator(), [0.0, -0.0], 0.0),
        (ZeroIndicator(), [0.0, 1e-9], math.inf),
        (GroupLasso(0.5, ()), [3.0, -4.0], 2.5 * math.sqrt(2)),
    ],
    ids=repr,
)
def test_values_by_hand(regularizer: Regularizer, theta: list[float], value: float) -> None:
    actual = regularizer.value(torch.tensor(theta))
    assert actual.shape == ()
    assert actual.item() == pytest.approx(value)


@each_regularizer
def test_shape_and_dtype_are_kept_and_plain_values_describe_it(regularizer: Regularizer) -> None:
    shape = shape_for(regularizer)
    for dtype in (torch.float32, torch.float64):
        theta = torch.zeros(shape, dtype=dtype)
        for result in (regularizer.prox(theta, 0.5), regularizer.subgradient(theta)):
            assert (result.shape, result.dtype) == (shape, dtype)
        assert regularizer.value(theta).dtype == dtype
    assert Regularizer.from_dict(regularizer.to_dict()) == regularizer
    assert regularizer.to_dict()["kind"] == type(regularizer).__name__


def test_the_functional_of_heads_is_that_of_their_rows() -> None:
    # Two heads, width 4: head 0 has rows 0, 1, 4, 5, 8, 9, with 24 entries.
    rows = draw(torch.Generator(), 12, 4)
    first, second = [0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]
    heads, one = HeadLasso(0.2, 2), GroupLasso(0.2, ())
    value = sum(one.value(rows[part]) for part in (first, second))
    torch.testing.assert_close(heads.value(rows), value)
    for name in ("prox", "subgradient"):
        for part in (first, second):
            of_heads, of_one = getattr(heads, name)(rows), getattr(one, name)(rows[part])
            torch.testing.assert_close(of_heads[part], of_one)


REFUSED: list[tuple[Any, str]] = [
    *(
        (lambda make=make, mu=mu: make(mu), f"mu must be finite and not negative, got {mu}")
        for mu in (-0.1, math.nan, math.inf)
        for make in (L1, lambda mu: GroupLasso(mu, (0,)), lambda mu: HeadLasso(mu, 2))
    ),
    *(
        (lambda dims=dims: GroupLasso(0.1, dims), "each dimension once, counted from 0")
        for dims in ((0, 0), (-1,), (1, 0, 1))
    ),
    (lambda: GroupLasso(0.1, (0, 2)).prox(torch.ones(2, 3)), r"less than 2; got \(0, 2\)"),
    (lambda: HeadLasso(0.1, 0), "heads must be at least 1"),
    (lambda: NonNegativeL1(0.1).subgradient(torch.tensor([1.0, -1.0])), "no subgradient .* negat"),
    (lambda: NonNegativeL1(0.1).subgradient(torch.tensor([math.nan])), "no subgradient .* not a n"),
    (lambda: ZeroIndicator().subgradient(torch.tensor([0.0, 1.0])), "no subgradient .* at zero"),
]


@pytest.mark.parametrize(("act", "message"), REFUSED)
def test_what_has_no_meaning_is_refused(act: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (torch.float32, 1e-15),
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
    assert not GroupLasso(1e6, (0,)).subgradient(weight)[1].any()
