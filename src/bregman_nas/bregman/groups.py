"""Parameter groups by rule, for one's own network: what is sparse, and what was found.

rule = ByKind(rows=0.3, channels=0.3, exclude=("head.*",))
start_sparsely_(network, rule, density=0.1)
optimizer = AdaBreg(parameter_groups(network, rule))
...
architecture(network, rule)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bregman_nas.bregman.regularizers import L1, GroupLasso, Regularizer, Zero

#: From a parameter's full name, the module that holds it and itself to its functional J.
Rule = Callable[[str, nn.Module, nn.Parameter], Regularizer]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class HeadLasso(Regularizer):
    """J(W) = mu sum_h sqrt(n_h) |W_h|_2 over the heads of an attention's `in_proj_weight`.

    W_h are the rows of head h in all three parts of the weight, for queries, keys and values.

    Args:
        mu: the regularization parameter.
        heads: their number.
    """

    mu: float
    heads: int

    def __post_init__(self) -> None:
        GroupLasso(self.mu, (1,))  # checks mu

    def split(self, theta: Tensor) -> Tensor:
        """The weight [3 width, width] as [3, heads, width / heads, width]."""
        return theta.reshape(3, self.heads, -1, theta.shape[-1])

    def value(self, theta: Tensor) -> Tensor:
        """mu sum_h sqrt(n_h) |W_h|_2."""
        return self._lasso.value(self.split(theta))

    def prox(self, v: Tensor, delta: float = 1.0) -> Tensor:
        """That of `GroupLasso`, head by head."""
        return self._lasso.prox(self.split(v), delta).reshape(v.shape)

    def subgradient(self, theta: Tensor) -> Tensor:
        """That of `GroupLasso`, head by head."""
        return self._lasso.subgradient(self.split(theta)).reshape(theta.shape)

    def active(self, theta: Tensor) -> Tensor:
        """Boolean [heads]."""
        return self._lasso.active(self.split(theta))

    @property
    def _lasso(self) -> GroupLasso:
        return GroupLasso(self.mu, (1,))


@dataclass(frozen=True)
class ByKind:
    """A rule by the kind of layer: which groups of its weight are sparse, and with which mu.

    An option that is None leaves its kind free. What fits no option has J = 0, and is trained as by
    Adam.

    Args:
        rows: of every weight of a linear layer: its output neurons.
        columns: of the same, in place of rows: the inputs that it reads.
        kernels: of every convolution, transposed ones too, one for each pair of channels.
        channels: of the same, in place of kernels: all kernels of an output channel.
        heads: of every `nn.MultiheadAttention` with one `in_proj_weight`, see `HeadLasso`.
        scalars: mu of the L1 norm of parameters, by the last part of their name.
        exclude: patterns of names, such as "head.*": parameters that stay dense, and free.

    Raises:
        ValueError: if both rows and columns, or both kernels and channels, are given.
    """

    rows: float | None = None
    columns: float | None = None
    kernels: float | None = None
    channels: float | None = None
    heads: float | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)
    exclude: Sequence[str] = ()

    def __post_init__(self) -> None:
        for one, other in (("rows", "columns"), ("kernels", "channels")):
            if None not in (getattr(self, one), getattr(self, other)):
                raise ValueError(f"a weight has groups of one kind: give {one} or {other}")
        if isinstance(self.exclude, str):
            raise TypeError(f"exclude is a list of patterns, got the text {self.exclude!r}")

    def __call__(self, name: str, module: nn.Module, parameter: nn.Parameter) -> Regularizer:
        """The functional of a parameter."""
        last = name.rpartition(".")[2]
        if self.excludes(name):
            return Zero()
        if last in self.scalars:
            return L1(self.scalars[last])
        mu, dims = None, (0,)
        if isinstance(module, nn.MultiheadAttention) and last == "in_proj_weight":
            return Zero() if self.heads is None else HeadLasso(self.heads, module.num_heads)
        if last == "weight" and isinstance(module, nn.Linear):
            mu, dims = (self.rows, (0,)) if self.columns is None else (self.columns, (1,))
        elif last == "weight" and isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
            if self.channels is None:
                return Zero() if self.kernels is None else GroupLasso(self.kernels, (0, 1))
            mu, dims = self.channels, (_output_dim(name, module),)
        return Zero() if mu is None else GroupLasso(mu, dims)

    def excludes(self, name: str) -> bool:
        """Whether a parameter of that name stays dense."""
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)


class Governed(NamedTuple):
    """A parameter, the module that holds it, and its functional."""

    name: str
    module: nn.Module
    parameter: nn.Parameter
    regularizer: Regularizer


def governed(network: nn.Module, rule: Rule) -> Iterator[Governed]:
    """Every parameter with its functional; a shared one once.

    Raises:
        ValueError: if it is a `ByKind` that names what the network has not.
    """
    if isinstance(rule, ByKind):
        _check_names(network, rule)
    for name, parameter in network.named_parameters():
        module = network.get_submodule(name.rpartition(".")[0])
        yield Governed(name, module, parameter, rule(name, module, parameter))


def parameter_groups(network: nn.Module, rule: Rule) -> list[dict[str, Any]]:
    """The trainable parameters with their functionals, as LinBreg and AdaBreg take them.

    Args:
        network: any module.
        rule: the functional of each parameter; those of equal ones share a group.

    Raises:
        ValueError: if nothing would be sparse: the rule fits no parameter; if it names what the
            network has not; if a parameter's values have no subgradient, from which v starts.
    """
    groups: dict[Regularizer, list[nn.Parameter]] = {}
    for name, _, parameter, regularizer in governed(network, rule):
        if parameter.requires_grad:
            _check_start(name, parameter, regularizer)
            groups.setdefault(regularizer, []).append(parameter)
    if all(isinstance(regularizer, Zero) for regularizer in groups):
        names = ", ".join(name for name, _ in network.named_parameters())
        raise ValueError(f"the rule makes no parameter sparse; the network has {names or 'none'}")
    return [{"params": params, "regularizer": j} for j, params in groups.items()]


@torch.no_grad()
def architecture(network: nn.Module, rule: Rule) -> dict[str, Tensor]:
    """What is on: for each sparse parameter, by name, which of its groups are not zero.

    Args:
        network: any module.
        rule: as for `parameter_groups`.

    Returns:
        Boolean tensors: [out] for rows and channels, [in] for columns, [out, in] for kernels ([in,
        out] of transposed convolutions), [heads] for heads, the parameter's shape for scalars.
    """
    return {
        name: regularizer.active(parameter)
        for name, _, parameter, regularizer in governed(network, rule)
        if not isinstance(regularizer, Zero)
    }


def _output_dim(name: str, module: nn.Module) -> int:
    """The dimension of a convolution's weight that counts output channels."""
    if isinstance(module, CONVOLUTIONS):
        return 0
    if module.groups != 1:
        raise ValueError(
            f"{name}: the output channels of a transposed convolution in groups are no dimension "
            "of its weight; exclude it, or use kernels"
        )
    return 1


def _check_names(network: nn.Module, rule: ByKind) -> None:
    names = [name for name, _ in network.named_parameters()]
    last = sorted({name.rpartition(".")[2] for name in names})
    unknown = [name for name in rule.scalars if name not in last]
    if unknown:
        raise ValueError(
            f"scalars: no parameter is named {' or '.join(unknown)}; there are {', '.join(last)}"
        )
    for pattern in rule.exclude:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"exclude: no parameter is like {pattern}; there are {names}")


def _check_start(name: str, parameter: nn.Parameter, regularizer: Regularizer) -> None:
    """The subgradient from which v starts must exist."""
    values = parameter.detach()
    if not values.isfinite().all():
        raise ValueError(f"{name} has values that are not finite")
    try:
        regularizer.subgradient(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
