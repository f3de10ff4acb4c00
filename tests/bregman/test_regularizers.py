"""Each J and its prox, against loops written out and against a numerical minimiser of (2.1)."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from bregman_nas.bregman import L1, GroupLasso, NonNegativeL1, Regularizer, Zero, ZeroIndicator

Array = NDArray[np.float64]

MUS = (0.0, 0.3, 1.25)
DELTAS = (0.5, 1.0, 3.0)
# Shape of the parameter, the dimensions that index its groups.
GROUPINGS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3, 4), (0,)),
    ((3, 4), (1,)),
    ((3, 2), (0, 1)),
    ((2, 3), ()),
    ((5,), (0,)),
    ((2, 2, 2, 2), (0, 1)),
    ((2, 2, 2, 2), (0, 1, 2, 3)),
    ((2, 2, 2, 2), ()),
]


def draw(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=numbers, dtype=torch.float64)


def groups_of(shape: tuple[int, ...], group_dims: tuple[int, ...]) -> list[NDArray[np.bool_]]:
    """One boolean mask of the parameter for each group."""
    masks = []
    for index in itertools.product(*(range(shape[d]) for d in group_dims)):
        mask = np.zeros(shape, dtype=bool)
        where: list[int | slice] = [slice(None)] * len(shape)
        for d, i in zip(group_dims, index, strict=True):
            where[d] = i
        mask[tuple(where)] = True
        masks.append(mask)
    return masks


def minimise_l1(v: Array, mu: float, delta: float, *, positive: bool) -> Array:
    """Minimise |w - delta v|^2 / 2 + delta mu |w|_1 over w = p - q, with p >= 0 and q >= 0."""
    n = v.size

    def objective(pq: Array) -> tuple[float, Array]:
        p, q = pq[:n], pq[n:]
        residual = p - q - delta * v
        value = float(residual @ residual) / 2 + delta * mu * float(pq.sum())
        return value, np.concatenate([residual, -residual]) + delta * mu

    bounds = [(0, None)] * n + [(0, 0 if positive else None)] * n
    found = optimize.minimize(
        objective,
        np.ones(2 * n),
        jac=True,
        bounds=bounds,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    minimiser: Array = found.x[:n] - found.x[n:]
    return minimiser


def minimise_group(v: Array, weight: float, delta: float) -> Array:
    """Minimise |w - delta v|^2 / 2 + delta weight |w|_2 for one group.

    A nonsmooth problem: w = 0 is compared with the best point elsewhere, which is smooth.
    """

    def objective(w: Array) -> float:
        return float((w - delta * v) @ (w - delta * v)) / 2 + delta * weight * float(
            np.linalg.norm(w)
        )

    def gradient(w: Array) -> Array:
        result: Array = w - delta * v + delta * weight * w / max(float(np.linalg.norm(w)), 1e-12)
        return result

    found = optimize.minimize(
        objective, delta * v + 0.1, jac=gradient, method="BFGS", options={"gtol": 1e-9}
    )
    zero = np.zeros_like(v)
    return found.x if objective(found.x) < objective(zero) else zero


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("mu", MUS)
@pytest.mark.parametrize("positive", [False, True])
def test_prox_of_l1_is_the_numerical_minimiser(positive: bool, mu: float, delta: float) -> None:
    v = torch.cat([2 * draw((6,)), torch.tensor([0.0, mu, -mu, 1.01 * mu, -0.99 * mu])])
    regularizer: Regularizer = NonNegativeL1(mu) if positive else L1(mu)
    expected = minimise_l1(v.numpy(), mu, delta, positive=positive)
    np.testing.assert_allclose(regularizer.prox(v, delta).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("mu", MUS)
@pytest.mark.parametrize(("shape", "group_dims"), GROUPINGS)
def test_prox_of_group_lasso_is_the_numerical_minimiser(
    shape: tuple[int, ...], group_dims: tuple[int, ...], mu: float, delta: float
) -> None:
    v = draw(shape)
    masks = groups_of(shape, group_dims)
    weight = mu * math.sqrt(masks[0].sum())
    # Group by group at these multiples of the threshold.
    multiples = itertools.cycle([1.3, 0.0, 0.9, 3.0, 1.1, 0.5])
    for mask, multiple in zip(masks, multiples, strict=False):
        v.numpy()[mask] *= multiple * (weight or 1.0) / np.linalg.norm(v.numpy()[mask])
    actual = GroupLasso(mu, group_dims).prox(v, delta).numpy()
    for mask in masks:
        expected = minimise_group(v.numpy()[mask], weight, delta)
        np.testing.assert_allclose(actual[mask], expected, atol=1e-5)


@pytest.mark.parametrize("delta", DELTAS)
def test_soft_thresholding_by_hand(delta: float) -> None:
    v = torch.tensor([2.0, 0.5, 0.25, 0.0, -0.5, -2.0])
    shrunk = torch.tensor([1.5, 0.0, 0.0, 0.0, 0.0, -1.5])
    assert torch.equal(L1(0.5).prox(v, delta), delta * shrunk)
    assert torch.equal(NonNegativeL1(0.5).prox(v, delta), delta * shrunk.clamp_min(0))
    assert torch.equal(Zero().prox(v, delta), delta * v)
    assert not ZeroIndicator().prox(v, delta).any()


@pytest.mark.parametrize("delta", DELTAS)
def test_shrinkage_of_rows_by_hand(delta: float) -> None:
    # Rows of n = 4 and mu = 1/2: the threshold is 1.
    v = torch.tensor([[4.0, 0, 0, 3], [0, 1, 0, 0], [0, 0.5, 0.5, 0.5], [0, 0, 0, 0]])
    expected = torch.tensor([[3.2, 0, 0, 2.4], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    regularizer = GroupLasso(0.5, (0,))
    torch.testing.assert_close(regularizer.prox(v, delta), delta * expected)
    assert not regularizer.prox(v, delta)[1:].any(), "at the threshold and below: exactly zero"


@pytest.mark.parametrize(("shape", "group_dims"), GROUPINGS)
def test_group_lasso_written_out(shape: tuple[int, ...], group_dims: tuple[int, ...]) -> None:
    theta, regularizer = draw(shape), GroupLasso(0.3, group_dims)
    value, subgradient = 0.0, np.zeros(shape)
    for mask in groups_of(shape, group_dims):
        group = theta.numpy()[mask]
        n, norm = group.size, math.sqrt((group**2).sum())
        value += 0.3 * math.sqrt(n) * norm
        subgradient[mask] = 0.3 * math.sqrt(n) * group / norm
        assert regularizer.threshold(shape) == pytest.approx(0.3 * math.sqrt(n))
    assert regularizer.value(theta).item() == pytest.approx(value)
    np.testing.assert_allclose(regularizer.subgradient(theta).numpy(), subgradient)
    assert regularizer.norms(theta).ndim == theta.ndim
    assert regularizer.norms(theta).numel() == len(groups_of(shape, group_dims))


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "regularizer",
    [Zero(), L1(0.1), NonNegativeL1(0.1), GroupLasso(0.1, (0,)), GroupLasso(0.1, ())],
    ids=repr,
)
def test_shape_and_dtype_are_kept(regularizer: Regularizer, dtype: torch.dtype) -> None:
    theta = draw((3, 4)).abs().to(dtype)
    for result in (regularizer.prox(theta, 0.5), regularizer.subgradient(theta)):
        assert (result.shape, result.dtype) == ((3, 4), dtype)
    assert regularizer.value(theta).dtype == dtype


@pytest.mark.parametrize("mu", [-0.1, math.nan, math.inf])
def test_an_impossible_mu_is_refused(mu: float) -> None:
    message = f"mu must be finite and not negative, got {mu}"
    for make in (L1, NonNegativeL1, lambda mu: GroupLasso(mu, (0,))):
        with pytest.raises(ValueError, match=message):
            make(mu)


def test_impossible_group_dims_are_refused() -> None:
    for repeated_or_negative in ((0, 0), (-1,), (1, 0, 1)):
        with pytest.raises(ValueError, match="names each dimension once, counted from 0; got "):
            GroupLasso(0.1, repeated_or_negative)
    regularizer, theta = GroupLasso(0.1, (0, 2)), torch.ones(2, 3)
    for method in (regularizer.prox, regularizer.subgradient, regularizer.value):
        with pytest.raises(ValueError, match=r"\(0, 2\) .* parameter with 2 dimensions does not"):
            method(theta)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_subgradient_of_a_zero_group_is_zero_for_a_large_mu(dtype: torch.dtype) -> None:
    theta = torch.zeros(2, 784, dtype=dtype)
    assert torch.equal(GroupLasso(1e6, (0,)).subgradient(theta), theta)


@pytest.mark.parametrize(
    ("regularizer", "description"),
    [
        (Zero(), {"kind": "Zero"}),
        (L1(0.1), {"kind": "L1", "mu": 0.1}),
        (NonNegativeL1(0.1), {"kind": "NonNegativeL1", "mu": 0.1}),
        (GroupLasso(0.1, (0, 1)), {"kind": "GroupLasso", "mu": 0.1, "group_dims": [0, 1]}),
        (ZeroIndicator(), {"kind": "ZeroIndicator"}),
    ],
    ids=repr,
)
def test_plain_values_describe_a_regularizer(
    regularizer: Regularizer, description: dict[str, object]
) -> None:
    assert regularizer.to_dict() == description
    assert Regularizer.from_dict(description) == regularizer


def test_an_unknown_kind_and_a_theta_outside_the_domain_are_refused() -> None:
    known = "GroupLasso, HeadLasso, L1, NonNegativeL1, Zero, ZeroIndicator"
    for description in ({"kind": "L2", "mu": 0.1}, {"mu": 0.1}):
        with pytest.raises(ValueError, match=f"unknown kind of regularizer .*; known are {known}"):
            Regularizer.from_dict(description)
    with pytest.raises(ValueError, match=r"NonNegativeL1 has no subgradient .* negative"):
        NonNegativeL1(0.1).subgradient(torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"ZeroIndicator has no subgradient .* start it at zero"):
        ZeroIndicator().subgradient(torch.tensor([0.0, 1.0]))
