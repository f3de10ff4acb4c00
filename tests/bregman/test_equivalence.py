"""AdaBreg and LinBreg against torch's optimizers, formulas written out, and each other."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

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

SHAPES = [(3, 4), (5,), (), (4, 3, 2, 2)]
STEPS = 100

each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
plain_and_fused = pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])


def parameters(dtype: torch.dtype, seed: int = 0) -> list[nn.Parameter]:
    numbers = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(s, generator=numbers, dtype=dtype)) for s in SHAPES]


def in_two_groups(params: list[nn.Parameter], **second: Any) -> list[dict[str, Any]]:
    return [{"params": params[:2]}, {"params": params[2:], **second}]


def random_gradients(dtype: torch.dtype, seed: int = 1) -> Iterator[list[Tensor]]:
    """Of very different magnitudes, from step to step and from shape to shape."""
    numbers = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        yield [
            torch.randn(s, generator=numbers, dtype=dtype)
            * 10 ** (6 * torch.rand((), generator=numbers, dtype=dtype) - 4)
            for s in SHAPES
        ]


def assert_close(actual: Sequence[Tensor], expected: Sequence[Tensor], dtype: torch.dtype) -> None:
    rtol, atol = (1e-12, 1e-14) if dtype == torch.float64 else (1e-4, 1e-5)
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


def set_gradients(params: list[nn.Parameter], gradients: list[Tensor]) -> None:
    for param, gradient in zip(params, gradients, strict=True):
        param.grad = gradient.clone()


@each_dtype
@plain_and_fused
def test_without_regularizer_adabreg_is_adam(fused: bool, dtype: torch.dtype) -> None:
    ours, theirs = parameters(dtype), parameters(dtype)
    second = {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}
    adabreg = AdaBreg(in_two_groups(ours, **second), fused=fused)
    adam = torch.optim.Adam(in_two_groups(theirs, **second), fused=fused)
    for gradients in random_gradients(dtype):
        set_gradients(ours, gradients)
        set_gradients(theirs, gradients)
        adabreg.step()
        adam.step()
        assert_close(ours, theirs, dtype)
        assert not fused or all(map(torch.equal, ours, theirs)), "the same kernel, bit for bit"


@each_dtype
def test_without_regularizer_linbreg_is_sgd(dtype: torch.dtype) -> None:
    ours, theirs = parameters(dtype), parameters(dtype)
    linbreg = LinBreg(in_two_groups(ours, lr=0.1), lr=0.01)
    sgd = torch.optim.SGD(in_two_groups(theirs, lr=0.1), lr=0.01)
    for gradients in random_gradients(dtype):
        set_gradients(ours, gradients)
        set_gradients(theirs, gradients)
        linbreg.step()
        sgd.step()
        assert_close(ours, theirs, dtype)


@plain_and_fused
def test_without_regularizer_a_network_trains_as_under_adam(fused: bool) -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    theirs = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    theirs.load_state_dict(ours.state_dict())
    inputs, targets = torch.randn(16, 3).double(), torch.randn(16, 2).double()
    losses = []
    for model, optimizer in (
        (ours, AdaBreg(ours.parameters(), lr=0.01, fused=fused)),
        (theirs, torch.optim.Adam(theirs.parameters(), lr=0.01)),
    ):
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = functional.mse_loss(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[:STEPS] == pytest.approx(losses[STEPS:], rel=1e-8)
    assert losses[STEPS - 1] < 0.5 * losses[0]


def test_the_momentum_of_linbreg_by_hand() -> None:
    # m = 0.5 m + 0.5 * 0.1 g:  0.05, 0.125, 0.0125
    param = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = LinBreg([param], lr=0.1, momentum=0.5)
    for gradient, expected in ((1.0, 1.95), (2.0, 1.825), (-1.0, 1.8125)):
        param.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        assert param.item() == pytest.approx(expected, rel=1e-14)


def test_linbreg_with_l1_by_hand() -> None:
    # delta = 2 and mu = 0.5: v starts at 1 / 2 + 0.5 = 1 and moves by -lr g = -0.3 a step.
    param = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = LinBreg([param], lr=0.1, delta=2.0, regularizer=L1(0.5))
    for v, theta in ((0.7, 0.4), (0.4, 0.0), (0.1, 0.0), (-0.2, 0.0), (-0.5, 0.0), (-0.8, -0.6)):
        param.grad = torch.tensor([3.0], dtype=torch.float64)
        optimizer.step()
        assert optimizer.subgradient(param).item() == pytest.approx(v, abs=1e-14)
        assert param.item() == pytest.approx(theta, abs=1e-14)


@plain_and_fused
@pytest.mark.parametrize("corrected", [True, False])
def test_adabreg_is_algorithm_1_written_out(corrected: bool, fused: bool) -> None:
    eta, beta1, beta2, epsilon, delta, mu = 0.05, 0.8, 0.95, 1e-4, 1.5, 0.2
    start = [0.0, 0.7, -0.1]
    param = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = AdaBreg(
        [param],
        lr=eta,
        betas=(beta1, beta2),
        eps=epsilon,
        delta=delta,
        regularizer=L1(mu),
        correct_first_moment=corrected,
        fused=fused,
    )
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
    plain, fused = parameters(dtype), parameters(dtype)
    dims = getattr(regularizer, "group_dims", ())
    optimizers = []
    for params in (plain, fused):
        fits = [p for p in params if p.ndim > max(dims, default=-1)]
        with torch.no_grad():
            for param in fits:
                param[param < 0.3] = 0  # inside the domain of J
                if regularizer == ZeroIndicator():
                    param.zero_()
        groups: list[dict[str, Any]] = [
            {"params": fits, "regularizer": regularizer},
            {"params": [p for p in params if p.ndim <= max(dims, default=-1)]},
        ]
        how: dict[str, Any] = {"correct_first_moment": corrected, "fused": params is fused}
        optimizers.append(AdaBreg(groups, lr=0.17, delta=1.5, **how))
    assert_agreement(plain, fused, optimizers, dtype)


def assert_agreement(
    plain: list[nn.Parameter],
    fused: list[nn.Parameter],
    optimizers: list[AdaBreg],
    dtype: torch.dtype,
) -> None:
    """After each of a hundred steps, theta and v agree, and the same entries are zero."""
    patterns = set()
    for gradients in random_gradients(dtype):
        set_gradients(plain, gradients)
        set_gradients(fused, gradients)
        for optimizer in optimizers:
            optimizer.step()
        assert_close(plain, fused, dtype)
        v_plain = [optimizers[0].subgradient(p) for p in plain]
        v_fused = [optimizers[1].subgradient(p) for p in fused]
        assert_close(v_plain, v_fused, dtype)
        for a, b in zip(plain, fused, strict=True):
            assert torch.equal(a != 0, b != 0)
        patterns.add(tuple(bool(x) for p in plain for x in (p != 0).flatten()))
    regularizer = optimizers[0].param_groups[0]["regularizer"]
    if regularizer not in (Zero(), ZeroIndicator()):
        assert len(patterns) > 1, "groups did switch on and off"


@pytest.mark.parametrize("regularizer", [L1(0.1), GroupLasso(0.1, (0, 1))], ids=repr)
def test_fused_and_plain_agree_in_channels_last(regularizer: Regularizer) -> None:
    results = []
    for fused in (False, True):
        torch.manual_seed(0)
        conv = nn.Conv2d(3, 4, 2, bias=False).double().to(memory_format=torch.channels_last)
        optimizer = AdaBreg(conv.parameters(), lr=0.05, regularizer=regularizer, fused=fused)
        for _ in range(5):
            optimizer.zero_grad()
            conv(torch.randn(2, 3, 5, 5).double()).square().mean().backward()
            optimizer.step()
        results.append(conv.weight.detach())
    torch.testing.assert_close(results[0], results[1], rtol=1e-11, atol=1e-13)


def test_fused_and_plain_agree_when_a_gradient_comes_late() -> None:
    results = []
    for fused in (False, True):
        always, late = (nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2))
        optimizer = AdaBreg([always, late], lr=0.1, correct_first_moment=False, fused=fused)
        for k in range(6):
            always.grad = torch.ones_like(always)
            late.grad = torch.ones_like(late) if k >= 4 else None
            optimizer.step()
        results.append([always.item(), late.item()])
    assert results[0] == pytest.approx(results[1])
