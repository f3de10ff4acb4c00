"""The residual MLP against (2.5) written out with loops."""

import pytest
import torch
from torch import Tensor

from bregman_nas.networks import ResidualMLP

DEPTH, WIDTH = 3, 4
MEAN, STD = 0.2, 0.5


def network(*, skips: bool = True) -> ResidualMLP:
    torch.manual_seed(0)
    model = ResidualMLP(WIDTH, DEPTH, skips=skips, input_mean=MEAN, input_std=STD).double()
    if model.skips is not None:
        with torch.no_grad():
            model.skips.copy_(torch.randn(DEPTH, DEPTH).tril())
    return model


def images() -> Tensor:
    return torch.rand(5, WIDTH, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def written_out(model: ResidualMLP, image: list[float]) -> list[float]:
    """(2.5) for one image, in numbers."""
    weights = [layer.weight.tolist() for layer in model.layers]
    biases = [layer.bias.tolist() for layer in model.layers]
    tau = None if model.skips is None else model.skips.tolist()
    x = [[(pixel - MEAN) / STD for pixel in image]]
    for l in range(DEPTH):
        following = []
        for r in range(WIDTH):
            total = biases[l][r]
            for c in range(WIDTH):
                total += weights[l][r][c] * x[l][c]
            value = max(total, 0.0)
            if tau is not None:
                for i in range(l + 1):
                    value += tau[l][i] * x[i][r]
            following.append(value)
        x.append(following)
    return x[DEPTH]


@pytest.mark.parametrize("skips", [True, False])
def test_the_network_is_2_5_written_out(skips: bool) -> None:
    model = network(skips=skips)
    outputs = model(images())
    assert outputs.shape == (5, WIDTH)
    for image, output in zip(images().tolist(), outputs.tolist(), strict=True):
        assert output == pytest.approx(written_out(model, image), rel=1e-12)


def test_the_upper_triangle_is_never_read() -> None:
    model = network()
    assert model.skips is not None
    expected = model(images())
    upper = torch.ones(DEPTH, DEPTH).triu(diagonal=1).bool()
    with torch.no_grad():
        model.skips[upper] = torch.nan
    outputs = model(images())
    assert torch.equal(outputs, expected)
    outputs.square().sum().backward()
    assert model.skips.grad is not None
    assert not model.skips.grad[upper].any()
    assert model.skips.grad[~upper].all()
