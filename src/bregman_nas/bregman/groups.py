"""Parameter groups by rule, for one's own network: what is sparse, and what was found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

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
    """

    mu: float
    heads: int

    def __post_init__(self) -> None:
        GroupLasso(self.mu, (1,))  # checks mu
        if self.heads < 1:
            raise ValueError(f"heads must be at least 1, got {self.heads}")

    def split(self, theta: Tensor) -> Tensor:
        """The weight [3 width, width] as [3, heads, width / heads, width]."""
        return theta.reshape(3, self.heads, -1, theta.shape[-1])

    def value(self, theta: Tensor) -> Tensor:
        """mu sum_h sqrt(n_h) |W_h|_2."""
        return GroupLasso(self.mu, (1,)).value(self.split(theta))

    def prox(self, v: Tensor, delta: float = 1.0) -> Tensor:
        """That of `GroupLasso`, head by head."""
        return GroupLasso(self.mu, (1,)).prox(self.split(v), delta).reshape(v.shape)

    def subgradient(self, theta: Tensor) -> Tensor:
        """That of `GroupLasso`, head by head."""
        return GroupLasso(self.mu, (1,)).subgradient(self.split(theta)).reshape(theta.shape)

    def active(self, theta: Tensor) -> Tensor:
        """Boolean [heads]."""
        return GroupLasso(self.mu, (1,)).active(self.split(theta))


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
        if not isinstance(self.scalars, Mapping):
            raise TypeError(f'scalars is a mu by name, as {{"gate": 0.1}}, got {self.scalars!r}')
        if isinstance(self.exclude, str):
            raise TypeError(f"exclude is a list of patterns, got the text {self.exclude!r}")

    def __call__(self, name: str, module: nn.Module, parameter: nn.Parameter) -> Regularizer:
        """The functional of a parameter."""
        last = name.rpartition(".")[2]
        choices: dict[tuple[int, ...], float | None] = {}
        if self.excludes(name):
            return Zero()
        if last in self.scalars:
            return L1(self.scalars[last])
        if isinstance(module, nn.MultiheadAttention) and last == "in_proj_weight":
            return Zero() if self.heads is None else HeadLasso(self.heads, module.num_heads)
        if last == "weight" and isinstance(module, nn.Linear):
            choices = {(0,): self.rows, (1,): self.columns}
        elif last == "weight" and isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
            transposed = isinstance(module, TRANSPOSED)
            if transposed and module.groups != 1 and self.channels is not None:
                raise ValueError(
                    f"{name}: a grouped transposed convolution has no dimension of output "
                    "channels; exclude it, or use kernels"
                )
            choices = {(int(transposed),): self.channels, (0, 1): self.kernels}
        chosen = [GroupLasso(mu, dims) for dims, mu in choices.items() if mu is not None]
        return chosen[0] if chosen else Zero()

    def excludes(self, name: str) -> bool:
        """Whether a parameter of that name stays dense."""
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)


def governed(
    network: nn.Module, rule: Rule
) -> Iterator[tuple[str, nn.Module, nn.Parameter, Regularizer]]:
    """Every parameter with its name, the module that holds it, and its functional; each once.

    Raises:
        ValueError: if the rule is a `ByKind` that names what the network has not.
    """
    named = dict(network.named_parameters())
    if isinstance(rule, ByKind):
        last = {name.rpartition(".")[2] for name in named}
        for name in rule.scalars.keys() - last:
            raise ValueError(f"scalars: no parameter is named {name}, but {', '.join(last)}")
        for pattern in rule.exclude:
            if not any(fnmatchcase(name, pattern) for name in named):
                raise ValueError(f"exclude: {pattern} matches none of {', '.join(named)}")
    for name, parameter in named.items():
        module = network.get_submodule(name.rpartition(".")[0])
        yield name, module, parameter, rule(name, module, parameter)


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
            try:
                regularizer.subgradient(parameter.detach())
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
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
