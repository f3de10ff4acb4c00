"""The raw files: where they are looked for, what is accepted, and what the user is told."""

import gzip
import importlib
import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import pytest
import torch

from bregman_nas.data import files
from bregman_nas.data.files import (
    DATA_VARIABLE,
    FILES,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    DataSet,
    load,
    manifest,
)
from bregman_nas.errors import UserError

PROJECT = Path(__file__).parents[2]
DATA_SETS = ("mnist", "fashion-mnist")

Contents = dict[str, dict[str, bytes]]
"""Data set to file name to uncompressed content."""


def idx(items: torch.Tensor) -> bytes:
    """The IDX file of a uint8 tensor."""
    header = struct.pack(f">4B{items.ndim}I", 0, 0, 8, items.ndim, *items.shape)
    return header + bytes(items.flatten().tolist())


def fake_contents(seed: int) -> dict[str, bytes]:
    generator = torch.Generator().manual_seed(seed)

    def draw(upper: int, *shape: int) -> bytes:
        return idx(torch.randint(upper, shape, dtype=torch.uint8, generator=generator))

    return {
        TRAIN_IMAGES: draw(256, 6, 28, 28),
        TRAIN_LABELS: draw(10, 6),
        TEST_IMAGES: draw(256, 3, 28, 28),
        TEST_LABELS: draw(10, 3),
    }


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch) -> Contents:
    """Two small data sets that take the place of the published ones; no folder is configured."""
    fakes = {"mnist": fake_contents(1), "fashion-mnist": fake_contents(2)}
    table = {
        name: DataSet(
            files.DATA_SETS[name].torchvision_class,
            {file: files._digest(content) for file, content in fake.items()},
        )
        for name, fake in fakes.items()
    }
    monkeypatch.setattr(files, "DATA_SETS", table)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    return fakes


