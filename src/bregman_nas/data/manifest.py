"""What the study ran on, for files that are kept with its results."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from bregman_nas.atomic import write_atomically
from bregman_nas.data.files import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    Source,
    load,
)


def write(project: Path, source: Source, datasets: Iterable[str]) -> tuple[Path, Path]:
    """Writes data/manifest.json and data/pixels.csv; returns their paths.

    They have no paths and no times: the same images give the same bytes on every machine. The
    manifest has, for each file, its SHA-256, how many items it has and, of images, the shape of
    one; and what `count_pixels` says. pixels.csv has, for each pixel, the share of the training
    images in which it is not zero.

    Args:
        project: The repository.
        source: As for `load`.
        datasets: Keys of `SHA256`, in any order.

    Raises:
        UserError: The images cannot be had.
    """
    described: dict[str, dict[str, Any]] = {}
    lines = ["dataset,row,column,share"]
    for dataset in sorted(set(datasets)):
        images = load(dataset, source, project)
        tensors = {
            TRAIN_IMAGES: images.train_images,
            TRAIN_LABELS: images.train_labels,
            TEST_IMAGES: images.test_images,
            TEST_LABELS: images.test_labels,
        }
        described[dataset] = {
            file: {"sha256": images.sha256[file], "items": len(tensor)}
            | ({"shape": list(tensor.shape[1:])} if tensor.ndim > 1 else {})
            for file, tensor in tensors.items()
        }
        shares = frequencies(images.train_images)
        described[dataset]["pixels"] = count_pixels(shares)
        lines += [
            f"{dataset},{row},{column},{share:.7g}"
            for row, of_row in enumerate(shares.tolist())
            for column, share in enumerate(of_row)
        ]
    manifest, pixels = project / "data" / "manifest.json", project / "data" / "pixels.csv"
    content = json.dumps({"source": source, "datasets": described}, indent=2)
    write_atomically(manifest, f"{content}\n".encode())
    write_atomically(pixels, "\n".join([*lines, ""]).encode())
    return manifest, pixels


def frequencies(images: torch.Tensor) -> torch.Tensor:
    """The share of images in which each pixel is not zero, float64 [height, width].

    Args:
        images: uint8, [n, height, width].
    """
    return (images != 0).sum(0).double() / len(images)


def count_pixels(shares: torch.Tensor) -> dict[str, float]:
    """Counts how many pixels are not zero, in the senses that the article's "65%" may have.

    Args:
        shares: as `frequencies` returns them.

    Returns:
        "nonzero_share": of all pixel values of all images. "ever_nonzero",
        "nonzero_in_one_per_thousand", "nonzero_in_one_per_hundred": the number of places that are
        not zero in at least one, 0.1% and 1% of the images.
    """
    return {
        "nonzero_share": round(float(shares.mean()), 6),
        "ever_nonzero": int((shares > 0).sum()),
        "nonzero_in_one_per_thousand": int((shares >= 0.001).sum()),
        "nonzero_in_one_per_hundred": int((shares >= 0.01).sum()),
    }
