"""From the full networks to the small ones that give the same outputs for every input."""

from typing import Any

import torch
from torch import Tensor, nn

from bregman_nas.bregman.cut import folded
from bregman_nas.errors import UserError
from bregman_nas.export.small import build
from bregman_nas.networks import DenseNet, ResidualMLP


@torch.no_grad()
def small_mlp(net: ResidualMLP) -> tuple[dict[str, Any], nn.Module]:
    """The small perceptron that gives the same output for every input, up to rounding.

    A row varies if one of its weights leads from an entry that varies; the others put out the
    constant ReLU(b + W c). Returned are the architecture, in plain values, and the network.

    Raises:
        UserError: if its nonlinearity is not ReLU.
    """
    if net.relu_slope:
        raise UserError(f"only networks with ReLU are exported, not with a slope {net.relu_slope}")
    depth, width = len(net.layers), net.layers[0].in_features
    tau = torch.zeros(depth, depth) if net.skips is None else net.skips.detach()
    sources = [[i for i in range(l + 1) if tau[l, i] != 0] for l in range(depth)]
    varies = [torch.ones(width, dtype=torch.bool)]  # of each state, and
    constant = [torch.zeros(width, dtype=torch.float64)]  # what is added to it for every input
    folds = []
    for l, layer in enumerate(net.layers):
        folds.append(fold := folded(layer, varies[l], constant[l]))
        varies.append(torch.stack([fold.varies, *(varies[i] for i in sources[l])]).any(0))
        fixed = torch.where(fold.varies, 0.0, fold.bias.relu())
        constant.append(fixed + sum(tau[l, i].double() * constant[i] for i in sources[l]))

    # The entries of each state that vary and can change the output, and the rows that make them.
    kept = [torch.zeros_like(state) for state in varies[:-1]] + [varies[-1]]
    rows = [fold.varies for fold in folds]
    for l in reversed(range(depth)):
        rows[l] = rows[l] & kept[l + 1]
        kept[l] |= folds[l].reads[rows[l]].any(0)
        for i in sources[l]:
            kept[i] |= varies[i] & kept[l + 1]

    tensors: dict[str, Tensor] = {"constants": constant[-1].to(net.layers[0].weight)}

    def place(name: str, source: Tensor, target: Tensor) -> None:
        """Unless they have the same entries, number the target's among those of the source."""
        if not torch.equal(source, target):
            numbers = torch.where(source, source.cumsum(0) - 1, source.sum())
            tensors[name] = numbers[target]

    everything = torch.ones_like(kept[0])
    place("inputs", everything, kept[0])
    place("outputs", kept[-1], everything)
    layers = []
    for l, layer in enumerate(net.layers):
        name, target, weight = f"layers.{l}", kept[l + 1], layer.weight.detach()
        if rows[l].any():
            tensors[f"{name}.linear.weight"] = weight[rows[l]][:, kept[l]].contiguous()
            tensors[f"{name}.linear.bias"] = folds[l].bias[rows[l]].to(weight)
            place(f"{name}.places", rows[l], target)
        skips = [i for i in sources[l] if (kept[i] & target).any()]
        for i in skips:
            tensors[f"{name}.skips.{i}.tau"] = tau[l, i].clone()
            place(f"{name}.skips.{i}.places", kept[i], target)
        layers.append({"rows": int(rows[l].sum()), "skips": skips})
    scaling = {"input_mean": net.input_mean, "input_std": net.input_std}
    architecture: dict[str, Any] = {"network": "mlp", **scaling, "layers": layers}
    return architecture, build(architecture, tensors)


@torch.no_grad()
def small_densenet(net: DenseNet) -> tuple[dict[str, Any], nn.Module]:
    """The small DenseNet that gives the same logits for every input, up to rounding.

    A channel without kernels puts out ReLU(b) everywhere, and is left out, see `SmallDenseNet`. One
    whose kernels read only such channels is not constant at the border, and is kept. Returned are
    the architecture, in plain values, and the network.
    """
    convolutions = [*net.layers, net.last]
    first = net.first.weight.detach()
    varies = (first != 0).flatten(1).any(1)
    value = torch.zeros(len(first), dtype=torch.float64)  # of the channels that do not vary
    folds = []
    for conv in convolutions:
        folds.append(fold := folded(conv, varies, torch.where(varies, 0, value)))
        varies = torch.cat([varies, fold.varies])
        value = torch.cat([value, fold.bias.relu()])
    kept = [fold.varies for fold in folds]
    kept[-1] = torch.ones_like(kept[-1])
    read = folds[-1].reads[0]
    for l in reversed(range(len(net.layers))):
        read, kept[l] = read.tensor_split([convolutions[l].in_channels])
        read = read | folds[l].reads[kept[l]].any(0)

    # A convolution has to read something: one that reads nothing reads ones, at weights of zero.
    reads_ones = [bool(fold.ones[k].any()) for fold, k in zip(folds, kept, strict=True)]
    has_ones = any(reads_ones) or not folds[-1].reads.any()
    tensors = {f"linear.{name}": tensor for name, tensor in net.linear.state_dict().items()}
    if read.any():
        tensors["first.weight"] = first[read]
    # From the number of a channel in the full block to its number in the small one: there a channel
    # of ones follows those of the first convolution.
    block, ones = torch.cat([read, *kept]), int(read.sum())
    numbers = block.cumsum(0) - 1 + has_ones * (torch.arange(len(block)) >= len(read))
    layers: dict[str, int] = {}
    for l, (conv, fold) in enumerate(zip(convolutions, folds, strict=True)):
        if not kept[l].any():
            continue
        name = f"layers.{l}" if l < len(net.layers) else "last"
        inputs = fold.reads[kept[l]].any(0)
        positions = numbers[: len(inputs)][inputs].tolist()
        kernels = conv.weight.detach()[kept[l]][:, inputs]
        if reads_ones[l] or not positions:
            positions.append(ones)
            kernels = torch.cat([kernels, fold.ones[kept[l]].to(kernels)[:, None]], dim=1)
        tensors[f"{name}.conv.weight"] = kernels
        tensors[f"{name}.conv.bias"] = fold.bias[kept[l]].to(kernels)
        if positions != list(range(int(block[: len(inputs)].sum()) + has_ones)):
            tensors[f"{name}.reads"] = torch.tensor(positions)
        if l < len(net.layers):
            layers[str(l)] = len(kernels)
    architecture: dict[str, Any] = {"network": "densenet", "relu_logits": net.relu_logits}
    architecture |= {"input_mean": net.input_mean, "input_std": net.input_std}
    architecture |= {"first": ones, "ones": has_ones, "layers": layers}
    return architecture, build(architecture, tensors)
