"""A sparse start from which all that is off can switch on."""

import itertools
import math
import warnings

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from bregman_nas.bregman.groups import (
    CONVOLUTIONS,
    TRANSPOSED,
    ByKind,
    Governed,
    HeadLasso,
    Rule,
    governed,
)
from bregman_nas.bregman.initialization import sparse_kaiming_normal_
from bregman_nas.bregman.regularizers import L1, GroupLasso, NonNegativeL1, Zero

#: Of biases: large beside a step of the optimizer, small beside what they are added to.
LEAST_BIAS = 0.1


@torch.no_grad()
def start_sparsely_(
    network: nn.Module, rule: Rule, *, density: float, generator: torch.Generator | None = None
) -> None:
    """Give sparse parameters their start, in place: few groups on, and none that is off for ever.

    Rows, columns, kernels and channels that are on get Kaiming normal values with the variance that
    keeps that of a dense start, see `sparse_kaiming_normal_`; heads that are on keep their weights,
    those of their values times 1 / sqrt(density); scalars are zero. Parameters without functional
    keep theirs, but for two kinds of biases:

    - **Of layers whose weight is sparse.** A row that is zero puts out ReLU(b). For b <= 0 the
      derivative of ReLU, and so the gradient of the row and of b, is exactly zero, for ever. Each
      bias becomes |b|, and at least mu: it moves by at most lr a step, and a row whose gradients
      are steady crosses after mu / lr steps, before its bias can have reached zero.
    - **Of batch norms.** A kernel that is zero makes a channel that is constant; normalised it is
      zero, so that the norm puts out its own bias, whatever the convolution's. The same follows for
      it, and it starts at the largest mu of the network. The gradient that reaches the kernel then
      is that of the norm's output less its mean over the batch, divided by sqrt(eps).

    Both are at least 0.1. In an attention the biases of queries start as normal numbers: queries
    and keys that are both zero are a saddle, where neither has a gradient.

    Args:
        network: any module.
        rule: as for `parameter_groups`.
        density: the share of groups that are on, in (0, 1]; at least one of each parameter.
        generator: of the random numbers, on the CPU.

    Raises:
        ValueError: if the density is not in (0, 1], or a parameter has no such start.

    Warns:
        UserWarning: of a sparse convolution with a bias before a batch norm.
    """
    largest = 0.0
    for item in [item for item in governed(network, rule) if item.parameter.requires_grad]:
        name, module, parameter, regularizer = item
        if parameter.numel() == 0:
            continue
        if isinstance(regularizer, (L1, NonNegativeL1)):
            parameter.zero_()
        elif isinstance(regularizer, HeadLasso):
            _start_heads_(item, density, generator)
        elif isinstance(regularizer, GroupLasso):
            try:
                sparse_kaiming_normal_(
                    parameter,
                    density=density,
                    group_dims=regularizer.group_dims,
                    scale=_scale(module),
                    rescale_variance=True,
                    mask="exact",  # at least one: a layer that is off from the start learns nothing
                    generator=generator,
                )
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            _make_positive_(getattr(module, "bias", None), regularizer.mu)
            largest = max(largest, regularizer.mu)
    for name, module in network.named_modules():
        excluded = isinstance(rule, ByKind) and rule.excludes(f"{name}.bias")
        if largest and isinstance(module, _NormBase) and not excluded:
            _make_positive_(module.bias, largest)
    _warn_of_saddles_and_biases(network, rule)


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


def _start_heads_(item: Governed, density: float, generator: torch.Generator | None) -> None:
    _, module, weight, lasso = item
    assert isinstance(lasso, HeadLasso)
    on = torch.zeros(lasso.heads)
    on[torch.randperm(lasso.heads, generator=generator)[: math.ceil(density * lasso.heads)]] = 1
    # The values make up for heads that are off; a product of queries and keys needs no such thing.
    parts = on * torch.tensor([1, 1, density**-0.5])[:, None]
    weight.copy_((lasso.split(weight) * parts[:, :, None, None].to(weight)).reshape(weight.shape))
    bias = module.in_proj_bias
    if isinstance(bias, nn.Parameter):
        queries = bias[: len(bias) // 3]
        queries.copy_(torch.randn(queries.shape, generator=generator) * LEAST_BIAS)


def _warn_of_saddles_and_biases(network: nn.Module, rule: Rule) -> None:
    sparse = {i.module: i.name for i in governed(network, rule) if i.regularizer != Zero()}
    for module, name in sparse.items():
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_bias is None:
            warnings.warn(
                f"{name}: without a bias, queries and keys of a head that is off stay zero when it "
                "switches on: it takes a mean; construct the attention with bias=True",
                stacklevel=3,
            )
    # The order in which they were made is mostly that in which they follow each other.
    for first, norm in itertools.pairwise(m for m in network.modules() if not list(m.children())):
        biased = isinstance(first, CONVOLUTIONS) and first.bias is not None
        if biased and first in sparse and isinstance(norm, _NormBase):
            warnings.warn(
                f"{sparse[first]}: its layer has a bias before a batch norm, which subtracts it in "
                "training; in evaluation, where a channel is off and its variance 0, the norm "
                "multiplies what its running mean lags behind by up to 1 / sqrt(eps), some 300; "
                "construct the convolution with bias=False",
                stacklevel=3,
            )
