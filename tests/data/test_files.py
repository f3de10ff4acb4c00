"""The raw files: where they are looked for, what is accepted, and what the user is told."""

import gzip
import hashlib
import importlib
import os
import runpy
import struct
from collections.abc import Callable
from pathlib import Path

import pooch
import pytest
import requests
import torch

from bregman_nas.data import files
from bregman_nas.data.files import (
    DATA_VARIABLE,
    FILES,
    SHA256,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    load,
)
from bregman_nas.errors import UserError
from tests.helpers import PROJECT

BUILD = runpy.run_path(str(PROJECT / "data" / "sample" / "build.py"))
DATA_SETS = tuple(SHA256)
COPY = ".dvc/tmp/exps/standalone/tmpabc"  # of the clone, in which DVC runs an experiment

#: Data set to file name to uncompressed content.
Contents = dict[str, dict[str, bytes]]


def idx(items: torch.Tensor) -> bytes:
    """The IDX file of a uint8 tensor."""
    header = struct.pack(f">4B{items.ndim}I", 0, 0, 8, items.ndim, *items.shape)
    return header + bytes(items.flatten().tolist())


def fake_contents(seed: int) -> dict[str, bytes]:
    numbers = torch.Generator().manual_seed(seed)
    shapes = ((6, 28, 28), (6,), (3, 28, 28), (3,))
    items = [torch.randint(256, s, dtype=torch.uint8, generator=numbers) for s in shapes]
    return dict(zip(FILES, map(idx, items), strict=True))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch) -> Contents:
    """Two small data sets that take the place of the published ones; no folder is configured."""
    fakes = {"mnist": fake_contents(1), "fashion-mnist": fake_contents(2)}
    table = {name: {file: digest(c) for file, c in fake.items()} for name, fake in fakes.items()}
    monkeypatch.setattr(files, "SHA256", table)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    return fakes


def write_files(folder: Path, contents: dict[str, bytes], *, compressed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        path = folder / (f"{file}.gz" if compressed else file)
        path.write_bytes(gzip.compress(content) if compressed else content)


def assert_is(images: files.ImageSet, contents: dict[str, bytes]) -> None:
    """Checks a loaded set by writing it as IDX again."""
    assert [idx(tensor.to(torch.uint8)) for tensor in images] == list(contents.values())
    assert images.train_labels.dtype == images.test_labels.dtype == torch.int64


# --- looking for the full files -----------------------------------------------------------------


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> bytes:
        pytest.fail("a download was tried")

    monkeypatch.setattr(files, "_download", fail)


@pytest.mark.usefixtures("no_download")
@pytest.mark.parametrize("compressed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("folder", ["data/raw/mnist", "data/raw", "a/mnist", "b", "c"])
@pytest.mark.parametrize("copy", [".", COPY], ids=["clone", "of DVC"])
def test_full_files_are_found_in_the_clone_or_a_configured_folder(
    tmp_path: Path,
    contents: Contents,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    compressed: bool,
    copy: str,
) -> None:
    write_files(tmp_path / folder, contents["mnist"], compressed=compressed)
    configured = ["", str(tmp_path / "a"), str(tmp_path / "b"), "c"]
    monkeypatch.setenv(DATA_VARIABLE, os.pathsep.join(configured))
    assert_is(load("mnist", "full", tmp_path / copy), contents["mnist"])


@pytest.mark.usefixtures("no_download")
def test_each_file_may_be_elsewhere_and_other_content_is_passed_over(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two data sets name their files alike."""
    folders = [tmp_path / "data" / "raw" / "mnist", tmp_path / "a", tmp_path / "b"]
    for index, (file, content) in enumerate(contents["mnist"].items()):
        for folder in folders[: index % 3]:
            write_files(folder, {file: contents["fashion-mnist"][file]})
        write_files(folders[index % 3], {file: content})
    monkeypatch.setenv(DATA_VARIABLE, os.pathsep.join(map(str, folders[1:])))
    assert_is(load("mnist", "full", tmp_path), contents["mnist"])


# --- the download -------------------------------------------------------------------------------


class Mirrors:
    """Takes the place of the network: `asked` are the addresses asked for.

    `served` has, for each file or mirror, the bytes that are sent, or what is raised.
    """

    def __init__(self, served: dict[str, bytes | OSError]) -> None:
        self.served, self.asked = served, list[str]()

    def __call__(self, url: str, output_file: str, *_: object, **__: object) -> None:
        self.asked.append(url)
        mirror, name = url.rsplit("/", 1)
        answer = self.served.get(mirror, self.served[name])
        Path(output_file).write_bytes(b"half of" if isinstance(answer, OSError) else answer)
        if isinstance(answer, OSError):
            raise answer


@pytest.fixture
def mirrors(contents: Contents, monkeypatch: pytest.MonkeyPatch) -> Mirrors:
    """Mirrors that serve MNIST."""
    archives = {f"{file}.gz": gzip.compress(c) for file, c in contents["mnist"].items()}
    sums = [(name, hashlib.md5(archive).hexdigest()) for name, archive in archives.items()]
    fake = Mirrors({**archives})
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", fake.__call__)
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://one/", "http://two/"])
    monkeypatch.setattr("torchvision.datasets.MNIST.resources", sums)
    return fake


def test_only_what_is_missing_or_damaged_is_downloaded_once(
    tmp_path: Path, contents: Contents, mirrors: Mirrors
) -> None:
    """To the clone, and not to DVC's copy, which is deleted."""
    copy, folder = tmp_path / COPY, tmp_path / "data" / "raw" / "mnist"
    write_files(folder, {file: contents["mnist"][file] for file in FILES[:3]})
    (folder / f"{TRAIN_LABELS}.gz").write_bytes(b"damaged")
    for _ in range(2):
        assert_is(load("mnist", "full", copy), contents["mnist"])
    assert mirrors.asked == [f"http://one/{file}.gz" for file in (TRAIN_LABELS, TEST_LABELS)]
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{f}.gz" for f in FILES)
    assert not copy.exists()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (requests.exceptions.ConnectionError("no network"), "no network"),
        (gzip.compress(b"wrong"), "does not match the known hash"),
    ],
    ids=["no network", "wrong"],
)
def test_failure_leaves_nothing_and_tells_everything(
    tmp_path: Path,
    mirrors: Mirrors,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes | OSError,
    told: str,
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "a"))
    write_files(tmp_path / "a", {TRAIN_IMAGES: b"wrong"}, compressed=False)
    mirrors.served[f"{TRAIN_IMAGES}.gz"] = answer
    with pytest.raises(UserError) as caught:
        load("mnist", "full", tmp_path)
    message, folder = str(caught.value), tmp_path / "data" / "raw" / "mnist"
    assert message.startswith(f"mnist, {TRAIN_IMAGES}: there is no such file")
    assert f"{folder / TRAIN_IMAGES}: No such file" in message
    assert f"not the published file: sha256 {digest(b'wrong')}" in message
    for mirror in ("http://one/", "http://two/"):
        assert f"{mirror}{TRAIN_IMAGES}.gz: " in message
    assert message.count(told) == 2
    assert f"into {folder}, or set {DATA_VARIABLE}" in message
    assert list(folder.iterdir()) == []


