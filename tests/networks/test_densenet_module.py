"""The DenseNet against a forward pass written out with loops."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from bregman_nas.networks import DenseNet

DEPTH, GROWTH, SIDE, CLASSES = 2, 3, 4, 5
MEAN, STD = 0.3, 0.6


def network(*, relu_logits: bool = False, seed: int = 0) -> DenseNet:
    torch.manual_seed(seed)
    return DenseNet(
        DEPTH,
        GROWTH,
        side=SIDE,
        classes=CLASSES,
        relu_logits=relu_logits,
        input_mean=MEAN,
        input_std=STD,
    ).double()


def images(batch: int = 3) -> Tensor:
    numbers = torch.Generator().manual_seed(7)
    return torch.rand(batch, 1, SIDE, SIDE, generator=numbers, dtype=torch.float64)


Map = list[list[float]]


def convolve(channels: list[Map], conv: nn.Conv2d) -> list[Map]:
    """A 3 by 3 convolution with zeros outside, in numbers."""
    kernels = conv.weight.tolist()
    biases = [0.0] * len(kernels) if conv.bias is None else conv.bias.tolist()
    result = []
    for kernel, bias in zip(kernels, biases, strict=True):
        out = [[bias] * SIDE for _ in range(SIDE)]
        for channel, window in zip(channels, kernel, strict=True):
            for r in range(SIDE):
                for c in range(SIDE):
                    for i in (-1, 0, 1):
                        for j in (-1, 0, 1):
                            if 0 <= r + i < SIDE and 0 <= c + j < SIDE:
                                out[r][c] += window[i + 1][j + 1] * channel[r + i][c + j]
        result.append(out)
    return result


def relu(channels: list[Map]) -> list[Map]:
    return [[[max(value, 0.0) for value in row] for row in channel] for channel in channels]


def written_out(model: DenseNet, image: Map) -> list[float]:
    """The logits of one image."""
    x = convolve([[[(pixel - MEAN) / STD for pixel in row] for row in image]], model.first)
    for layer in model.layers:
        x = x + relu(convolve(x, layer))
    (single,) = relu(convolve(x, model.last))
    flat = [value for row in single for value in row]
    weights, biases = model.linear.weight.tolist(), model.linear.bias.tolist()
    return [
        bias + sum(w * value for w, value in zip(row, flat, strict=True))
        for row, bias in zip(weights, biases, strict=True)
    ]


@pytest.mark.parametrize("relu_logits", [False, True])
def test_the_network_written_out(relu_logits: bool) -> None:
    model = network(relu_logits=relu_logits)
    logits = model(images())
    assert logits.shape == (3, CLASSES)
    for image, actual in zip(images()[:, 0].tolist(), logits.tolist(), strict=True):
        expected = written_out(model, image)
        assert min(expected) < 0 < max(expected)
        if relu_logits:
            expected = [max(value, 0.0) for value in expected]
        assert actual == pytest.approx(expected, rel=1e-12)


def test_each_layer_sees_all_channels_before_it() -> None:
    model = DenseNet()  # of the article: depth 5, growth 12
    assert model.first.weight.shape == (12, 1, 3, 3)
    assert model.first.bias is None
    shapes = [tuple(layer.weight.shape) for layer in model.layers]
    assert shapes == [(12, 12 * (l + 1), 3, 3) for l in range(5)]
    assert all(layer.bias is not None for layer in model.layers)
    assert model.last.weight.shape == (1, 72, 3, 3)
    assert model.linear.weight.shape == (10, 784)
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("settings", [{"depth": 1}, {"growth": 1}, {"side": 5}, {"classes": 2}])
def test_other_sizes(settings: dict[str, Any]) -> None:
    side, classes = settings.get("side", 28), settings.get("classes", 10)
    assert DenseNet(**settings)(torch.rand(2, 1, side, side)).shape == (2, classes)


def test_stacked_parameters_give_what_a_loop_gives() -> None:
    models = [network(seed=seed) for seed in range(3)]
    parameters, buffers = stack_module_state(list(models))

    def forward(one: dict[str, Tensor], x: Tensor) -> Tensor:
        result: Tensor = functional_call(models[0], one, (x,))
        return result

    assert not buffers
    stacked = vmap(forward, in_dims=(0, None))(parameters, images())
    torch.testing.assert_close(stacked, torch.stack([model(images()) for model in models]))


def test_another_dtype() -> None:
    logits = network().float()(images().float())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.double(), network()(images()), rtol=1e-5, atol=1e-5)