def write_files(folder: Path, contents: dict[str, bytes], *, compressed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        if compressed:
            (folder / f"{file}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / file).write_bytes(content)


def files_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def assert_is(images: files.ImageSet, contents: dict[str, bytes]) -> None:
    """Checks a loaded set by writing it as IDX again."""
    assert {
        TRAIN_IMAGES: idx(images.train_images),
        TRAIN_LABELS: idx(images.train_labels.to(torch.uint8)),
        TEST_IMAGES: idx(images.test_images),
        TEST_LABELS: idx(images.test_labels.to(torch.uint8)),
    } == contents
    assert images.sha256 == {file: files._digest(content) for file, content in contents.items()}
    assert tuple(images.sha256) == FILES


# --- looking for the full files -----------------------------------------------------------------


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> bytes:
        pytest.fail("a download was tried")

    monkeypatch.setattr(files, "_download", fail)


@pytest.mark.usefixtures("no_download")
class TestFullFiles:
    @pytest.mark.parametrize("compressed", [True, False], ids=["gz", "plain"])
    @pytest.mark.parametrize("subfolder", ["mnist", "."])
    def test_in_the_project(
        self, tmp_path: Path, contents: Contents, subfolder: str, compressed: bool
    ) -> None:
        folder = tmp_path / "data" / "raw" / subfolder
        write_files(folder, contents["mnist"], compressed=compressed)

        images = load("mnist", "full", tmp_path)

        assert_is(images, contents["mnist"])
        assert images.train_images.dtype == images.test_images.dtype == torch.uint8
        assert images.train_labels.dtype == images.test_labels.dtype == torch.int64
        assert images.train_images.shape == (6, 28, 28)
        assert images.test_labels.shape == (3,)

    @pytest.mark.parametrize("compressed", [True, False], ids=["gz", "plain"])
    @pytest.mark.parametrize("subfolder", ["mnist", "."])
    def test_in_a_configured_folder_and_not_copied(
        self,
        tmp_path: Path,
        contents: Contents,
        monkeypatch: pytest.MonkeyPatch,
        subfolder: str,
        compressed: bool,
    ) -> None:
        write_files(tmp_path / "b" / subfolder, contents["mnist"], compressed=compressed)
        configured = ["", str(tmp_path / "a"), str(tmp_path / "b")]
        monkeypatch.setenv(DATA_VARIABLE, os.pathsep.join(configured))

        assert_is(load("mnist", "full", tmp_path / "project"), contents["mnist"])
        assert not (tmp_path / "project").exists()

    @pytest.mark.parametrize("copy", ["", ".dvc/tmp/exps/copy"], ids=["repository", "dvc's copy"])
    def test_a_relative_folder_starts_from_the_repository(
        self, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch, copy: str
    ) -> None:
        write_files(tmp_path / "images" / "mnist", contents["mnist"], compressed=False)
        monkeypatch.setenv(DATA_VARIABLE, "images")

        assert_is(load("mnist", "full", tmp_path / copy), contents["mnist"])

    def test_a_folder_in_the_place_of_a_file_is_named(self, tmp_path: Path) -> None:
        folder = tmp_path / "data" / "raw" / "mnist" / TRAIN_IMAGES
        folder.mkdir(parents=True)
        _, looked_at = files._find("mnist", TRAIN_IMAGES, tmp_path)
        assert f"{folder} (a folder, not a file)" in looked_at

    def test_of_the_repository_for_the_copy_that_dvc_runs_an_experiment_in(
        self, tmp_path: Path, contents: Contents
    ) -> None:
        write_files(tmp_path / "data" / "raw" / "mnist", contents["mnist"])
        copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
        assert_is(load("mnist", "full", copy), contents["mnist"])

    def test_each_file_may_be_elsewhere(
        self, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        places = [tmp_path / "data" / "raw" / "mnist", tmp_path / "a" / "mnist", tmp_path / "b"]
        for index, (file, content) in enumerate(contents["mnist"].items()):
            write_files(places[index % 3], {file: content})
        monkeypatch.setenv(DATA_VARIABLE, os.pathsep.join(map(str, (tmp_path / "a", places[2]))))

        assert_is(load("mnist", "full", tmp_path), contents["mnist"])

    def test_the_project_comes_first(
        self, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_files(tmp_path / "data" / "raw" / "mnist", contents["mnist"])
        write_files(tmp_path / "a" / "mnist", dict.fromkeys(FILES, b"never read"))
        monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "a"))

        assert_is(load("mnist", "full", tmp_path), contents["mnist"])

    def test_the_other_data_set_in_the_same_place_is_passed_over(
        self, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in DATA_SETS:
            write_files(tmp_path / name, contents[name])
        folders = [str(tmp_path / name) for name in DATA_SETS]

        for order in (folders, folders[::-1]):
            monkeypatch.setenv(DATA_VARIABLE, os.pathsep.join(order))
            for name in DATA_SETS:
                assert_is(load(name, "full", tmp_path / "project"), contents[name])

    def test_the_other_data_set_in_the_named_folder_is_an_error(
        self, tmp_path: Path, contents: Contents
    ) -> None:
        folder = tmp_path / "data" / "raw" / "mnist"
        write_files(folder, contents["fashion-mnist"])

        with pytest.raises(UserError, match="the file of fashion-mnist") as caught:
            load("mnist", "full", tmp_path)
        assert str(folder / f"{TRAIN_IMAGES}.gz") in str(caught.value)

    @pytest.mark.parametrize("subfolder", ["mnist", "."])
    def test_wrong_content_is_an_error_although_a_right_file_follows(
        self,
        tmp_path: Path,
        contents: Contents,
        monkeypatch: pytest.MonkeyPatch,
        subfolder: str,
    ) -> None:
        wrong = tmp_path / "a" / subfolder / TEST_LABELS
        write_files(wrong.parent, {TEST_LABELS: b"wrong"}, compressed=False)
        write_files(tmp_path / "b" / "mnist", contents["mnist"])
        configured = os.pathsep.join(str(tmp_path / name) for name in "ab")
        monkeypatch.setenv(DATA_VARIABLE, configured)

        with pytest.raises(UserError) as caught:
            load("mnist", "full", tmp_path)

        message = str(caught.value)
        assert message.startswith(f"mnist, {TEST_LABELS}: {wrong} is not the published file")
        assert files.DATA_SETS["mnist"].sha256[TEST_LABELS] in message
        assert f"sha256 {files._digest(b'wrong')}, 5 bytes" in message
        assert f"{wrong} (wrong content)" in message
        raw = tmp_path / "data" / "raw"
        assert f"{raw / 'mnist' / TEST_LABELS}.gz (no such file)" in message
        assert f"put them into {raw / 'mnist'}" in message
        assert f"set {DATA_VARIABLE}" in message
        assert "allow the download" in message

    def test_truncated_plain_file(self, tmp_path: Path, contents: Contents) -> None:
        truncated = {file: content[:-1] for file, content in contents["mnist"].items()}
        write_files(tmp_path / "data" / "raw" / "mnist", truncated, compressed=False)

        with pytest.raises(UserError, match=f"{len(truncated[TRAIN_IMAGES])} bytes"):
            load("mnist", "full", tmp_path)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda good: good[:-20],
            lambda good: b"<html>" + good,
            lambda good: good[:100] + bytes([good[100] ^ 0xFF]) + good[101:],
            lambda good: good + b"more",
        ],
        ids=["truncated", "not gzip", "flipped bits", "trailing bytes"],
    )
    def test_corrupt_gzip(
        self, tmp_path: Path, contents: Contents, damage: Callable[[bytes], bytes]
    ) -> None:
        folder = tmp_path / "data" / "raw" / "mnist"
        write_files(folder, contents["mnist"])
        corrupt = folder / f"{TEST_IMAGES}.gz"
        corrupt.write_bytes(damage(corrupt.read_bytes()))

        with pytest.raises(UserError, match="damaged gzip file") as caught:
            load("mnist", "full", tmp_path)
        assert f"{corrupt} cannot be read; replace or delete it" in str(caught.value)
        assert files.DATA_SETS["mnist"].sha256[TEST_IMAGES] in str(caught.value)

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            (TRAIN_LABELS, idx(torch.zeros(5, dtype=torch.uint8)), "5 labels"),
            (TRAIN_IMAGES, idx(torch.zeros(6, 28, 27, dtype=torch.uint8)), "27"),
            (TRAIN_LABELS, idx(torch.zeros(6, dtype=torch.uint8)) + b"x", "7 bytes of items"),
            (TRAIN_LABELS, b"text that is long enough", "not a 1-dimensional IDX file"),
            (TRAIN_IMAGES, idx(torch.zeros(0, 28, 28, dtype=torch.uint8)), "3-dimensional"),
            (TRAIN_LABELS, b"", "not a 1-dimensional IDX file"),
        ],
    )
    def test_verified_content_that_does_not_parse(
        self,
        tmp_path: Path,
        contents: Contents,
        monkeypatch: pytest.MonkeyPatch,
        file: str,
        content: bytes,
        message: str,
    ) -> None:
        changed = contents["mnist"] | {file: content}
        write_files(tmp_path / "data" / "raw" / "mnist", changed)
        checksums = {name: files._digest(content) for name, content in changed.items()}
        monkeypatch.setattr(files, "DATA_SETS", {"mnist": DataSet("MNIST", checksums)})

        with pytest.raises(UserError, match=message):
            load("mnist", "full", tmp_path)


