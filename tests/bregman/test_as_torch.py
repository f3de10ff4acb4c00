"""What a user of torch's optimizers expects: each case works as with Adam, or is refused."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Adam, Optimizer

from bregman_nas import L1, AdaBreg, GroupLasso, LinBreg, NonNegativeL1
from bregman_nas.bregman.base import BregmanOptimizer

Make = Callable[..., Optimizer]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def train(net: nn.Module, optimizer: Optimizer, steps: int = 3, scaler: Any = None) -> None:
    numbers = torch.Generator().manual_seed(1)
    first = next(net.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        inputs, targets = (torch.randn(8, n, generator=numbers).to(first) for n in (3, 2))
        loss = (net(inputs) - targets).square().mean()
        if scaler is None:
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()


def options(dtype: torch.dtype = torch.float32, **chosen: Any) -> Callable[[Make], nn.Module]:
    """Training with these options, and parameters of this type."""

    def run(make: Make) -> nn.Module:
        net = network().to(dtype)
        train(net, make(net.parameters(), lr=0.02, **chosen))
        return net

    return run


def a_grad_scaler(make: Make) -> nn.Module:
    net = network()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126)  # the first steps overflow
    train(net, make(net.parameters(), lr=0.02), 8, scaler)
    return net


def a_compiled_step(make: Make) -> nn.Module:
    net = network()
    optimizer = make(net.parameters(), lr=0.02)
    step = torch.compile(optimizer.step, backend="eager")
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    for _ in range(3):
        step()
    return net


def a_deep_copy(make: Make) -> nn.Module:
    net = network()
    optimizer = make(net.parameters(), lr=0.02)
    train(net, optimizer)
    net, optimizer = copy.deepcopy((net, optimizer))
    train(net, optimizer)
    return net


def pickling(make: Make) -> nn.Module:
    net = network()
    optimizer = make(net.parameters(), lr=0.02)
    train(net, optimizer)
    other: nn.Sequential
    other, optimizer = pickle.loads(pickle.dumps((net, optimizer)))
    train(other, optimizer)
    return other


def saving(make: Make) -> nn.Module:
    net = network()
    optimizer = make(net.parameters(), lr=0.02)
    train(net, optimizer)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    optimizer = make(net.parameters())
    optimizer.load_state_dict(torch.load(file))
    train(net, optimizer)
    return net


def restored_weights(make: Make) -> nn.Module:
    net = network()
    best = copy.deepcopy(net.state_dict())
    optimizer = make(net.parameters(), lr=0.02)
    train(net, optimizer)
    net.load_state_dict(best)
    train(net, optimizer)
    return net


def weights_restored_after_the_state(make: Make) -> nn.Module:
    net = network()
    best = copy.deepcopy(net.state_dict())
    optimizer = make(net.parameters(), lr=0.02)
    train(net, optimizer)
    optimizer.load_state_dict(optimizer.state_dict())
    net.load_state_dict(best)
    train(net, optimizer)
    return net


def a_group_added_later(make: Make) -> nn.Module:
    net = network()
    optimizer = make(net[0].parameters(), lr=0.02)
    train(net, optimizer)
    optimizer.add_param_group({"params": net[2].parameters(), "lr": 0.1})
    train(net, optimizer)
    return net


def named_parameters(make: Make) -> nn.Module:
    net = network()
    train(net, make(net.named_parameters(), lr=0.02))
    return net


def groups_of_another_optimizer(make: Make) -> nn.Module:
    """As after a scheduler, which has put its own key there."""
    net = network()
    groups = [{"params": net.parameters(), "initial_lr": 0.02, "lr": 0.02}]
    optimizer = make(groups)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=3, cycle_momentum=False
    )
    for _ in range(3):
        train(net, optimizer, 1)
        scheduler.step()
    return net


def nothing_is_a_number(make: Make) -> nn.Module:
    net = network()
    optimizer = make(net.parameters(), lr=0.02)
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    optimizer.step()
    return net


def a_step_hook(make: Make) -> nn.Module:
    net = network()
    optimizer = make(net.parameters(), lr=0.02)
    calls: list[int] = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    train(net, optimizer)
    assert len(calls) == 3
    return net


AS_ADAM: list[Callable[[Make], nn.Module]] = [
    options(),
    options(fused=True),
    options(maximize=True, weight_decay=0.3),
    options(maximize=True, fused=True),
    options(weight_decay=0.3),
    options(weight_decay=0.3, fused=True),
    options(eps=0.1, betas=(0.5, 0.6)),
    options(torch.float64),
    options(torch.bfloat16),
    options(torch.bfloat16, fused=True),
    options(torch.float16, fused=True),
    options(torch.float16, eps=1e-4),
    a_grad_scaler,
    a_compiled_step,
    a_deep_copy,
    pickling,
    saving,
    restored_weights,
    weights_restored_after_the_state,
    a_group_added_later,
    named_parameters,
    groups_of_another_optimizer,
    nothing_is_a_number,
    a_step_hook,
]


@pytest.mark.parametrize("run", AS_ADAM, ids=lambda run: run.__name__)
def test_it_works_as_with_adam(run: Callable[[Make], nn.Module]) -> None:
    for ours, adams in zip(run(AdaBreg).parameters(), run(Adam).parameters(), strict=True):
        precise = ours.dtype in (torch.float32, torch.float64)
        tolerance = 1e-5 if precise else 0.02  # two roundings of eight or eleven bits
        torch.testing.assert_close(ours, adams, rtol=tolerance, atol=tolerance, equal_nan=True)


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))


def load(change: Callable[[dict[str, Any]], Any], into: Make = AdaBreg) -> None:
    """Take over a state that was changed; nothing may have happened then."""
    net = network()
    optimizer = AdaBreg(net.parameters(), regularizer=L1(0.1))
    train(net, optimizer)
    state = copy.deepcopy(optimizer.state_dict())
    change(state)
    other = into(net.parameters(), lr=0.5)
    try:
        other.load_state_dict(state)
    finally:
        assert other.param_groups[0]["lr"] == 0.5
        assert not other.state


def sparse_gradient() -> None:
    embedding = nn.Embedding(4, 2, sparse=True)
    before = embedding.weight.detach().clone()
    optimizer = AdaBreg(embedding.parameters())
    embedding(torch.tensor([1])).sum().backward()
    try:
        optimizer.step()
    finally:
        assert torch.equal(embedding.weight, before)
        assert not optimizer.state


def first_step_fails() -> None:
    """It leaves no half of a state: the next one says the same."""
    good, bad = parameter(1.0), parameter(-1.0)
    good.grad, bad.grad = torch.ones(1), torch.ones(1)
    optimizer = AdaBreg([good, bad], regularizer=NonNegativeL1(0.1))
    for _ in range(2):
        try:
            optimizer.step()
        except ValueError:
            assert good.item() == 1
    optimizer.step()


def other_shape() -> None:
    weight = parameter(1.0, 2.0)
    weight.grad = torch.ones(2)
    optimizer = AdaBreg([weight], fused=True)
    optimizer.step()
    weight.data = torch.ones(3)
    weight.grad = torch.ones(3)
    optimizer.step()


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: AdaBreg([parameter(1.0)], capturable=True), TypeError, "argument 'capturable'"),  # type: ignore[call-arg]
    (lambda: LinBreg([parameter(1.0)], foreach=True), TypeError, "argument 'foreach'"),  # type: ignore[call-arg]
    (
        lambda: AdaBreg([{"params": [parameter(1.0)], "regularizr": L1(0.1)}]),
        TypeError,
        "AdaBreg has no option 'regularizr'; did you mean 'regularizer'",
    ),
    (lambda: AdaBreg([parameter(1.0)], weight_decay=-1.0), ValueError, "weight_decay must be"),
    (lambda: AdaBreg([nn.Parameter(torch.ones(1) * 1j)]), TypeError, "complex parameters"),
    (lambda: AdaBreg([parameter(1.0)], delta=1e39), ValueError, "delta must be finite in torch.f"),
    (lambda: GroupLasso(0.1, (0.5,)), ValueError, "each dimension once"),  # type: ignore[arg-type]
    (lambda: GroupLasso(0.1, (True,)), ValueError, "each dimension once"),
    (
        lambda: AdaBreg(nn.Linear(1, 1).half().parameters()),
        ValueError,
        "eps must be more than zero in torch.float16, or fused=True, got 1e-08",
    ),
    (lambda: NonNegativeL1(0.1).subgradient(torch.tensor([float("nan")])), ValueError, "not a nu"),
    (sparse_gradient, RuntimeError, "AdaBreg does not support sparse gradients"),
    (first_step_fails, ValueError, "NonNegativeL1 has no subgradient"),
    (other_shape, ValueError, r"the state has shape \(2,\), its parameter \(3,\)"),
    (lambda: load(lambda s: s["param_groups"][0].update(lr=-5)), ValueError, "lr must be finite"),
    (lambda: load(lambda s: s["param_groups"][0].update(delta=1e39)), ValueError, "delta must be"),
    (
        lambda: load(lambda s: s["state"][1].update(v=torch.ones(5))),
        ValueError,
        r"the state has shape \(5,\), its parameter \(4,\)",
    ),
    (lambda: load(lambda s: None, LinBreg), ValueError, "not the state of LinBreg: it lacks mome"),
    (
        lambda: load(lambda s: s.update(Adam(network().parameters()).state_dict())),
        ValueError,
        "this is not the state of AdaBreg: it lacks delta, regularizer",
    ),
    (
        lambda: load(lambda s: s["state"][0].pop("exp_avg")),
        ValueError,
        "this is not the state of AdaBreg: it has step, v, exp_avg_sq",
    ),
    (
        lambda: load(lambda s: s["param_groups"][0]["params"].pop()),
        ValueError,
        "doesn't match the size",
    ),
]


@pytest.mark.parametrize(("act", "error", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_it_is_refused_in_a_sentence(
    act: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        act()


@pytest.mark.parametrize("make", [AdaBreg, LinBreg])
def test_restored_weights_are_kept_and_groups_that_stay_off_keep_their_subgradient(
    make: Callable[..., BregmanOptimizer],
) -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]]))
    optimizer = make([weight], lr=0.01, regularizer=GroupLasso(1.0, (0,)))
    weight.grad = torch.ones(3, 2)
    optimizer.step()
    v = optimizer.subgradient(weight)
    restored = torch.tensor([[0.0, 0.0], [6.0, 8.0], [0.0, 0.0]])
    with torch.no_grad():
        weight.copy_(restored)
    weight.grad = torch.zeros(3, 2)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    if make is LinBreg:  # lr is 0, and there is no momentum
        torch.testing.assert_close(weight.detach(), restored)
    # The threshold is sqrt(2), the direction of the row that was restored (0.6, 0.8).
    on = torch.tensor([6 + 0.6 * 2**0.5, 8 + 0.8 * 2**0.5])
    expected = torch.stack([torch.zeros(2), on, v[2]])
    torch.testing.assert_close(optimizer.subgradient(weight), expected)


def test_a_restored_zero_in_a_group_that_was_off_is_a_zero() -> None:
    weight = nn.Parameter(torch.zeros(1, 2))
    optimizer = LinBreg([weight], lr=0.1, regularizer=GroupLasso(1.0, (0,)))
    weight.grad = torch.ones(1, 2)
    optimizer.step()
    restored = torch.tensor([[0.0, 2.0]])
    with torch.no_grad():
        weight.copy_(restored)
    weight.grad = torch.zeros(1, 2)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), restored)


def test_the_subgradient_is_a_copy() -> None:
    weight = parameter(1.0)
    weight.grad = torch.ones(1)
    optimizer = AdaBreg([weight], regularizer=L1(0.1))
    for _ in range(2):
        optimizer.subgradient(weight).zero_()
        optimizer.step()
    assert weight.item() == pytest.approx(0.998)
