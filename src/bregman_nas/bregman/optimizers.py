"""Bregman iterations as optimizers: LinBreg, and AdaBreg (Algorithm 1 of the article).

Both keep, beside each parameter theta, a subgradient v in the subdifferential of J_delta (2.2). A
step moves v as SGD or Adam would theta, then sets theta = prox_{delta J}(delta v): a group that is
zero stays exactly zero until its part of v crosses the threshold.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam
from torch.optim.optimizer import Optimizer, ParamsT

from bregman_nas.bregman.regularizers import Regularizer, Zero

#: Keys of a parameter group that are not ours: torch's, and those of its schedulers.
_OF_TORCH = {"params", "param_names", "initial_lr"}

#: Of each option, whether a value is possible, and what it must be.
_ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "regularizer": (lambda x: isinstance(x, Regularizer), "an object such as L1(0.1)"),
    "lr": (lambda x: 0 <= x < math.inf, "finite and not negative"),
    "delta": (lambda x: 0 < x < math.inf, "finite and positive"),
    "weight_decay": (lambda x: 0 <= x < math.inf, "finite and not negative"),
    "momentum": (lambda x: 0 <= x < 1, "at least 0 and less than 1"),
    "betas": (
        lambda x: len(x) == 2 and all(0 <= beta < 1 for beta in x),
        "two numbers, each at least 0 and less than 1",
    ),
    "eps": (lambda x: x >= 0, "zero or more"),
}


class BregmanOptimizer(Optimizer):
    """An optimizer that moves subgradients v, and shows theta = prox(v).

    Weights that were changed between two steps (a checkpoint restored, an entry edited in place)
    are kept, as by torch's optimizers: v is derived from them anew. Groups that were and are zero
    keep their v. A change through `param.data` cannot be seen, and the next step undoes it.
    """

    #: What a parameter's state has beside its `step` and v.
    _moments: tuple[str, ...]

    def __init__(self, params: ParamsT, regularizer: Regularizer | None, **options: Any) -> None:
        self._versions: dict[Tensor, int] = {}
        super().__init__(params, {**options, "regularizer": regularizer or Zero()})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._versions = {}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch; options, the regularizer too, may differ from group to group.

        Raises:
            TypeError, ValueError: if an option or a parameter is impossible.
        """
        kind, options = type(self).__name__, {**self.defaults, **param_group}
        for name in param_group.keys() - self.defaults.keys() - _OF_TORCH:
            raise TypeError(f"{kind} has no option {name!r}; it has {', '.join(self.defaults)}")
        for name, (holds, allowed) in _ALLOWED.items():
            if name in options and not holds(options[name]):
                raise ValueError(f"{name} must be {allowed}, got {options[name]}")
        super().add_param_group(param_group)
        if any(param.is_complex() for param in self.param_groups[-1]["params"]):
            raise TypeError(f"{kind} does not train complex parameters: use view_as_real")

    def subgradient(self, param: Tensor) -> Tensor:
        """A copy of v of a parameter; before the first step, its initial value."""
        for group in self.param_groups:
            if any(param is p for p in group["params"]):
                state = self.state.get(param)
                v: Tensor = state["v"] if state else _initial_subgradient(param.detach(), group)
                return v.clone()
        raise KeyError("the parameter does not belong to this optimizer")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for every parameter that has a gradient.

        Returns:
            What the closure returned, else None.

        Raises:
            RuntimeError, ValueError: if a gradient is sparse, a parameter has no subgradient, or
                its state another shape. No parameter has been moved then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moving = []
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            # What can fail comes first, for all groups.
            moving.append((group, params, [self._state_of(p, group) for p in params]))
        for group, params, states in moving:
            self._move_subgradients([_gradient(p, group) for p in params], states, group)
            for param, state in zip(params, states, strict=True):
                param.copy_(group["regularizer"].prox(state["v"], group["delta"]))
                self._versions[param] = param._version
        return loss

    def state_dict(self) -> dict[str, Any]:
        """As in torch, with each regularizer as plain values: `weights_only=True` can load it."""
        state = super().state_dict()
        for group in state["param_groups"]:
            group["regularizer"] = group["regularizer"].to_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises:
            ValueError: if it is that of another kind of optimizer.
        """
        groups = []
        for saved in state_dict["param_groups"]:
            if missing := ", ".join(name for name in self.defaults if name not in saved):
                kind = type(self).__name__
                raise ValueError(f"this is not the state of {kind}: it lacks {missing}")
            groups.append({**saved, "regularizer": Regularizer.from_dict(saved["regularizer"])})
        super().load_state_dict({**state_dict, "param_groups": groups})
        self._versions.clear()

    def _state_of(self, param: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        assert param.grad is not None
        if param.grad.is_sparse:
            raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")
        state: dict[str, Tensor] = self.state.get(param, {})
        theta = param.detach()
        if not state:
            device = theta.device if group.get("fused") else None  # where torch's kernel reads it
            state["step"] = torch.zeros((), dtype=torch.float32, device=device)
            state["v"] = _initial_subgradient(theta, group)
            for name in self._moments:
                state[name] = torch.zeros_like(theta, memory_format=torch.preserve_format)
            self.state[param] = state
        if state["v"].shape != theta.shape:
            found, expected = tuple(state["v"].shape), tuple(theta.shape)
            raise ValueError(f"the state has shape {found}, its parameter {expected}")
        if self._versions.get(param) != param._version:
            _keep_changed(theta, state["v"], group)
        return state

    @abstractmethod
    def _move_subgradients(
        self, gradients: list[Tensor], states: list[dict[str, Tensor]], group: dict[str, Any]
    ) -> None:
        """Update, in place, the state of each parameter: its `step`, moments and `v`."""


def _initial_subgradient(theta: Tensor, group: dict[str, Any]) -> Tensor:
    v: Tensor = theta / group["delta"] + group["regularizer"].subgradient(theta)
    return v


def _keep_changed(theta: Tensor, v: Tensor, group: dict[str, Any]) -> None:
    """Derive v anew, in place, if theta is no longer prox(v)."""
    prox, delta = group["regularizer"].prox, group["delta"]
    shown = prox(v, delta)
    if ((shown == theta) | (shown.isnan() & theta.isnan())).all():
        return
    derived = _initial_subgradient(theta, group)
    kept = torch.where((theta == 0) & (shown == 0), v, derived)
    # A zero in a group that was off and is on now must not keep what that group had.
    consistent = torch.allclose(prox(kept, delta), prox(derived, delta))
    v.copy_(kept if consistent else derived)


def _gradient(param: Tensor, group: dict[str, Any]) -> Tensor:
    gradient = param.grad
    assert gradient is not None
    if group["maximize"]:
        gradient = -gradient
    decay = group["weight_decay"]
    return gradient.add(param, alpha=decay) if decay else gradient


class LinBreg(BregmanOptimizer):
    """Linearized Bregman iterations: v moves as in SGD.

        m     <- momentum m + (1 - momentum) lr g
        v     <- v - m
        theta <- prox_{delta J}(delta v)

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        momentum: 0 for the plain method.
        delta: the magnitude of the parameters, see (2.2).
        regularizer: the functional J.
        weight_decay: factor of theta in the gradient.
        maximize: ascend.
    """

    _moments = ("momentum_buffer",)

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        momentum: float = 0.0,
        delta: float = 1.0,
        regularizer: Regularizer | None = None,
        *,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        options: Any = {"lr": lr, "momentum": momentum, "delta": delta}
        options |= {"weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, regularizer, **options)

    def _move_subgradients(
        self, gradients: list[Tensor], states: list[dict[str, Tensor]], group: dict[str, Any]
    ) -> None:
        for g, state in zip(gradients, states, strict=True):
            state["step"] += 1
            m = state["momentum_buffer"]
            m.mul_(group["momentum"]).add_(g, alpha=(1 - group["momentum"]) * group["lr"])
            state["v"].sub_(m)


class AdaBreg(BregmanOptimizer):
    """Algorithm 1: v moves as in Adam.

        m1    <- beta1 m1 + (1 - beta1) g
        m2    <- beta2 m2 + (1 - beta2) g^2
        v     <- v - lr (m1 / (1 - beta1^k)) / (sqrt(m2 / (1 - beta2^k)) + eps)
        theta <- prox_{delta J}(delta v)

    With J = 0 and delta = 1 it is Adam.

    Args:
        params: parameters or parameter groups.
        lr: learning rate, eta in the article.
        betas: decay of the first and second moment.
        eps: added to the denominator.
        delta: the magnitude of the parameters, see (2.2).
        regularizer: the functional J.
        correct_first_moment: divide m1 by (1 - beta1^k), as Algorithm 1 does. The authors' code
            of 2021 did not: its first steps are up to 10 times smaller.
        fused: move v by torch's fused Adam kernel: the same in another order of operations.
        weight_decay: factor of theta in the gradient.
        maximize: ascend.
    """

    _moments = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        delta: float = 1.0,
        regularizer: Regularizer | None = None,
        *,
        correct_first_moment: bool = True,
        fused: bool = False,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        options: Any = {"lr": lr, "betas": tuple(betas), "eps": eps, "delta": delta}
        options |= {"correct_first_moment": correct_first_moment, "fused": fused}
        options |= {"weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, regularizer, **options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch; refused too is an eps that is zero in the type of a parameter."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for dtype in {param.dtype for param in group["params"]}:
            if group["eps"] and not group["fused"] and not torch.tensor(group["eps"], dtype=dtype):
                raise ValueError(f"eps must be more than zero in {dtype}, or fused=True")

    def _move_subgradients(
        self, gradients: list[Tensor], states: list[dict[str, Tensor]], group: dict[str, Any]
    ) -> None:
        if group["fused"]:
            v, m1s, m2s, steps = (
                [state[name] for state in states] for name in ("v", *self._moments, "step")
            )
            options = {name: group[name] for name in ("lr", "betas", "eps", "correct_first_moment")}
            fused_adam_(v, gradients, m1s, m2s, steps, **options)
            return
        beta1, beta2 = group["betas"]
        for g, state in zip(gradients, states, strict=True):
            m1, m2 = state["exp_avg"], state["exp_avg_sq"]
            state["step"] += 1
            k = state["step"].item()
            m1.mul_(beta1).add_(g, alpha=1 - beta1)
            m2.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            correction1 = 1 - beta1**k if group["correct_first_moment"] else 1.0
            denominator = (m2 / (1 - beta2**k)).sqrt().add_(group["eps"])
            state["v"].addcdiv_(m1, denominator, value=-group["lr"] / correction1)


def fused_adam_(
    v: list[Tensor],
    gradients: list[Tensor],
    first_moments: list[Tensor],
    second_moments: list[Tensor],
    steps: list[Tensor],
    *,
    lr: float | Tensor,
    betas: tuple[float, float],
    eps: float,
    correct_first_moment: bool = True,
) -> None:
    """Move `v`, the moments and the steps k in place as Adam would, by torch's fused kernel.

    All lists have one tensor for each parameter; those of `steps` have no dimensions, and are on
    its device. For the options see `AdaBreg`.
    """
    if not correct_first_moment:
        # The kernel divides by (1 - beta1^k), and k may differ from one to the next.
        tensors = (v, gradients, first_moments, second_moments, steps)
        for of_one in zip(*tensors, strict=True):
            uncorrected = lr * (1 - betas[0] ** (of_one[-1].item() + 1))
            fused_adam_(*([x] for x in of_one), lr=uncorrected, betas=betas, eps=eps)
        return
    how: Any = {"fused": True, "amsgrad": False, "weight_decay": 0.0, "maximize": False}
    how |= {"beta1": betas[0], "beta2": betas[1], "eps": eps}
    torch_adam(v, gradients, first_moments, second_moments, [], steps, lr=lr, **how)
