"""The raw image files of MNIST and Fashion-MNIST: found or downloaded, verified, parsed.

Every byte that is parsed was verified first: the full files against the SHA-256 of the published
content (`DATA_SETS`), the committed sample against ``data/sample/SHA256SUMS``.
"""

import gzip
import hashlib
import os
import socket
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch

from bregman_nas.data.idx import parse

DATA_VARIABLE = "BREGMAN_NAS_DATA"
"""Environment variable: folders that hold the full files, separated as in ``PATH``."""

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)

Source = Literal["full", "sample"]

_DOWNLOAD_TIMEOUT = 5.0  # seconds without an answer
_SIDE = 28  # pixels


class DataError(Exception):
    """The data cannot be used; the message tells the user what is wrong and what to do."""


@dataclass(frozen=True)
class DataSet:
    """A published data set.

    Attributes:
        torchvision_class: Class in `torchvision.datasets` that knows where to download it.
        sha256: File name to SHA-256 of the uncompressed content, for each of `FILES`.
    """

    torchvision_class: str
    sha256: Mapping[str, str]


DATA_SETS: Mapping[str, DataSet] = {
    "mnist": DataSet(
        torchvision_class="MNIST",
        sha256={
            TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion-mnist": DataSet(
        torchvision_class="FashionMNIST",
        sha256={
            TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
}


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The images and labels of a data set, as published: no scaling, no split, no shuffling.

    Attributes:
        train_images: uint8, [n, 28, 28], 0 (background) to 255.
        train_labels: int64, [n], the classes 0 to 9.
        test_images: uint8, [m, 28, 28].
        test_labels: int64, [m].
        sha256: File name to SHA-256 of the uncompressed content, for each of `FILES`.
    """

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    sha256: dict[str, str]


def load(dataset: str, source: Source, project: Path) -> ImageSet:
    """Loads a data set from verified files.

    The full files are looked for in ``<project>/data/raw`` (for the copy in which DVC runs an
    experiment also in that of the repository itself), then in each folder that the environment
    variable `DATA_VARIABLE` names (a relative one starts from ``<project>``), as
    ``<dataset>/<file>`` or ``<file>``, plain or gzipped. What is not found is downloaded to
    ``<project>/data/raw/<dataset>``. The two data sets name their files alike, so a ``<file>``
    directly in a folder that is the other data set's is passed over. The sample is in
    ``<project>/data/sample/<dataset>``.

    Args:
        dataset: A key of `DATA_SETS`.
        source: "full" for the published files, "sample" for the small committed part of them.
        project: The repository's root folder.

    Raises:
        DataError: The data set or source is unknown, or a file is missing and cannot be
            downloaded, is damaged, or does not have the expected content.
    """
    if dataset not in DATA_SETS:
        raise DataError(f"unknown data set {dataset!r}; known are {', '.join(DATA_SETS)}")
    if source == "full":
        contents = _full_contents(dataset, project)
    elif source == "sample":
        contents = _sample_contents(dataset, project)
    else:
        raise DataError(f"unknown data source {source!r}; known are full, sample")

    train_images, train_labels = _parse_pair(contents, TRAIN_IMAGES, TRAIN_LABELS, dataset)
    test_images, test_labels = _parse_pair(contents, TEST_IMAGES, TEST_LABELS, dataset)
    return ImageSet(
        train_images,
        train_labels,
        test_images,
        test_labels,
        sha256={file: _digest(content) for file, content in contents.items()},
    )


def sha256(dataset: str, source: Source, project: Path) -> dict[str, str]:
    """The `ImageSet.sha256` that `load` would give, known without the full files.

    Args:
        dataset: A key of `DATA_SETS`.
        source: "full" for the published files, "sample" for the small committed part of them.
        project: The repository's root folder.

    Raises:
        DataError: The sample cannot be used.
    """
    if source == "full":
        return dict(DATA_SETS[dataset].sha256)
    return {file: _digest(content) for file, content in _sample_contents(dataset, project).items()}


def manifest(project: Path, source: Source, datasets: Iterable[str]) -> dict[str, Any]:
    """Describes the data that a study runs on, for a JSON file kept with its results.

    It has no paths and no times: the same content gives the same manifest on every machine. The
    files are loaded, and downloaded if need be.

    Args:
        project: The repository's root folder.
        source: As for `load`.
        datasets: Keys of `DATA_SETS`, in any order.

    Returns:
        ``{"source": source, "datasets": {dataset: {file: entry, "pixels": counts}}}``, where an
        entry has "sha256" (of the uncompressed content), "items" (how many) and, for images,
        "shape" (of one image); for the counts see `count_pixels`.

    Raises:
        DataError: As for `load`.
    """
    described: dict[str, dict[str, Any]] = {}
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
        described[dataset]["pixels"] = count_pixels(images.train_images)
    return {"source": source, "datasets": described}


def count_pixels(images: torch.Tensor) -> dict[str, float]:
    """Counts how many pixels are not zero, in the senses that the article's "65%" may have.

    Args:
        images: uint8, [n, height, width].

    Returns:
        "nonzero_share": of all pixel values of all images. "ever_nonzero",
        "nonzero_in_one_per_thousand", "nonzero_in_one_per_hundred": the number of places that are
        not zero in at least one, 0.1% and 1% of the images.
    """
    images_with = (images != 0).sum(0).double() / len(images)
    return {
        "nonzero_share": round(float(images_with.mean()), 6),
        "ever_nonzero": int((images_with > 0).sum()),
        "nonzero_in_one_per_thousand": int((images_with >= 0.001).sum()),
        "nonzero_in_one_per_hundred": int((images_with >= 0.01).sum()),
    }


# --- the full files -----------------------------------------------------------------------------


def _full_contents(dataset: str, project: Path) -> dict[str, bytes]:
    """Returns the verified content of each of `FILES`."""
    # All folders are searched before anything is downloaded: a wrong file is reported at once.
    found: dict[str, bytes | None] = {}
    looked_at: dict[str, list[str]] = {}
    for file in FILES:
        found[file], looked_at[file] = _find(dataset, file, project)
    return {
        file: _download(dataset, file, project, looked_at[file]) if content is None else content
        for file, content in found.items()
    }


def _find(dataset: str, file: str, project: Path) -> tuple[bytes | None, list[str]]:
    """Returns a file's verified content, None if there is none, and the places looked at."""
    expected = DATA_SETS[dataset].sha256[file]
    of_others = {other.sha256[file]: name for name, other in DATA_SETS.items() if name != dataset}
    looked_at: list[str] = []
    for path, either_data_set in _candidates(dataset, file, project):
        if not os.path.isfile(path):  # unlike Path.is_file, False in a forbidden folder
            is_folder = os.path.isdir(path)
            looked_at.append(f"{path} ({'a folder, not a file' if is_folder else 'no such file'})")
            continue
        try:
            content = _read(path)
        except (OSError, ValueError) as error:
            looked_at.append(f"{path} (unreadable)")
            problem = f"{path} cannot be read; replace or delete it"
            raise _full_error(dataset, file, project, problem, str(error), looked_at) from error
        digest = _digest(content)
        if digest == expected:
            return content, looked_at
        other = of_others.get(digest)
        if other is not None and either_data_set:
            looked_at.append(f"{path} (passed over: the file of {other})")
            continue
        looked_at.append(f"{path} (wrong content)")
        problem = f"{path} is not the published file; replace or delete it"
        found = _describe(content) + (f", the file of {other}" if other else "")
        raise _full_error(dataset, file, project, problem, found, looked_at)
    return None, looked_at


def _candidates(dataset: str, file: str, project: Path) -> Iterator[tuple[Path, bool]]:
    """Yields the paths that a file can have, and whether it may be any data set's file there."""
    # DVC runs an experiment (`dvc exp run --temp`) in a copy of the repository below its `.dvc`.
    repositories = [project, *(p.parent for p in project.parents if p.name == ".dvc")]
    names = [name for name in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if name]
    folders = [repository / "data" / "raw" for repository in repositories]
    # Joined to an absolute path, the first one goes.
    found = [r / Path(name).expanduser() for name in names for r in repositories]
    folders += dict.fromkeys(found)
    for folder in folders:
        for parent, either_data_set in ((folder / dataset, False), (folder, True)):
            yield parent / file, either_data_set
            yield parent / f"{file}.gz", either_data_set


def _download(dataset: str, file: str, project: Path, looked_at: list[str]) -> bytes:
    """Downloads one gzipped file to ``data/raw/<dataset>``; returns its verified content.

    Raises:
        DataError: No mirror gave the published file, or it cannot be stored.
    """
    # Only here, because it takes seconds and is not needed where the files are at hand; by name,
    # because torchvision has no type information.
    published = getattr(import_module("torchvision.datasets"), DATA_SETS[dataset].torchvision_class)
    download_url = import_module("torchvision.datasets.utils").download_url

    archive = f"{file}.gz"
    target = project / "data" / "raw" / dataset / archive
    failures: list[str] = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The folder goes whatever happens, so that only a verified file is ever left.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as folder:
            for number, mirror in enumerate(published.mirrors):
                # A folder for each mirror: download_url does not replace a file that is there.
                partial = Path(folder) / str(number) / archive
                try:
                    with _short_timeout():
                        download_url(f"{mirror}{archive}", str(partial.parent), archive)
                    content = _read(partial)
                except (OSError, RuntimeError, ValueError, HTTPException) as error:
                    failures.append(f"{mirror}{archive}: {str(error) or type(error).__name__}")
                    continue
                if _digest(content) == DATA_SETS[dataset].sha256[file]:
                    os.replace(partial, target)
                    return content
                failures.append(f"{mirror}{archive}: wrong content, {_describe(content)}")
    except OSError as error:
        failures.append(f"{target.parent} cannot be written: {error}")
    with suppress(OSError):  # only an empty folder goes
        target.parent.rmdir()
    problem = "there is no such file, and it could not be downloaded"
    found = "\n  ".join(["no file; the download failed:", *failures])
    raise _full_error(dataset, file, project, problem, found, looked_at)


@contextmanager
def _short_timeout() -> Iterator[None]:
    """Makes new network connections give up after `_DOWNLOAD_TIMEOUT` without an answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _full_error(
    dataset: str, file: str, project: Path, problem: str, found: str, looked_at: list[str]
) -> DataError:
    places = "\n  ".join(looked_at)
    return DataError(
        f"{dataset}, {file}: {problem}\n"
        f"expected:\n  sha256 {DATA_SETS[dataset].sha256[file]} (uncompressed)\n"
        f"found:\n  {found}\n"
        f"looked at:\n  {places}\n"
        f"ways to provide the four files of {dataset}, plain or gzipped:\n"
        f"  put them into {project / 'data' / 'raw' / dataset}, or\n"
        f"  set {DATA_VARIABLE} to the folder that holds them "
        f"(several folders: separated by {os.pathsep!r}), or\n"
        "  allow the download: run again with access to the network"
    )


# --- the sample ---------------------------------------------------------------------------------


def _sample_contents(dataset: str, project: Path) -> dict[str, bytes]:
    """Returns the verified content of each of `FILES`."""
    folder = project / "data" / "sample"
    sums = folder / "SHA256SUMS"
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
        # "<digest> <space or *><path>", as sha256sum writes it
        expected = {name.lstrip(" *"): digest for digest, name in (x.split(" ", 1) for x in lines)}
    except (OSError, ValueError) as error:
        raise _sample_error(f"{sums}: cannot be read: {error}") from error

    contents: dict[str, bytes] = {}
    for file in FILES:
        name = f"{dataset}/{file}.gz"
        path = folder / name
        if name not in expected:
            raise _sample_error(f"{sums}: has no line for {name}")
        try:
            compressed = path.read_bytes()
            if _digest(compressed) != expected[name]:
                raise _sample_error(
                    f"{path}: is not the committed file\n"
                    f"expected:\n  sha256 {expected[name]}\n"
                    f"found:\n  {_describe(compressed)}"
                )
            contents[file] = _gunzip(compressed)
        except (OSError, ValueError) as error:
            raise _sample_error(f"{path}: cannot be read: {error}") from error
    return contents


def _sample_error(problem: str) -> DataError:
    return DataError(f"{problem}\nto restore the sample:\n  git checkout -- data/sample")


# --- bytes --------------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    """Returns a file's content, uncompressed if its name ends in ``.gz``.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is damaged gzip.
    """
    content = path.read_bytes()
    return _gunzip(content) if path.suffix == ".gz" else content


def _gunzip(compressed: bytes) -> bytes:
    try:
        return gzip.decompress(compressed)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"damaged gzip file, {len(compressed)} bytes: {error}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _describe(content: bytes) -> str:
    return f"sha256 {_digest(content)}, {len(content)} bytes"


def _parse_pair(
    contents: Mapping[str, bytes], images_file: str, labels_file: str, dataset: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns images, uint8 [n, 28, 28], and as many labels, int64 [n].

    Raises:
        DataError: The content, although its checksum is right, is not that.
    """
    try:
        images = parse(contents[images_file], dimensions=3)
        labels = parse(contents[labels_file], dimensions=1)
        if images.shape != (len(labels), _SIDE, _SIDE):
            raise ValueError(f"{len(labels)} labels, but images of shape {list(images.shape)}")
    except ValueError as error:
        raise DataError(
            f"{dataset}, {images_file} and {labels_file}: the checksums are right, "
            f"but the content is not images with their labels: {error}"
        ) from error
    return images, labels.to(torch.int64)