def test_the_next_mirror_is_asked(tmp_path: Path, contents: Contents, mirrors: Mirrors) -> None:
    mirrors.served["http://one"] = requests.exceptions.ConnectionError()
    assert_is(load("mnist", "full", tmp_path), contents["mnist"])


def test_torchvision_knows_the_files_of_every_data_set() -> None:
    published = importlib.import_module("torchvision.datasets")
    for dataset in SHA256:
        of_set = getattr(published, files._PUBLISHED[dataset])
        assert {name for name, _ in of_set.resources} == {f"{file}.gz" for file in FILES}
        assert of_set.mirrors


# --- the sample ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_the_committed_sample_is_balanced_shuffled_and_small(dataset: str) -> None:
    images = load(dataset, "sample", PROJECT)
    assert images.train_images.shape == (2000, 28, 28)
    assert images.test_images.shape == (500, 28, 28)
    for labels, each in ((images.train_labels, 200), (images.test_labels, 50)):
        assert labels.bincount().tolist() == [each] * 10
    assert all(len(set(part.tolist())) == 10 for part in images.train_labels.split(200))
    together = torch.cat((images.train_images, images.test_images))
    assert len({image.numpy().tobytes() for image in together}) == 2500, "one is there twice"
    folder = PROJECT / "data" / "sample" / dataset
    assert sum(path.stat().st_size for path in folder.glob("*.gz")) < 2_000_000
    for path in folder.glob("*.gz"):
        assert path.read_bytes()[:8] == b"\x1f\x8b\x08\x00" + bytes(4), "it has a time or a name"


def write_sample(project: Path, contents: Contents) -> Path:
    folder = project / "data" / "sample"
    for dataset, by_file in contents.items():
        write_files(folder / dataset, by_file)
    BUILD["write_checksums"](folder)
    return folder


def test_a_sample_that_is_right(tmp_path: Path, contents: Contents) -> None:
    write_sample(tmp_path, contents)
    assert_is(load("fashion-mnist", "sample", tmp_path), contents["fashion-mnist"])
    assert files.sha256("mnist", "sample", tmp_path) == files.SHA256["mnist"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda labels: labels.write_bytes(b"wrong"), "not the file of SHA256SUMS"),
        (lambda labels: labels.unlink(), "No such file"),
    ],
    ids=["wrong", "missing"],
)
def test_a_sample_that_was_damaged(
    tmp_path: Path, contents: Contents, damage: Callable[[Path], object], told: str
) -> None:
    damage(write_sample(tmp_path, contents) / "mnist" / f"{TEST_LABELS}.gz")
    with pytest.raises(UserError, match="`git restore data/sample`") as caught:
        load("mnist", "sample", tmp_path)
    assert told in str(caught.value)


def test_the_script_that_made_the_sample(tmp_path: Path) -> None:
    items = [BUILD["Item"](bytes([label]) * 784, label) for label in range(10)]
    BUILD["write_idx"](tmp_path, "train", items)
    assert BUILD["read_idx"](tmp_path, "train") == items
    items = [BUILD["Item"](bytes([label, i % 3]), label) for i in range(6) for label in range(10)]
    seen: set[bytes] = set()
    drawn = [*BUILD["draw"](items, 2, seen), *BUILD["draw"](items, 1, seen)]
    assert len(set(drawn)) == 30, "no image is drawn twice"
    with pytest.raises(SystemExit, match="want 1 images of each class"):
        BUILD["draw"](items, 1, seen)


# --- the published data, where it is at hand ----------------------------------------------------


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_published_data(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_at_hand(*arguments: object) -> bytes:
        pytest.skip(f"{dataset} is neither in data/raw nor in a folder of {DATA_VARIABLE}")

    monkeypatch.setattr(files, "_download", not_at_hand)
    images = load(dataset, "full", PROJECT)
    assert images.train_images.shape == (60_000, 28, 28)
    assert images.test_images.shape == (10_000, 28, 28)
