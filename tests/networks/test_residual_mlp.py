"""The residual MLP against (2.5) written out."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
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


def written_out(model: ResidualMLP, image: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2.5) for one image."""
    tau = np.zeros((DEPTH, DEPTH)) if model.skips is None else model.skips.detach().numpy()
    x = [(image - MEAN) / STD]
    for l, layer in enumerate(model.layers):
        weight, bias = (parameter.detach().numpy() for parameter in layer.parameters())
        brought = sum(tau[l, i] * x[i] for i in range(l + 1))
        x.append(np.maximum(weight @ x[l] + bias, 0) + brought)
    return x[DEPTH]


@pytest.mark.parametrize("skips", [True, False])
def test_the_network_is_2_5_written_out(skips: bool) -> None:
    model = network(skips=skips)
    outputs = model(images())
    assert outputs.shape == (5, WIDTH)
    for image, output in zip(images().numpy(), outputs.tolist(), strict=True):
        assert output == pytest.approx(written_out(model, image).tolist(), rel=1e-12)


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
