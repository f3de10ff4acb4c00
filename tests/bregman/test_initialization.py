"""The sparse start: whole groups, of the right number and size."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bregman_nas.bregman import sparse_kaiming_normal_


def start(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32, **how: Any) -> Tensor:
    numbers = torch.Generator().manual_seed(seed)
    tensor = torch.full(shape, math.nan, dtype=dtype)
    how = {"density": 0.3, "group_dims": (0,), **how}
    result = sparse_kaiming_normal_(tensor, generator=numbers, **how)
    assert result is tensor
    return tensor


each_mask = pytest.mark.parametrize("mask", ["bernoulli", "exact"])


@each_mask
@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize(
    ("shape", "group_dims", "fan_in"),
    [
        ((400, 200), (0,), 200),
        ((200, 400), (1,), 400),
        ((40, 50, 3, 3), (0, 1), 450),
        ((90, 20, 3, 3), (0,), 180),
    ],
)
def test_groups_are_on_or_off_as_a_whole_with_their_deviation(
    shape: tuple[int, ...],
    group_dims: tuple[int, ...],
    fan_in: int,
    scale: float,
    rescale: bool,
    mask: str,
) -> None:
    how: dict[str, Any] = {"density": 0.25, "group_dims": group_dims, "mask": mask}
    weight = start(*shape, scale=scale, rescale_variance=rescale, **how)
    inner = tuple(d for d in range(len(shape)) if d not in group_dims)
    whole = (weight != 0).all(dim=inner)
    assert torch.equal(whole, (weight != 0).any(dim=inner))
    assert 0 < whole.sum() < whole.numel()
    values = weight[weight != 0]
    expected = scale * math.sqrt(2 / fan_in) * (2 if rescale else 1)  # 1 / sqrt(0.25) = 2
    error = 4 / math.sqrt(len(values))
    assert values.std().item() == pytest.approx(expected, rel=error)
    assert abs(values.mean().item()) < error * expected


@pytest.mark.parametrize(
    ("density", "shape", "on"),
    [
        (0.01, (784, 3), 8),
        (0.5, (9, 3), 5),
        (0.001, (10, 3), 1),
        (0.07, (100, 3), 7),  # 0.07 * 100 is a little more than 7 in floating point
        (0.03, (12, 24, 3, 3), 9),  # 3% of 288 kernels are 8.64
        (1, (30, 20), 30),
    ],
)
def test_exact_switches_on_so_many_groups(density: float, shape: tuple[int, ...], on: int) -> None:
    dims = (0, 1) if len(shape) == 4 else (0,)
    for seed in range(5):
        weight = start(*shape, density=density, mask="exact", group_dims=dims, seed=seed)
        assert int((weight.flatten(len(dims))[..., 0] != 0).sum()) == on


@each_mask
def test_the_generator_alone_decides(mask: str) -> None:
    torch.manual_seed(0)
    first = start(20, 5, mask=mask)
    torch.manual_seed(1)
    assert torch.equal(first, start(20, 5, mask=mask))
    assert not torch.equal(first, start(20, 5, mask=mask, seed=1))
    torch.testing.assert_close(start(20, 5, mask=mask, dtype=torch.float64).float(), first)


@pytest.mark.parametrize(
    ("shape", "how", "message"),
    [
        *(
            ((3, 3), {"density": x}, f"density must be more than 0 and at most 1, got {x}")
            for x in (0.0, -0.1, 1.01, math.nan)
        ),
        ((5,), {}, r"two dimensions or more, got shape \(5,\)"),
        ((3, 2), {"group_dims": (7,)}, "group_dims"),
    ],
)
def test_what_is_impossible_is_refused(
    shape: tuple[int, ...], how: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        start(*shape, **how)
