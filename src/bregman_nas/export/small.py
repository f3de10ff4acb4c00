"""The small networks: dense layers of the widths that were found; `load` reads one from its file.

This file needs torch and safetensors alone: `bregman-nas export` puts a copy beside the weights.
"""

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional


def load(path: str | PathLike[str]) -> nn.Module:
    """The network in a file that `bregman-nas export` wrote, on the CPU."""
    with safe_open(path, framework="pt") as file:
        architecture = json.loads(file.metadata()["architecture"])
    return build(architecture, load_file(path))


def build(architecture: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """A network by its architecture, see `SmallMLP` and `SmallDenseNet`, and its `state_dict`."""
    net = {"mlp": SmallMLP, "densenet": SmallDenseNet}[architecture["network"]](tensors)
    net.sizes = architecture
    return net.eval()


class _Tensors(nn.Module):
    """Tensors by their dotted names: parameters, and as buffers the whole numbers."""

    sizes: Mapping[str, Any]

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        parts: dict[str, dict[str, Tensor]] = {}
        for name, x in tensors.items():
            first, _, rest = name.partition(".")
            if rest:
                parts.setdefault(first, {})[rest] = x
            elif x.is_floating_point():
                self.register_parameter(first, nn.Parameter(x))
            else:
                self.register_buffer(first, x)
        for name, part in parts.items():
            self.add_module(name, _Tensors(part))


class SmallMLP(_Tensors):
    """The multi-layer perceptron (2.5), restricted to what varies with the input and is read.

    The full network's states are x(l) = u(l) + c(l), where c(l) is the same for every input. Here

        u(0)   = (images - input_mean) / input_std
        u(l+1) = ReLU(W(l) u(l) + b(l)) + sum_i tau(l, i) u(i)
        output = u(depth) + c(depth)

    W(l) has the rows that vary with the input and are read, b(l) contains the full network's
    W(l) c(l), and u(l) has the entries that vary and are read. Where two of these have different
    entries, `places` says for each entry of one its number in the other. The architecture has for
    each layer the number of the `rows` of W, and which i have `skips`.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, pixels] to restored images [batch, pixels]."""
        net: Any = self
        x = (images - self.sizes["input_mean"]) / self.sizes["input_std"]
        u = [_placed(x, self, "inputs")]
        for l, sizes in enumerate(self.sizes["layers"]):
            layer: Any = getattr(net.layers, str(l)) if sizes["rows"] or sizes["skips"] else None
            terms = []
            if sizes["rows"]:
                z = functional.linear(u[-1], layer.linear.weight, layer.linear.bias)
                terms.append(_placed(z.relu(), layer))
            for i in sizes["skips"]:
                skip = getattr(layer.skips, str(i))
                terms.append(skip.tau * _placed(u[int(i)], skip))
            u.append(sum(terms[1:], terms[0]) if terms else u[-1][:, :0])
        restored: Tensor = _placed(u[-1], self, "outputs") + net.constants
        return restored


class SmallDenseNet(_Tensors):
    """The DenseNet of section 4.2, restricted to channels that vary and are read.

    A channel with the same value c everywhere cannot be folded into a bias: it is padded with
    zeros, not with c, and counts less at the border. All such channels share one channel of ones,
    which is read by their kernels times c. The architecture has the number of channels of the
    `first` convolution, whether one of `ones` follows them, and that of each of the `layers` with
    any.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, 1, side, side] to logits [batch, classes]."""
        net: Any = self
        block = []
        if self.sizes["first"]:
            x = (images - self.sizes["input_mean"]) / self.sizes["input_std"]
            block.append(functional.conv2d(x, net.first.weight, padding=1))
        if self.sizes["ones"]:
            block.append(torch.ones_like(images))
        x = torch.cat(block, dim=1)
        for number in self.sizes["layers"]:
            x = torch.cat([x, _convolved(x, getattr(net.layers, number))], dim=1)
        x = _convolved(x, net.last).flatten(1)
        logits: Tensor = functional.linear(x, net.linear.weight, net.linear.bias)
        return logits.relu() if self.sizes["relu_logits"] else logits


def _convolved(x: Tensor, part: Any) -> Tensor:
    """ReLU(K * x + b), 3 by 3 with zero padding; K reads as many channels of x, if not all."""
    reads = getattr(part, "reads", None)
    read = x if reads is None else x[:, reads]
    return functional.conv2d(read, part.conv.weight, part.conv.bias, padding=1).relu()


def _placed(x: Tensor, part: nn.Module, name: str = "places") -> Tensor:
    """For each place the entry of x, [batch, width], that belongs there; 0 for number `width`."""
    places = getattr(part, name, None)
    return x if places is None else functional.pad(x, (0, 1))[:, places]
