"""The sparsity-enforcing functionals J of the article and their proximal operators.

`subgradient(theta)` is the element of the subdifferential of J that vanishes on the groups where
theta does. So v = theta / delta + subgradient(theta) lies in the subdifferential of J_delta (2.2),
and `prox(v, delta)` gives theta back.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor


class Regularizer(ABC):
    """A convex functional J of a parameter, with its proximal operator."""

    _kinds: ClassVar[dict[str, type["Regularizer"]]] = {}

    def __init_subclass__(cls) -> None:
        Regularizer._kinds[cls.__name__] = cls

    @abstractmethod
    def value(self, theta: Tensor) -> Tensor:
        """J(theta), a tensor without dimensions; infinite outside the domain of J."""

    @abstractmethod
    def prox(self, v: Tensor, delta: float = 1.0) -> Tensor:
        """prox_{delta J}(delta v), the minimiser of |w - delta v|^2 / 2 + delta J(w); (2.1)."""

    @abstractmethod
    def subgradient(self, theta: Tensor) -> Tensor:
        """The subgradient that is zero on zero groups; ValueError outside the domain of J."""

    def active(self, theta: Tensor) -> Tensor:
        """Boolean, one entry a group: which are not zero. Here each number is a group."""
        return theta != 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values that describe this regularizer; `from_dict` reads them."""
        return {"kind": type(self).__name__, **vars(self)}

    @staticmethod
    def from_dict(description: Mapping[str, Any]) -> "Regularizer":
        """The regularizer that `to_dict` described; ValueError if there is no such kind."""
        fields = dict(description)
        if (kind := fields.pop("kind")) not in Regularizer._kinds:
            raise ValueError(f"unknown kind of regularizer {kind!r}")
        return Regularizer._kinds[kind](**fields)


@dataclass(frozen=True)
class Zero(Regularizer):
    """J = 0: no regularization. With it, AdaBreg is Adam."""

    def value(self, theta: Tensor) -> Tensor:
        """Zero."""
        return theta.new_zeros(())

    def prox(self, v: Tensor, delta: float = 1.0) -> Tensor:
        """The identity in delta v."""
        return delta * v

    def subgradient(self, theta: Tensor) -> Tensor:
        """Zero."""
        return torch.zeros_like(theta)


@dataclass(frozen=True)
class L1(Regularizer):
    """J(theta) = mu |theta|_1, the second term of (2.10)."""

    mu: float

    def __post_init__(self) -> None:
        _check_mu(self.mu)

    def value(self, theta: Tensor) -> Tensor:
        """mu times the sum of absolute values."""
        return self.mu * theta.abs().sum()

    def prox(self, v: Tensor, delta: float = 1.0) -> Tensor:
        """Soft-thresholding (2.3): delta sign(v) max(|v| - mu, 0)."""
        return delta * (v - v.clamp(-self.mu, self.mu))

    def subgradient(self, theta: Tensor) -> Tensor:
        """mu sign(theta)."""
        return self.mu * theta.sign()


@dataclass(frozen=True)
class NonNegativeL1(L1):
    """mu |theta|_1 for theta >= 0, else infinite: the positivity constraint of section 2."""

    def value(self, theta: Tensor) -> Tensor:
        """mu times the sum; infinite if any entry is negative."""
        return super().value(theta) if (theta >= 0).all() else theta.new_full((), math.inf)

    def prox(self, v: Tensor, delta: float = 1.0) -> Tensor:
        """delta max(v - mu, 0)."""
        return delta * (v - self.mu).clamp_min(0)

    def subgradient(self, theta: Tensor) -> Tensor:
        """mu where theta is positive, 0 where it is zero; an error if it is neither."""
        if not (theta >= 0).all():
            raise ValueError(
                "NonNegativeL1 has no subgradient at entries that are negative or not a number"
            )
        return super().subgradient(theta)


