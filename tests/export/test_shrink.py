"""The small networks: constants and borders by hand, and random sparse networks."""

import pytest
import torch
from torch import Tensor

from bregman_nas.errors import UserError
from bregman_nas.export.shrink import small_densenet, small_mlp
from bregman_nas.networks import DenseNet, ResidualMLP
from bregman_nas.search.core.densenet import convolutions

Rows = list[list[float]]


def net(
    weights: list[Rows], biases: Rows, skips: dict[tuple[int, int], float] | None = None
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


# Network; of each small layer the rows and the skips; constants of the outputs; an image, and the
# output.
BY_HAND = {
    # Layer 0 is off: 2 and 3. Then x(2) = ReLU(x(1)_0) in row 0, plus 0.5 x(1) + 10 x(0).
    "skips carry constants": (
        net(
            [[[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]],
            [[2.0, 3.0], [0.0, -4.0]],
            {(1, 1): 0.5, (1, 0): 10.0},
        ),
        [(0, []), (0, [0])],
        [2.0 + 1.0, 1.5],
        ([1.0, 2.0], [13.0, 21.5]),
    ),
    # x(1) varies in entry 1 alone, x(2) in all: x(2) = ReLU(W x(1)) + 2 x(1) + x(0).
    "a skip from a narrow state finds its places": (
        net(
            [[[0.0] * 3, [1.0, 0.0, 0.0], [0.0] * 3], [[0.0, 3.0, 0.0], [0.0] * 3, [0.0] * 3]],
            [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]],
            {(1, 1): 2.0, (1, 0): 1.0},
        ),
        [(1, []), (1, [0, 1])],
        [0.0, 0.0, 2.0],
        ([1.0, 10.0, 100.0], [3.0 + 1.0, 2.0 + 10.0, 2.0 + 100.0]),
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_what_is_kept_by_hand(case: str) -> None:
    full, layers, constants, (image, output) = BY_HAND[case]
    architecture, small = small_mlp(full)
    assert [(layer["rows"], layer["skips"]) for layer in architecture["layers"]] == layers
    assert small.state_dict()["constants"].tolist() == constants
    assert small(torch.tensor([image], dtype=torch.float64)).tolist() == [output]


def test_constants_and_unread_rows_by_hand() -> None:
    # Layer 0: row 0 reads the input, row 1 is off with a positive bias, row 2 reads it in vain.
    # Layer 1: row 0 reads rows 0 and 1, row 1 is off with a positive bias, row 2 is dead.
    off = [0.0, 0.0, 0.0]
    full = net(
        [[[1.0, 2.0, 0.0], off, [1.0, 1.0, 1.0]], [[3.0, 4.0, 0.0], off, off]],
        [[0.5, 2.0, 0.0], [-1.0, 0.25, -1.0]],
    )
    _, small = small_mlp(full)
    assert {name: tensor.tolist() for name, tensor in small.state_dict().items()} == {
        "inputs": [0, 1],  # pixel 2 is read by nobody who is read
        "layers.0.linear.weight": [[1.0, 2.0]],
        "layers.0.linear.bias": [0.5],
        "layers.1.linear.weight": [[3.0]],
        "layers.1.linear.bias": [-1.0 + 4.0 * 2.0],
        "outputs": [0, 1, 1],  # number 1 is none
        "constants": [0.0, 0.25, 0.0],
    }
    images = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    assert small(images).tolist() == [[3.0 * 5.5 + 7.0, 0.25, 0.0]]


def test_another_nonlinearity_is_refused() -> None:
    with pytest.raises(UserError, match=r"only networks with ReLU"):
        small_mlp(ResidualMLP(2, 2, relu_slope=0.1))


def switched_off(*sizes: int) -> DenseNet:
    dense = DenseNet(*sizes, side=4).double()
    with torch.no_grad():
        for conv in convolutions(dense):
            for parameter in conv.parameters():
                parameter.zero_()
    return dense


def test_a_constant_channel_counts_less_at_the_border() -> None:
    """Channel 1 puts out 2 everywhere, and is padded with zeros: 9, 6 or 4 of its pixels count."""
    full = switched_off(1, 1)
    with torch.no_grad():
        full.first.weight[0, 0, 1, 1] = 1.0
        assert full.layers[0].bias is not None
        full.layers[0].bias.fill_(2.0)  # and no kernel
        full.last.weight[0, 0, 1, 1] = 1.0
        full.last.weight[0, 1] = 1.0
        full.linear.weight.zero_()[:8, :8] = torch.eye(8)  # shows the upper half
        full.linear.bias.zero_()
    architecture, small = small_densenet(full)
    assert (architecture["first"], architecture["ones"], architecture["layers"]) == (1, True, {})
    image = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    image[0, 0, 1, 1] = 100.0
    assert small(image)[0, :8].tolist() == [8.0, 12.0, 12.0, 8.0, 12.0, 118.0, 18.0, 12.0]


def test_channels_that_nothing_reads_are_dropped() -> None:
    full = switched_off(2, 2)
    with torch.no_grad():
        full.first.weight.fill_(1.0)
        full.layers[0].weight[:, 0] = 1.0  # both channels read channel 0, nobody channel 1
        full.layers[1].weight[0, 2] = 1.0  # and channel 4 the first of those
        full.last.weight[0, 4] = 1.0
    architecture, _ = small_densenet(full)
    assert (architecture["first"], architecture["ones"]) == (1, False)
    assert architecture["layers"] == {"0": 1, "1": 1}


def random_mlp(seed: int, density: float, *, skips: bool) -> tuple[ResidualMLP, Tensor]:
    """Rows on with that probability, half their weights zero; biases of both signs; some skips."""
    depth = 1 + seed % 5
    module = ResidualMLP(9, depth, skips=skips, input_mean=0.1, input_std=0.3).double()
    with torch.no_grad():
        for layer in module.layers:
            layer.weight *= (torch.rand(9, 1) < density) & (torch.rand(9, 9) < 0.5)
            layer.bias.copy_(torch.randn(9))
        if module.skips is not None:
            some = torch.rand(depth, depth) < 0.4
            module.skips.copy_((torch.randn(depth, depth) * some).tril())
    return module, torch.randn(6, 9).double()


def random_densenet(seed: int, density: float) -> tuple[DenseNet, Tensor]:
    """Kernels on with that probability, biases of both signs."""
    how = {"relu_logits": seed % 2 == 1, "input_mean": 0.5, "input_std": 0.5}
    dense = DenseNet(seed % 5, 3, side=6, classes=4, **how).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for conv in convolutions(dense):
            conv.weight *= (torch.rand(conv.weight.shape[:2]) < density)[:, :, None, None]
            if conv.bias is not None:
                conv.bias.copy_(torch.randn(conv.bias.shape))
    return dense, torch.rand(4, 1, 6, 6).double()


@pytest.mark.parametrize("density", [0.0, 0.02, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("kind", ["perceptron", "residual", "densenet"])
def test_every_sparse_network_keeps_its_outputs(kind: str, density: float) -> None:
    for seed in range(10):
        torch.manual_seed(seed)
        full: ResidualMLP | DenseNet
        if kind == "densenet":
            full, images = random_densenet(seed, density)
            _, small = small_densenet(full)
        else:
            full, images = random_mlp(seed, density, skips=kind == "residual")
            _, small = small_mlp(full)
        with torch.no_grad():
            torch.testing.assert_close(small(images), full(images), rtol=0, atol=1e-12)
