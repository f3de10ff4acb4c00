"""What the study ran on: by hand, and as it is committed."""

import csv
import json
from pathlib import Path

import torch

from bregman_nas.data.files import SHA256
from bregman_nas.data.manifest import count_pixels, frequencies, write
from tests.helpers import PROJECT, new_project


def test_pixels_are_counted_in_each_sense() -> None:
    images = torch.zeros(200, 2, 2, dtype=torch.uint8)
    images[:, 0, 0] = 255  # in all of 200 images
    images[:2, 0, 1] = 1  # in 1% of them
    images[0, 1, 0] = 7  # in half a percent
    shares = frequencies(images)
    assert shares.tolist() == [[1.0, 0.01], [0.005, 0.0]]
    assert count_pixels(shares) == {
        "nonzero_share": round((200 + 2 + 1) / 800, 6),
        "ever_nonzero": 3,
        "nonzero_in_one_per_thousand": 3,
        "nonzero_in_one_per_hundred": 2,
    }


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = new_project(tmp_path / "one"), new_project(tmp_path / "other")
    made = write(one, "sample", ["mnist", "fashion-mnist"])
    again = write(other, "sample", ["fashion-mnist", "mnist", "mnist"])
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in again]
    described = json.loads(made[0].read_text("utf-8"))
    assert str(one) not in json.dumps(described)
    assert described["datasets"]["mnist"]["train-images-idx3-ubyte"]["shape"] == [28, 28]


def test_what_is_committed_is_of_the_published_images() -> None:
    described = json.loads((PROJECT / "data" / "manifest.json").read_text("utf-8"))
    with (PROJECT / "data" / "pixels.csv").open(encoding="utf-8") as file:
        pixels = list(csv.DictReader(file))
    assert described["source"] == "full"
    for dataset, entry in described["datasets"].items():
        found = {name: about["sha256"] for name, about in entry.items() if name != "pixels"}
        assert found == SHA256[dataset]
        shares = [float(row["share"]) for row in pixels if row["dataset"] == dataset]
        counted = count_pixels(torch.tensor(shares, dtype=torch.float64).reshape(28, 28))
        assert counted == entry["pixels"]
