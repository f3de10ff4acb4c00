"""The small multi-layer perceptron: by hand, and against random sparse networks."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bregman_nas.export.mlp import small_mlp
from bregman_nas.networks import ResidualMLP


def net(
    weights: list[list[list[float]]],
    biases: list[list[float]],
    skips: dict[tuple[int, int], float] | None = None,
) -> ResidualMLP:
    module = ResidualMLP(len(biases[0]), len(weights), skips=skips is not None).double()
    with torch.no_grad():
        for layer, weight, bias in zip(module.layers, weights, biases, strict=True):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.copy_(torch.tensor(bias))
        for (l, i), value in (skips or {}).items():
            assert module.skips is not None
            module.skips[l, i] = value
    return module


def numbers(tensor: Tensor) -> Any:
    return tensor.tolist()


def test_constants_and_unread_rows_by_hand() -> None:
    # Layer 0: row 0 reads the input, row 1 is off with a positive bias, row 2 reads it in vain.
    # Layer 1: row 0 reads rows 0 and 1, row 1 is off with a positive bias, row 2 is dead.
    full = net(
        [
            [[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]],
            [[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        ],
        [[0.5, 2.0, 0.0], [-1.0, 0.25, -1.0]],
    )
    architecture, small = small_mlp(full)
    state = small.state_dict()
    assert architecture["inputs"] == 2, "pixel 2 is read by nobody who is read"
    assert numbers(state["inputs"]) == [0, 1]
    assert numbers(state["layers.0.linear.weight"]) == [[1.0, 2.0]]
    assert numbers(state["layers.0.linear.bias"]) == [0.5]
    assert numbers(state["layers.1.linear.weight"]) == [[3.0]]
    assert numbers(state["layers.1.linear.bias"]) == [-1.0 + 4.0 * 2.0]
    assert numbers(state["constants"]) == [0.0, 0.25, 0.0]
    images = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    assert numbers(small(images)) == [[3.0 * 5.5 + 7.0, 0.25, 0.0]]


def test_a_row_that_reads_only_constants_is_one_itself() -> None:
    # Row 0 of layer 1 is active but reads row 1 alone, whose output is always 2.
    full = net(
        [[[1.0, 0.0], [0.0, 0.0]], [[0.0, 3.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]]],
        [[0.0, 2.0], [-1.0, 0.0], [0.0, 0.0]],
    )
    architecture, small = small_mlp(full)
    assert [layer["rows"] for layer in architecture["layers"]] == [1, 1, 1]
    assert numbers(small.state_dict()["constants"]) == [0.0, 5.0]
    images = torch.tensor([[7.0, 0.0]], dtype=torch.float64)
    assert numbers(small(images)) == [[7.0 + 5.0, 5.0]]


def test_skips_carry_constants() -> None:
    # Layer 0 is off: 2 and 3. Then x(2) = ReLU(x(1)_0) in row 0, plus 0.5 x(1) + 10 x(0).
    full = net(
        [[[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]],
        [[2.0, 3.0], [0.0, -4.0]],
        {(1, 1): 0.5, (1, 0): 10.0},
    )
    architecture, small = small_mlp(full)
    assert [layer["rows"] for layer in architecture["layers"]] == [0, 0]
    assert [list(layer["skips"]) for layer in architecture["layers"]] == [[], ["0"]]
    assert numbers(small.state_dict()["constants"]) == [2.0 + 1.0, 1.5]
    images = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    assert numbers(small(images)) == [[13.0, 21.5]]


def test_a_skip_from_a_narrow_state_finds_its_places() -> None:
    # x(1) varies in entry 1 alone, x(2) in all: x(2) = ReLU(W x(1)) + 2 x(1) + x(0).
    full = net(
        [
            [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
            [[0.0, 3.0, 0.0], [0.0] * 3, [0.0] * 3],
        ],
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]],
        {(1, 1): 2.0, (1, 0): 1.0},
    )
    architecture, small = small_mlp(full)
    assert architecture["layers"][1]["skips"] == {"0": False, "1": True}
    images = torch.tensor([[1.0, 10.0, 100.0]], dtype=torch.float64)
    assert numbers(small(images)) == [[3.0 + 1.0, 2.0 + 10.0, 2.0 + 100.0]]


def random_net(seed: int, skips: bool, density: float) -> ResidualMLP:
    """Rows on with that probability, half their weights zero; biases of both signs; some skips."""
    torch.manual_seed(seed)
    depth = 1 + seed % 5
    module = ResidualMLP(9, depth, skips=skips, input_mean=0.1, input_std=0.3).double()
    with torch.no_grad():
        for layer in module.layers:
            layer.weight *= torch.rand(9, 1) < density
            layer.weight *= torch.rand(9, 9) < 0.5
            layer.bias.copy_(torch.randn(9))
        if module.skips is not None:
            module.skips.copy_(
                (torch.randn(depth, depth) * (torch.rand(depth, depth) < 0.4)).tril()
            )
    return module


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.2, 0.4, 0.8])
def test_every_sparse_network_keeps_its_outputs(skips: bool, density: float) -> None:
    for seed in range(10):
        full = random_net(seed, skips, density)
        architecture, small = small_mlp(full)
        images = torch.randn(6, 9, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(small(images), full(images), rtol=0, atol=1e-12)
        rows = sum(layer["rows"] for layer in architecture["layers"])
        assert rows <= sum(int((layer.weight != 0).any(1).sum()) for layer in full.layers)


def test_a_network_that_has_collapsed_is_its_constant() -> None:
    full = net([[[0.0, 0.0], [0.0, 0.0]]] * 2, [[1.0, 1.0], [0.5, -1.0]])
    architecture, small = small_mlp(full)
    assert architecture["inputs"] == 0
    assert numbers(small(torch.rand(2, 2, dtype=torch.float64))) == [[0.5, 0.0]] * 2
