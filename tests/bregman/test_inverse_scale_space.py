"""Groups are exactly zero until their v crosses the threshold; computed by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from bregman_nas.bregman import L1, AdaBreg, GroupLasso, LinBreg, NonNegativeL1


def constant_steps(
    optimizer: AdaBreg | LinBreg, param: nn.Parameter, gradient: Tensor, steps: int
) -> list[Tensor]:
    """The parameter after each of `steps` steps with the same gradient."""
    history = []
    for _ in range(steps):
        param.grad = gradient.clone()
        optimizer.step()
        history.append(param.detach().clone())
    return history


@pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
def test_a_scalar_switches_on_under_linbreg(delta: float) -> None:
    # v = k / 8, exact in binary; the threshold 1/2 is met in step 4 and crossed in step 5.
    param = nn.Parameter(torch.zeros(()))
    optimizer = LinBreg([param], lr=0.125, delta=delta, regularizer=L1(0.5))
    history = constant_steps(optimizer, param, torch.tensor(-1.0), 7)
    expected = [0, 0, 0, 0, 0.125 * delta, 0.25 * delta, 0.375 * delta]
    assert [theta.item() for theta in history] == expected


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize(("lr", "mu"), [(0.01, 0.055), (0.001, 0.0205), (0.03, 0.1)])
@pytest.mark.parametrize("gradient", [-100.0, 1e-3])
def test_a_scalar_switches_on_under_adabreg(
    gradient: float, lr: float, mu: float, fused: bool
) -> None:
    # The gradient is constant: each step moves v by lr |g| / (|g| + eps), against the gradient.
    step, first = 0.0, 0
    while step <= mu:
        step += lr * abs(gradient) / (abs(gradient) + 1e-8)
        first += 1
    param = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = AdaBreg([param], lr=lr, regularizer=L1(mu), fused=fused)
    history = constant_steps(
        optimizer, param, torch.tensor(gradient, dtype=torch.float64), first + 1
    )
    assert first == math.ceil(mu / lr)
    assert [theta.item() for theta in history[: first - 1]] == [0.0] * (first - 1)
    assert history[first - 1].item() == pytest.approx(math.copysign(step - mu, -gradient))
    assert abs(history[first].item()) > abs(history[first - 1].item())


def test_a_row_switches_on_and_off_and_the_others_stay_off() -> None:
    # n = 4, mu = 1/4: the threshold is 1/2. |v| grows by 1/16 * |(1, 1, 1, 1)| = 1/8 a step.
    param = nn.Parameter(torch.zeros(3, 4))
    optimizer = LinBreg([param], lr=0.0625, regularizer=GroupLasso(0.25, (0,)))
    gradient = torch.zeros(3, 4)
    gradient[1] = -1.0
    gradient[2, 0] = -1.0  # half as fast: |v| grows by 1/16
    on = constant_steps(optimizer, param, gradient, 6)
    assert [bool(theta[1].any()) for theta in on] == [False] * 4 + [True] * 2
    assert not any(theta[0].any() or theta[2].any() for theta in on)
    torch.testing.assert_close(on[4][1], 0.3125 * (1 - 0.5 / 0.625) * torch.ones(4))
    off = constant_steps(optimizer, param, -gradient, 2)
    assert [bool(theta[1].any()) for theta in off] == [True, False]
    assert not param.any(), "off is exactly zero"


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_adabreg_switches_a_row_on_and_off(fused: bool) -> None:
    # n = 4, mu = 0.025: the threshold is 0.05. |v| grows by lr * sqrt(4) = 0.02 a step.
    param = nn.Parameter(torch.zeros(2, 4, dtype=torch.float64))
    optimizer = AdaBreg([param], lr=0.01, regularizer=GroupLasso(0.025, (0,)), fused=fused)
    gradient = torch.zeros(2, 4, dtype=torch.float64)
    gradient[0] = torch.tensor([1.0, -2.0, 0.5, -30.0])  # Adam sees the signs alone
    on = constant_steps(optimizer, param, gradient, 3)
    assert [bool(theta[0].any()) for theta in on] == [False, False, True]
    assert torch.equal(on[-1][0].sign(), -gradient[0].sign())
    off = constant_steps(optimizer, param, -gradient, 20)
    active = [bool(theta[0].any()) for theta in off]
    assert False in active, "off again, on the way to the other sign"
    assert torch.equal(off[-1][0].sign(), gradient[0].sign())
    assert not any(theta[1].any() for theta in on + off)


@pytest.mark.parametrize("method", [AdaBreg, LinBreg])
def test_the_positivity_constraint_is_never_violated(method: type[AdaBreg | LinBreg]) -> None:
    numbers = torch.Generator().manual_seed(0)
    param = nn.Parameter(torch.rand(50, generator=numbers).sub(0.5).clamp_min(0))
    optimizer = method([param], lr=0.1, regularizer=NonNegativeL1(0.05))
    switched = torch.zeros(50, dtype=torch.bool)
    start = param.detach() > 0
    for _ in range(100):
        param.grad = torch.randn(50, generator=numbers)
        optimizer.step()
        assert (param >= 0).all()
        switched |= (param > 0) != start
    assert switched.any()
    assert (optimizer.subgradient(param) < 0).any(), "v itself does become negative"
