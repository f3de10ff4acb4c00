"""One stream of random numbers for each seed and purpose."""

import itertools

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


def test_numbers_depend_on_seed_and_purpose_and_on_nothing_else() -> None:
    def drawn() -> list[torch.Tensor]:
        return [torch.rand(4, generator=generator(seed, *purpose)) for seed, purpose in STREAMS]

    torch.manual_seed(0)
    first, here = drawn(), torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), here), "the global stream is not touched"
    assert all(map(torch.equal, drawn(), first))
    for one, other in itertools.combinations(first, 2):
        assert not torch.equal(one, other)


def test_the_streams_have_not_changed_since_the_results_were_made() -> None:
    assert generator(0, "order", 17).initial_seed() == 37272314630992011
    assert generator(3, "noise", "train").initial_seed() == 43473923864788625
