"""What a user of torch's optimizers expects: it works as with Adam, or is refused in a sentence."""

import copy
import io
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Adam, Optimizer

from bregman_nas import L1, AdaBreg, ByKind, GroupLasso, LinBreg, NonNegativeL1, parameter_groups

Make = Callable[..., Any]
UNSCALED = GradScaler("cpu", enabled=False)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-network.md"


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def train(
    net: nn.Module,
    optimizer: Optimizer,
    steps: int = 3,
    scaler: GradScaler = UNSCALED,
    seed: int = 1,
) -> None:
    numbers = torch.Generator().manual_seed(seed)
    first = next(net.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        inputs, targets = (torch.randn(8, n, generator=numbers).to(first) for n in (3, 2))
        scaler.scale((net(inputs) - targets).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()


Case = Callable[[Make], nn.Module]


def options(dtype: torch.dtype = torch.float32, **chosen: Any) -> Case:
    """Training with these options, and parameters of this type."""

    def run(make: Make) -> nn.Module:
        net = network().to(dtype)
        train(net, make(net.parameters(), lr=0.02, **chosen))
        return net

    return run


def between(act: Callable[[nn.Sequential, Any], Any], **chosen: Any) -> Case:
    """Training, something done with network and optimizer, which may replace them, training."""

    def run(make: Make) -> nn.Module:
        net = network()
        optimizer = make(net[0].parameters() if chosen else net.parameters(), lr=0.02)
        train(net, optimizer)
        net, optimizer = act(net, optimizer) or (net, optimizer)
        train(net, optimizer)
        return net

    return run


def save_and_load(net: nn.Sequential, optimizer: Any) -> Any:
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other = type(optimizer)(net.parameters())
    other.load_state_dict(torch.load(file, weights_only=True))
    return net, other


def restore(net: nn.Sequential, optimizer: Any) -> None:
    optimizer.load_state_dict(optimizer.state_dict())
    net.load_state_dict(network().state_dict())


def edit(net: nn.Sequential, _: Any) -> None:
    with torch.no_grad():
        net[0].get_parameter("weight")[0] = 0.5


def with_grad_scaler(make: Make) -> nn.Module:
    net = network()
    scaler = GradScaler("cpu", init_scale=2.0**126)  # the first steps overflow
    train(net, make(net.parameters(), lr=0.02), 8, scaler)
    return net


def with_gradients(value: float, wrap: Callable[[Any], Any] = lambda step: step) -> Case:
    """Three steps of which all gradients are the same number."""

    def run(make: Make) -> nn.Module:
        net = network()
        step = wrap(make(net.parameters(), lr=0.02).step)
        for parameter in net.parameters():
            parameter.grad = torch.full_like(parameter, value)
        for _ in range(3):
            step()
        return net

    return run


def with_a_scheduler(make: Make) -> nn.Module:
    """And of a group in which another one has put its own key."""
    net = network()
    optimizer = make([{"params": net.parameters(), "initial_lr": 0.02, "lr": 0.02}])
    how = {"total_steps": 3, "cycle_momentum": False}
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, **how)  # type: ignore[arg-type]
    for _ in range(3):
        train(net, optimizer, 1)
        scheduler.step()
    return net


def hooked(make: Make) -> nn.Module:
    net = network()
    optimizer = make(net.named_parameters(), lr=0.02)
    calls: list[int] = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    train(net, optimizer)
    assert len(calls) == 3
    return net


def with_a_closure(make: Make) -> nn.Module:
    net = network()
    optimizer = make(net.parameters(), lr=0.02)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = net(torch.ones(1, 3)).square().sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure) > 0
    assert optimizer.step() is None
    return net


def sparse_gradient(make: Make) -> nn.Module:
    embedding = nn.Embedding(4, 2, sparse=True)
    before = embedding.weight.detach().clone()
    optimizer = make(embedding.parameters())
    embedding(torch.tensor([1])).sum().backward()
    try:
        optimizer.step()
    finally:
        assert torch.equal(embedding.weight, before)
        assert not optimizer.state
    return embedding


#: By their names in the table of the guide, which says how they end.
CASES: dict[str, Case] = {
    "`fused=True`": options(fused=True),
    "`maximize=True`": options(maximize=True, weight_decay=0.3),
    "`weight_decay`": options(weight_decay=0.3),
    "all three": options(maximize=True, weight_decay=0.3, fused=True),
    "`betas`, `eps`": options(eps=0.1, betas=(0.5, 0.6)),
    "`float64`": options(torch.float64),
    "`bfloat16`": options(torch.bfloat16),
    "`bfloat16`, fused": options(torch.bfloat16, fused=True),
    "`float16`, fused": options(torch.float16, fused=True),
    "`float16`, `eps=1e-4`": options(torch.float16, eps=1e-4),
    "`float16`, else": options(torch.float16),
    "complex parameters": lambda make: make([nn.Parameter(torch.ones(1) * 1j)]),
    "sparse gradients": sparse_gradient,
    "`foreach=True`": options(foreach=True),
    "`capturable=True`": options(capturable=True),
    "`GradScaler`": with_grad_scaler,
    "`torch.compile(optimizer.step)`": with_gradients(1, partial(torch.compile, backend="eager")),
    "`copy.deepcopy`": between(lambda *both: copy.deepcopy(both)),
    "`pickle`": between(lambda *both: pickle.loads(pickle.dumps(both))),
    "`state_dict`, `load_state_dict`": between(save_and_load),
    "`network.load_state_dict`": between(restore),
    "weights edited in place": between(edit),
    "later `add_param_group`": between(
        lambda net, made: made.add_param_group({"params": net[2].parameters(), "lr": 0.1}), part=1
    ),
    "schedulers": with_a_scheduler,
    "named parameters, step hooks": hooked,
    "closures": with_a_closure,
    "gradients that are NaN": with_gradients(float("nan")),
}