@dataclass(frozen=True)
class GroupLasso(Regularizer):
    """J(theta) = mu sum_g sqrt(n_g) |g|_2, the group norm of (2.4).

    The dimensions `group_dims` index the groups, the others run inside of one: `(0,)` are the rows
    of a weight matrix (2.6), `(0, 1)` the kernels of a convolution, `()` is one group (2.8).
    """

    mu: float
    group_dims: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_mu(self.mu)
        check_group_dims(self.group_dims)

    def threshold(self, shape: Sequence[int]) -> float:
        """mu sqrt(n_g): the norm of v above which a group of a parameter of that shape is on."""
        inner = self._inner_dims(len(shape))
        return self.mu * math.sqrt(math.prod(shape[d] for d in inner))

    def norms(self, theta: Tensor) -> Tensor:
        """The Euclidean norm of each group; same number of dimensions, inner ones of size 1."""
        inner = self._inner_dims(theta.ndim)
        # A reduction over no dimension at all would be read by torch as one over every dimension.
        return torch.linalg.vector_norm(theta, dim=inner, keepdim=True) if inner else theta.abs()

    def value(self, theta: Tensor) -> Tensor:
        """mu sum_g sqrt(n_g) |g|_2."""
        return self.threshold(theta.shape) * self.norms(theta).sum()

    def prox(self, v: Tensor, delta: float = 1.0) -> Tensor:
        """Each group scaled by delta max(1 - mu sqrt(n_g) / |v_g|, 0)."""
        norms = self.norms(v).clamp_min(torch.finfo(v.dtype).tiny)
        return v * (delta * (1 - self.threshold(v.shape) / norms).clamp_min(0))

    def subgradient(self, theta: Tensor) -> Tensor:
        """mu sqrt(n_g) g / |g| on active groups, 0 on the others."""
        limits = torch.finfo(theta.dtype)
        norms = self.norms(theta)
        # First the direction: the threshold divided by a norm near zero would overflow.
        direction = theta / norms.clamp_min(limits.tiny)
        extreme = (norms < math.sqrt(limits.tiny / limits.eps)) | norms.isinf()
        if theta.numel() and extreme.any():
            # Squares of the entries underflow or overflow. Those of a scaled group do not.
            inner = self._inner_dims(theta.ndim)
            greatest = theta.abs().amax(inner, keepdim=True) if inner else theta.abs()
            scaled = theta / torch.where(greatest > 0, greatest, 1)
            direction = torch.where(extreme, scaled / self.norms(scaled).clamp_min(1), direction)
        return direction * self.threshold(theta.shape)

    def active(self, theta: Tensor) -> Tensor:
        """Boolean, of the shape of the dimensions that index groups."""
        inner = self._inner_dims(theta.ndim)
        return (theta != 0).any(inner) if inner else theta != 0

    def _inner_dims(self, ndim: int) -> tuple[int, ...]:
        check_group_dims(self.group_dims, ndim)
        return tuple(d for d in range(ndim) if d not in self.group_dims)


@dataclass(frozen=True)
class ZeroIndicator(Regularizer):
    """0 at theta = 0, infinite elsewhere, the second term of (2.9): what it governs stays off."""

    def value(self, theta: Tensor) -> Tensor:
        """0 if theta is zero, else infinite."""
        return theta.new_full((), math.inf if (theta != 0).any() else 0.0)

    def prox(self, v: Tensor, delta: float = 1.0) -> Tensor:
        """Zero, whatever v."""
        return torch.zeros_like(v)

    def subgradient(self, theta: Tensor) -> Tensor:
        """Zero; an error if theta is not."""
        if (theta != 0).any():
            raise ValueError("ZeroIndicator has no subgradient other than at zero; start at zero")
        return torch.zeros_like(theta)


def check_group_dims(group_dims: Sequence[int], ndim: float = math.inf) -> None:
    """Refuse dimensions named twice or that a parameter with `ndim` dimensions does not have."""
    if len(set(group_dims)) < len(group_dims) or not all(0 <= dim < ndim for dim in group_dims):
        raise ValueError(
            f"group_dims names each dimension once, counted from 0 and less than {ndim}; "
            f"got {group_dims}"
        )


def _check_mu(mu: float) -> None:
    if not 0 <= mu < math.inf:
        raise ValueError(f"mu must be finite and not negative, got {mu}")
