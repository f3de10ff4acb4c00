"""Which classes a finished DenseNet can answer, by hand."""

import pytest
import torch

from bregman_nas.networks.densenet import DenseNet
from bregman_nas.search.outcome import logits_ever_positive


@pytest.mark.parametrize("relu_logits", [True, False])
def test_logits_that_are_ever_positive_by_hand(relu_logits: bool) -> None:
    net = DenseNet(depth=1, growth=1, side=4, classes=4, relu_logits=relu_logits)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.first.weight[0, 0, 1, 1] = 1.0
        net.last.weight[0, 0, 1, 1] = 1.0  # the image itself
        # Of a white image 16 - 8, 16 - 20, and whatever it is 1 and 0.
        net.linear.weight[:2] = 1.0
        net.linear.bias.copy_(torch.tensor([-8.0, -20.0, 1.0, 0.0]))
    images = torch.zeros(501, 1, 4, 4)
    assert logits_ever_positive(net, images) == 1
    images[500] = 1.0  # one image is enough, wherever it stands
    assert logits_ever_positive(net, images) == 2
