"""From the full multi-layer perceptron to the small one."""

from typing import Any

import torch
from torch import Tensor, nn

from bregman_nas.bregman.cut import folded
from bregman_nas.export.small import build
from bregman_nas.networks.residual_mlp import ResidualMLP


@torch.no_grad()
def small_mlp(net: ResidualMLP) -> tuple[dict[str, Any], nn.Module]:
    """The small network that gives the same output for every input, up to rounding.

    A row varies if one of its weights leads from an entry that varies; the others put out the
    constant ReLU(b + W c). Constants are added up in double precision.

    Args:
        net: the full network, on the CPU.

    Returns:
        Its architecture, in plain values, and the network, see `small.build`.
    """
    depth, width = len(net.layers), net.layers[0].in_features
    weights = [layer.weight.detach() for layer in net.layers]
    tau = torch.zeros(depth, depth) if net.skips is None else net.skips.detach()
    varying = [torch.ones(width, dtype=torch.bool)]  # of each state, and
    constant = [torch.zeros(width, dtype=torch.float64)]  # what is added to it for every input
    rows, biases = [], []
    for l, layer in enumerate(net.layers):
        fold = folded(layer.weight, layer.bias, varying[l], constant[l], zero_padded=False)
        rows.append(fold.varies)
        biases.append(fold.bias)
        skips = _sources(tau, l)
        varying.append(torch.stack([rows[l], *(varying[i] for i in skips)]).any(0))
        fixed = torch.where(rows[l], 0.0, biases[l].relu())
        constant.append(fixed + sum(tau[l, i].double() * constant[i] for i in skips))
    kept = _entries_that_are_read(weights, tau, varying, rows)
    rows = [row & kept[l + 1] for l, row in enumerate(rows)]

    tensors: dict[str, Tensor] = {"constants": constant[-1].to(weights[0].dtype)}
    if not kept[0].all():
        tensors["inputs"] = kept[0].nonzero()[:, 0]
    if not kept[-1].all():
        tensors["outputs"] = _places(kept[-1], torch.ones_like(kept[-1]))
    layers = []
    for l in range(depth):
        name, target = f"layers.{l}", kept[l + 1]
        if rows[l].any():
            tensors[f"{name}.linear.weight"] = weights[l][rows[l]][:, kept[l]].contiguous()
            tensors[f"{name}.linear.bias"] = biases[l][rows[l]].to(weights[l].dtype)
            if not rows[l][target].all():
                tensors[f"{name}.places"] = _places(rows[l], target)
        placed = {}
        for i in _sources(tau, l):
            if (kept[i] & target).any():
                tensors[f"{name}.skips.{i}.tau"] = tau[l, i].clone()
                placed[str(i)] = not torch.equal(kept[i], target)
                if placed[str(i)]:
                    tensors[f"{name}.skips.{i}.places"] = _places(kept[i], target)
        layers.append(
            {
                "rows": int(rows[l].sum()),
                "reads": int(kept[l].sum()),
                "entries": int(target.sum()),
                "skips": placed,
            }
        )
    architecture = {
        "network": "mlp",
        "pixels": width,
        "input_mean": net.input_mean,
        "input_std": net.input_std,
        "inputs": int(kept[0].sum()),
        "layers": layers,
    }
    return architecture, build(architecture, tensors)


def _entries_that_are_read(
    weights: list[Tensor], tau: Tensor, varying: list[Tensor], rows: list[Tensor]
) -> list[Tensor]:
    """For each state, boolean [width]: the entries that vary and can change the output."""
    depth = len(weights)
    kept = [torch.zeros_like(state) for state in varying[:-1]] + [varying[-1]]
    for l in reversed(range(depth)):
        readers = rows[l] & kept[l + 1]
        kept[l] |= varying[l] & (weights[l][readers] != 0).any(0)
        for i in _sources(tau, l):
            kept[i] |= varying[i] & kept[l + 1]
    return kept


def _sources(tau: Tensor, l: int) -> list[int]:
    return [i for i in range(l + 1) if tau[l, i] != 0]


def _places(source: Tensor, target: Tensor) -> Tensor:
    """For each entry of the target its number among those of the source, or their count."""
    numbers = torch.where(source, source.cumsum(0) - 1, source.sum())
    return numbers[target]
