"""Architectures: what carries, what counts, what is made of the one that was found."""

import numpy as np
import pytest
import torch

from bregman_nas.baselines.architectures import Architecture, architecture, start_
from bregman_nas.networks import ResidualMLP
from bregman_nas.search.records import active_groups
from bregman_nas.settings import ArmMethod


def mask(*lists: list[int]) -> torch.Tensor:
    return torch.tensor(lists, dtype=torch.bool)


# Three layers of four: rows 0 and 1; row 2; rows 0, 2 and 3.
ROWS = mask([1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 1])


@pytest.mark.parametrize(
    ("skips", "carrying", "parameters"),
    [
        pytest.param(
            None,
            mask([1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 0]),
            (2 * 4 + 2) + (1 * 2 + 1) + (3 * 1 + 3),
            id="without skips",
        ),
        pytest.param(
            mask([0, 0, 0], [0, 1, 0], [0, 0, 0]),  # x(1) is added to x(2)
            mask([1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]),
            (2 * 4 + 2) + (1 * 2 + 1) + (3 * 3 + 3) + 1,
            id="of a hidden state",
        ),
        pytest.param(
            mask([1, 0, 0], [0, 1, 0], [0, 0, 1]),  # from each to the next: all of the input
            mask([1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]),
            (2 * 4 + 2) + (1 * 4 + 1) + (3 * 4 + 3) + 3,
            id="of the input, in steps",
        ),
        pytest.param(
            mask([0, 0, 0], [0, 0, 0], [1, 1, 0]),  # to the output: no layer reads it
            mask([1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 0]),
            (2 * 4 + 2) + (1 * 2 + 1) + (3 * 1 + 3) + 2,
            id="to the output",
        ),
    ],
)
def test_parameters_by_hand(
    skips: torch.Tensor | None, carrying: torch.Tensor, parameters: int
) -> None:
    made = Architecture(ROWS, skips)
    assert made.widths == [2, 1, 3]
    assert torch.equal(made.carrying(), carrying)
    assert made.parameters() == parameters


def network(rows: torch.Tensor, *, skips: bool) -> ResidualMLP:
    """A network with these rows, and of the skips those along the diagonal but the first."""
    net = ResidualMLP(rows.shape[1], len(rows), skips=skips)
    with torch.no_grad():
        for active, layer in zip(rows, net.layers, strict=True):
            layer.weight[~active] = 0
        if net.skips is not None:
            net.skips[1:].fill_diagonal_(0)
            net.skips[1, 1] = net.skips[2, 2] = -0.5
    return net


@pytest.mark.parametrize("skips", [False, True])
def test_the_architecture_of_a_network_and_of_its_record(skips: bool) -> None:
    net = network(ROWS, skips=skips)
    made = Architecture.of(net)
    assert torch.equal(made.rows, ROWS)
    result = {} if net.skips is None else {"skips": [[0.0], [0.0, -0.5], [0.0, 0.0, -0.5]]}
    kept = Architecture.from_record({"active_groups": active_groups(net), "result": result})
    assert torch.equal(kept.rows, ROWS)
    for one in (made, kept):
        expected = mask([0, 0, 0], [0, 1, 0], [0, 0, 1])
        assert (one.skips is None) if not skips else torch.equal(one.skips, expected)  # type: ignore[arg-type]


def drawn(widths: list[int], seed: int, *, skips: bool) -> Architecture:
    numbers = np.random.default_rng(seed)
    rows = torch.zeros(len(widths), 784, dtype=torch.bool)
    for row, width in zip(rows, widths, strict=True):
        row[torch.tensor(numbers.permutation(784)[:width])] = True
    allowed = torch.tensor(numbers.random((len(widths),) * 2) < 0.7).tril() if skips else None
    return Architecture(rows, allowed)


# As large, and smaller than any that the study has found.
WIDTHS = [[428, 588, 515, 635, 634, 538], [99, 106, 50, 106, 149, 475]]


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("arm", ["uniform", "random"])
def test_the_number_of_parameters_is_that_of_the_one_found(
    arm: ArmMethod, widths: list[int], skips: bool
) -> None:
    for seed in range(3):
        found = drawn(widths, seed, skips=skips)
        made = architecture(arm, found, seed)
        assert made.parameters() == pytest.approx(found.parameters(), rel=0.01)
        assert torch.equal(made.rows[-1], found.rows[-1])
        assert (len(set(made.widths[:-1])) == 1) == (arm == "uniform")
        if made.skips is not None:
            assert torch.equal(made.skips, torch.ones(6, 6, dtype=torch.bool).tril())
        again, other = architecture(arm, found, seed), architecture(arm, found, seed + 1)
        assert torch.equal(made.rows, again.rows)
        assert not torch.equal(made.rows, other.rows)


def test_found_stays_and_dense_is_everything() -> None:
    found = Architecture(ROWS, mask([0, 0, 0], [0, 1, 0], [0, 0, 0]))
    assert architecture("found", found, 0) is found
    dense = architecture("dense", found, 0)
    assert dense.rows.all()
    assert dense.parameters() == 3 * (4 * 4 + 4) + 6


@pytest.mark.parametrize("arm", ["found", "uniform", "random", "dense"])
def test_small_and_empty_architectures_pass(arm: ArmMethod) -> None:
    for rows in (ROWS, torch.zeros_like(ROWS), ROWS[:1]):
        for skips in (None, torch.zeros(len(rows), len(rows), dtype=torch.bool)):
            made = architecture(arm, Architecture(rows, skips), 0)
            net = ResidualMLP(4, len(rows), skips=skips is not None)
            start_(net, made, torch.Generator())
            assert torch.equal(Architecture.of(net).rows & ~made.rows, torch.zeros_like(rows))
            assert torch.isfinite(net(torch.ones(1, 4))).all()


def test_the_start_is_kaimings_for_the_entries_that_are_not_zero() -> None:
    found = drawn([500, 100, 300, 50, 500, 500], 0, skips=True)
    net = ResidualMLP(784, 6)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(7.0)
        start_(net, found, torch.Generator().manual_seed(0))
    assert net.skips is not None
    assert not net.skips.any()
    assert not any(layer.bias.any() for layer in net.layers)
    for l, entries in enumerate([784, 500, 100, 300, 50, 500]):
        weight, rows, columns = net.layers[l].weight, found.rows[l], found.carrying()[l]
        assert torch.equal(weight != 0, rows[:, None] & columns)
        values = weight[rows][:, columns].detach()
        assert float(values.std()) == pytest.approx((2 / entries) ** 0.5, rel=0.02)
