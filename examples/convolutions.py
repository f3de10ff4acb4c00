"""Channels of a small convolutional network with batch norm: AdaBreg at three mu, dense Adam.

python examples/convolutions.py     # half a minute; docs/own-network.md
"""

from functools import partial

from torch import nn

from bregman_nas import AdaBreg, ByKind, cut
from common import compare


def network() -> nn.Module:
    """As wide as the widest that would be accepted; no bias before a batch norm."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((1, 16, 2), (16, 32, 2), (32, 32, 1)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10))


if __name__ == "__main__":
    compare(
        network,
        [
            (f"AdaBreg, mu {mu}", ByKind(channels=mu), partial(AdaBreg, lr=2e-3))
            for mu in (0.05, 0.1, 0.2)
        ],
        cut,
        epochs=8,
        lr=2e-3,
    )
