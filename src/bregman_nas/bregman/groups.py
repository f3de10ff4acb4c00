"""Parameter groups by rule, for one's own network: what is sparse, how it starts, what was found.

rule = ByKind(rows=0.05, kernels=0.05, scalars={"skip": 0.1})
groups = parameter_groups(network, rule)
start_sparsely_(groups, density=0.1)
optimizer = AdaBreg(groups)
...
architecture(network, rule)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bregman_nas.bregman.initialization import sparse_kaiming_normal_
from bregman_nas.bregman.regularizers import L1, GroupLasso, NonNegativeL1, Regularizer, Zero

#: From a parameter's full name, the module that holds it and itself to its functional J.
Rule = Callable[[str, nn.Module, nn.Parameter], Regularizer]


@dataclass(frozen=True)
class ByKind:
    """The article's rule: rows of linear layers, kernels of convolutions, and named scalars.

    What is none of these has J = 0, and is trained as by Adam.

    Args:
        rows: mu of the rows of every weight of a linear layer; None leaves them free.
        kernels: mu of the kernels, one for each pair of channels, of every convolution; likewise.
        scalars: mu of the L1 norm of parameters, by the last part of their name.
    """

    rows: float | None = None
    kernels: float | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, name: str, module: nn.Module, parameter: nn.Parameter) -> Regularizer:
        """The functional of a parameter."""
        last = name.rpartition(".")[2]
        if last in self.scalars:
            return L1(self.scalars[last])
        if last == "weight" and isinstance(module, nn.Linear) and self.rows is not None:
            return GroupLasso(self.rows, (0,))
        convolution = isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
        if last == "weight" and convolution and self.kernels is not None:
            return GroupLasso(self.kernels, (0, 1))
        return Zero()


def parameter_groups(network: nn.Module, rule: Rule) -> list[dict[str, Any]]:
    """The trainable parameters with their functionals, as LinBreg and AdaBreg take them.

    Args:
        network: any module.
        rule: the functional of each parameter; those of equal ones share a group.

    Raises:
        ValueError: if nothing would be sparse: the rule fits no parameter; if it names scalars that
            the network has not; if a parameter's values have no subgradient, from which v starts.
    """
    if isinstance(rule, ByKind):
        _check_scalars(network, rule)
    groups: dict[Regularizer, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            regularizer = rule(name, _owner(network, name), parameter)
            _check_start(name, parameter, regularizer)
            groups.setdefault(regularizer, []).append(parameter)
    if all(isinstance(regularizer, Zero) for regularizer in groups):
        names = ", ".join(name for name, _ in network.named_parameters())
        raise ValueError(f"the rule makes no parameter sparse; the network has {names or 'none'}")
    return [{"params": params, "regularizer": j} for j, params in groups.items()]


@torch.no_grad()
def start_sparsely_(
    groups: list[dict[str, Any]], *, density: float, generator: torch.Generator | None = None
) -> None:
    """Give sparse parameters their start: few groups on, in place; scalars zero.

    Kaiming normal values with the variance that keeps that of a dense start, see
    `sparse_kaiming_normal_`. Parameters without functional keep theirs.

    Args:
        groups: of `parameter_groups`.
        density: the share of groups that are on, in (0, 1].
        generator: of the random numbers, on the CPU.
    """
    for group in groups:
        regularizer = group["regularizer"]
        for parameter in group["params"]:
            if isinstance(regularizer, GroupLasso):
                sparse_kaiming_normal_(
                    parameter,
                    density=density,
                    group_dims=regularizer.group_dims,
                    rescale_variance=True,
                    mask="exact",  # at least one: a layer that is off from the start learns nothing
                    generator=generator,
                )
            elif isinstance(regularizer, (L1, NonNegativeL1)):
                parameter.zero_()


@torch.no_grad()
def architecture(network: nn.Module, rule: Rule) -> dict[str, Tensor]:
    """What is on: for each sparse parameter, by name, which of its groups are not zero.

    Args:
        network: any module.
        rule: as for `parameter_groups`.

    Returns:
        Boolean tensors: [rows] for rows, [out, in] for kernels, the parameter's shape for scalars.
    """
    found = {}
    for name, parameter in network.named_parameters():
        regularizer = rule(name, _owner(network, name), parameter)
        if isinstance(regularizer, GroupLasso):
            dims = regularizer.group_dims
            found[name] = (regularizer.norms(parameter) > 0).reshape(
                [parameter.shape[d] for d in sorted(dims)]
            )
        elif not isinstance(regularizer, Zero):
            found[name] = parameter != 0
    return found


def _check_scalars(network: nn.Module, rule: ByKind) -> None:
    names = sorted({name.rpartition(".")[2] for name, _ in network.named_parameters()})
    unknown = [name for name in rule.scalars if name not in names]
    if unknown:
        raise ValueError(
            f"scalars: no parameter is named {' or '.join(unknown)}; there are {', '.join(names)}"
        )


def _check_start(name: str, parameter: nn.Parameter, regularizer: Regularizer) -> None:
    """The subgradient from which v starts must exist, and be one also in the machine's numbers."""
    values = parameter.detach()
    try:
        start = regularizer.subgradient(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if isinstance(regularizer, GroupLasso):
        norms, threshold = regularizer.norms(start), regularizer.threshold(values.shape)
        # Of an active group it has this norm, unless the squares of the values underflow.
        wrong = (norms != 0) & ((norms - threshold).abs() > threshold / 20)
        if wrong.any():
            raise ValueError(
                f"{name}: {int(wrong.sum())} of {wrong.numel()} groups are not zero, but too small "
                f"for a norm in {str(values.dtype).removeprefix('torch.')}; set them to zero first"
            )


def _owner(network: nn.Module, name: str) -> nn.Module:
    return network.get_submodule(name.rpartition(".")[0])
