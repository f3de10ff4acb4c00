"""The description of the images that is kept with the results."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bregman_nas.atomic import write_atomically
from bregman_nas.data.files import FILES, Source, load, sha256


def write(project: Path, source: Source, datasets: Iterable[str]) -> tuple[Path, Path]:
    """Write data/manifest.json and data/pixels.csv; returns their paths.

    The same images give the same bytes on every machine. The manifest has for each file its
    SHA-256, the number of items and, of images, their shape; and `count_pixels`. pixels.csv has
    for each pixel the share of training images in which it is not zero.
    """
    described: dict[str, dict[str, Any]] = {}
    lines = ["dataset,row,column,share"]
    for dataset in sorted(set(datasets)):
        images, sums = load(dataset, source, project), sha256(dataset, source, project)
        described[dataset] = {
            file: {"sha256": sums[file], "items": len(tensor)}
            | ({"shape": list(tensor.shape[1:])} if tensor.ndim > 1 else {})
            for file, tensor in zip(FILES, images, strict=True)
        }
        shares = frequencies(images.train_images)
        described[dataset]["pixels"] = count_pixels(shares)
        pixels = np.ndenumerate(shares.numpy())
        lines += [f"{dataset},{row},{column},{share:.7g}" for (row, column), share in pixels]
    content = json.dumps({"source": source, "datasets": described}, indent=2)
    paths = project / "data" / "manifest.json", project / "data" / "pixels.csv"
    for path, text in zip(paths, (content, "\n".join(lines)), strict=True):
        write_atomically(path, f"{text}\n".encode())
    return paths


def frequencies(images: torch.Tensor) -> torch.Tensor:
    """The share of uint8 images [n, height, width] in which each pixel is not zero, float64."""
    return (images != 0).sum(0).double() / len(images)


def count_pixels(shares: torch.Tensor) -> dict[str, float]:
    """How many pixels are not zero, in the senses that the article's "65%" may have.

    Of `frequencies`: the share of all values of all images, then the number of pixels that are not
    zero in at least one, 0.1% and 1% of the images.
    """
    return {
        "nonzero_share": round(float(shares.mean()), 6),
        "ever_nonzero": int((shares > 0).sum()),
        "nonzero_in_one_per_thousand": int((shares >= 0.001).sum()),
        "nonzero_in_one_per_hundred": int((shares >= 0.01).sum()),
    }
