"""One stream of random numbers for each seed and purpose."""

import itertools

import pytest
import torch

from bregman_nas.randomness import generator

STREAMS: list[tuple[int, tuple[str | int, ...]]] = [
    (0, ("order", 17)),
    (0, ("order", 18)),
    (1, ("order", 17)),
    (0, ("order",)),
    (0, ("noise", "train")),
    (0, ("noise", "test")),
    (0, ("noise", "train", 1)),
    (1, ("7",)),
    (17, ()),
]


def numbers(seed: int, *purpose: str | int) -> list[float]:
    values: list[float] = torch.rand(4, generator=generator(seed, *purpose)).tolist()
    return values


@pytest.mark.parametrize(("seed", "purpose"), STREAMS)
def test_the_same_purpose_gives_the_same_numbers(seed: int, purpose: tuple[str | int, ...]) -> None:
    first = numbers(seed, *purpose)
    torch.manual_seed(5)
    assert numbers(seed, *purpose) == first


def test_another_purpose_or_seed_gives_other_numbers() -> None:
    for (seed, purpose), (other_seed, other_purpose) in itertools.combinations(STREAMS, 2):
        assert numbers(seed, *purpose) != numbers(other_seed, *other_purpose)


def test_the_global_stream_is_not_touched() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    numbers(3, "start")
    assert torch.equal(torch.rand(3), expected)


def test_the_streams_have_not_changed_since_the_results_were_made() -> None:
    assert generator(0, "order", 17).initial_seed() == 37272314630992011
    assert generator(3, "noise", "train").initial_seed() == 43473923864788625
    drawn = torch.randint(1000, (5,), generator=generator(0, "order", 17))
    assert drawn.tolist() == [560, 696, 95, 96, 404]
    order = torch.randperm(8, generator=generator(0, "split"))
    assert order.tolist() == [2, 6, 5, 1, 7, 0, 3, 4]