@pytest.fixture(scope="module")
def guide() -> dict[str, str]:
    table = (
        PAGE.read_text("utf-8").partition("## Beside torch.optim.Adam\n")[2].partition("\n## ")[0]
    )
    return dict(re.findall(r"^\| (.+?) +\| (works|refused: .+?) +\|$", table, re.MULTILINE))


def test_the_guide_has_a_line_for_each_case(guide: dict[str, str]) -> None:
    assert list(guide) == list(CASES)


@pytest.mark.parametrize("case", CASES)
def test_it_works_as_with_adam_or_is_refused_in_a_sentence(
    case: str, guide: dict[str, str]
) -> None:
    run, (outcome, _, sentence) = CASES[case], guide[case].partition(": ")
    if outcome == "refused":
        with pytest.raises((TypeError, ValueError, RuntimeError), match=re.escape(sentence)):
            run(AdaBreg)
        return
    for ours, adams in zip(run(AdaBreg).parameters(), run(Adam).parameters(), strict=True):
        precise = ours.dtype in (torch.float32, torch.float64)
        tolerance = 1e-5 if precise else 0.02  # two roundings of eight or eleven bits
        torch.testing.assert_close(ours, adams, rtol=tolerance, atol=tolerance, equal_nan=True)


def parameter(*values: Any) -> nn.Parameter:
    made = nn.Parameter(torch.tensor(values))
    made.grad = torch.ones_like(made)
    return made


def load(state: dict[str, Any], into: Make) -> None:
    """Take over another state; nothing may have happened then."""
    optimizer = into([parameter(1.0)], lr=0.5)
    try:
        optimizer.load_state_dict(state)
    finally:
        assert optimizer.param_groups[0]["lr"] == 0.5


def first_step_fails() -> None:
    """It leaves no half of a state: the next one says the same."""
    good, bad = parameter(1.0), parameter(-1.0)
    optimizer = AdaBreg([good, bad], regularizer=NonNegativeL1(0.1))
    with pytest.raises(ValueError, match="no subgradient"):
        optimizer.step()
    assert good.item() == 1
    optimizer.step()


def other_shape() -> None:
    weight = parameter(1.0, 2.0)
    optimizer = AdaBreg([weight], fused=True)
    optimizer.step()
    weight.data = torch.ones(3)
    weight.grad = torch.ones(3)
    optimizer.step()


unknown = AdaBreg([parameter(1.0)]).state_dict()
unknown["param_groups"][0]["regularizer"]["kind"] = "Nuclear"
MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: AdaBreg([{"params": [parameter(1.0)], "regularizr": L1(0.1)}]),
        "AdaBreg has no option 'regularizr'; it has lr, betas, ",
    ),
    (first_step_fails, "NonNegativeL1 has no subgradient"),
    (other_shape, r"the state has shape \(2,\), its parameter \(3,\)"),
    (lambda: load(unknown, AdaBreg), "unknown kind of regularizer 'Nuclear'"),
    (
        lambda: load(AdaBreg([parameter(1.0)]).state_dict(), LinBreg),
        "not the state of LinBreg: it lacks mome",
    ),
    (
        lambda: load(Adam([parameter(1.0)]).state_dict(), AdaBreg),
        "not the state of AdaBreg: it lacks delta, correct_first_moment, regularizer",
    ),
]


