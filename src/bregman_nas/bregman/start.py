"""A sparse start from which all that is off can switch on, and the check that it can."""

import itertools
import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.optimizer import Optimizer

from bregman_nas.bregman.groups import CONVOLUTIONS, TRANSPOSED, ByKind, HeadLasso, Rule, governed
from bregman_nas.bregman.initialization import sparse_kaiming_normal_
from bregman_nas.bregman.regularizers import L1, GroupLasso, Zero

#: Of biases: large beside a step of the optimizer, small beside what they are added to.
LEAST_BIAS = 0.1


@torch.no_grad()
def start_sparsely_(
    network: nn.Module, rule: Rule, *, density: float, generator: torch.Generator | None = None
) -> None:
    """Give sparse parameters their start, in place: few groups on, and none that is off for ever.

    Groups that are on get Kaiming normal values with the variance that keeps that of a dense start,
    see `sparse_kaiming_normal_`; heads that are on keep their weights, those of their values times
    1 / sqrt(density); scalars are zero. All else keeps its values, but for two kinds of biases:

    - **Of layers whose weight is sparse**: |b|, and at least mu. A row that is zero puts out
      ReLU(b), and for b <= 0 has no gradient, for ever. A bias moves by at most lr a step, so that
      a row whose gradients are steady crosses, after mu / lr steps, before its bias is zero.
    - **Of batch norms**: likewise, with the largest mu of the network. A channel that is constant
      is zero when normalised, and the norm puts out its own bias.

    Both are at least 0.1. In an attention the biases of queries start as normal numbers: queries
    and keys that are both zero are a saddle, where neither has a gradient.

    Args:
        network: any module.
        rule: as for `parameter_groups`.
        density: the share of groups that are on, in (0, 1]; at least one of each parameter.
        generator: of the random numbers, on the CPU.

    Warns:
        UserWarning: of a sparse convolution with a bias before a batch norm, and of a sparse
            attention without biases.
    """
    largest = 0.0
    sparse = {}
    for name, module, parameter, regularizer in governed(network, rule):
        if not isinstance(regularizer, Zero):
            sparse[module] = name
        if not parameter.requires_grad:
            continue
        if isinstance(regularizer, L1):
            parameter.zero_()
        elif isinstance(regularizer, HeadLasso):
            heads = regularizer.heads
            on = torch.randperm(heads, generator=generator).argsort() < density * heads
            # Values make up for heads that are off; queries times keys need no such thing.
            factors = on * torch.tensor([1, 1, density**-0.5])[:, None]
            started = regularizer.split(parameter) * factors[:, :, None, None].to(parameter)
            parameter.copy_(started.view_as(parameter))
            bias: Any = module.in_proj_bias
            if bias is None:
                warnings.warn(
                    f"{name}: without a bias, queries and keys of a head that is off stay zero "
                    "when it switches on: it takes a mean; construct the attention with bias=True",
                    stacklevel=2,
                )
            else:
                queries = bias.chunk(3)[0]
                queries.copy_(torch.randn(queries.shape, generator=generator) * LEAST_BIAS)
        elif isinstance(regularizer, GroupLasso):
            sparse_kaiming_normal_(
                parameter,
                density=density,
                group_dims=regularizer.group_dims,
                scale=_scale(module),
                rescale_variance=True,
                mask="exact",  # at least one: a layer that is off from the start learns nothing
                generator=generator,
            )
            _make_positive_(getattr(module, "bias", None), regularizer.mu)
            largest = max(largest, regularizer.mu)
    for name, module in network.named_modules():
        excluded = isinstance(rule, ByKind) and rule.excludes(f"{name}.bias")
        if largest and isinstance(module, _NormBase) and not excluded:
            _make_positive_(module.bias, largest)
    # The order in which they were made is mostly that in which they follow each other.
    for first, norm in itertools.pairwise(m for m in network.modules() if not list(m.children())):
        biased = isinstance(first, CONVOLUTIONS) and first.bias is not None
        if biased and first in sparse and isinstance(norm, _NormBase):
            warnings.warn(
                f"{sparse[first]}: its layer has a bias before a batch norm, which harms "
                "evaluation where a channel is off; construct the convolution with bias=False",
                stacklevel=2,
            )


def _make_positive_(bias: object, least: float) -> None:
    if isinstance(bias, nn.Parameter) and bias.requires_grad:
        bias.abs_().clamp_(min=max(least, LEAST_BIAS))


def _scale(module: nn.Module) -> float:
    """Where torch takes the wrong numbers of inputs: those of a transposed convolution."""
    if not isinstance(module, TRANSPOSED):
        return 1.0
    # Each output is a sum over input channels and, of the kernel, every stride-th entry.
    fan_in = module.weight.shape[0] / module.groups * module.weight[0, 0].numel()
    return math.sqrt(module.weight[0].numel() * math.prod(module.stride) / fan_in)


@torch.no_grad()
def stuck_groups(network: nn.Module, rule: Rule) -> dict[str, Tensor]:
    """Which groups are off and have no gradient now, after `backward`: their v does not move.

    One batch says it for a row before a ReLU, whose output is the same for every input. Otherwise
    ask after several: `warn_of_stuck_groups` does.

    Returns:
        For each sparse parameter, by name, a boolean tensor as of `architecture`. A parameter
        without `grad` counts as one without gradient.
    """
    stuck = {}
    for name, _, parameter, regularizer in governed(network, rule):
        if parameter.requires_grad and not isinstance(regularizer, Zero):
            stuck[name] = ~regularizer.active(parameter)
            if parameter.grad is not None:
                stuck[name] &= ~regularizer.active(parameter.grad)
    return stuck


def warn_of_stuck_groups(
    optimizer: Optimizer, network: nn.Module, rule: Rule, *, steps: int = 20
) -> None:
    """Warn once, after some steps, of groups that are off and have had no gradient in any of them.

    Warns:
        UserWarning: in the optimizer's step number `steps` from now.
    """
    stuck: dict[str, Tensor] = {}
    made = itertools.count(1)

    def watch(*_: Any) -> None:
        for name, now in stuck_groups(network, rule).items():
            stuck[name] = stuck.get(name, now) & now
        if next(made) < steps:
            return
        handle.remove()
        named = [f"{n}: {int(off.sum())} of {off.numel()}" for n, off in stuck.items() if off.any()]
        if named:
            warnings.warn(
                f"in {steps} steps these groups were off and had no gradient, so that they cannot "
                f"switch on: {'; '.join(named)}. Before a ReLU the bias of a layer, and that of a "
                "batch norm between, must be positive, as start_sparsely_ makes them. If they are, "
                "nothing that is on reads these groups: raise the density, or use channels in "
                "place of kernels.",
                stacklevel=2,
            )

    handle = optimizer.register_step_post_hook(watch)
