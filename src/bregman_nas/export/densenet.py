"""From the full DenseNet to the small one."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bregman_nas.bregman.cut import Folded, folded
from bregman_nas.export.small import build
from bregman_nas.networks.densenet import DenseNet


@dataclass
class _Convolution:
    """A convolution of the full network: [out, in, 3, 3], without constants, which outputs stay."""

    weight: Tensor
    fold: Folded
    kept: Tensor


@torch.no_grad()
def small_densenet(net: DenseNet) -> tuple[dict[str, Any], nn.Module]:
    """The small network that gives the same logits for every input, up to rounding.

    A channel without kernels puts out ReLU(b) everywhere, and is left out, see
    `small.SmallDenseNet`. One whose kernels read only such channels is not constant at the border,
    and is kept.

    Args:
        net: the full network, on the CPU.

    Returns:
        Its architecture, in plain values, and the network, see `small.build`.
    """
    first_kept, used = _kept(net)
    ones_read = {name: bool((conv.fold.ones[conv.kept] != 0).any()) for name, conv in used.items()}
    # A convolution has to read something: one that reads nothing reads ones, at weights of zero.
    has_ones = any(ones_read.values()) or not used["last"].fold.reads.any()
    tensors = {f"linear.{name}": tensor for name, tensor in net.linear.state_dict().items()}
    if first_kept.any():
        tensors["first.weight"] = net.first.weight.detach()[first_kept]
    # From the number of a channel in the full block to its number in the small one.
    numbers = {int(i): n for n, i in enumerate(first_kept.nonzero()[:, 0])}
    ones = len(numbers)
    width = ones + has_ones
    sizes: dict[str, dict[str, int | bool]] = {}
    for name, conv in used.items():
        fold, kept = conv.fold, conv.kept
        inputs = fold.reads[kept].any(0).nonzero()[:, 0].tolist()
        positions = [numbers[i] for i in inputs]
        kernels = conv.weight[kept][:, inputs]
        if ones_read[name] or not inputs:
            positions.append(ones)
            kernels = torch.cat([kernels, fold.ones[kept].to(kernels)[:, None]], dim=1)
        chosen = positions != list(range(width))
        tensors[f"{name}.conv.weight"] = kernels
        tensors[f"{name}.conv.bias"] = fold.bias[kept].to(kernels)
        if chosen:
            tensors[f"{name}.reads"] = torch.tensor(positions)
        sizes[name] = {"channels": len(kernels), "reads": len(positions), "chosen": chosen}
        for i in kept.nonzero()[:, 0].tolist():
            numbers[conv.weight.shape[1] + i] = width
            width += 1
    architecture = {
        "network": "densenet",
        "side": round(net.linear.in_features**0.5),
        "classes": net.linear.out_features,
        "relu_logits": net.relu_logits,
        "input_mean": net.input_mean,
        "input_std": net.input_std,
        "first": int(first_kept.sum()),
        "ones": has_ones,
        "last": sizes.pop("last"),
        "layers": {name.removeprefix("layers."): size for name, size in sizes.items()},
    }
    return architecture, build(architecture, tensors)


def _kept(net: DenseNet) -> tuple[Tensor, dict[str, _Convolution]]:
    """Which channels of the first convolution are kept, and the later ones that keep any."""
    first = net.first.weight.detach()
    varying = (first != 0).flatten(1).any(1)
    value = torch.zeros(len(first), dtype=torch.float64)  # of the channels that do not vary
    found = []
    for conv in (*net.layers, net.last):
        constant = torch.where(varying, 0, value)
        fold = folded(conv.weight, conv.bias, varying, constant, zero_padded=True)
        found.append(_Convolution(conv.weight.detach(), fold, fold.varies))
        varying = torch.cat([varying, fold.varies])
        value = torch.cat([value, fold.bias.relu()])
    *layers, last = found
    last.kept = torch.ones_like(last.kept)
    read = last.fold.reads[0]
    for layer in reversed(layers):
        read, layer.kept = read.split([layer.weight.shape[1], len(layer.kept)])
        read = read | layer.fold.reads[layer.kept].any(0)
    used = {f"layers.{l}": layer for l, layer in enumerate(layers) if layer.kept.any()}
    return read, used | {"last": last}
