"""The DenseNet against a forward pass by scipy's convolution."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import correlate2d
from torch import nn

from bregman_nas.networks import DenseNet

DEPTH, GROWTH, SIDE, CLASSES = 2, 3, 4, 5
MEAN, STD = 0.3, 0.6

Array = NDArray[np.float64]


def convolve(maps: Array, conv: nn.Conv2d) -> Array:
    """With zeros outside."""
    kernels = conv.weight.detach().numpy()
    biases = np.zeros(len(kernels)) if conv.bias is None else conv.bias.detach().numpy()
    sums = [[correlate2d(x, k, "same") for x, k in zip(maps, of, strict=True)] for of in kernels]
    convolved: Array = np.sum(sums, axis=1) + biases[:, None, None]
    return convolved


def written_out(model: DenseNet, image: Array) -> Array:
    """The logits of one image, [1, side, side]."""
    x = convolve((image - MEAN) / STD, model.first)
    for layer in model.layers:
        x = np.concatenate([x, np.maximum(convolve(x, layer), 0)])
    last = np.maximum(convolve(x, model.last), 0)
    weight, bias = (parameter.detach().numpy() for parameter in model.linear.parameters())
    logits: Array = weight @ last.ravel() + bias
    return logits


@pytest.mark.parametrize("relu_logits", [False, True])
def test_the_network_written_out(relu_logits: bool) -> None:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"side": SIDE, "classes": CLASSES, "relu_logits": relu_logits}
    model = DenseNet(DEPTH, GROWTH, **shape, input_mean=MEAN, input_std=STD).double()
    images = torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(7)).double()
    for image, actual in zip(images.numpy(), model(images).tolist(), strict=True):
        expected = written_out(model, image)
        assert expected.min() < 0 < expected.max()
        if relu_logits:
            expected = expected.clip(min=0)
        assert actual == pytest.approx(expected.tolist(), rel=1e-12)
