"""Noise and blur, and the learning problems made of a set of images.

A data set is one tensor in memory: no loader, no workers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bregman_nas.data.files import ImageSet
from bregman_nas.randomness import generator

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


def blur(images: Tensor, size: int, std: float) -> Tensor:
    """Blur images [n, height, width] by a Gaussian filter, with zeros outside the image."""
    kernel = gaussian_kernel(size, std)[None, None]
    return functional.conv2d(images[:, None], kernel, padding=size // 2)[:, 0]


def degrade(
    images: Tensor, noise_std: float, blurring: tuple[int, float] | None, noise: torch.Generator
) -> Tensor:
    """Blur, then add Gaussian noise; nothing is clipped.

    Maps uint8 [n, height, width] to float32 on the scale of [0, 1], on which `noise_std` is the
    standard deviation of the noise. `blurring` is size and standard deviation of the filter in
    pixels, or None.
    """
    degraded = torch.randn(images.shape, generator=noise).mul_(noise_std)
    # In parts: all images at once, and the convolution's workspace, would be gigabytes.
    for part, clean in zip(degraded.split(PART), images.split(PART), strict=True):
        part += clean / 255 if blurring is None else blur(clean / 255, *blurring)
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


def restoration_inputs(
    images: Tensor,
    part: str,
    *,
    noise_std: float,
    blurring: tuple[int, float] | None,
    seed: int,
    epoch: int | None = None,
) -> Tensor:
    """The degraded images of one file, float32 [n, height * width]; see `degrade`.

    The noise depends on `seed` and `part`, "train" or "test", and on the epoch if there is one.
    """
    purpose: tuple[str | int, ...] = ("noise", part) if epoch is None else ("noise", part, epoch)
    return degrade(images, noise_std, blurring, generator(seed, *purpose)).flatten(1)


def restoration_problem(
    images: ImageSet,
    *,
    held_out: int,
    noise_std: float,
    blurring: tuple[int, float] | None,
    seed: int,
) -> Problem:
    """Map degraded images to clean ones; see `split` and `degrade`. The seed decides the noise."""

    def examples(raw: Tensor, part: str, *indices: Tensor) -> list[Examples]:
        inputs = restoration_inputs(raw, part, noise_std=noise_std, blurring=blurring, seed=seed)
        return [Examples(inputs[i], raw[i].flatten(1) / 255) for i in indices]

    parts = split(len(images.train_images), held_out)
    train, kept = examples(images.train_images, "train", *parts)
    (test,) = examples(images.test_images, "test", torch.arange(len(images.test_images)))
    return Problem(train=train, held_out=kept, test=test)


def classification_problem(images: ImageSet, *, held_out: int) -> Problem:
    """Map images [n, 1, height, width] in [0, 1] to their classes; see `split`."""
    trained_on, kept = split(len(images.train_images), held_out)
    inputs = (images.train_images / 255)[:, None]
    return Problem(
        train=Examples(inputs[trained_on], images.train_labels[trained_on]),
        held_out=Examples(inputs[kept], images.train_labels[kept]),
        test=Examples((images.test_images / 255)[:, None], images.test_labels),
    )
