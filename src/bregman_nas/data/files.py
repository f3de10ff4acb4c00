"""The raw image files of MNIST and Fashion-MNIST: found or downloaded, verified, parsed.

The full files are verified by the SHA-256 of the published content, the committed sample by
``data/sample/SHA256SUMS``.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from bregman_nas.data.idx import parse
from bregman_nas.errors import UserError

#: Environment variable: folders that hold the full files, separated as in ``PATH``.
DATA_VARIABLE = "BREGMAN_NAS_DATA"

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)

Source = Literal["full", "sample"]

#: Of each data set and file, of the uncompressed content.
SHA256: Mapping[str, Mapping[str, str]] = {
    "mnist": {
        TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion-mnist": {
        TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}

#: The classes of `torchvision.datasets` that know the mirrors, and the archives' checksums.
_PUBLISHED = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
_TIMEOUT = 5.0  # seconds without an answer


class ImageSet(NamedTuple):
    """A data set as published: no scaling, no split, no shuffling. In the order of `FILES`."""

    train_images: torch.Tensor  # uint8 [n, 28, 28], 0 (background) to 255
    train_labels: torch.Tensor  # int64 [n], the classes 0 to 9
    test_images: torch.Tensor
    test_labels: torch.Tensor


def load(dataset: str, source: Source, project: Path) -> ImageSet:
    """Load a data set from verified files.

    The full files are looked for in the repository's ``data/raw``, then in the folders that
    `DATA_VARIABLE` names (relative ones start from the repository), as ``<dataset>/<file>`` or
    ``<file>``, plain or gzipped; else they are downloaded to ``data/raw/<dataset>``. If DVC has
    copied the repository to this folder, as for ``dvc exp run --temp``, the original is meant.

    Raises:
        UserError: if a file is not there and cannot be downloaded, or the sample is damaged.
    """
    read = _sample_file if source == "sample" else _full_file
    arrays = (parse(read(dataset, file, project)) for file in FILES)
    return ImageSet(*(array.long() if array.ndim == 1 else array for array in arrays))


def sha256(dataset: str, source: Source, project: Path) -> dict[str, str]:
    """Of each of `FILES`, of the uncompressed content; the full files are not needed."""
    if source == "full":
        return dict(SHA256[dataset])
    return {file: _digest(_sample_file(dataset, file, project)) for file in FILES}


def _full_file(dataset: str, file: str, project: Path) -> bytes:
    clone = next((parent.parent for parent in project.parents if parent.name == ".dvc"), project)
    raw = clone / "data" / "raw"
    names = filter(None, os.environ.get(DATA_VARIABLE, "").split(os.pathsep))
    # An absolute path replaces what it is joined to.
    folders = [raw, *(clone / Path(name).expanduser() for name in names)]
    parents = [parent for folder in folders for parent in (folder / dataset, folder)]
    looked_at: list[str] = []
    for path in (parent / name for parent in parents for name in (file, f"{file}.gz")):
        try:
            return _verified(path, SHA256[dataset][file])
        except (OSError, EOFError, ValueError, zlib.error) as error:
            looked_at.append(f"{path}: {getattr(error, 'strerror', None) or error}")
    return _download(dataset, file, raw / dataset, looked_at)


def _verified(path: Path, expected: str) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    if (digest := _digest(content)) != expected:
        raise ValueError(f"not the published file: sha256 {digest}")
    return content


def _download(dataset: str, file: str, folder: Path, looked_at: list[str]) -> bytes:
    """Download one gzipped file to a folder; returns its verified content."""
    import pooch  # like torchvision, it takes seconds to import, and is rarely needed

    published = getattr(import_module("torchvision.datasets"), _PUBLISHED[dataset])
    archive, expected = f"{file}.gz", SHA256[dataset][file]
    known_hash = f"md5:{dict(published.resources)[archive]}"
    pooch.get_logger().setLevel("WARNING")  # failures are told at the end, in one message
    fetch = pooch.HTTPDownloader(timeout=_TIMEOUT)
    for mirror in published.mirrors:
        try:
            path = pooch.retrieve(f"{mirror}{archive}", known_hash, archive, folder, None, fetch)
            return _verified(Path(path), expected)
        except (OSError, ValueError) as error:
            looked_at.append(f"{mirror}{archive}: {error}")
    raise UserError(
        f"{dataset}, {file}: there is no such file, and it could not be downloaded\n"
        f"expected: sha256 {expected} (uncompressed)\n"
        f"looked at:\n  " + "\n  ".join(looked_at) + "\n"
        f"put the four files of {dataset}, plain or gzipped, into {folder}, or set {DATA_VARIABLE} "
        f"to the folder that holds them (several: separated by {os.pathsep!r}), or run again with "
        "access to the network"
    )


def _sample_file(dataset: str, file: str, project: Path) -> bytes:
    folder, name = project / "data" / "sample", f"{dataset}/{file}.gz"
    try:
        compressed = (folder / name).read_bytes()
        sums = (folder / "SHA256SUMS").read_text("utf-8").splitlines()
        if f"{_digest(compressed)}  {name}" not in sums:
            raise ValueError(f"not the file of SHA256SUMS: sha256 {_digest(compressed)}")
        return gzip.decompress(compressed)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / name} cannot be used: {error}; `git restore data/sample` brings the sample "
            "back"
        ) from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
