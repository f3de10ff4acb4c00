"""The compact trainer of the DenseNet against the textbook loop, in double precision."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bregman_nas.bregman import AdaBreg, GroupLasso, Zero, sparse_kaiming_normal_
from bregman_nas.data.files import load
from bregman_nas.networks import DenseNet
from bregman_nas.search.core.compact_densenet import CompactDenseNet
from bregman_nas.search.core.densenet import (
    active_kernels,
    classify,
    convolutions,
)
from bregman_nas.search.core.textbook import TextbookTrainer

PROJECT = Path(__file__).resolve().parents[2]
SIDE = 9
BETAS = (0.7, 0.99)
RATE = 1e-2
KERNELS = GroupLasso(0.1, (0, 1))


@pytest.fixture(scope="module")
def clothes() -> tuple[Tensor, Tensor]:
    """The sample's clothes, every third pixel, float64 [n, 1, 9, 9], and their classes."""
    images = load("fashion-mnist", "sample", PROJECT)
    return images.train_images[:, None, ::3, ::3][..., :SIDE, :SIDE].double() / 255, (
        images.train_labels
    )


def start(relu_logits: bool, density: float = 0.1, seed: int = 0) -> DenseNet:
    generator = torch.Generator().manual_seed(seed)
    net = DenseNet(3, 6, side=SIDE, relu_logits=relu_logits, input_mean=0.5, input_std=0.5).double()
    for conv in convolutions(net):
        sparse_kaiming_normal_(
            conv.weight, density=density, group_dims=(0, 1), scale=3, generator=generator
        )
        if conv.bias is not None:
            nn.init.uniform_(conv.bias, -0.01, 0.02, generator=generator)
    nn.init.kaiming_normal_(net.linear.weight, generator=generator)
    nn.init.uniform_(net.linear.bias, 0, 0.1, generator=generator)
    return net


def pair(
    net: DenseNet, corrected: bool = True, delta: float = 1.0
) -> tuple[CompactDenseNet, TextbookTrainer, DenseNet]:
    free = [conv.bias for conv in convolutions(net) if conv.bias is not None]
    adabreg = AdaBreg(
        [
            {"params": [conv.weight for conv in convolutions(net)], "regularizer": KERNELS},
            {"params": [*free, *net.linear.parameters()], "regularizer": Zero()},
        ],
        betas=BETAS,
        delta=delta,
        correct_first_moment=corrected,
    )
    textbook = TextbookTrainer(net, adabreg, functional.cross_entropy, net.layers)
    return CompactDenseNet(net, adabreg), textbook, net


def epochs(count: int, batches: int) -> Iterator[list[Tensor]]:
    generator = torch.Generator().manual_seed(2)
    for _ in range(count):
        yield list(torch.randperm(2_000, generator=generator)[: batches * 32].split(32))


@pytest.mark.parametrize(
    ("relu_logits", "corrected", "delta"),
    [(True, True, 1.0), (False, True, 2.0), (True, False, 1.0)],
)
def test_compact_is_the_textbook_loop(
    clothes: tuple[Tensor, Tensor], relu_logits: bool, corrected: bool, delta: float
) -> None:
    compact, textbook, net = pair(start(relu_logits), corrected, delta)
    inputs, classes = clothes
    left = []
    for epoch in epochs(12, 25):
        loss = compact.train_batches(inputs, classes, epoch, RATE)
        expected = textbook.train_batches(inputs, classes, epoch, RATE)
        assert loss == pytest.approx(expected, rel=1e-10)
        living = textbook.living(RATE)
        assert compact.living(RATE) == living

        compact.compact(RATE)
        assert compact.living(RATE) == living
        full = start(relu_logits)
        compact.write_to(full)
        for name, value in full.state_dict().items():
            assert torch.allclose(value, net.state_dict()[name], atol=1e-10), name
        for mine, theirs in zip(compact.active(), active_kernels(net), strict=True):
            assert torch.equal(mine, theirs)
        left.append(tuple(len(channels) for channels in compact.channels))

    assert torch.allclose(compact.outputs(inputs[:700]), classify(net, inputs[:700]), atol=1e-10)
    # The comparison means something only if channels did go, more than once, and kernels came.
    if (relu_logits, corrected) == (True, True):
        assert len(set(left)) > 1, left
        assert sum(int(kernels.sum()) for kernels in active_kernels(net)) > 40


@torch.no_grad()
def never_reached(net: DenseNet) -> None:
    """No channel depends on the image."""
    net.first.weight.zero_()


@torch.no_grad()
def never_firing(net: DenseNet) -> None:
    """Active channels that put out 0, for all images."""
    bias = net.layers[1].bias
    assert bias is not None
    bias.fill_(-100)


@torch.no_grad()
def never_ending(net: DenseNet) -> None:
    """The last convolution puts out 0, so that only the last bias has a gradient."""
    assert net.last.bias is not None
    net.last.bias.fill_(-100)


@torch.no_grad()
def hardly_read(net: DenseNet) -> None:
    """The second layer reads nothing, but its biases are positive: it puts out constants."""
    bias = net.layers[1].bias
    assert bias is not None
    net.layers[1].weight.zero_()
    bias.fill_(0.1)


@pytest.mark.parametrize("density", [0.03, 0.3, 1.0])
@pytest.mark.parametrize(
    "change", [lambda net: None, never_reached, never_firing, never_ending, hardly_read]
)
def test_nothing_is_left_out_that_has_a_gradient(
    clothes: tuple[Tensor, Tensor], change: Callable[[DenseNet], None], density: float
) -> None:
    inputs, classes = clothes
    for seed in range(4):
        net = start(relu_logits=False, density=density, seed=seed)
        change(net)
        compact, textbook, net = pair(net)
        for step in range(3):
            batch = [torch.arange(step * 16, step * 16 + 16)]
            loss = compact.train_batches(inputs, classes, batch, RATE)
            assert loss == pytest.approx(textbook.train_batches(inputs, classes, batch, RATE))
        # Not theta: what a gradient does to an inactive kernel shows in v alone.
        v = textbook.optimizer.subgradient
        readers = [*net.layers, net.last]
        expected = [v(net.first.weight)] + [
            torch.cat([v(conv.weight)[:, 6 * block : 6 * block + 6] for conv in readers[block:]])
            for block in range(4)
        ]
        expected += [torch.cat([v(conv.bias) for conv in readers if conv.bias is not None])]
        expected += [v(net.linear.weight), v(net.linear.bias)]
        trained = [compact.first, *compact.kernels, compact.bias]
        trained += [compact.linear, compact.linear_bias]
        for mine, theirs in zip(trained, expected, strict=True):
            assert torch.allclose(mine.v, theirs, atol=1e-10)


def test_continues_bit_for_bit_from_its_state(
    clothes: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    whole, _, _ = pair(start(relu_logits=True))
    inputs, classes = clothes
    parts = list(epochs(8, 15))
    for epoch in parts[:4]:
        whole.train_batches(inputs, classes, epoch, RATE)
        whole.compact(RATE)
    torch.save(whole.state_dict(), tmp_path / "state")
    resumed, _, _ = pair(start(relu_logits=True))
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    for epoch in parts[4:]:
        losses = [t.train_batches(inputs, classes, epoch, RATE) for t in (whole, resumed)]
        assert losses[0] == losses[1]
        whole.compact(RATE)
        resumed.compact(RATE)
    networks = [start(relu_logits=True), start(relu_logits=True)]
    for trainer, net in zip((whole, resumed), networks, strict=True):
        trainer.write_to(net)
    for one, other in zip(*(n.state_dict().values() for n in networks), strict=True):
        assert torch.equal(one, other)
