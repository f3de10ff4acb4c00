"""What a small network saves, and how far it is from the full one."""

import copy

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

BATCHES = (1, 128)
PART = 500


def parameters(net: nn.Module) -> int:
    """All trainable numbers; those that a small network adds to its output are among them."""
    return sum(parameter.numel() for parameter in net.parameters())


@torch.no_grad()
def multiply_adds(net: nn.Module, image: Tensor) -> int:
    """Those of the matrix products and convolutions for one image, zeros multiplied included.

    What is done entry by entry is not counted: standardisation, ReLU, skips.
    """
    counter = FlopCounterMode(display=False)
    with counter:
        net(image[None])
    return int(counter.get_total_flops()) // 2


@torch.no_grad()
def difference(full: nn.Module, small: nn.Module, images: Tensor) -> float:
    """The greatest absolute difference of any output; 0 for two that are not finite alike.

    Args:
        full: a network.
        small: another.
        images: of the type in which both shall compute.
    """
    greatest = torch.zeros((), dtype=images.dtype)
    networks = [copy.deepcopy(net).to(images.dtype) for net in (full, small)]
    for part in images.split(PART):
        a, b = (net(part) for net in networks)
        alike = (a == b) | (a.isnan() & b.isnan())
        greatest = torch.maximum(greatest, torch.where(alike, 0, (a - b).abs()).amax())
    return float(greatest)


def seconds(net: nn.Module, image: Tensor, batch: int) -> float:
    """The median time of one batch on one thread of this machine."""
    from torch.utils.benchmark import Timer  # not earlier: it looks for compilers, and complains

    images = image.expand(batch, *image.shape).contiguous()
    with torch.inference_mode():
        timer = Timer("net(images)", globals={"net": net, "images": images}, num_threads=1)
        return float(timer.blocked_autorange(min_run_time=0.5).median)