def test_unknown_names_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown data set 'cifar10'; known are mnist"):
        load("cifar10", "sample", tmp_path)
    with pytest.raises(UserError, match="unknown data source 'half'"):
        load("mnist", "half", tmp_path)  # type: ignore[arg-type]


# --- the download -------------------------------------------------------------------------------


class Mirrors:
    """Takes the place of torchvision's downloader.

    Attributes:
        served: File name to the bytes that every mirror sends, or what it raises.
        asked: The addresses asked for.
        timeouts: The socket timeout at each request.
    """

    def __init__(self) -> None:
        self.served: dict[str, bytes | BaseException] = {}
        self.asked: list[str] = []
        self.timeouts: list[float | None] = []

    def download_url(self, url: str, root: str, filename: str) -> None:
        self.asked.append(url)
        self.timeouts.append(socket.getdefaulttimeout())
        Path(root).mkdir(parents=True, exist_ok=True)
        answer = self.served[url.rsplit("/", 1)[1]]
        with open(Path(root) / filename, "wb") as file:
            if isinstance(answer, BaseException):
                file.write(b"half of")
                raise answer
            file.write(answer)


@pytest.fixture
def mirrors(contents: Contents, monkeypatch: pytest.MonkeyPatch) -> Mirrors:
    """Mirrors that serve MNIST."""
    fake = Mirrors()
    fake.served = {f"{file}.gz": gzip.compress(c) for file, c in contents["mnist"].items()}
    monkeypatch.setattr("torchvision.datasets.utils.download_url", fake.download_url)
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://one/", "http://two/"])
    return fake


