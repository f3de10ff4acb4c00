"""The optimizers as torch optimizers: closures, saving, schedulers, groups, errors."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bregman_nas.bregman import L1, AdaBreg, GroupLasso, LinBreg, Regularizer, Zero
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


def with_groups(model: nn.Sequential, make: Make, **settings: Any) -> BregmanOptimizer:
    weights = {"params": [model[0].weight, model[2].weight], "regularizer": GroupLasso(0.01, (0,))}
    biases = {"params": [model[0].bias, model[2].bias], "regularizer": L1(0.02), "delta": 0.5}
    return make([weights, biases], **settings)


def train(model: nn.Module, optimizer: BregmanOptimizer, steps: int, seed: int = 1) -> None:
    numbers = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        inputs, targets = (torch.randn(8, n, generator=numbers) for n in (3, 2))
        (model(inputs) - targets).square().mean().backward()
        optimizer.step()


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(p, q)


@each_method
def test_training_lowers_the_loss(make: Make) -> None:
    model = network()
    optimizer = with_groups(model, make, lr=0.01)
    inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    targets = inputs[:, :2].abs()
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


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
    optimizer = with_groups(model, make, lr=0.02)
    train(model, optimizer, 5)
    saved = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    other = network(seed=9)
    resumed = make(  # every setting comes from the file
        [{"params": [other[0].weight, other[2].weight]}, {"params": [other[0].bias, other[2].bias]}]
    )
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    train(model, optimizer, 10, seed=2)
    train(other, resumed, 10, seed=2)
    assert_same(model, other)
    assert [group["regularizer"] for group in resumed.param_groups] == [
        GroupLasso(0.01, (0,)),
        L1(0.02),
    ]


def test_saving_changes_nothing_and_has_plain_values() -> None:
    model = network()
    optimizer = with_groups(model, AdaBreg)
    saved = optimizer.state_dict()
    assert [group["regularizer"] for group in saved["param_groups"]] == [
        {"kind": "GroupLasso", "mu": 0.01, "group_dims": [0]},
        {"kind": "L1", "mu": 0.02},
    ]
    assert optimizer.param_groups[0]["regularizer"] == GroupLasso(0.01, (0,))
    optimizer.load_state_dict(saved)
    assert saved["param_groups"][1]["regularizer"] == {"kind": "L1", "mu": 0.02}


def test_loading_an_unknown_regularizer_is_refused() -> None:
    optimizer = AdaBreg([nn.Parameter(torch.zeros(1))])
    saved = optimizer.state_dict()
    saved["param_groups"][0]["regularizer"] = {"kind": "Nuclear"}
    with pytest.raises(ValueError, match="unknown kind of regularizer 'Nuclear'"):
        optimizer.load_state_dict(saved)


@each_method
def test_a_deep_copy_continues_alike_and_apart(make: Make) -> None:
    model = network()
    optimizer = with_groups(model, make, lr=0.02)
    train(model, optimizer, 5)
    other, resumed = copy.deepcopy((model, optimizer))
    train(model, optimizer, 5, seed=2)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert not torch.equal(p, q)
    train(other, resumed, 5, seed=2)
    assert_same(model, other)


@each_method
def test_step_lr_changes_the_step(make: Make) -> None:
    param = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = make([param], lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.0)
    param.grad = torch.ones(1, dtype=torch.float64)
    optimizer.step()
    after_first = param.item()
    assert after_first < 0
    scheduler.step()
    momentum = optimizer.param_groups[0].get("momentum", 0.0)
    optimizer.step()
    assert param.item() - after_first == pytest.approx(momentum * after_first)


def test_reduce_lr_on_plateau_changes_the_step() -> None:
    param = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = LinBreg([param], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    values = []
    for loss in (1.0, 1.0, 1.0):
        param.grad = torch.ones(1, dtype=torch.float64)
        optimizer.step()
        values.append(param.item())
        scheduler.step(loss)
    assert values == pytest.approx([-0.1, -0.2, -0.25])


@each_method
def test_a_parameter_without_gradient_is_left_alone(make: Make) -> None:
    with_gradient, without = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = make([without, with_gradient], lr=0.1, regularizer=L1(10.0))
    with_gradient.grad = torch.ones(2)
    for _ in range(3):
        optimizer.step()
    assert torch.equal(without, torch.ones(2))
    assert without not in optimizer.state
    assert not torch.equal(with_gradient, torch.ones(2))


@each_method
def test_no_gradient_at_all_is_no_step(make: Make) -> None:
    param = nn.Parameter(torch.ones(2))
    make([param], lr=0.1).step()
    assert torch.equal(param, torch.ones(2))


@each_method
def test_parameters_are_changed_in_place_and_gradients_not_at_all(make: Make) -> None:
    param = nn.Parameter(torch.ones(2, 2))
    param.grad = torch.full((2, 2), 0.5)
    address = param.data_ptr()
    make([param], lr=0.1, regularizer=GroupLasso(0.1, (0,))).step()
    assert param.data_ptr() == address
    assert not torch.equal(param, torch.ones(2, 2))
    assert torch.equal(param.grad, torch.full((2, 2), 0.5))
    assert param.requires_grad


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


def test_asking_for_the_subgradient_changes_nothing() -> None:
    param = nn.Parameter(torch.ones(1))
    optimizer = AdaBreg([param], regularizer=L1(0.1))
    optimizer.subgradient(param)
    with torch.no_grad():
        param.fill_(5.0)  # as loading a checkpoint before the first step does
    param.grad = torch.zeros(1)
    optimizer.step()
    assert param.item() == pytest.approx(5.0)


def test_a_foreign_parameter_has_no_subgradient() -> None:
    optimizer = AdaBreg([nn.Parameter(torch.ones(1))])
    with pytest.raises(KeyError, match="does not belong to this optimizer"):
        optimizer.subgradient(nn.Parameter(torch.ones(1)))


def test_without_a_regularizer_there_is_none() -> None:
    for method in (AdaBreg, LinBreg):
        assert method([nn.Parameter(torch.ones(1))]).param_groups[0]["regularizer"] == Zero()


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        (AdaBreg, {"lr": -0.1}, "lr must be finite and not negative, got -0.1"),
        (LinBreg, {"lr": float("nan")}, "lr must be finite and not negative, got nan"),
        (LinBreg, {"lr": float("inf")}, "lr must be finite and not negative, got inf"),
        (AdaBreg, {"betas": (1.0, 0.9)}, "at least 0 and less than 1, got (1.0, 0.9)"),
        (AdaBreg, {"betas": (0.9, -0.1)}, "at least 0 and less than 1, got (0.9, -0.1)"),
        (AdaBreg, {"betas": (0.9,)}, "betas must be two numbers, each at least 0 and less than 1"),
        (AdaBreg, {"eps": -1e-8}, "eps must be zero or more, got -1e-08"),
        (AdaBreg, {"delta": 0.0}, "delta must be finite and positive, got 0.0"),
        (LinBreg, {"delta": -1.0}, "delta must be finite and positive, got -1.0"),
        (LinBreg, {"momentum": 1.0}, "momentum must be at least 0 and less than 1, got 1.0"),
        (LinBreg, {"momentum": -0.5}, "momentum must be at least 0 and less than 1, got -0.5"),
    ],
)
def test_an_impossible_setting_is_refused(
    method: Callable[..., Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        method([nn.Parameter(torch.ones(1))], **settings)
    assert message in str(caught.value)


@each_method
@pytest.mark.parametrize("wrong", [0.1, 0, "L1", L1, {"kind": "L1", "mu": 0.1}])
def test_something_else_than_a_regularizer_is_refused(make: Make, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"such as L1\(0\.1\), got ") as caught:
        make([nn.Parameter(torch.ones(1))], regularizer=wrong)
    assert repr(wrong) in str(caught.value)
    optimizer = make([nn.Parameter(torch.ones(1))])
    with pytest.raises(TypeError, match="regularizer must be an object of"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "regularizer": wrong})


@each_method
@pytest.mark.parametrize("option", [{"lr": -1.0}, {"delta": 0}])
def test_a_group_with_an_impossible_option_is_refused_and_not_kept(
    make: Make, option: dict[str, float]
) -> None:
    (name, value) = next(iter(option.items()))
    message = f"{name} must be finite and .*, got {value}"
    optimizer = make([nn.Parameter(torch.ones(1))])
    group = {"params": [nn.Parameter(torch.ones(1))], **option}
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1
    with pytest.raises(ValueError, match=message):
        make([group])


@pytest.mark.parametrize("option", [{"betas": (2.0, 0.9)}, {"eps": -1.0}])
def test_an_impossible_option_of_a_group_of_adabreg_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        AdaBreg([{"params": [nn.Parameter(torch.ones(1))], **option}])


def test_group_dims_that_do_not_fit_are_refused_at_the_first_step() -> None:
    regularizer: Regularizer = GroupLasso(0.1, (0, 1))
    param = nn.Parameter(torch.ones(3))
    param.grad = torch.ones(3)
    with pytest.raises(ValueError, match=r"group_dims \(0, 1\) name a dimension"):
        AdaBreg([param], regularizer=regularizer).step()
