"""Heads and hidden neurons of a small transformer encoder: AdaBreg at three mu, dense Adam.

python examples/transformer.py     # half a minute; docs/own-network.md
"""

import copy
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from bregman_nas import AdaBreg, ByKind, cut
from common import compare

WIDTH, HEADS, HIDDEN, PATCH = 64, 8, 128, 7


class Block(nn.Module):
    """Attention and two linear layers, each with a norm before and a skip around it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [batch, tokens, width] to such."""
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        found: Tensor = x + self.feed_forward(x)
        return found


class Encoder(nn.Module):
    """Patches of an image as tokens, blocks, and the classes from the mean of all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, PATCH, stride=PATCH)
        self.places = nn.Parameter(torch.randn((28 // PATCH) ** 2, WIDTH) * 0.02)
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10))

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, 1, 28, 28] to logits [batch, 10]."""
        x = self.patches(images).flatten(2).transpose(1, 2) + self.places
        logits: Tensor = self.head(self.blocks(x).mean(1))
        return logits


def cut_out(network: nn.Module) -> nn.Module:
    """The chains in the network made small; heads that are off put out a constant, and stay."""
    small = copy.deepcopy(network)
    for block in cast("list[Block]", small.blocks):
        block.feed_forward = cut(block.feed_forward)
    return small


if __name__ == "__main__":
    # Sparse are heads and the neurons between the two linear layers. What they write to and read
    # from, the tokens, stays dense.
    dense = ["head.*", "*.out_proj.*", "*.feed_forward.3.*"]
    compare(
        Encoder,
        [
            (
                f"AdaBreg, mu {mu}",
                ByKind(heads=mu, rows=mu, exclude=dense),
                partial(AdaBreg, lr=1e-3),
            )
            for mu in (0.02, 0.03, 0.04)
        ],
        cut_out,
        epochs=5,
        lr=1e-3,
    )
