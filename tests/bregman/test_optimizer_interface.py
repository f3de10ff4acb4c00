"""The optimizers as torch optimizers: closures, saving, groups, errors."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bregman_nas.bregman import L1, AdaBreg, GroupLasso, LinBreg, Zero
from bregman_nas.bregman.base import BregmanOptimizer

Make = Callable[..., BregmanOptimizer]


def fused_adabreg(params: Any, **settings: Any) -> AdaBreg:
    return AdaBreg(params, fused=True, **settings)


def linbreg_with_momentum(params: Any, **settings: Any) -> LinBreg:
    return LinBreg(params, momentum=0.9, **settings)


each_method = pytest.mark.parametrize(
    "make", [AdaBreg, fused_adabreg, LinBreg, linbreg_with_momentum]
)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def train(model: nn.Module, optimizer: BregmanOptimizer, steps: int, seed: int = 1) -> None:
    numbers = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        inputs, targets = (torch.randn(8, n, generator=numbers) for n in (3, 2))
        (model(inputs) - targets).square().mean().backward()
        optimizer.step()


@each_method
def test_a_closure_is_called_with_gradients_and_its_loss_returned(make: Make) -> None:
    param = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = make([param], lr=0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = param.square().sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure) == 5.0
    assert param.abs().sum() < 3
    assert optimizer.step() is None


@each_method
def test_a_saved_and_loaded_run_continues_bit_for_bit(make: Make) -> None:
    model = network()
    weights = {"params": [model[0].weight, model[2].weight], "regularizer": GroupLasso(0.01, (0,))}
    biases = {"params": [model[0].bias, model[2].bias], "regularizer": L1(0.02), "delta": 0.5}
    optimizer = make([weights, biases], lr=0.02)
    train(model, optimizer, 5)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = network(seed=9)
    resumed = make(  # every setting comes from the file
        [{"params": [other[0].weight, other[2].weight]}, {"params": [other[0].bias, other[2].bias]}]
    )
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    train(model, optimizer, 10, seed=2)
    train(other, resumed, 10, seed=2)
    assert all(map(torch.equal, model.parameters(), other.parameters()))
    for made in (optimizer, resumed):  # saving left the objects where they were
        regularizers = [group["regularizer"] for group in made.param_groups]
        assert regularizers == [GroupLasso(0.01, (0,)), L1(0.02)]


def test_loading_an_unknown_regularizer_is_refused() -> None:
    optimizer = AdaBreg([nn.Parameter(torch.zeros(1))])
    saved = optimizer.state_dict()
    saved["param_groups"][0]["regularizer"] = {"kind": "Nuclear"}
    with pytest.raises(ValueError, match="unknown kind of regularizer 'Nuclear'"):
        optimizer.load_state_dict(saved)


@each_method
def test_a_parameter_is_changed_in_place_if_it_has_a_gradient(make: Make) -> None:
    with_gradient, without = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = make([without, with_gradient], lr=0.1, regularizer=L1(10.0))
    optimizer.step()
    assert not optimizer.state
    with_gradient.grad = torch.ones(2)
    address = with_gradient.data_ptr()
    for _ in range(3):
        optimizer.step()
    assert torch.equal(without, torch.ones(2))
    assert without not in optimizer.state
    assert not torch.equal(with_gradient, torch.ones(2))
    assert torch.equal(with_gradient.grad, torch.ones(2))
    assert with_gradient.data_ptr() == address


@each_method
def test_a_group_added_later_has_options_of_its_own(make: Make) -> None:
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimizer = make([first], lr=0.5, regularizer=L1(0.25))
    optimizer.add_param_group({"params": [second], "regularizer": L1(100.0), "delta": 2.0})
    for param in (first, second):
        param.grad = torch.full((1,), -10.0)
    optimizer.step()
    assert first.item() > 0
    assert second.item() == 0
    assert optimizer.param_groups[1]["lr"] == 0.5


def test_the_subgradient_before_the_first_step_and_after_it() -> None:
    param = nn.Parameter(torch.tensor([3.0, 0.0]))
    optimizer = LinBreg([param], lr=0.5, delta=2.0, regularizer=L1(0.25))
    assert optimizer.subgradient(param).tolist() == [1.75, 0.0]
    param.grad = torch.tensor([1.0, -1.0])
    optimizer.step()
    assert optimizer.subgradient(param).tolist() == [1.25, 0.5]
    assert param.tolist() == [2.0, 0.5]
    with pytest.raises(KeyError, match="does not belong to this optimizer"):
        optimizer.subgradient(nn.Parameter(torch.ones(1)))


def test_without_a_regularizer_there_is_none() -> None:
    for method in (AdaBreg, LinBreg):
        assert method([nn.Parameter(torch.ones(1))]).param_groups[0]["regularizer"] == Zero()


@pytest.mark.parametrize(
    ("make", "option", "message"),
    [
        (AdaBreg, {"lr": -0.1}, "lr must be finite and not negative, got -0.1"),
        (LinBreg, {"lr": float("nan")}, "lr must be finite and not negative, got nan"),
        (AdaBreg, {"betas": (1.0, 0.9)}, "at least 0 and less than 1, got (1.0, 0.9)"),
        (AdaBreg, {"betas": (0.9,)}, "betas must be two numbers, each at least 0 and less than 1"),
        (AdaBreg, {"eps": -1e-8}, "eps must be zero or more, got -1e-08"),
        (AdaBreg, {"delta": 0.0}, "delta must be finite and positive, got 0.0"),
        (LinBreg, {"momentum": 1.0}, "momentum must be at least 0 and less than 1, got 1.0"),
        (AdaBreg, {"regularizer": 0.1}, "an object of bregman_nas.bregman.regularizers, such as"),
        (LinBreg, {"regularizer": L1}, "such as L1(0.1), got <class"),
    ],
)
def test_an_impossible_option_is_refused_everywhere_and_its_group_not_kept(
    make: Make, option: dict[str, Any], message: str
) -> None:
    optimizer = make([nn.Parameter(torch.ones(1))])
    group = {"params": [nn.Parameter(torch.ones(1))], **option}
    for act in (
        lambda: make([nn.Parameter(torch.ones(1))], **option),
        lambda: make([group]),
        lambda: optimizer.add_param_group(group),
    ):
        with pytest.raises((TypeError, ValueError), match="must be") as caught:
            act()
        assert message in str(caught.value)
    assert len(optimizer.param_groups) == 1


def test_group_dims_that_do_not_fit_are_refused_at_the_first_step() -> None:
    param = nn.Parameter(torch.ones(3))
    param.grad = torch.ones(3)
    with pytest.raises(ValueError, match=r"group_dims \(0, 1\) name a dimension"):
        AdaBreg([param], regularizer=GroupLasso(0.1, (0, 1))).step()
