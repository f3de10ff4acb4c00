"""When momentum has run out: the criterion against Adam itself, run on with zero gradients."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam

from bregman_nas.bregman.optimizers import fused_adam_
from bregman_nas.search.core.momentum import Momentum, dead_rows

RATE = 1e-3
Step = Callable[[Tensor, Tensor, Tensor, Tensor, Momentum], None]

each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def plain(v: Tensor, m1: Tensor, m2: Tensor, step: Tensor, momentum: Momentum) -> None:
    torch_adam(
        *([v], [torch.zeros_like(v)], [m1], [m2], [], [step]),
        foreach=False,
        amsgrad=False,
        beta1=momentum.beta1,
        beta2=momentum.beta2,
        lr=momentum.learning_rate,
        weight_decay=0.0,
        eps=momentum.eps,
        maximize=False,
    )


def fused(
    v: Tensor, m1: Tensor, m2: Tensor, step: Tensor, momentum: Momentum, corrected: bool = True
) -> None:
    fused_adam_(
        *([v], [torch.zeros_like(v)], [m1], [m2], [step]),
        lr=momentum.learning_rate,
        betas=(momentum.beta1, momentum.beta2),
        eps=momentum.eps,
        correct_first_moment=corrected,
    )


def uncorrected(v: Tensor, m1: Tensor, m2: Tensor, step: Tensor, momentum: Momentum) -> None:
    fused(v, m1, m2, step, momentum, corrected=False)


each_step = pytest.mark.parametrize("step", [plain, fused, uncorrected])


def after(momentum: Momentum, steps: int) -> Momentum:
    return Momentum(
        momentum.learning_rate, momentum.beta1, momentum.beta2, momentum.eps, momentum.steps + steps
    )


def magnitudes(count: int, low: float, high: float, numbers: torch.Generator) -> Tensor:
    """Of both signs, their logarithms spread evenly."""
    exponents = low + (high - low) * torch.rand(count, generator=numbers, dtype=torch.float64)
    signs = torch.randint(0, 2, (count,), generator=numbers) * 2 - 1
    return signs * 10**exponents


def any_state(dtype: torch.dtype, count: int = 4_000) -> tuple[Tensor, Tensor, Tensor]:
    """v and moments of all magnitudes, denormal numbers and zeros among them."""
    numbers = torch.Generator().manual_seed(0)
    smallest = -44 if dtype == torch.float32 else -320
    v = magnitudes(count, -12, 3, numbers)
    m1 = magnitudes(count, -30, 1, numbers)
    m2 = magnitudes(count, -40, 1, numbers).abs()
    tiny = [magnitudes(count, smallest, smallest / 2, numbers) for _ in range(3)]
    for value, small in zip((v, m1, m2), tiny, strict=True):
        which = torch.randint(0, 8, (count,), generator=numbers)
        value[which == 0] = 0.0
        value[which == 1] = small.abs()[which == 1]
    # Powers of two have the nearest neighbours of all.
    v[:200] = 2.0 ** torch.arange(-100, 100)
    return v.to(dtype), m1.to(dtype), m2.to(dtype)


@each_step
@each_dtype
@pytest.mark.parametrize(
    ("steps", "betas", "eps"),
    [
        *itertools.product([1, 10, 100_000], [(0.9, 0.999)], [1e-8, 1e-3]),
        (3, (0.5, 0.9), 1e-8),
        (3, (0.0, 0.9), 1e-8),
        (3, (0.9, 0.0), 1e-8),
        (3, (0.99, 0.9), 1e-8),
        (50, (0.9, 0.999), 1e-30),
    ],
)
def test_what_is_at_rest_never_changes(
    steps: int, betas: tuple[float, float], eps: float, dtype: torch.dtype, step: Step
) -> None:
    momentum = Momentum(RATE, *betas, eps, steps)
    v, m1, m2 = any_state(dtype)
    at_rest = momentum.is_at_rest(v, m1, m2)
    assert at_rest.any()
    assert at_rest.all() == (momentum.beta1 == 0)  # without a first moment nothing ever coasts
    counter = torch.tensor(float(steps))
    before = v.clone()
    for _ in range(400):
        step(v, m1, m2, counter, momentum)
        assert torch.equal(v[at_rest], before[at_rest])


def a_run(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """What training leaves: v after many steps, moments of gradients of all magnitudes."""
    numbers = torch.Generator().manual_seed(1)
    v = magnitudes(2_000, -3, 1, numbers)
    m1 = magnitudes(2_000, -10, -1, numbers)
    m2 = m1.square() * magnitudes(2_000, 0, 3, numbers).abs()
    return v.to(dtype), m1.to(dtype), m2.to(dtype)


@each_dtype
def test_what_never_changes_again_is_soon_at_rest(dtype: torch.dtype) -> None:
    momentum = Momentum(RATE, 0.9, 0.999, 1e-8, 2_000)
    v, m1, m2 = a_run(dtype)
    counter = torch.tensor(float(momentum.steps))
    last_change = torch.zeros(len(v), dtype=torch.int64)
    at_rest_since = torch.full((len(v),), -1)
    for made in range(700):
        at_rest = after(momentum, made).is_at_rest(v, m1, m2)
        assert not (~at_rest & (at_rest_since >= 0)).any(), "rest does not end"
        at_rest_since[at_rest & (at_rest_since < 0)] = made
        before = v.clone()
        plain(v, m1, m2, counter, momentum)
        last_change[v != before] = made + 1
    assert (at_rest_since >= last_change).all()
    assert (at_rest_since - last_change).max() <= 50
    assert last_change.max() > 50, "momentum had run out from the start: the test is too easy"


def test_without_momentum_all_is_at_rest() -> None:
    v, zero = torch.tensor([0.0, 1.0, -1e-45]), torch.zeros(3)
    for momentum in (Momentum(RATE, 0.9, 0.999, 1e-8, 7), Momentum(RATE, 0.9, 0.999, 1e-8, 0)):
        assert momentum.is_at_rest(v, zero, zero).all()
        assert momentum.is_at_rest(v, zero, torch.ones(3)).all()


def test_the_bound_by_hand() -> None:
    # beta1 = 1/2, beta2 = 1: the bound is 2 lr |m1| / (1 - 1/2^k) / sqrt(m2) * (1/2 + 1/4 + ...)
    # = 2 * 0.5 * |m1| / (1/2) = 2 |m1|, with k = 1 and m2 = 1.
    momentum = Momentum(0.5, 0.5, 1.0, 0.0, 1)
    half_of_the_last_bit = 2.0**-53
    m1 = half_of_the_last_bit * torch.tensor([0.24, 0.26, 0.49, 0.51], dtype=torch.float64)
    one = torch.ones(4, dtype=torch.float64)
    # Below 1 the neighbours are twice as near as above.
    assert momentum.is_at_rest(one, m1, one).tolist() == [True, False, False, False]
    assert momentum.is_at_rest(1.5 * one, m1, one).tolist() == [True, True, True, False]


def test_a_row_is_dead_if_it_is_off_and_nothing_can_change_that() -> None:
    rows = list(itertools.product([True, False], [-1.0, 0.0, 1e-30], [True, False]))
    active, bias, at_rest = (torch.tensor(column) for column in zip(*rows, strict=True))
    dead = dead_rows(active, bias, at_rest)
    expected = [(False, -1.0, True), (False, 0.0, True)]
    assert [row for row, is_dead in zip(rows, dead.tolist(), strict=True) if is_dead] == expected
