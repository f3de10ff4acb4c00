"""Which classes a finished DenseNet can answer."""

import torch
from torch import Tensor

from bregman_nas.networks.densenet import DenseNet
from bregman_nas.search.core.densenet import classify


@torch.no_grad()
def logits_ever_positive(net: DenseNet, images: Tensor) -> int:
    """How many of the logits are positive for at least one image.

    With ReLU on the logits, a logit that never is positive has no gradient: its class is answered
    only where all other logits are 0 too.

    Args:
        net: a finished network, with all its channels.
        images: [n, 1, side, side], not standardised.
    """
    return int((classify(net, images) > 0).any(0).sum())
