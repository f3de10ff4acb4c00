"""The small DenseNet: borders by hand, and against random sparse networks."""

import pytest
import torch

from bregman_nas.export import SmallDenseNet
from bregman_nas.export.densenet import small_densenet
from bregman_nas.networks import DenseNet
from bregman_nas.search.core.densenet import convolutions


def switch_off(net: DenseNet) -> None:
    with torch.no_grad():
        for conv in convolutions(net):
            conv.weight.zero_()
            if conv.bias is not None:
                conv.bias.zero_()


def test_a_constant_channel_counts_less_at_the_border() -> None:
    """Channel 1 puts out 2 everywhere, and is padded with zeros: 9, 6 or 4 of its pixels count."""
    net = DenseNet(1, 1, side=4).double()
    switch_off(net)
    with torch.no_grad():
        net.first.weight[0, 0, 1, 1] = 1.0
        assert net.layers[0].bias is not None
        net.layers[0].bias.fill_(2.0)  # and no kernel
        net.last.weight[0, 0, 1, 1] = 1.0
        net.last.weight[0, 1] = 1.0
    architecture, small = small_densenet(net)
    assert (architecture["first"], architecture["ones"], architecture["layers"]) == (1, True, {})
    image = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    image[0, 0, 1, 1] = 100.0
    seen: list[torch.Tensor] = []
    assert isinstance(small, SmallDenseNet)
    small.last.register_forward_hook(lambda _m, _i, output: seen.append(output))
    with torch.no_grad():
        torch.testing.assert_close(small(image), net(image), rtol=0, atol=1e-12)
    assert seen[0][0, 0].tolist() == [
        [8.0, 12.0, 12.0, 8.0],
        [12.0, 118.0, 18.0, 12.0],
        [12.0, 18.0, 18.0, 12.0],
        [8.0, 12.0, 12.0, 8.0],
    ]


def test_channels_that_nothing_reads_are_dropped() -> None:
    net = DenseNet(2, 2, side=4).double()
    switch_off(net)
    with torch.no_grad():
        net.first.weight.fill_(1.0)
        net.layers[0].weight[:, 0] = 1.0  # both channels read channel 0, nobody channel 1
        net.layers[1].weight[0, 2] = 1.0  # and channel 4 the first of those
        net.last.weight[0, 4] = 1.0
    architecture, small = small_densenet(net)
    assert architecture["first"] == 1
    assert not architecture["ones"]
    assert {l: size["channels"] for l, size in architecture["layers"].items()} == {"0": 1, "1": 1}
    image = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(small(image), net(image), rtol=0, atol=1e-12)


def random_net(seed: int, density: float) -> DenseNet:
    """Kernels on with that probability, biases of both signs."""
    torch.manual_seed(seed)
    net = DenseNet(
        *(seed % 5, 3), side=6, classes=4, relu_logits=seed % 2 == 1, input_mean=0.5, input_std=0.5
    ).double()
    with torch.no_grad():
        for conv in convolutions(net):
            conv.weight *= (torch.rand(conv.weight.shape[:2]) < density)[:, :, None, None]
            if conv.bias is not None:
                conv.bias.copy_(torch.randn(conv.bias.shape))
    return net


@pytest.mark.parametrize("density", [0.0, 0.02, 0.1, 0.3, 0.7])
def test_every_sparse_network_keeps_its_outputs(density: float) -> None:
    for seed in range(10):
        full = random_net(seed, density)
        _, small = small_densenet(full)
        images = torch.rand(4, 1, 6, 6, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(small(images), full(images), rtol=0, atol=1e-12)
