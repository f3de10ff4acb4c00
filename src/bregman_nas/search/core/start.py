"""How the parameters of a search start."""

import math

import torch
from torch import Tensor

from bregman_nas.bregman.initialization import Mask, sparse_kaiming_normal_
from bregman_nas.settings import Run


def sparse_weight_(
    weight: Tensor,
    run: Run,
    group_dims: tuple[int, ...],
    numbers: torch.Generator,
    *,
    mask: Mask = "bernoulli",
) -> None:
    """Fill a weight with few active groups, of the density and size that a run wants."""
    scale = run.protocol.initial_scale
    sparse_kaiming_normal_(
        weight,
        density=run.experiment.density,
        group_dims=group_dims,
        scale=1.0 if isinstance(scale, str) else scale,
        rescale_variance=isinstance(scale, str),
        mask=mask,
        generator=numbers,
    )


@torch.no_grad()
def nonnegative_bias_(bias: Tensor, fan_in: int, numbers: torch.Generator) -> None:
    """Fill a bias uniformly on [0, 1 / sqrt(fan_in)], as the authors' code does."""
    bias.copy_(torch.rand(bias.shape, generator=numbers) / math.sqrt(fan_in))
