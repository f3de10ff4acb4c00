"""The search space (2.5): a multi-layer perceptron with a learned skip between any two layers."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResidualMLP(nn.Module):
    """x(l+1) = relu(W(l) x(l) + b(l)) + sum_{i <= l} tau(l, i) x(i), for l = 0 ... depth - 1.

    x(0) is the input, standardised; x(depth) is the output. The skips start at zero. Without them
    the module is the autoencoder's search space.

    Args:
        width: d, the number of neurons of every layer.
        depth: L, the number of layers.
        skips: whether there are skips.
        input_mean: subtracted from the input.
        input_std: what the input is then divided by.
        relu_slope: of the nonlinearity for negative values; 0 is ReLU.

    Attributes:
        layers: `depth` linear layers, `width` by `width`.
        skips: tau, [depth, depth]; entry (l, i) leads from x(i) to x(l + 1). Those with i > l
            belong to no skip: they are never read and stay zero. None without skips.
    """

    def __init__(
        self,
        width: int = 784,
        depth: int = 6,
        *,
        skips: bool = True,
        input_mean: float = 0.0,
        input_std: float = 1.0,
        relu_slope: float = 0.0,
    ) -> None:
        super().__init__()
        self.input_mean, self.input_std, self.relu_slope = input_mean, input_std, relu_slope
        layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.layers = cast("Sequence[nn.Linear]", layers)
        self.skips = nn.Parameter(torch.zeros(depth, depth)) if skips else None

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, width] to restored images [batch, width]."""
        return self.states(images)[0][-1]

    def states(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """x(0) ... x(depth), and relu(W(l) x(l) + b(l)) of each layer; each [batch, width]."""
        x, rectified = [(images - self.input_mean) / self.input_std], []
        for l, layer in enumerate(self.layers):
            y = rectify(layer(x[l]), self.relu_slope)
            rectified.append(y)
            if self.skips is not None:
                for i in range(l + 1):
                    y = y + self.skips[l, i] * x[i]
            x.append(y)
        return x, rectified


def rectify(z: Tensor, slope: float = 0.0, inplace: bool = False) -> Tensor:
    """The nonlinearity: z where it is positive, elsewhere `slope` times z."""
    return functional.leaky_relu(z, slope, inplace) if slope else functional.relu(z, inplace)
