"""AdaBreg and LinBreg against torch's optimizers, formulas written out, and by hand."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bregman_nas import (
    L1,
    AdaBreg,
    GroupLasso,
    LinBreg,
    NonNegativeL1,
    Regularizer,
    Zero,
    ZeroIndicator,
)

SHAPES = [(3, 4), (5,), (), (4, 3, 2, 2)]
STEPS = 100

each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
plain_and_fused = pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])


def parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    numbers = torch.Generator().manual_seed(0)
    params = [nn.Parameter(torch.randn(s, generator=numbers, dtype=dtype)) for s in SHAPES]
    params[-1].data = params[-1].data.to(memory_format=torch.channels_last)
    return params


def parameters_of(optimizer: Any) -> list[nn.Parameter]:
    return [param for group in optimizer.param_groups for param in group["params"]]


def train_beside(
    ours: Any, theirs: Any, dtype: torch.dtype, check: Callable[[], None] = lambda: None
) -> None:
    """A hundred steps with gradients of very different magnitudes; the parameters agree."""
    rtol, atol = (1e-12, 1e-14) if dtype == torch.float64 else (1e-4, 1e-5)
    numbers = torch.Generator().manual_seed(1)
    pairs = [parameters_of(ours), parameters_of(theirs)]
    for step in range(STEPS):
        for one, other in zip(*pairs, strict=True):
            magnitude = 10 ** (6 * torch.rand((), generator=numbers, dtype=dtype) - 4)
            gradient = torch.randn(one.shape, generator=numbers, dtype=dtype) * magnitude
            for param in (one, other):  # one comes late, and counts its steps from there
                late = step < 4 and one.ndim == 1
                param.grad = None if late else torch.empty_like(param).copy_(gradient)
        ours.step()
        theirs.step()
        torch.testing.assert_close(*pairs, rtol=rtol, atol=atol)
        check()


@each_dtype
@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (AdaBreg, torch.optim.Adam, {"betas": (0.5, 0.9), "eps": 1e-3}),
        (AdaBreg, torch.optim.Adam, {"betas": (0.5, 0.9), "fused": True}),
        (LinBreg, torch.optim.SGD, {}),
    ],
)
def test_without_regularizer_they_are_those_of_torch(
    ours: Any, theirs: Any, options: dict[str, Any], dtype: torch.dtype
) -> None:
    first, second = (
        make([{"params": params[:2]}, {"params": params[2:], "lr": 0.1}], lr=0.01, **options)
        for make, params in ((ours, parameters(dtype)), (theirs, parameters(dtype)))
    )
    train_beside(first, second, dtype)
    if "fused" in options:  # the same kernel, bit for bit
        assert all(map(torch.equal, parameters_of(first), parameters_of(second)))


@each_dtype
@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize(
    "regularizer",
    [
        *(Zero(), L1(0.2), NonNegativeL1(0.2), ZeroIndicator()),
        *(GroupLasso(0.3, dims) for dims in ((), (0,), (0, 1), (0, 1, 2, 3))),
    ],
    ids=repr,
)
def test_fused_and_plain_agree(
    regularizer: Regularizer, corrected: bool, dtype: torch.dtype
) -> None:
    """In theta and v, and in which entries are zero."""
    optimizers, least = [], max(getattr(regularizer, "group_dims", ()), default=-1)
    for fused in (False, True):
        params = parameters(dtype)
        fits = [p for p in params if p.ndim > least]
        for param in fits:
            inside = (param >= 0.3) & (regularizer != ZeroIndicator())  # of the domain of J
            param.data.mul_(inside)
        groups: list[dict[str, Any]] = [
            {"params": fits, "regularizer": regularizer},
            {"params": [p for p in params if p.ndim <= least]},
        ]
        how: dict[str, Any] = {"correct_first_moment": corrected, "fused": fused}
        optimizers.append(AdaBreg(groups, lr=0.17, delta=1.5, **how))
    patterns = set()

    def check() -> None:
        for one, other in zip(*map(parameters_of, optimizers), strict=True):
            assert torch.equal(one != 0, other != 0)
            v = [made.subgradient(p) for made, p in zip(optimizers, (one, other), strict=True)]
            torch.testing.assert_close(*v, rtol=1e-4, atol=1e-5)
        on = torch.cat([p.flatten() != 0 for p in parameters_of(optimizers[0])])
        patterns.add(tuple(on.tolist()))

    train_beside(optimizers[0], optimizers[1], dtype, check)
    assert regularizer == ZeroIndicator() or len(patterns) > 1, "groups did switch on and off"


def test_delta_is_a_factor_on_the_learning_rate_and_on_mu() -> None:
    """With w = delta v: see the report, "What decides the architecture?"."""
    optimizers = []
    for factor, delta in ((1.0, 1.5), (1.5, 1.0)):
        rows, others = GroupLasso(0.3 * factor, (0,)), L1(0.2 * factor)
        params = parameters(torch.float64)
        groups: list[dict[str, Any]] = [
            {"params": [p for p in params if p.ndim > 1], "regularizer": rows},
            {"params": [p for p in params if p.ndim < 2], "regularizer": others},
        ]
        optimizers.append(AdaBreg(groups, lr=0.17 * factor, delta=delta))
    train_beside(optimizers[0], optimizers[1], torch.float64)


def scalar(value: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor([value], dtype=torch.float64))


def test_the_momentum_of_linbreg_by_hand() -> None:
    # m = 0.5 m + 0.5 * 0.1 g:  0.05, 0.125, 0.0125
    param = scalar(2.0)
    optimizer = LinBreg([param], lr=0.1, momentum=0.5)
    for gradient, expected in ((1.0, 1.95), (2.0, 1.825), (-1.0, 1.8125)):
        param.grad = torch.full_like(param, gradient)
        optimizer.step()
        assert param.item() == pytest.approx(expected, rel=1e-14)


def test_linbreg_with_l1_by_hand() -> None:
    # delta = 2 and mu = 0.5: v starts at 1 / 2 + 0.5 = 1 and moves by -lr g = -0.3 a step.
    param = scalar(1.0)
    optimizer = LinBreg([param], lr=0.1, delta=2.0, regularizer=L1(0.5))
    for v, theta in ((0.7, 0.4), (0.4, 0.0), (0.1, 0.0), (-0.2, 0.0), (-0.5, 0.0), (-0.8, -0.6)):
        param.grad = torch.full_like(param, 3.0)
        optimizer.step()
        assert optimizer.subgradient(param).item() == pytest.approx(v, abs=1e-14)
        assert param.item() == pytest.approx(theta, abs=1e-14)


@plain_and_fused
@pytest.mark.parametrize("corrected", [True, False])
def test_adabreg_is_algorithm_1_written_out(corrected: bool, fused: bool) -> None:
    eta, beta1, beta2, epsilon, delta, mu = 0.05, 0.8, 0.95, 1e-4, 1.5, 0.2
    start = [0.0, 0.7, -0.1]
    param = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    options: dict[str, Any] = {"correct_first_moment": corrected, "fused": fused, "eps": epsilon}
    optimizer = AdaBreg([param], eta, (beta1, beta2), delta=delta, regularizer=L1(mu), **options)
    m1, m2 = [0.0] * 3, [0.0] * 3
    v = [x / delta + (math.copysign(mu, x) if x else 0.0) for x in start]
    numbers = torch.Generator().manual_seed(0)
    for k in range(1, 41):
        g = (torch.randn(3, generator=numbers, dtype=torch.float64) + 0.3).tolist()
        theta = []
        for i in range(3):
            m1[i] = beta1 * m1[i] + (1 - beta1) * g[i]
            m2[i] = beta2 * m2[i] + (1 - beta2) * g[i] ** 2
            first = m1[i] / (1 - beta1**k) if corrected else m1[i]
            v[i] -= eta * first / (math.sqrt(m2[i] / (1 - beta2**k)) + epsilon)
            theta.append(delta * math.copysign(max(abs(v[i]) - mu, 0), v[i]))
        param.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        assert optimizer.subgradient(param).tolist() == pytest.approx(v, rel=1e-12, abs=1e-14)
        assert param.tolist() == pytest.approx(theta, rel=1e-11, abs=1e-13)


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


@plain_and_fused
@pytest.mark.parametrize(("lr", "mu"), [(0.01, 0.055), (0.001, 0.0205), (0.03, 0.1)])
@pytest.mark.parametrize("gradient", [-100.0, 1e-3])
def test_a_scalar_switches_on_under_adabreg_after_mu_over_lr_steps(
    gradient: float, lr: float, mu: float, fused: bool
) -> None:
    # The gradient is constant: each step moves v by lr |g| / (|g| + eps), against the gradient.
    step, first = lr * abs(gradient) / (abs(gradient) + 1e-8), math.ceil(mu / lr)
    param = scalar(0.0)
    optimizer = AdaBreg([param], lr=lr, regularizer=L1(mu), fused=fused)
    history = constant_steps(optimizer, param, torch.full_like(param, gradient), first + 1)
    assert [theta.item() for theta in history[: first - 1]] == [0.0] * (first - 1)
    assert history[first - 1].item() == pytest.approx(math.copysign(first * step - mu, -gradient))
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
