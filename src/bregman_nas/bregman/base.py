"""What LinBreg and AdaBreg have in common: v, its start, the shrinkage step, and saving.

Both keep, beside each parameter theta, a subgradient v in the subdifferential of J_delta (2.2). A
step moves v as SGD or Adam would theta, then sets theta = prox_{delta J}(delta v): a group that is
zero stays exactly zero until its part of v crosses the threshold.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from bregman_nas.bregman.regularizers import Regularizer, Zero

#: Keys of a parameter group that are not ours: torch's, and those of its schedulers.
_OF_TORCH = {"params", "param_names", "initial_lr"}


class BregmanOptimizer(Optimizer):
    """An optimizer that moves subgradients v, and shows theta = prox(v).

    Weights that were changed between two steps (a checkpoint restored, an entry edited in place)
    are kept, as by torch's optimizers: v is derived from them anew. Groups that were and are zero
    keep their v. A change through `param.data` cannot be seen, and the next step undoes it.
    """

    #: Of each option, whether a value is possible, and what it must be.
    _allowed: ClassVar[dict[str, tuple[Callable[[Any], bool], str]]] = {
        "regularizer": (lambda x: isinstance(x, Regularizer), "an object such as L1(0.1)"),
        "lr": (lambda x: 0 <= x < math.inf, "finite and not negative"),
        "delta": (lambda x: 0 < x < math.inf, "finite and positive"),
        "weight_decay": (lambda x: 0 <= x < math.inf, "finite and not negative"),
    }
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
        for name, (holds, allowed) in self._allowed.items():
            if not holds(options[name]):
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
