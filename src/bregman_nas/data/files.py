"""The raw image files of MNIST and Fashion-MNIST: found or downloaded, verified, parsed.

The full files are verified by the SHA-256 of the published content, the committed sample by
``data/sample/SHA256SUMS``.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

import torch

from bregman_nas.data.idx import parse
from bregman_nas.errors import UserError

#: Environment variable: folders that hold the full files, separated as in ``PATH``.
DATA_VARIABLE = "BREGMAN_NAS_DATA"

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
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


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set as published: no scaling, no split, no shuffling.

    Attributes:
        train_images: uint8 [n, 28, 28], 0 (background) to 255.
        train_labels: int64 [n], the classes 0 to 9.
        test_images: uint8 [m, 28, 28].
        test_labels: int64 [m].
        sha256: for each of `FILES` that of the uncompressed content.
    """

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    sha256: dict[str, str]


def load(dataset: str, source: Source, project: Path) -> ImageSet:
    """Load a data set from verified files.

    The full files are looked for in the repository's ``data/raw``, then in the folders that
    `DATA_VARIABLE` names (relative ones start from the repository), as ``<dataset>/<file>`` or
    ``<file>``, plain or gzipped; else they are downloaded to ``data/raw/<dataset>``. The sample is
    in ``data/sample/<dataset>``.

    Args:
        dataset: a key of `SHA256`.
        source: "full" for the published files, "sample" for the small committed part of them.
        project: the repository, or the copy of it in which DVC runs an experiment.

    Raises:
        UserError: if a file is not there and cannot be downloaded, or the sample is damaged.
    """
    read = _sample_file if source == "sample" else _full_file
    contents = [read(dataset, file, project) for file in FILES]
    train_images, test_images = (parse(content, dimensions=3) for content in contents[::2])
    train_labels, test_labels = (parse(content, dimensions=1).long() for content in contents[1::2])
    sha256 = dict(zip(FILES, map(_digest, contents), strict=True))
    return ImageSet(train_images, train_labels, test_images, test_labels, sha256)


def sha256(dataset: str, source: Source, project: Path) -> dict[str, str]:
    """The `ImageSet.sha256` that `load` would give; the full files are not needed."""
    if source == "full":
        return dict(SHA256[dataset])
    return {file: _digest(_sample_file(dataset, file, project)) for file in FILES}


def clone_of(project: Path) -> Path:
    """The repository that DVC copied to this folder, as for ``dvc exp run --temp``, or itself."""
    return next((folder.parent for folder in project.parents if folder.name == ".dvc"), project)


def _full_file(dataset: str, file: str, project: Path) -> bytes:
    looked_at: list[str] = []
    for path in _candidates(dataset, file, project):
        if not os.path.isfile(path):  # unlike Path.is_file, False in a forbidden folder
            looked_at.append(f"{path}: no such file")
        elif (content := _verified(path, dataset, file, looked_at)) is not None:
            return content
    return _download(dataset, file, clone_of(project) / "data" / "raw" / dataset, looked_at)


def _candidates(dataset: str, file: str, project: Path) -> Iterator[Path]:
    repositories = dict.fromkeys((project, clone_of(project)))
    names = [name for name in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if name]
    folders = [repository / "data" / "raw" for repository in repositories]
    # An absolute path replaces what it is joined to.
    folders += dict.fromkeys(r / Path(name).expanduser() for name in names for r in repositories)
    for folder in folders:
        for parent in (folder / dataset, folder):
            yield from (parent / file, parent / f"{file}.gz")


def _verified(path: Path, dataset: str, file: str, looked_at: list[str]) -> bytes | None:
    """The content of a full file; None, with the reason in `looked_at`, if it is another one."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        looked_at.append(f"{path}: cannot be read: {error}")
        return None
    if _digest(content) == SHA256[dataset][file]:
        return content
    looked_at.append(f"{path}: not the published file: {_describe(content)}")
    return None


def _download(dataset: str, file: str, folder: Path, looked_at: list[str]) -> bytes:
    """Download one gzipped file to a folder; returns its verified content."""
    import pooch  # like torchvision, it takes seconds to import, and is rarely needed

    published = getattr(import_module("torchvision.datasets"), _PUBLISHED[dataset])
    archive = f"{file}.gz"
    known_hash = f"md5:{dict(published.resources)[archive]}"
    pooch.get_logger().setLevel("WARNING")  # failures are told at the end, in one message
    for mirror in published.mirrors:
        fetch = pooch.HTTPDownloader(timeout=_TIMEOUT)
        try:
            path = pooch.retrieve(f"{mirror}{archive}", known_hash, archive, folder, None, fetch)
        except (OSError, ValueError) as error:
            looked_at.append(f"{mirror}{archive}: {error}")
            continue
        if (content := _verified(Path(path), dataset, file, looked_at)) is not None:
            return content
    raise UserError(
        f"{dataset}, {file}: there is no such file, and it could not be downloaded\n"
        f"expected: sha256 {SHA256[dataset][file]} (uncompressed)\n"
        f"looked at:\n  " + "\n  ".join(looked_at) + "\n"
        f"put the four files of {dataset}, plain or gzipped, into {folder}, or set {DATA_VARIABLE} "
        f"to the folder that holds them (several: separated by {os.pathsep!r}), or run again with "
        "access to the network"
    )


def _sample_file(dataset: str, file: str, project: Path) -> bytes:
    folder = project / "data" / "sample"
    path = folder / dataset / f"{file}.gz"
    try:
        lines = (folder / "SHA256SUMS").read_text("utf-8").splitlines()
        # "<digest> <space or *><path>", as sha256sum writes it
        expected = {name.lstrip(" *"): digest for digest, name in (x.split(" ", 1) for x in lines)}
        compressed = path.read_bytes()
        if _digest(compressed) != expected.get(f"{dataset}/{file}.gz"):
            raise ValueError(f"not the file of SHA256SUMS: {_describe(compressed)}")
        return gzip.decompress(compressed)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be used: {error}; `git restore data/sample` brings the sample back"
        ) from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _describe(content: bytes) -> str:
    return f"sha256 {_digest(content)}, {len(content)} bytes"
