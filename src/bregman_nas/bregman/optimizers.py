"""Bregman iterations as optimizers: LinBreg, and AdaBreg (Algorithm 1 of the article).

Both keep, beside each parameter theta, a subgradient v in the subdifferential of J_delta (2.2).
A step moves v as SGD or Adam would move theta, then sets theta = prox_{delta J}(delta v). A group
of parameters that is zero therefore stays exactly zero until its part of v crosses the threshold.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam
from torch.optim.optimizer import Optimizer, ParamsT

from bregman_nas.bregman.regularizers import Regularizer, Zero


class BregmanOptimizer(Optimizer):
    """What LinBreg and AdaBreg share: v, its start, the shrinkage step, and saving."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch; every option may differ from group to group, `regularizer` too.

        Raises:
            TypeError: if `regularizer` is not a `Regularizer`.
            ValueError: if another option is impossible.
        """
        self._check_options({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def _check_options(self, group: dict[str, Any]) -> None:
        if not isinstance(group["regularizer"], Regularizer):
            raise TypeError(
                "regularizer must be an object of bregman_nas.bregman.regularizers, such as "
                f"L1(0.1), got {group['regularizer']!r}"
            )
        _check(0 <= group["lr"] < math.inf, "lr", group["lr"], "finite and not negative")
        _check(0 < group["delta"] < math.inf, "delta", group["delta"], "finite and positive")

    def subgradient(self, param: Tensor) -> Tensor:
        """The current v of a parameter, of its shape; before the first step, its initial value.

        Raises:
            KeyError: if the optimizer does not hold the parameter.
        """
        for group in self.param_groups:
            if any(param is p for p in group["params"]):
                state = self.state.get(param)
                v: Tensor = state["v"] if state else _initial_subgradient(param.detach(), group)
                return v
        raise KeyError("the parameter does not belong to this optimizer")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for every parameter that has a gradient.

        Args:
            closure: reevaluates the model and returns the loss, as in `torch.optim`.

        Returns:
            What the closure returned, else None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            self._move_subgradients(params, [self._state_of(p, group) for p in params], group)
            for param in params:
                v = self.state[param]["v"]
                param.copy_(group["regularizer"].prox(v, group["delta"]))
        return loss

    def state_dict(self) -> dict[str, Any]:
        """As in torch, with each regularizer as plain values: `weights_only=True` can load it."""
        state = super().state_dict()
        for group in state["param_groups"]:
            group["regularizer"] = group["regularizer"].to_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        groups = [
            {**group, "regularizer": Regularizer.from_dict(group["regularizer"])}
            for group in state_dict["param_groups"]
        ]
        super().load_state_dict({**state_dict, "param_groups": groups})

    def _state_of(self, param: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[param]
        if not state:
            theta = param.detach()
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["v"] = _initial_subgradient(theta, group)
            for name in self._moments:
                state[name] = torch.zeros_like(theta, memory_format=torch.preserve_format)
        return state

    _moments: tuple[str, ...] = ()

    @abstractmethod
    def _move_subgradients(
        self, params: list[Tensor], states: list[dict[str, Tensor]], group: dict[str, Any]
    ) -> None:
        """Update, in place, the state of each parameter: its `step`, moments and `v`."""


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
        regularizer: the functional J; an option of each parameter group.
    """

    _moments = ("momentum_buffer",)

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        momentum: float = 0.0,
        delta: float = 1.0,
        regularizer: Regularizer | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "delta": delta,
                "regularizer": Zero() if regularizer is None else regularizer,
            },
        )

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        momentum = group["momentum"]
        _check(0 <= momentum < 1, "momentum", momentum, "at least 0 and less than 1")

    def _move_subgradients(
        self, params: list[Tensor], states: list[dict[str, Tensor]], group: dict[str, Any]
    ) -> None:
        for param, state in zip(params, states, strict=True):
            assert param.grad is not None
            state["step"] += 1
            m = state["momentum_buffer"]
            m.mul_(group["momentum"]).add_(param.grad, alpha=(1 - group["momentum"]) * group["lr"])
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
        regularizer: the functional J; an option of each parameter group.
        correct_first_moment: divide m1 by (1 - beta1^k), as Algorithm 1 does. The authors' code
            of 2021 did not: its first steps are up to 10 times smaller.
        fused: move v by torch's fused Adam kernel, one pass over memory instead of about ten.
            The same formula in another order of operations.
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
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": tuple(betas),
                "eps": eps,
                "delta": delta,
                "regularizer": Zero() if regularizer is None else regularizer,
                "correct_first_moment": correct_first_moment,
                "fused": fused,
            },
        )

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        betas, eps = group["betas"], group["eps"]
        valid = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
        _check(valid, "betas", betas, "two numbers, each at least 0 and less than 1")
        _check(eps >= 0, "eps", eps, "zero or more")

    def _move_subgradients(
        self, params: list[Tensor], states: list[dict[str, Tensor]], group: dict[str, Any]
    ) -> None:
        if group["fused"]:
            fused_adam_(
                [state["v"] for state in states],
                [param.grad for param in params if param.grad is not None],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [state["step"] for state in states],
                lr=group["lr"],
                betas=group["betas"],
                eps=group["eps"],
                correct_first_moment=group["correct_first_moment"],
            )
            return
        beta1, beta2 = group["betas"]
        for param, state in zip(params, states, strict=True):
            g, m1, m2 = param.grad, state["exp_avg"], state["exp_avg_sq"]
            assert g is not None
            state["step"] += 1
            k = state["step"].item()
            m1.mul_(beta1).add_(g, alpha=1 - beta1)
            m2.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            correction1 = 1 - beta1**k if group["correct_first_moment"] else 1.0
            denominator = (m2 / (1 - beta2**k)).sqrt().add_(group["eps"])
            state["v"].addcdiv_(m1, denominator, value=-group["lr"] / correction1)


def fused_adam_(
    v: Iterable[Tensor],
    gradients: Iterable[Tensor],
    first_moments: Iterable[Tensor],
    second_moments: Iterable[Tensor],
    steps: Iterable[Tensor],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    correct_first_moment: bool = True,
) -> None:
    """Move `v` in place as Adam would, all lists in one call of torch's fused kernel.

    Args:
        v: subgradients, changed in place.
        gradients: of the loss, of the same shapes.
        first_moments: m1, changed in place.
        second_moments: m2, changed in place.
        steps: k before this step, one tensor without dimensions each, raised by one in place.
        lr: learning rate.
        betas: decay of the moments.
        eps: added to the denominator.
        correct_first_moment: see `AdaBreg`.
    """
    steps = list(steps)
    if not steps:
        return
    if not correct_first_moment:
        # The kernel divides by (1 - beta1^k), and k may differ from one to the next.
        for v1, g, m1, m2, k in zip(
            v, gradients, first_moments, second_moments, steps, strict=True
        ):
            uncorrected = lr * (1 - betas[0] ** (k.item() + 1))
            fused_adam_([v1], [g], [m1], [m2], [k], lr=uncorrected, betas=betas, eps=eps)
        return
    torch_adam(
        list(v),
        list(gradients),
        list(first_moments),
        list(second_moments),
        [],
        steps,
        fused=True,
        amsgrad=False,
        beta1=betas[0],
        beta2=betas[1],
        lr=lr,
        weight_decay=0.0,
        eps=eps,
        maximize=False,
    )


def _initial_subgradient(theta: Tensor, group: dict[str, Any]) -> Tensor:
    v: Tensor = theta / group["delta"] + group["regularizer"].subgradient(theta)
    return v


def _check(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {allowed}, got {value}")
