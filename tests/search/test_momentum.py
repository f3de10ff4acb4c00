"""When momentum has run out: the criterion against Adam itself, run on with zero gradients."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam

from bregman_nas.bregman.optimizers import fused_adam_
from bregman_nas.search.core.trainer import is_at_rest

RATE = 1e-3
Betas = tuple[float, float]
State = tuple[Tensor, Tensor, Tensor]

each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def step(kind: str, state: State, counter: Tensor, betas: Betas, eps: float) -> None:
    """A step with gradient 0."""
    v, m1, m2 = state
    lists: Any = ([v], [torch.zeros_like(v)], [m1], [m2])
    if kind != "plain":
        corrected = kind == "fused"
        how: Any = {"betas": betas, "eps": eps, "correct_first_moment": corrected}
        everything: Any = (*lists, [counter])
        fused_adam_(*everything, lr=RATE, **how)
        return
    how = {"beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": 0.0}
    how |= {"foreach": False, "amsgrad": False, "maximize": False}
    everything = (*lists, [], [counter])
    torch_adam(*everything, lr=RATE, **how)


def magnitudes(count: int, low: float, high: float, numbers: torch.Generator) -> Tensor:
    """Of both signs, their logarithms spread evenly."""
    exponents = low + (high - low) * torch.rand(count, generator=numbers, dtype=torch.float64)
    signs = torch.randint(0, 2, (count,), generator=numbers) * 2 - 1
    return signs * 10**exponents


def any_state(dtype: torch.dtype, count: int = 4_000) -> State:
    """v and moments of all magnitudes, denormal numbers and zeros among them."""
    numbers = torch.Generator().manual_seed(0)
    smallest = -44 if dtype == torch.float32 else -320
    v, m1, m2 = (magnitudes(count, *x, numbers) for x in ((-12, 3), (-30, 1), (-40, 1)))
    m2 = m2.abs()
    for value in (v, m1, m2):
        small = magnitudes(count, smallest, smallest / 2, numbers).abs()
        which = torch.randint(0, 8, (count,), generator=numbers)
        value[which == 0] = 0.0
        value[which == 1] = small[which == 1]
    # Powers of two have the nearest neighbours of all.
    v[:200] = 2.0 ** torch.arange(-100, 100)
    return v.to(dtype), m1.to(dtype), m2.to(dtype)


@pytest.mark.parametrize("kind", ["plain", "fused", "uncorrected"])
@each_dtype
@pytest.mark.parametrize(
    ("steps", "betas", "eps"),
    [
        *itertools.product([1, 10, 100_000], [(0.9, 0.999)], [1e-8, 1e-3]),
        *itertools.product([3], [(0.5, 0.9), (0.0, 0.9), (0.9, 0.0), (0.99, 0.9)], [1e-8]),
        (50, (0.9, 0.999), 1e-30),
    ],
)
def test_what_is_at_rest_never_changes(
    steps: int, betas: Betas, eps: float, dtype: torch.dtype, kind: str
) -> None:
    state = any_state(dtype)
    at_rest = is_at_rest(torch.stack(state), RATE, betas, eps, steps)
    assert at_rest.any()
    assert at_rest.all() == (betas[0] == 0)  # without a first moment nothing ever coasts
    counter, before = torch.tensor(float(steps)), state[0].clone()
    for _ in range(400):
        step(kind, state, counter, betas, eps)
        assert torch.equal(state[0][at_rest], before[at_rest])


@pytest.mark.parametrize("steps", [0, 7])
def test_without_momentum_all_is_at_rest(steps: int) -> None:
    v, zero = torch.tensor([0.0, 1.0, -1e-45]), torch.zeros(3)
    for m2 in (zero, torch.ones(3)):
        stack = torch.stack([v, zero, m2])
        assert is_at_rest(stack, RATE, (0.9, 0.999), 1e-8, steps).all()


def test_the_bound_by_hand() -> None:
    # beta1 = 1/2, beta2 = 1: the bound is 2 lr |m1| / (1 - 1/2^k) / sqrt(m2) * (1/2 + 1/4 + ...)
    # = 2 * 0.5 * |m1| / (1/2) = 2 |m1|, with k = 1 and m2 = 1.
    m1 = 2.0**-53 * torch.tensor([0.24, 0.26, 0.49, 0.51], dtype=torch.float64)
    one = torch.ones(4, dtype=torch.float64)
    # Below 1 the neighbours are twice as near as above.
    for v, expected in ((one, [True, False, False, False]), (1.5 * one, [True] * 3 + [False])):
        stack = torch.stack([v, m1, one])
        assert is_at_rest(stack, 0.5, (0.5, 1.0), 0.0, 1).tolist() == expected
