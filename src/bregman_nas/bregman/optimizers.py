"""Bregman iterations as optimizers: LinBreg, and AdaBreg (Algorithm 1 of the article)."""

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam
from torch.optim.optimizer import ParamsT

from bregman_nas.bregman.base import BregmanOptimizer
from bregman_nas.bregman.regularizers import Regularizer


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

    _allowed: ClassVar = {
        **BregmanOptimizer._allowed,
        "momentum": (lambda x: 0 <= x < 1, "at least 0 and less than 1"),
    }
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
            regularizer,
            lr=lr,
            momentum=momentum,
            delta=delta,
            weight_decay=weight_decay,
            maximize=maximize,
        )

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

    _allowed: ClassVar = {
        **BregmanOptimizer._allowed,
        "betas": (
            lambda x: len(x) == 2 and all(0 <= beta < 1 for beta in x),
            "two numbers, each at least 0 and less than 1",
        ),
        "eps": (lambda x: x >= 0, "zero or more"),
    }
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
            regularizer,
            lr=lr,
            betas=tuple(betas),
            eps=eps,
            delta=delta,
            correct_first_moment=correct_first_moment,
            fused=fused,
            weight_decay=weight_decay,
            maximize=maximize,
        )

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
    tensors = [list(x) for x in (v, gradients, first_moments, second_moments, steps)]
    if not correct_first_moment:
        # The kernel divides by (1 - beta1^k), and k may differ from one to the next.
        for of_one in zip(*tensors, strict=True):
            uncorrected = lr * (1 - betas[0] ** (of_one[-1].item() + 1))
            fused_adam_(*([x] for x in of_one), lr=uncorrected, betas=betas, eps=eps)
        return
    *moved, counts = tensors
    torch_adam(
        *moved,
        [],
        counts,
        fused=True,
        amsgrad=False,
        beta1=betas[0],
        beta2=betas[1],
        lr=lr,
        weight_decay=0.0,
        eps=eps,
        maximize=False,
    )
