"""The small networks: dense layers of the widths that were found.

    net = load("network.safetensors")

This file needs torch and safetensors alone: `bregman-nas export` puts a copy of it beside the
weights.
"""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, cast

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

Sizes = Mapping[str, Any]


def load(path: str | PathLike[str]) -> nn.Module:
    """The network in a file that `bregman-nas export` wrote, on the CPU.

    Raises:
        OSError: if there is no such file.
        ValueError: if it holds no network of this module.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    if "architecture" not in metadata:
        raise ValueError(
            f"{path} was not written by `bregman-nas export`: it names no architecture"
        )
    return build(json.loads(metadata["architecture"]), load_file(path))


def build(architecture: Sizes, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A network of given sizes and weights.

    Args:
        architecture: `network`, which is `mlp` or `densenet`, and the arguments of the class.
        tensors: its `state_dict`; taken over, not copied.

    Raises:
        ValueError: if `network` is another one.
    """
    kinds: dict[str, type[nn.Module]] = {"mlp": SmallMLP, "densenet": SmallDenseNet}
    sizes = dict(architecture)
    kind = sizes.pop("network", None)
    if kind not in kinds:
        raise ValueError(f"unknown network {kind!r}; known are {', '.join(kinds)}")
    with torch.device("meta"):  # neither memory nor random numbers for weights soon replaced
        net = kinds[kind](**sizes)
    net.load_state_dict(tensors, assign=True)
    return net.eval()


class SmallMLP(nn.Module):
    """The multi-layer perceptron (2.5), restricted to what varies with the input and is read.

    The full network's states are x(l) = u(l) + c(l), where c(l) is the same for every input. Here

        u(0)   = (images - input_mean) / input_std
        u(l+1) = ReLU(W(l) u(l) + b(l)) + sum_i tau(l, i) u(i)
        output = u(depth) + c(depth)

    W(l) has the rows that vary with the input and are read, b(l) contains the full network's
    W(l) c(l), and u(l) has the entries that vary and are read.

    Args:
        pixels: of an image.
        input_mean: subtracted from the input, which is then divided by
        input_std: this.
        inputs: the number of pixels that are read.
        layers: for each layer the arguments of `SmallLayer`.
    """

    def __init__(
        self, pixels: int, input_mean: float, input_std: float, inputs: int, layers: Sequence[Sizes]
    ) -> None:
        super().__init__()
        self.input_mean, self.input_std = input_mean, input_std
        self.inputs = _index(inputs, wanted=inputs < pixels)
        self.layers = nn.ModuleList(SmallLayer(**sizes) for sizes in layers)
        outputs = layers[-1]["entries"] if layers else inputs
        self.outputs = _index(pixels, wanted=outputs < pixels)
        self.constants = nn.Parameter(torch.zeros(pixels))

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, pixels] to restored images [batch, pixels]."""
        u = [_placed((images - self.input_mean) / self.input_std, self.inputs)]
        for layer in self.layers:
            u.append(layer(u))
        return _placed(u[-1], self.outputs) + self.constants


class SmallLayer(nn.Module):
    """u(l+1) = ReLU(W u(l) + b) + sum_i tau(i) u(i), each entry at its place.

    Args:
        rows: of W.
        reads: the number of entries of u(l).
        entries: that of u(l+1).
        skips: the numbers i of the states that are added, and whether each has other entries than
            u(l+1).
    """

    def __init__(self, rows: int, reads: int, entries: int, skips: Mapping[str, bool]) -> None:
        super().__init__()
        self.linear = nn.Linear(reads, rows) if rows else None
        self.places = _index(entries, wanted=0 < rows < entries)
        self.skips = nn.ModuleDict({i: Skip(entries, placed) for i, placed in skips.items()})

    def forward(self, u: list[Tensor]) -> Tensor:
        """Map the states u(0) ... u(l), each [batch, entries], to u(l+1)."""
        terms = [] if self.linear is None else [_placed(self.linear(u[-1]).relu(), self.places)]
        terms += [skip(u[int(i)]) for i, skip in self.skips.items()]
        total = terms[0] if terms else u[-1][:, :0]
        for term in terms[1:]:
            total = total + term
        return total


class Skip(nn.Module):
    """tau u(i), with the `entries` of another state, if they have to be `placed` there."""

    def __init__(self, entries: int, placed: bool) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.zeros(()))
        self.places = _index(entries, wanted=placed)

    def forward(self, u: Tensor) -> Tensor:
        """Map [batch, entries of u(i)] to [batch, entries]."""
        return self.tau * _placed(u, self.places)


class SmallDenseNet(nn.Module):
    """The DenseNet of section 4.2, restricted to channels that vary and are read.

    A channel with the same value c everywhere cannot be folded into a bias: it is padded with
    zeros, not with c, and counts less at the border. All such channels share one channel of ones,
    which is read by their kernels times c.

    Args:
        side: height and width of the images, in pixels.
        classes: the number of logits.
        relu_logits: apply ReLU to the logits.
        input_mean: subtracted from the input, which is then divided by
        input_std: this.
        first: the channels of the first convolution.
        ones: whether a channel of ones follows them.
        last: the arguments of `SmallConv` for the last convolution.
        layers: the same for each layer of the dense block that has channels, by its number.
    """

    def __init__(
        self,
        side: int,
        classes: int,
        relu_logits: bool,
        input_mean: float,
        input_std: float,
        first: int,
        ones: bool,
        last: Sizes,
        layers: Mapping[str, Sizes],
    ) -> None:
        super().__init__()
        self.relu_logits, self.input_mean, self.input_std = relu_logits, input_mean, input_std
        self.first = nn.Conv2d(1, first, 3, padding=1, bias=False) if first else None
        self.ones = ones
        self.layers = nn.ModuleDict({number: SmallConv(**size) for number, size in layers.items()})
        self.last = SmallConv(**last)
        self.linear = nn.Linear(side * side, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, 1, side, side] to logits [batch, classes]."""
        block = []
        if self.first is not None:
            block.append(self.first((images - self.input_mean) / self.input_std))
        if self.ones:
            block.append(torch.ones_like(images))
        x = torch.cat(block, dim=1)
        for layer in self.layers.values():
            x = torch.cat([x, layer(x).relu()], dim=1)
        logits: Tensor = self.linear(self.last(x).relu().flatten(1))
        return logits.relu() if self.relu_logits else logits


class SmallConv(nn.Module):
    """K * x + b, 3 by 3 with zero padding; K reads as many channels of x, if `chosen` not all."""

    def __init__(self, channels: int, reads: int, chosen: bool) -> None:
        super().__init__()
        self.reads = _index(reads, wanted=chosen)
        self.conv = nn.Conv2d(reads, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels of x, side, side] to [batch, channels, side, side]."""
        return cast("Tensor", self.conv(x if self.reads is None else x[:, self.reads]))


def _index(length: int, *, wanted: bool) -> nn.Buffer | None:
    return nn.Buffer(torch.zeros(length, dtype=torch.int64)) if wanted else None


def _placed(x: Tensor, places: Tensor | None) -> Tensor:
    """For each place the entry of x, [batch, width], that belongs there; 0 for number `width`."""
    return x if places is None else functional.pad(x, (0, 1))[:, places]
