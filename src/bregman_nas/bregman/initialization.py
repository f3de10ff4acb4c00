"""Sparse initialisation: a random start of which only few groups are on (section 2)."""

import math
from typing import Literal

import torch
from torch import Tensor

from bregman_nas.bregman.regularizers import check_group_dims

Mask = Literal["bernoulli", "exact"]


@torch.no_grad()
def sparse_kaiming_normal_(
    tensor: Tensor,
    *,
    density: float,
    group_dims: tuple[int, ...],
    scale: float = 1.0,
    rescale_variance: bool = False,
    mask: Mask = "bernoulli",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fill `tensor` in place with g = g~ m: normal values g~, masked group by group.

    g~ has mean 0 and standard deviation scale * sqrt(2 / fan_in) (Kaiming, for ReLU), divided by
    sqrt(density) if `rescale_variance`, which keeps the expected variance of the masked tensor.

    Args:
        tensor: a weight, [out, in] or [out, in, height, width].
        density: r, the share of groups that are on, in (0, 1].
        group_dims: the dimensions that index the groups, as in `GroupLasso`.
        scale: factor on the standard deviation.
        rescale_variance: multiply the variance by 1 / density.
        mask: `bernoulli` draws each group independently with probability `density`; `exact`
            draws ceil(density * number of groups) of them without replacement.
        generator: of the random numbers, on the CPU: the same start on every device.

    Raises:
        ValueError: if an argument is impossible, or the tensor has less than two dimensions.
    """
    if not 0 < density <= 1:
        raise ValueError(f"density must be more than 0 and at most 1, got {density}")
    if tensor.ndim < 2:
        raise ValueError(f"a weight has two dimensions or more, got shape {tuple(tensor.shape)}")
    check_group_dims(group_dims, tensor.ndim)
    fan_in = tensor[0].numel()
    std = scale * math.sqrt(2 / fan_in) / (math.sqrt(density) if rescale_variance else 1)
    groups = [tensor.shape[d] if d in group_dims else 1 for d in range(tensor.ndim)]
    count = math.prod(groups)
    if mask == "bernoulli":
        active = torch.rand(count, generator=generator) < density
    else:
        # Rounded first: 0.07 * 100 is a little more than 7 in floating point.
        number = math.ceil(round(density * count, 9))
        active = torch.zeros(count, dtype=torch.bool)
        active[torch.randperm(count, generator=generator)[:number]] = True
    values = torch.randn(tensor.shape, generator=generator) * std
    return tensor.copy_(values * active.reshape(groups))
