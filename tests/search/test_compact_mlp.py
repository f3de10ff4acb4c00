"""The compact trainers against the textbook loop, in double precision, on real digits."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bregman_nas.bregman import L1, AdaBreg, GroupLasso, Zero, sparse_kaiming_normal_
from bregman_nas.data.files import load
from bregman_nas.networks import ResidualMLP
from bregman_nas.search.core.compact_mlp import CompactAutoencoder, CompactMLP, CompactResidual
from bregman_nas.search.core.textbook import TextbookTrainer

PROJECT = Path(__file__).resolve().parents[2]
SIDE = 10
WIDTH = SIDE * SIDE
MU = 0.14
RATE = 3e-3
BETAS = (0.7, 0.99)


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Noisy and clean middles of the sample's digits, every other pixel, float64 [n, 100]."""
    images = load("mnist", "sample", PROJECT).train_images[:, 4:24:2, 4:24:2].double() / 255
    clean = images.flatten(1)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)).double()
    return clean + 0.05 * noise, clean


def start(skips: bool, depth: int = 4) -> ResidualMLP:
    net = ResidualMLP(WIDTH, depth, skips=skips, input_mean=0.13, input_std=0.31).double()
    generator = torch.Generator().manual_seed(0)
    for layer in net.layers:
        sparse_kaiming_normal_(
            layer.weight, density=0.05, group_dims=(0,), scale=3, generator=generator
        )
        with torch.no_grad():
            layer.bias.copy_(torch.rand(WIDTH, generator=generator) * 0.003)
    return net


def pair(
    skip_mu: float | None, *, corrected: bool = True, delta: float = 1.0
) -> tuple[CompactMLP, TextbookTrainer, ResidualMLP]:
    net = start(skip_mu is not None)
    weights = [layer.weight for layer in net.layers]
    groups = [
        {"params": weights, "regularizer": GroupLasso(MU, (0,))},
        {"params": [layer.bias for layer in net.layers], "regularizer": Zero()},
    ]
    if skip_mu is not None:
        groups.append({"params": [net.skips], "regularizer": L1(skip_mu)})
    adabreg = AdaBreg(groups, betas=BETAS, delta=delta, correct_first_moment=corrected)
    kind = CompactAutoencoder if skip_mu is None else CompactResidual
    return kind(net, adabreg), TextbookTrainer(net, adabreg, functional.mse_loss, net.layers), net


def subgradients(trainer: CompactMLP) -> list[Tensor]:
    """v of the weights in full, each [width, width]."""
    for layer in trainer.layers:
        layer.write_back()
    return [layer.full_weight.v for layer in trainer.layers]


def epochs(count: int, batches: int) -> Iterator[list[Tensor]]:
    generator = torch.Generator().manual_seed(2)
    for _ in range(count):
        yield list(torch.randperm(2_000, generator=generator)[: batches * 64].split(64))


@pytest.mark.parametrize(
    ("skip_mu", "corrected", "delta"),
    [
        (None, True, 1.0),
        (None, False, 0.5),
        (0.05, True, 1.0),
        (0.4, True, 1.0),
        (0.15, False, 2.0),
    ],
    ids=["autoencoder", "autoencoder-uncorrected", "early-skips", "late-skips", "late-uncorrected"],
)
def test_compact_is_the_textbook_loop(
    digits: tuple[Tensor, Tensor], skip_mu: float | None, corrected: bool, delta: float
) -> None:
    compact, textbook, net = pair(skip_mu, corrected=corrected, delta=delta)
    inputs, targets = digits
    rows_left, columns_left = [], []
    for epoch in epochs(14, 30):
        loss = compact.train_batches(inputs, targets, epoch, RATE)
        reference = textbook.train_batches(inputs, targets, epoch, RATE)
        assert loss == pytest.approx(reference, rel=1e-12)

        for rows, expected in zip(compact.active(), textbook.active(), strict=True):
            assert torch.equal(rows, expected)
        living = textbook.living(RATE)
        assert compact.living(RATE) == living

        compact.compact(RATE)
        assert compact.living(RATE) == living
        full = start(net.skips is not None)
        compact.write_to(full)
        for name, value in full.state_dict().items():
            assert torch.allclose(value, net.state_dict()[name], atol=1e-12), name
        for v, layer in zip(subgradients(compact), net.layers, strict=True):
            assert torch.allclose(v, textbook.optimizer.subgradient(layer.weight), atol=1e-12)
        rows_left.append([len(layer.rows) for layer in compact.layers])
        columns_left.append([len(layer.columns) for layer in compact.layers])

    with torch.no_grad():
        assert torch.allclose(compact.outputs(inputs[:500]), net(inputs[:500]), atol=1e-12)
    # The comparison means something only if rows did go, more than once.
    assert len({tuple(rows) for rows in rows_left}) > 3
    assert sum(rows_left[-1]) < 0.6 * 4 * WIDTH
    changes = list(pairwise(columns_left))
    assert any(sum(later) < sum(earlier) for earlier, later in changes) or skip_mu == 0.05
    if skip_mu == 0.4:
        assert any(b > a for x, y in changes for a, b in zip(x, y, strict=True)), (
            "no column came back: the skips never switched on after columns had gone"
        )


def test_a_row_that_could_come_back_stays(digits: tuple[Tensor, Tensor]) -> None:
    compact, _, _ = pair(None)
    inputs, targets = digits
    for epoch in epochs(10, 30):
        compact.train_batches(inputs, targets, epoch, RATE)
        for layer, dead in zip(compact.layers, compact.dead_rows(RATE), strict=True):
            assert not (dead & (layer.bias.v > 0)).any()
            # One more step with gradient 0 must leave a dead row as it is, to the last bit.
            m1, m2 = BETAS[0] * layer.weight.exp_avg[dead], BETAS[1] * layer.weight.exp_avg_sq[dead]
            v = layer.weight.v[dead]
            assert torch.equal(v - RATE * m1 / (m2.sqrt() + 1e-8), v)
        compact.compact(RATE)


def test_continues_bit_for_bit_from_its_state(
    digits: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    whole, _, _ = pair(0.4)
    inputs, targets = digits
    halves = list(epochs(12, 20))
    for epoch in halves[:6]:
        whole.train_batches(inputs, targets, epoch, RATE)
        whole.compact(RATE)
    torch.save(whole.state_dict(), tmp_path / "state")
    resumed, _, _ = pair(0.4)
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    for epoch in halves[6:]:
        losses = [t.train_batches(inputs, targets, epoch, RATE) for t in (whole, resumed)]
        assert losses[0] == losses[1]
        whole.compact(RATE)
        resumed.compact(RATE)
    for v, w in zip(subgradients(whole), subgradients(resumed), strict=True):
        assert torch.equal(v, w)
