"""The fast trainer against the full module with autograd and torch's Adam, in double precision."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bregman_nas.baselines.architectures import Architecture, start_
from bregman_nas.baselines.trainers import AdamTrainer, AfterStep, FastTrainer, ReferenceTrainer
from bregman_nas.networks import ResidualMLP

WIDTH, DEPTH = 30, 4
ADAM: Any = {"betas": (0.9, 0.999), "eps": 1e-8}

MakeTrainer = Callable[..., AdamTrainer]


def example(*, skips: bool) -> tuple[Architecture, ResidualMLP]:
    numbers = torch.Generator().manual_seed(3)
    rows = torch.rand(DEPTH, WIDTH, generator=numbers) < 0.5
    allowed = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]]).bool()
    architecture = Architecture(rows, allowed if skips else None)
    net = ResidualMLP(WIDTH, DEPTH, skips=skips, input_mean=0.1, input_std=0.4)
    start_(net, architecture, numbers)
    return architecture, net.double()


def data() -> tuple[Tensor, Tensor, list[Tensor]]:
    numbers = torch.Generator().manual_seed(5)
    inputs, targets = torch.rand(2, 50, WIDTH, generator=numbers, dtype=torch.float64)
    batches = [torch.randperm(50, generator=numbers)[: 8 + k % 2] for k in range(60)]
    return inputs, targets, batches


def trained(trainer: AdamTrainer, steps: slice, rate: float = 0.01) -> float:
    inputs, targets, batches = data()
    return trainer.train_batches(inputs, targets, batches[steps], rate)


def assert_same(ours: AdamTrainer, theirs: AdamTrainer, *, skips: bool, rel: float = 1e-9) -> None:
    networks = [ResidualMLP(WIDTH, DEPTH, skips=skips).double() for _ in range(2)]
    for trainer, net in zip((ours, theirs), networks, strict=True):
        trainer.write_to(net)
    for one, other in zip(*(net.parameters() for net in networks), strict=True):
        torch.testing.assert_close(one, other, rtol=rel, atol=rel)


@pytest.mark.parametrize("skips", [False, True])
def test_the_fast_trainer_gives_what_the_readable_one_gives(skips: bool) -> None:
    architecture, net = example(skips=skips)
    fast = FastTrainer(copy.deepcopy(net), architecture, **ADAM)
    reference = ReferenceTrainer(copy.deepcopy(net), architecture, **ADAM)
    assert_same(fast, reference, skips=skips, rel=0)
    for steps, rate in ((slice(0, 30), 0.01), (slice(30, 60), 0.005)):
        loss = trained(fast, steps, rate)
        assert loss == pytest.approx(trained(reference, steps, rate), rel=1e-9)
        assert_same(fast, reference, skips=skips)
    (ours, fires), (theirs, fired) = (t.look(data()[0]) for t in (fast, reference))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert fires == fired
    fast.write_to(net)
    assert torch.equal(Architecture.of(net).rows, architecture.rows)
    if net.skips is not None and architecture.skips is not None:
        assert torch.equal(net.skips != 0, architecture.skips)


def halve(weights: list[Tensor], skips: Tensor | None, learning_rate: float) -> None:
    for parameter in [*weights, *([] if skips is None else [skips])]:
        parameter.mul_(1 - learning_rate)


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("after_step", [None, halve])
def test_rows_are_taken_out_alike_and_training_goes_on(
    skips: bool, after_step: AfterStep | None
) -> None:
    architecture, net = example(skips=skips)
    dense = Architecture.dense(DEPTH, WIDTH, skips=skips)
    start_(net, dense, torch.Generator().manual_seed(1))
    trainers: list[AdamTrainer] = [
        kind(copy.deepcopy(net), dense, after_step=after_step, **ADAM)
        for kind in (FastTrainer, ReferenceTrainer)
    ]
    smaller = Architecture(architecture.rows, dense.skips)
    for trainer in trainers:
        trained(trainer, slice(0, 20))
    assert_same(*trainers, skips=skips)
    for trainer in trainers:
        trainer.restrict(smaller)
    assert_same(*trainers, skips=skips)
    for trainer in trainers:
        trained(trainer, slice(20, 60))
    assert_same(*trainers, skips=skips)
    trainers[0].write_to(net)
    assert torch.equal(Architecture.of(net).rows, smaller.rows)


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("kind", [FastTrainer, ReferenceTrainer])
def test_training_continues_bit_for_bit_from_a_saved_state(kind: MakeTrainer, skips: bool) -> None:
    architecture, net = example(skips=skips)
    dense = Architecture.dense(DEPTH, WIDTH, skips=skips)
    first = kind(copy.deepcopy(net), dense, **ADAM)
    trained(first, slice(0, 20))
    first.restrict(architecture)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    trained(first, slice(20, 60))
    file.seek(0)
    second = kind(copy.deepcopy(net), dense, **ADAM)
    second.load_state_dict(torch.load(file, weights_only=True))
    trained(second, slice(20, 60))
    assert_same(first, second, skips=skips, rel=0)


def test_an_architecture_without_rows_puts_out_nothing_and_stays_so() -> None:
    net = ResidualMLP(WIDTH, DEPTH, skips=False).double()
    empty = Architecture(torch.zeros(DEPTH, WIDTH, dtype=torch.bool), None)
    start_(net, empty, torch.Generator())
    trainer = FastTrainer(net, empty, **ADAM)
    inputs, targets, _ = data()
    assert trained(trainer, slice(0, 2)) > 0
    outputs, fires = trainer.look(inputs)
    assert not outputs.any()
    assert fires == [0] * DEPTH
    assert outputs.shape == targets.shape
