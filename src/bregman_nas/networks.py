"""The two search spaces of the article, as plain modules."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResidualMLP(nn.Module):
    """x(l+1) = relu(W(l) x(l) + b(l)) + sum_{i <= l} tau(l, i) x(i), for 0 <= l < depth; (2.5).

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


class DenseNet(nn.Module):
    """A dense block whose layers see the outputs of all layers before them: section 4.2.

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
        layers = [nn.Conv2d((l + 1) * growth, growth, 3, padding=1) for l in range(depth)]
        self.layers = cast("Sequence[nn.Conv2d]", nn.ModuleList(layers))
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
