"""Bregman iterations as optimizers: LinBreg, and AdaBreg (Algorithm 1 of the article)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam
from torch.optim.optimizer import ParamsT

from bregman_nas.bregman.base import BregmanOptimizer, check
from bregman_nas.bregman.regularizers import Regularizer, Zero


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
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "delta": delta,
                "regularizer": Zero() if regularizer is None else regularizer,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        momentum = group["momentum"]
        check(0 <= momentum < 1, "momentum", momentum, "at least 0 and less than 1")

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
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        betas, eps = group["betas"], group["eps"]
        valid = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
        check(valid, "betas", betas, "two numbers, each at least 0 and less than 1")
        check(eps >= 0, "eps", eps, "zero or more")

    def _check_params(self, group: dict[str, Any]) -> None:
        super()._check_params(group)
        for param in group["params"]:
            vanishes = group["eps"] > 0 and torch.tensor(group["eps"], dtype=param.dtype) == 0
            allowed = f"more than zero in {param.dtype}, or fused=True"
            check(group["fused"] or not vanishes, "eps", group["eps"], allowed)

    def _move_subgradients(
        self, gradients: list[Tensor], states: list[dict[str, Tensor]], group: dict[str, Any]
    ) -> None:
        if group["fused"]:
            fused_adam_(
                [state["v"] for state in states],
                gradients,
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
    """Move `v`, the moments and the steps k in place as Adam would, by torch's fused kernel.

    All lists have one tensor for each parameter; those of `steps` have no dimensions, and are on
    its device. For the options see `AdaBreg`.
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
