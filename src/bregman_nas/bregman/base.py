"""What LinBreg and AdaBreg have in common: v, its start, the shrinkage step, and saving.

Both keep, beside each parameter theta, a subgradient v in the subdifferential of J_delta (2.2). A
step moves v as SGD or Adam would theta, then sets theta = prox_{delta J}(delta v): a group that is
zero stays exactly zero until its part of v crosses the threshold.
"""

import difflib
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from bregman_nas.bregman.regularizers import Regularizer

#: Keys of a parameter group that are not ours: torch's, and those of its schedulers.
_OF_TORCH = {"params", "param_names", "initial_lr"}


class BregmanOptimizer(Optimizer):
    """An optimizer that moves subgradients v, and shows theta = prox(v).

    Weights that were changed between two steps (a checkpoint restored, an entry edited in place)
    are kept, as by torch's optimizers: v is derived from them anew. Groups that were and are zero
    keep their v. A change through `param.data` cannot be seen, and the next step undoes it.
    """

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self._versions: dict[Tensor, int] = {}
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._versions = {}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch; options, the regularizer too, may differ from group to group.

        Raises:
            TypeError, ValueError: if an option or a parameter is impossible.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            for name in group.keys() - self.defaults.keys() - _OF_TORCH:
                close = difflib.get_close_matches(name, self.defaults, 1)
                raise TypeError(
                    f"{type(self).__name__} has no option {name!r}"
                    + (f"; did you mean {close[0]!r}?" if close else "")
                    + f" Its options are {', '.join(self.defaults)}."
                )
            self._check_options(group)
            self._check_params(group)
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    def _check_options(self, group: dict[str, Any]) -> None:
        if not isinstance(group["regularizer"], Regularizer):
            raise TypeError(
                "regularizer must be an object of bregman_nas.bregman.regularizers, such as "
                f"L1(0.1), got {group['regularizer']!r}"
            )
        check(0 <= group["lr"] < math.inf, "lr", group["lr"], "finite and not negative")
        check(0 < group["delta"] < math.inf, "delta", group["delta"], "finite and positive")
        decay = group["weight_decay"]
        check(0 <= decay < math.inf, "weight_decay", decay, "finite and not negative")

    def _check_params(self, group: dict[str, Any]) -> None:
        for param in group["params"]:
            if param.is_complex():
                raise TypeError(
                    f"{type(self).__name__} does not train complex parameters: use view_as_real"
                )
            greatest = torch.finfo(param.dtype).max
            check(group["delta"] <= greatest, "delta", group["delta"], f"finite in {param.dtype}")

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
        with_gradient = [
            (group, [p for p in group["params"] if p.grad is not None])
            for group in self.param_groups
        ]
        # What can fail comes first.
        states = [[self._state_of(p, group) for p in params] for group, params in with_gradient]
        for (group, params), of_group in zip(with_gradient, states, strict=True):
            self._move_subgradients(_gradients(params, group), of_group, group)
            for param, state in zip(params, of_group, strict=True):
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
        """Take over what `state_dict` returned; nothing is changed if that is impossible."""
        kind, groups = type(self).__name__, []
        for saved in state_dict["param_groups"]:
            missing = [name for name in self.defaults if name not in saved]
            if missing:
                raise ValueError(f"this is not the state of {kind}: it lacks {', '.join(missing)}")
            group = {**saved, "regularizer": Regularizer.from_dict(saved["regularizer"])}
            self._check_options(group)
            groups.append(group)
        # Numbers of groups and of parameters that differ are found by torch.
        for group, ours in zip(groups, self.param_groups, strict=False):
            self._check_params({**group, "params": ours["params"]})
            for number, param in zip(group["params"], ours["params"], strict=False):
                state = state_dict["state"].get(number, {})
                if state and state.keys() != {"step", "v", *self._moments}:
                    raise ValueError(f"this is not the state of {kind}: it has {', '.join(state)}")
                for name in ("v", *self._moments) if state else ():
                    _check_shape(state[name], param)
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
        _check_shape(state["v"], param)
        if self._versions.get(param) != param._version:
            _keep_changed(theta, state["v"], group)
        return state

    _moments: tuple[str, ...] = ()

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


def _gradients(params: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
    gradients = [param.grad for param in params if param.grad is not None]
    if group["maximize"]:
        gradients = [-g for g in gradients]
    if group["weight_decay"]:
        decay = group["weight_decay"]
        gradients = [g.add(p, alpha=decay) for g, p in zip(gradients, params, strict=True)]
    return gradients


def _check_shape(state: Tensor, param: Tensor) -> None:
    if state.shape != param.shape:
        raise ValueError(f"the state has shape {(*state.shape,)}, its parameter {(*param.shape,)}")


def check(holds: bool, name: str, value: object, allowed: str) -> None:
    """Refuse another value."""
    if not holds:
        raise ValueError(f"{name} must be {allowed}, got {value}")
