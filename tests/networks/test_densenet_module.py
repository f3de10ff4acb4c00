"""The DenseNet against a forward pass written out with loops."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bregman_nas.networks import DenseNet

DEPTH, GROWTH, SIDE, CLASSES = 2, 3, 4, 5
MEAN, STD = 0.3, 0.6


def images() -> Tensor:
    numbers = torch.Generator().manual_seed(7)
    return torch.rand(3, 1, SIDE, SIDE, generator=numbers, dtype=torch.float64)


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
    torch.manual_seed(0)
    shape: dict[str, Any] = {"side": SIDE, "classes": CLASSES, "relu_logits": relu_logits}
    model = DenseNet(DEPTH, GROWTH, **shape, input_mean=MEAN, input_std=STD).double()
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
