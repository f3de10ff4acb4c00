"""The search space of section 4.2: one dense block, then a convolution and a linear layer."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn


class DenseNet(nn.Module):
    """A dense block whose layers see the outputs of all layers before them.

    The first convolution makes `growth` channels of the image, without bias or nonlinearity. Each
    of the `depth` layers then appends ReLU(K * x + b), `growth` channels, to its input x. The last
    convolution makes one channel of all, with ReLU, and a linear layer the logits of it. All
    kernels are 3 by 3, with zero padding 1.

    Args:
        depth: number of layers of the dense block.
        growth: k, the number of channels that each appends.
        side: height and width of the images, in pixels.
        classes: number of logits.
        relu_logits: apply ReLU to the logits, as the authors' code does.
        input_mean: subtracted from the input.
        input_std: what the input is then divided by.
    """

    def __init__(
        self,
        depth: int = 5,
        growth: int = 12,
        *,
        side: int = 28,
        classes: int = 10,
        relu_logits: bool = False,
        input_mean: float = 0.0,
        input_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.growth, self.relu_logits = growth, relu_logits
        self.input_mean, self.input_std = input_mean, input_std
        self.first = nn.Conv2d(1, growth, 3, padding=1, bias=False)
        layers = nn.ModuleList(
            nn.Conv2d((l + 1) * growth, growth, 3, padding=1) for l in range(depth)
        )
        self.layers = cast("Sequence[nn.Conv2d]", layers)
        self.last = nn.Conv2d((depth + 1) * growth, 1, 3, padding=1)
        self.linear = nn.Linear(side * side, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, 1, side, side] to logits [batch, classes]."""
        x = self.first((images - self.input_mean) / self.input_std)
        for layer in self.layers:
            x = torch.cat([x, torch.relu(layer(x))], dim=1)
        x = torch.relu(self.last(x))
        logits: Tensor = self.linear(x.flatten(1))
        return torch.relu(logits) if self.relu_logits else logits
