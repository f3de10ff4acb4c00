"""Noise and blur, and the images of a learning problem.

A data set is one tensor in memory: no loader, no workers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bregman_nas.randomness import generator
from bregman_nas.settings import Blur

SPLIT_SEED = 0
FULL_TRAINING_FILE = 60_000
PART = 5_000


@dataclass(frozen=True)
class Examples:
    """Inputs and targets, one row an image, in the same order."""

    inputs: Tensor  # float32, [n, pixels] to restore, [n, 1, height, width] to classify
    targets: Tensor  # float32 [n, pixels] in [0, 1], or the classes, int64 [n]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.inputs)

    def to(self, device: torch.device) -> "Examples":
        """The same on a device."""
        return Examples(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Problem:
    """The images trained on, those held out of the training file, and the official test images."""

    train: Examples
    held_out: Examples  # the article's test set
    test: Examples

    def to(self, device: torch.device) -> "Problem":
        """The same on a device."""
        return Problem(self.train.to(device), self.held_out.to(device), self.test.to(device))


def gaussian_kernel(size: int, std: float) -> Tensor:
    """A Gaussian filter, float32 [size, size], of sum 1; `std` in pixels."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    profile = torch.exp(-(offsets**2) / (2 * std**2))
    kernel = torch.outer(profile, profile)
    return (kernel / kernel.sum()).float()


def blurred(images: Tensor, blur: Blur) -> Tensor:
    """Blur images [n, height, width] by a Gaussian filter, with zeros outside the image."""
    kernel = gaussian_kernel(blur.size, blur.std)[None, None]
    return functional.conv2d(images[:, None], kernel, padding=blur.size // 2)[:, 0]


def degrade(images: Tensor, noise_std: float, blur: Blur | None, noise: torch.Generator) -> Tensor:
    """Blur, then add Gaussian noise; nothing is clipped.

    Maps uint8 [n, height, width] to float32 on the scale of [0, 1], on which `noise_std` is the
    standard deviation of the noise.
    """
    degraded = torch.randn(images.shape, generator=noise).mul_(noise_std)
    # In parts: all images at once, and the convolution's workspace, would be gigabytes.
    for part, clean in zip(degraded.split(PART), images.split(PART), strict=True):
        part += clean / 255 if blur is None else blurred(clean / 255, blur)
    return degraded


def split(count: int, held_out: int) -> tuple[Tensor, Tensor]:
    """The indices of the `count` training images that are trained on, and of those held out.

    The order is the same in every run. `held_out` is of a full training file of 60,000; of a
    smaller one a proportionate number is held out, but at least one, and not all.
    """
    order = torch.randperm(count, generator=generator(SPLIT_SEED, "split"))
    kept = round(held_out * count / FULL_TRAINING_FILE)
    trained_on = count - min(max(kept, 1), count - 1)
    return order[:trained_on], order[trained_on:]
