"""What a record keeps of a finished network besides its results."""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from bregman_nas.networks.densenet import DenseNet
from bregman_nas.search.core.densenet import classify
from bregman_nas.search.records import Group


def active_groups(network: nn.Module) -> dict[str, Group]:
    """Which rows of each weight matrix, and kernels of each convolution, are not zero.

    Returns:
        For each weight, by name: `shape` of the groups, [rows] or [out, in], and `active`, one bit
        a group in the order of memory, the first the highest of its byte, in hexadecimal.
    """
    groups: dict[str, Group] = {}
    for name, weight in network.named_parameters():
        if name.endswith("weight") and weight.ndim >= 2:
            inside = 1 if weight.ndim == 2 else 2
            active = (weight != 0).flatten(inside).any(inside)
            bits = np.packbits(active.cpu().numpy()).tobytes().hex()
            groups[name] = {"shape": list(active.shape), "active": bits}
    return groups


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of a network's parameters and buffers: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, x in sorted(weights.items()):
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}\n".encode())
        digest.update(x.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def logits_ever_positive(net: DenseNet, images: Tensor) -> int:
    """How many of the logits are positive for at least one image, [n, 1, side, side].

    With ReLU on the logits, a logit that never is positive has no gradient: its class is answered
    only where all other logits are 0 too.
    """
    return int((classify(net, images) > 0).any(0).sum())
