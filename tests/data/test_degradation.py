"""Blur, noise, split, and the learning problems."""

import itertools
import math
from typing import Any

import pytest
import torch
from scipy.ndimage import gaussian_filter

from bregman_nas.data import degradation
from bregman_nas.data.degradation import (
    Examples,
    Problem,
    blurred,
    degrade,
    gaussian_kernel,
    split,
)
from bregman_nas.data.files import ImageSet
from bregman_nas.search.core import densenet, mlp
from bregman_nas.settings import Blur, load_settings
from tests.helpers import PROJECT

SETTINGS = load_settings(PROJECT / "params.yaml")
DENSENET = SETTINGS.run("authors-densenet-fashion")
SMALL = Blur(size=3, std=1.0)


def numbers(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_kernel_of_the_article_by_hand() -> None:
    # 1 + 2 (e^-0.02 + e^-0.08 + e^-0.18 + e^-0.32) = 7.92947, and its square is 62.8765.
    kernel = gaussian_kernel(9, 5.0)
    assert kernel[4, 4].item() == pytest.approx(1 / 62.8765, rel=1e-5)
    assert kernel[0, 4].item() == pytest.approx(math.exp(-0.32) / 62.8765, rel=1e-5)
    assert kernel[0, 8].item() == pytest.approx(math.exp(-0.64) / 62.8765, rel=1e-5)
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    assert torch.equal(kernel, kernel.T)
    assert torch.equal(kernel, kernel.flip(0))


@pytest.mark.parametrize("size", [1, 3, 9])
def test_the_blur_is_scipys(size: Any) -> None:
    images = torch.rand(2, 5, 6, generator=numbers())
    how: Any = {"mode": "constant", "radius": size // 2, "axes": (1, 2)}
    expected = gaussian_filter(images.numpy(), 1.5, **how)
    found = blurred(images, Blur(size=size, std=1.5))
    torch.testing.assert_close(found, torch.from_numpy(expected))


def bytes_like(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=numbers())


@pytest.mark.parametrize("parts", [1, 3])
def test_the_parts_do_not_show(monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    images = bytes_like(7, 9, 9)
    whole = degrade(images, 0.1, SMALL, numbers(1))
    monkeypatch.setattr(degradation, "PART", parts)
    torch.testing.assert_close(degrade(images, 0.1, SMALL, numbers(1)), whole)


@pytest.mark.parametrize("noise_std", [0.05, 0.5])
def test_the_noise_is_normal_and_not_clipped(noise_std: float) -> None:
    images = torch.zeros(100, 28, 28, dtype=torch.uint8)
    images[50:] = 255
    noise = degrade(images, noise_std, None, numbers()) - images / 255
    n = noise.numel()
    assert noise.std().item() == pytest.approx(noise_std, rel=4 / math.sqrt(2 * n))
    assert abs(noise.mean().item()) < 4 * noise_std / math.sqrt(n)
    for half in (noise[:50], noise[50:]):  # at black and at white pixels, in both directions
        for share in ((half > noise_std).double().mean(), (half < -noise_std).double().mean()):
            assert share.item() == pytest.approx(0.1587, abs=0.01)


def test_the_blur_comes_before_the_noise_and_the_images_stay() -> None:
    images = bytes_like(20, 28, 28)
    before = images.clone()
    degraded = degrade(images, 0.1, SMALL, numbers(1))
    torch.testing.assert_close(
        degraded, blurred(images / 255, SMALL) + 0.1 * torch.randn(20, 28, 28, generator=numbers(1))
    )
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("count", "held_out", "kept"),
    [
        (60_000, 5_000, 5_000),
        (60_000, 3_000, 3_000),
        (2_000, 5_000, 167),
        (2_000, 3_000, 100),
        (2_000, 1, 1),
        (2_000, 59_999, 1_999),
    ],
)
def test_the_split_is_disjoint_complete_and_always_the_same(
    count: int, held_out: int, kept: int
) -> None:
    parts = split(count, held_out)
    assert tuple(map(len, parts)) == (count - kept, kept)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(count))
    torch.manual_seed(1)
    assert all(map(torch.equal, parts, split(count, held_out)))


def test_the_split_is_shuffled_and_pinned_and_fewer_are_some_of_the_same() -> None:
    trained_on, kept = split(60_000, 5_000)
    assert kept.double().mean().item() == pytest.approx(30_000, rel=0.05)
    assert trained_on[:3].tolist() == [50426, 51200, 51545]
    assert kept[:3].tolist() == [8502, 14941, 32021]
    assert set(split(60_000, 3_000)[1].tolist()) < set(kept.tolist())


def test_noise_depends_on_seed_part_and_epoch_alone() -> None:
    images, run = bytes_like(4, 28, 28), SETTINGS.run("paper-autoencoder-denoising")
    hows: Any = [(0, "train"), (0, "test"), (1, "train"), (0, "train", 0), (0, "train", 1)]
    versions = [mlp.degraded(run, images, *how) for how in hows]
    torch.manual_seed(1)
    for how, one in zip(hows, versions, strict=True):
        assert (one.shape, one.dtype) == ((4, 784), torch.float32)
        assert torch.equal(one, mlp.degraded(run, images, *how))
    for one, other in itertools.combinations(versions, 2):
        assert not torch.isclose(one, other, atol=1e-6).float().mean() > 0.01


def parts_of(problem: Problem) -> list[Examples]:
    return [problem.train, problem.held_out, problem.test]


@pytest.mark.parametrize("task", ["denoising", "deblurring"])
def test_row_i_of_the_inputs_is_the_degraded_row_i_of_the_targets(
    digits: ImageSet, task: str
) -> None:
    run = SETTINGS.run(f"paper-autoencoder-{task}")
    problem = mlp.problem(run, digits, 0)
    raw = {"train": digits.train_images, "test": digits.test_images}
    indices = [*split(2_000, 5_000), torch.arange(500)]
    assert [len(part) for part in parts_of(problem)] == [1_833, 167, 500]
    for part, of, chosen in zip(
        parts_of(problem), ("train", "train", "test"), indices, strict=True
    ):
        assert part.targets.dtype == torch.float32
        torch.testing.assert_close(part.targets * 255, raw[of][chosen].flatten(1).float())
        assert torch.equal(part.inputs, mlp.degraded(run, raw[of], 0, of)[chosen])


def test_the_images_to_classify(digits: ImageSet) -> None:
    problem = densenet.problem(DENSENET, digits)
    assert [len(part) for part in parts_of(problem)] == [1_900, 100, 500]
    indices = [*split(2_000, 3_000), torch.arange(500)]
    of_file = [(digits.train_images, digits.train_labels)] * 2
    of_file.append((digits.test_images, digits.test_labels))
    for part, (images, labels), chosen in zip(parts_of(problem), of_file, indices, strict=True):
        assert (part.inputs.shape, part.inputs.dtype) == ((len(part), 1, 28, 28), torch.float32)
        assert torch.equal(part.targets, labels[chosen])
        torch.testing.assert_close(part.inputs[:, 0] * 255, images[chosen].float())