class TestDownload:
    def test_stores_verified_files_once(
        self, tmp_path: Path, contents: Contents, mirrors: Mirrors
    ) -> None:
        assert_is(load("mnist", "full", tmp_path), contents["mnist"])
        assert mirrors.asked == [f"http://one/{file}.gz" for file in FILES]
        assert files_below(tmp_path) == sorted(f"data/raw/mnist/{file}.gz" for file in FILES)
        assert list((tmp_path / "data" / "raw" / "mnist").glob(".*")) == []

        assert_is(load("mnist", "full", tmp_path), contents["mnist"])
        assert len(mirrors.asked) == len(FILES)

    def test_only_of_what_is_missing(
        self, tmp_path: Path, contents: Contents, mirrors: Mirrors
    ) -> None:
        present = {file: contents["mnist"][file] for file in FILES[:3]}
        write_files(tmp_path / "data" / "raw" / "mnist", present)

        assert_is(load("mnist", "full", tmp_path), contents["mnist"])
        assert mirrors.asked == [f"http://one/{TEST_LABELS}.gz"]

    def test_not_before_a_wrong_file_is_reported(
        self, tmp_path: Path, contents: Contents, mirrors: Mirrors
    ) -> None:
        write_files(tmp_path / "data" / "raw" / "mnist", {TEST_LABELS: b"wrong"})

        with pytest.raises(UserError, match="is not the published file"):
            load("mnist", "full", tmp_path)
        assert mirrors.asked == []

    @pytest.mark.parametrize(
        ("answer", "told"),
        [
            (URLError("no network"), "<urlopen error no network>"),
            (TimeoutError(), "TimeoutError"),
            (RuntimeError("File not found or corrupted."), "File not found or corrupted."),
            (gzip.compress(b"wrong"), "wrong content, sha256"),
            (b"<html>log in first</html>", "damaged gzip file"),
            (gzip.compress(b"cut")[:-3], "damaged gzip file"),
        ],
        ids=["no network", "timeout", "refused", "wrong", "not gzip", "truncated"],
    )
    def test_failure_leaves_nothing_and_tells_everything(
        self, tmp_path: Path, mirrors: Mirrors, answer: bytes | Exception, told: str
    ) -> None:
        mirrors.served[f"{TRAIN_IMAGES}.gz"] = answer

        with pytest.raises(UserError) as caught:
            load("mnist", "full", tmp_path)

        # Both mirrors, but only for the first file.
        assert mirrors.asked == [f"http://{host}/{TRAIN_IMAGES}.gz" for host in ("one", "two")]
        assert files_below(tmp_path) == []
        assert not (tmp_path / "data" / "raw" / "mnist").exists()
        message = str(caught.value)
        assert message.startswith(f"mnist, {TRAIN_IMAGES}: there is no such file")
        for address in mirrors.asked:
            assert f"{address}: {told}" in message
        assert files.DATA_SETS["mnist"].sha256[TRAIN_IMAGES] in message
        folder = tmp_path / "data" / "raw" / "mnist"
        assert f"{folder / TRAIN_IMAGES} (no such file)" in message
        assert f"put them into {folder}" in message
        assert f"set {DATA_VARIABLE}" in message
        assert "allow the download" in message

    def test_failure_tells_what_was_passed_over(
        self,
        tmp_path: Path,
        contents: Contents,
        mirrors: Mirrors,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        write_files(tmp_path / "a", contents["fashion-mnist"])
        monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "a"))
        mirrors.served = dict.fromkeys(mirrors.served, URLError("no network"))

        with pytest.raises(UserError) as caught:
            load("mnist", "full", tmp_path)
        passed_over = tmp_path / "a" / f"{TRAIN_IMAGES}.gz"
        assert f"{passed_over} (passed over: the file of fashion-mnist)" in str(caught.value)

    def test_second_mirror(
        self,
        tmp_path: Path,
        contents: Contents,
        mirrors: Mirrors,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def first_mirror_is_down(url: str, root: str, filename: str) -> None:
            if url.startswith("http://one/"):
                raise URLError("down")
            mirrors.download_url(url, root, filename)

        monkeypatch.setattr("torchvision.datasets.utils.download_url", first_mirror_is_down)

        assert_is(load("mnist", "full", tmp_path), contents["mnist"])
        assert len(files_below(tmp_path)) == len(FILES)

    def test_interruption_keeps_only_complete_files(self, tmp_path: Path, mirrors: Mirrors) -> None:
        mirrors.served[f"{TRAIN_LABELS}.gz"] = KeyboardInterrupt()

        with pytest.raises(KeyboardInterrupt):
            load("mnist", "full", tmp_path)
        folder = tmp_path / "data" / "raw" / "mnist"
        assert [path.name for path in folder.iterdir()] == [f"{TRAIN_IMAGES}.gz"]

    def test_folder_that_cannot_be_made(self, tmp_path: Path, mirrors: Mirrors) -> None:
        (tmp_path / "data").write_text("a file, not a folder")

        with pytest.raises(UserError, match="cannot be written"):
            load("mnist", "full", tmp_path)
        assert mirrors.asked == []

    def test_timeout_is_short_and_restored(self, tmp_path: Path, mirrors: Mirrors) -> None:
        before = socket.getdefaulttimeout()
        mirrors.served[f"{TEST_LABELS}.gz"] = URLError("down")

        with pytest.raises(UserError):
            load("mnist", "full", tmp_path)
        assert set(mirrors.timeouts) == {files._DOWNLOAD_TIMEOUT}
        assert socket.getdefaulttimeout() == before


def test_torchvision_knows_the_files_of_every_data_set() -> None:
    torchvision_datasets = importlib.import_module("torchvision.datasets")

    for data_set in files.DATA_SETS.values():
        published = getattr(torchvision_datasets, data_set.torchvision_class)
        assert {name for name, _ in published.resources} == {f"{file}.gz" for file in FILES}
        assert published.mirrors


def test_importing_the_module_does_not_import_torchvision() -> None:
    code = "import sys, bregman_nas.data.files; sys.exit('torchvision' in sys.modules)"
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


# --- the sample ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", DATA_SETS)
class TestCommittedSample:
    def test_is_balanced(self, dataset: str) -> None:
        images = load(dataset, "sample", PROJECT)

        assert images.train_images.shape == (2000, 28, 28)
        assert images.test_images.shape == (500, 28, 28)
        assert images.train_labels.bincount().tolist() == [200] * 10
        assert images.test_labels.bincount().tolist() == [50] * 10
        assert images.train_images.max() == 255

    def test_has_no_image_twice(self, dataset: str) -> None:
        images = load(dataset, "sample", PROJECT)

        together = torch.cat((images.train_images, images.test_images))
        assert len({image.numpy().tobytes() for image in together}) == 2500

    def test_is_shuffled(self, dataset: str) -> None:
        labels = load(dataset, "sample", PROJECT).train_labels

        for start in range(0, len(labels), 200):
            assert set(labels[start : start + 200].tolist()) == set(range(10))

    def test_gzip_headers_have_no_time_and_no_name(self, dataset: str) -> None:
        for file in FILES:
            header = (PROJECT / "data" / "sample" / dataset / f"{file}.gz").read_bytes()[:8]
            assert header == b"\x1f\x8b\x08\x00" + bytes(4)


def test_committed_sample_is_small() -> None:
    folder = PROJECT / "data" / "sample"
    assert sum(path.stat().st_size for path in folder.glob("*/*.gz")) < 3_000_000


def write_sample(project: Path, contents: Contents) -> None:
    lines = []
    for dataset, by_file in contents.items():
        folder = project / "data" / "sample" / dataset
        write_files(folder, by_file)
        for file in by_file:
            digest = files._digest((folder / f"{file}.gz").read_bytes())
            lines.append(f"{digest}  {dataset}/{file}.gz\n")
    (project / "data" / "sample" / "SHA256SUMS").write_text("".join(lines))


class TestSampleFiles:
    @pytest.fixture
    def sample(self, tmp_path: Path, contents: Contents) -> Path:
        """The folder of a small sample that is right."""
        write_sample(tmp_path, contents)
        return tmp_path / "data" / "sample"

    def fails(self, sample: Path, *told: str) -> None:
        with pytest.raises(UserError) as caught:
            load("mnist", "sample", sample.parents[1])
        for part in (*told, "git checkout -- data/sample"):
            assert part in str(caught.value)

    @pytest.mark.parametrize("dataset", DATA_SETS)
    def test_right(self, sample: Path, contents: Contents, dataset: str) -> None:
        assert_is(load(dataset, "sample", sample.parents[1]), contents[dataset])

    def test_binary_mode_lines_are_understood(self, sample: Path, contents: Contents) -> None:
        sums = sample / "SHA256SUMS"
        sums.write_text(sums.read_text().replace("  ", " *"))
        assert_is(load("mnist", "sample", sample.parents[1]), contents["mnist"])

    def test_wrong_file(self, sample: Path, contents: Contents) -> None:
        path = sample / "mnist" / f"{TEST_LABELS}.gz"
        expected = files._digest(path.read_bytes())
        path.write_bytes(b"wrong")
        self.fails(sample, str(path), expected, files._digest(b"wrong"), "5 bytes")

    def test_missing_file(self, sample: Path) -> None:
        path = sample / "mnist" / f"{TRAIN_LABELS}.gz"
        path.unlink()
        self.fails(sample, str(path), "cannot be read")

    def test_damaged_gzip_with_its_checksum(self, sample: Path) -> None:
        path = sample / "mnist" / f"{TRAIN_LABELS}.gz"
        before = files._digest(path.read_bytes())
        path.write_bytes(path.read_bytes()[:-4])
        sums = sample / "SHA256SUMS"
        sums.write_text(sums.read_text().replace(before, files._digest(path.read_bytes())))
        self.fails(sample, str(path), "damaged gzip file")

    def test_missing_checksums(self, sample: Path) -> None:
        (sample / "SHA256SUMS").unlink()
        self.fails(sample, str(sample / "SHA256SUMS"))

    def test_checksums_without_a_file(self, sample: Path) -> None:
        sums = sample / "SHA256SUMS"
        lines = sums.read_text().splitlines(keepends=True)
        sums.write_text("".join(x for x in lines if f"mnist/{TEST_IMAGES}" not in x))
        self.fails(sample, f"no line for mnist/{TEST_IMAGES}.gz")

    def test_malformed_checksums(self, sample: Path) -> None:
        (sample / "SHA256SUMS").write_text("<<<<<<<\n")
        self.fails(sample, str(sample / "SHA256SUMS"))


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """The script that made the sample."""
    path = PROJECT / "data" / "sample" / "build.py"
    spec = importlib.util.spec_from_file_location("build_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestBuild:
    def test_reads_what_it_writes(self, build: ModuleType, tmp_path: Path) -> None:
        items = [build.Item(bytes([label]) * 784, label) for label in range(10)]
        build.write_idx(tmp_path, "train", items)
        assert build.read_idx(tmp_path, "train") == items

    def test_reads_rows_of_pixels_and_a_label(self, build: ModuleType, tmp_path: Path) -> None:
        path = tmp_path / "images.csv.gz"
        path.write_bytes(gzip.compress(b"0,255,7\n1,2,3\n"))
        assert build.read_csv(path) == [(b"\x00\xff", 7), (b"\x01\x02", 3)]

    def test_draws_without_repetition(self, build: ModuleType) -> None:
        items = [build.Item(bytes([label, i % 3]), label) for i in range(6) for label in range(10)]
        seen: set[bytes] = set()
        first = build.draw(items, 2, seen)
        second = build.draw(items, 1, seen)
        assert len(set(first) | set(second)) == 30
        with pytest.raises(SystemExit, match="want 1 images of each class"):
            build.draw(items, 1, seen)

    def test_committed_sample_has_the_checksums_it_writes(
        self, build: ModuleType, tmp_path: Path
    ) -> None:
        sample = PROJECT / "data" / "sample"
        for path in sample.glob("*/*.gz"):
            copy = tmp_path / path.relative_to(sample)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
        build.write_checksums(tmp_path)
        assert (tmp_path / "SHA256SUMS").read_text() == (sample / "SHA256SUMS").read_text()


# --- the manifest -------------------------------------------------------------------------------


def test_manifest(tmp_path: Path, contents: Contents) -> None:
    write_sample(tmp_path, contents)

    described = manifest(tmp_path, "sample", ["mnist"])
    assert set(described["datasets"]["mnist"].pop("pixels")) == {
        "nonzero_share",
        "ever_nonzero",
        "nonzero_in_one_per_thousand",
        "nonzero_in_one_per_hundred",
    }

    digests = {file: files._digest(content) for file, content in contents["mnist"].items()}
    assert described == {
        "source": "sample",
        "datasets": {
            "mnist": {
                TRAIN_IMAGES: {"sha256": digests[TRAIN_IMAGES], "items": 6, "shape": [28, 28]},
                TRAIN_LABELS: {"sha256": digests[TRAIN_LABELS], "items": 6},
                TEST_IMAGES: {"sha256": digests[TEST_IMAGES], "items": 3, "shape": [28, 28]},
                TEST_LABELS: {"sha256": digests[TEST_LABELS], "items": 3},
            }
        },
    }


def test_pixels_are_counted_in_each_sense() -> None:
    images = torch.zeros(200, 2, 2, dtype=torch.uint8)
    images[:, 0, 0] = 255  # in all of 200 images
    images[:2, 0, 1] = 1  # in 1% of them
    images[0, 1, 0] = 7  # in half a percent
    assert files.count_pixels(images) == {
        "nonzero_share": round((200 + 2 + 1) / 800, 6),
        "ever_nonzero": 3,
        "nonzero_in_one_per_thousand": 3,
        "nonzero_in_one_per_hundred": 2,
    }


def test_manifest_is_the_same_wherever_and_however_asked(
    tmp_path: Path, contents: Contents
) -> None:
    projects = (tmp_path / "one", tmp_path / "two")
    for project in projects:
        write_sample(project, contents)

    one = json.dumps(manifest(projects[0], "sample", DATA_SETS))
    two = json.dumps(manifest(projects[1], "sample", [*DATA_SETS[::-1], "mnist"]))
    assert one == two
    assert str(tmp_path) not in one


# --- the published data, where it is at hand ----------------------------------------------------


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_published_data(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_at_hand(*arguments: object) -> bytes:
        pytest.skip(f"{dataset} is neither in data/raw nor in a folder of {DATA_VARIABLE}")

    monkeypatch.setattr(files, "_download", not_at_hand)
    images = load(dataset, "full", PROJECT)

    assert images.train_images.shape == (60_000, 28, 28)
    assert images.test_images.shape == (10_000, 28, 28)
    assert images.train_labels.bincount().sum() == 60_000
    assert set(images.test_labels.tolist()) == set(range(10))
    assert images.sha256 == dict(files.DATA_SETS[dataset].sha256)
