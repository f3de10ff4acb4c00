"""Neurons of a multi-layer perceptron: AdaBreg at three mu, LinBreg with momentum, dense Adam.

python examples/perceptron.py     # ten seconds; docs/own-network.md
"""

from functools import partial

from torch import nn

from bregman_nas import AdaBreg, ByKind, LinBreg, cut
from common import compare

LR = 1e-3
HEAD = ["5.*"]  # ten classes: every row is needed


def network() -> nn.Module:
    """As wide as the widest that would be accepted."""
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(784, 128), nn.ReLU()),
        *(nn.Linear(128, 128), nn.ReLU()),
        nn.Linear(128, 10),
    )


if __name__ == "__main__":
    compare(
        network,
        [
            *(
                (f"AdaBreg, mu {mu}", ByKind(rows=mu, exclude=HEAD), partial(AdaBreg, lr=LR))
                for mu in (0.05, 0.075, 0.1)
            ),
            (
                "LinBreg with momentum, mu 0.02",
                ByKind(rows=0.02, exclude=HEAD),
                partial(LinBreg, lr=0.1, momentum=0.9),
            ),
        ],
        cut,
        epochs=10,
        lr=LR,
    )
