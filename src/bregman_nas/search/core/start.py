"""How the parameters start that are not sparse."""

import math

import torch
from torch import Tensor


@torch.no_grad()
def nonnegative_bias_(bias: Tensor, fan_in: int, numbers: torch.Generator) -> None:
    """Fill a bias uniformly on [0, 1 / sqrt(fan_in)], as the authors' code does."""
    bias.copy_(torch.rand(bias.shape, generator=numbers) / math.sqrt(fan_in))
