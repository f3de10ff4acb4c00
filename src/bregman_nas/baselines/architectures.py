"""Architectures of the multi-layer perceptron that the one found is measured against.

An architecture says which rows of each W(l) exist and which skips are allowed. It has these
parameters, each counted once:

- weights: for each layer the rows that exist, times the columns that can carry something. The
  entries of x(l) that can are all pixels for l = 0, and then the rows of layer l - 1 together with
  every entry that an allowed skip brings there.
- biases: one for each row that exists.
- skips: one for each that is allowed.

A row that does not exist has neither weights nor a bias and puts out 0. (In a searched network a
row that is not active can have a positive bias, and then puts out a constant. It is no part of
the architecture, and not counted.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bregman_nas.networks import ResidualMLP
from bregman_nas.randomness import generator
from bregman_nas.search.records import unpack
from bregman_nas.settings import Method


@dataclass(frozen=True, eq=False)
class Architecture:
    """Which rows exist, boolean [depth, width], and which skips are allowed.

    Entry (l, i) of `skips`, [depth, depth], is for that from x(i) to x(l + 1); None without skips.
    """

    rows: Tensor
    skips: Tensor | None

    @classmethod
    def of(cls, network: ResidualMLP) -> "Architecture":
        """Of a searched network: its rows and skips that are not zero."""
        rows = torch.stack([(layer.weight != 0).any(1) for layer in network.layers]).cpu()
        return cls(rows, None if network.skips is None else (network.skips != 0).tril().cpu())

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Architecture":
        """Of the searched network that a record describes."""
        rows = torch.stack([torch.tensor(unpack(g)) for g in record["active_groups"].values()])
        values = record["result"].get("skips")
        if values is None:
            return cls(rows, None)
        lines = [torch.tensor(tau + [0.0] * (len(rows) - len(tau))) for tau in values]
        return cls(rows, torch.stack(lines) != 0)

    @property
    def widths(self) -> list[int]:
        """The number of rows of each layer."""
        return [int(rows.sum()) for rows in self.rows]

    def carrying(self) -> Tensor:
        """Boolean [depth, width]: the entries of x(l) that can carry something."""
        x = [torch.ones_like(self.rows[0])]
        for l, rows in enumerate(self.rows[:-1]):
            brought = [x[i] for i in range(l + 1) if self.skips is not None and self.skips[l, i]]
            x.append(torch.stack([rows, *brought]).any(0))
        return torch.stack(x)

    def parameters(self) -> int:
        """The number of parameters; the module says which count."""
        rows, columns = self.rows.sum(1), self.carrying().sum(1)
        skips = 0 if self.skips is None else int(self.skips.sum())
        return int((rows * columns).sum() + rows.sum()) + skips


def architecture(arm: Method, found: Architecture, seed: int) -> Architecture:
    """The architecture of an arm, made from the one that was found.

    `uniform` has hidden layers of one width, `random` of widths drawn at random. Both have the
    output rows of `found`, and as nearly its number of parameters as whole widths allow: one row
    more or less is a step of less than 1% for all but tiny networks. With skips, all of the search
    space are allowed, and the positions of the hidden rows are drawn by the seed; without,
    positions mean nothing. `dense`, and what competes with the search, has all rows and skips.
    """
    if arm == "found":
        return found
    skips = None if found.skips is None else torch.ones_like(found.skips).tril()
    if arm not in ("uniform", "random"):
        return Architecture(torch.ones_like(found.rows), skips)
    depth, width = found.rows.shape
    numbers = generator(seed, "architecture", arm)
    places = torch.rand(depth - 1, width, generator=numbers).argsort(dim=1)  # permutations
    # Each hidden width is its share of a scale that they have in common: all the same for
    # `uniform`, and uniformly distributed for `random`.
    shares = torch.ones(depth - 1, dtype=torch.float64)
    if arm == "random":
        shares = torch.rand(depth - 1, dtype=torch.float64, generator=numbers)
    shares = shares.clamp_min(1 / width)

    def at_scale(scale: float) -> Architecture:
        widths = (scale * shares).round().clamp(1, width)
        return Architecture(torch.cat([places < widths[:, None], found.rows[-1:]]), skips)

    wanted, low, high = found.parameters(), 0.0, float(width**2)
    for _ in range(64):
        middle = (low + high) / 2
        fits = at_scale(middle).parameters() <= wanted
        low, high = (middle, high) if fits else (low, middle)
    return min(map(at_scale, (low, high)), key=lambda one: abs(one.parameters() - wanted))


@torch.no_grad()
def start_(network: ResidualMLP, architecture: Architecture, numbers: torch.Generator) -> None:
    """Give a network the architecture and a fresh start, in place.

    Weights are normal with mean 0 and variance 2 / n (Kaiming, for ReLU), biases and skips zero. n
    counts the entries of x(l) that are not zero at the start: the rows of layer l - 1, as the skips
    do not carry anything yet. Rows that do not exist become zero, and stay so in any training by
    gradients: where the pre-activation is 0, ReLU passes none.
    """
    carrying = architecture.carrying()
    for l, layer in enumerate(network.layers):
        rows, columns = architecture.rows[l], carrying[l]
        inputs = len(columns) if l == 0 else int(architecture.rows[l - 1].sum())
        values = torch.randn(int(rows.sum()), int(columns.sum()), generator=numbers)
        weight = torch.zeros(layer.weight.shape)
        weight[rows.nonzero(), columns.nonzero()[:, 0]] = values * (2 / max(inputs, 1)) ** 0.5
        layer.weight.copy_(weight)
        layer.bias.zero_()
    if network.skips is not None:
        network.skips.zero_()