@pytest.mark.parametrize(("act", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_a_mistake_is_refused_in_a_sentence(act: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        act()


@pytest.mark.parametrize(
    ("make", "option", "message"),
    [
        (AdaBreg, {"lr": -0.1}, "lr must be finite and not negative, got -0.1"),
        (LinBreg, {"lr": float("nan")}, "lr must be finite and not negative, got nan"),
        (AdaBreg, {"weight_decay": -1.0}, "weight_decay must be finite and not negative, got -1.0"),
        (AdaBreg, {"betas": (1.0, 0.9)}, "at least 0 and less than 1, got (1.0, 0.9)"),
        (AdaBreg, {"betas": (0.9,)}, "betas must be two numbers, each at least 0 and less than 1"),
        (AdaBreg, {"eps": -1e-8}, "eps must be zero or more, got -1e-08"),
        (AdaBreg, {"delta": 0.0}, "delta must be finite and positive, got 0.0"),
        (LinBreg, {"momentum": 1.0}, "momentum must be at least 0 and less than 1, got 1.0"),
        (AdaBreg, {"regularizer": 0.1}, "regularizer must be an object such as L1(0.1), got 0.1"),
    ],
)
def test_an_impossible_option_is_refused_everywhere_and_its_group_not_kept(
    make: Make, option: dict[str, Any], message: str
) -> None:
    optimizer = make([parameter(1.0)])
    with pytest.raises(ValueError, match=re.escape(message)):
        make([parameter(1.0)], **option)
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer.add_param_group({"params": [parameter(1.0)], **option})
    assert len(optimizer.param_groups) == 1


each_method = pytest.mark.parametrize(
    ("method", "how"),
    [(AdaBreg, {}), (AdaBreg, {"fused": True}), (LinBreg, {}), (LinBreg, {"momentum": 0.9})],
)


@each_method
def test_a_saved_and_loaded_run_continues_bit_for_bit(method: Make, how: dict[str, Any]) -> None:
    model, other = network(), network(seed=9)
    groups = parameter_groups(model, ByKind(rows=0.01))
    optimizer = method(groups, lr=0.02, delta=0.5, **how)
    train(model, optimizer, 5)
    saved = copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    # Every option comes from the state.
    resumed = method([{"params": g["params"]} for g in parameter_groups(other, ByKind(rows=1.0))])
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    train(model, optimizer, 10, seed=2)
    train(other, resumed, 10, seed=2)
    assert all(map(torch.equal, model.parameters(), other.parameters()))
    # Saving left the object where it was.
    assert optimizer.param_groups[0]["regularizer"] == GroupLasso(0.01, (0,))


@each_method
def test_a_parameter_is_changed_in_place_if_it_has_a_gradient(
    method: Make, how: dict[str, Any]
) -> None:
    with_gradient, without, later = parameter(1.0, 1.0), parameter(1.0, 1.0), parameter(0.0)
    without.grad = None
    optimizer = method([without, with_gradient], lr=0.1, regularizer=L1(10.0), **how)
    optimizer.add_param_group({"params": [later], "regularizer": L1(100.0), "delta": 2.0})
    address = with_gradient.data_ptr()
    for _ in range(3):
        optimizer.step()
    assert torch.equal(without, torch.ones(2))
    assert without not in optimizer.state
    assert not torch.equal(with_gradient, torch.ones(2))
    assert with_gradient.data_ptr() == address
    assert later.item() == 0


def test_the_subgradient_before_the_first_step_and_after_it() -> None:
    weight = parameter(3.0, 0.0)
    optimizer = LinBreg([weight], lr=0.5, delta=2.0, regularizer=L1(0.25))
    assert optimizer.subgradient(weight).tolist() == [1.75, 0.0]
    optimizer.subgradient(weight).zero_()  # a copy
    weight.grad = torch.tensor([1.0, -1.0])
    optimizer.step()
    optimizer.subgradient(weight).zero_()
    assert optimizer.subgradient(weight).tolist() == [1.25, 0.5]
    assert weight.tolist() == [2.0, 0.5]
    with pytest.raises(KeyError, match="does not belong to this optimizer"):
        optimizer.subgradient(parameter(1.0))


@pytest.mark.parametrize("make", [AdaBreg, LinBreg])
def test_restored_weights_are_kept_and_groups_that_stay_off_keep_their_subgradient(
    make: Make,
) -> None:
    weight = parameter([3.0, 4.0], [0.0, 0.0], [0.0, 0.0])
    optimizer = make([weight], lr=0.01, regularizer=GroupLasso(1.0, (0,)))
    optimizer.step()
    v = optimizer.subgradient(weight)
    restored = torch.tensor([[0.0, 0.0], [6.0, 8.0], [0.0, 0.0]])
    put(optimizer, weight, restored)
    if make is LinBreg:  # lr is 0, and there is no momentum
        torch.testing.assert_close(weight.detach(), restored)
    # The threshold is sqrt(2), the direction of the row that was restored (0.6, 0.8).
    on = torch.tensor([6 + 0.6 * 2**0.5, 8 + 0.8 * 2**0.5])
    expected = torch.stack([torch.zeros(2), on, v[2]])
    torch.testing.assert_close(optimizer.subgradient(weight), expected)


def put(optimizer: Any, weight: nn.Parameter, values: Tensor) -> None:
    """Set the weight, then step by nothing."""
    with torch.no_grad():
        weight.copy_(values)
    weight.grad = torch.zeros_like(weight)
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()


def test_a_restored_zero_in_a_group_that_was_off_is_a_zero() -> None:
    weight = parameter([0.0, 0.0])
    optimizer = LinBreg([weight], lr=0.1, regularizer=GroupLasso(1.0, (0,)))
    optimizer.step()
    put(optimizer, weight, torch.tensor([[0.0, 2.0]]))
    assert weight.tolist() == [pytest.approx([0.0, 2.0])]
