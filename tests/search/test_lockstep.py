"""Seeds in lockstep against the textbook loop, one seed at a time, on real digits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bregman_nas.bregman import L1, AdaBreg, GroupLasso, Zero, sparse_kaiming_normal_
from bregman_nas.bregman.regularizers import Regularizer
from bregman_nas.data.files import ImageSet, load
from bregman_nas.networks import DenseNet, ResidualMLP
from bregman_nas.randomness import generator
from bregman_nas.search.core.lockstep import LockstepSearch, LockstepTrainer
from bregman_nas.search.core.searches import searcher
from bregman_nas.search.core.textbook import TextbookTrainer
from bregman_nas.search.job import Job
from bregman_nas.settings import Run

JobIn = Callable[..., Job]
PROJECT = Path(__file__).resolve().parents[2]
SIDE = 8
SEEDS = (0, 1, 2)
RATES = (3e-3, 1e-3, 2e-3)
COUNT, BATCH = 600, 64  # the last batch of an epoch has 24 images

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device: torch finds none"
)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load("mnist", "sample", PROJECT)


def noisy(seed: int, clean: Tensor) -> Tensor:
    return clean + 0.05 * torch.randn(clean.shape, generator=generator(seed, "noise")).double()


def start_(network: nn.Module, seed: int) -> None:
    numbers = generator(seed, "start")
    for param in network.parameters():
        if param.ndim == 1:
            with torch.no_grad():
                param.copy_(0.05 * torch.rand(param.shape, generator=numbers))
        elif param.any():  # skips start at zero
            groups, density = ((0,), 0.2) if param.ndim == 2 else ((0, 1), 0.4)
            sparse_kaiming_normal_(
                param, density=density, group_dims=groups, scale=2, generator=numbers
            )


def trainer(seed: int, network: str, corrected: bool, delta: float) -> TextbookTrainer:
    """A trainer as the search space has it, in double precision and small."""
    net: ResidualMLP | DenseNet
    regularizers: dict[int, Regularizer]
    if network == "densenet":
        net = DenseNet(2, 3, side=SIDE, input_mean=0.13, input_std=0.31)
        regularizers = {4: GroupLasso(0.05, (0, 1)), 2: Zero()}
    else:
        net = ResidualMLP(SIDE**2, 3, skips=network == "residual", input_mean=0.13, input_std=0.31)
        regularizers = {2: GroupLasso(0.1, (0,))}
    start_(net, seed)
    net.double()
    groups: list[dict[str, Any]] = []
    for name, param in net.named_parameters():
        regularizer = L1(0.08) if name == "skips" else regularizers.get(param.ndim, Zero())
        groups.append({"params": [param], "regularizer": regularizer})
    loss = functional.cross_entropy if network == "densenet" else functional.mse_loss
    optimizer = AdaBreg(groups, betas=(0.7, 0.99), delta=delta, correct_first_moment=corrected)
    return TextbookTrainer(net, optimizer, loss)


@pytest.mark.parametrize(
    ("network", "corrected", "delta"),
    [
        ("autoencoder", True, 1.0),
        ("residual", True, 1.0),
        ("residual", False, 2.0),
        ("densenet", True, 1.0),
        ("densenet", False, 0.5),
    ],
)
def test_each_seed_is_trained_as_if_alone(
    images: ImageSet, network: str, corrected: bool, delta: float
) -> None:
    pixels = images.train_images[:COUNT, 6:22:2, 6:22:2].double() / 255
    if network == "densenet":
        inputs = pixels[:, None].expand(len(SEEDS), COUNT, 1, SIDE, SIDE)
        targets = images.train_labels[:COUNT].expand(len(SEEDS), COUNT)
    else:
        inputs = torch.stack([noisy(seed, pixels.flatten(1)) for seed in SEEDS])
        targets = pixels.flatten(1).expand(len(SEEDS), COUNT, SIDE**2)
    alone = [trainer(seed, network, corrected, delta) for seed in SEEDS]
    together = [trainer(seed, network, corrected, delta) for seed in SEEDS]
    lockstep = LockstepTrainer(together, inputs, targets)
    switched = 0
    for epoch in range(20):
        rates = [rate * 0.9**epoch for rate in RATES]
        orders = [torch.randperm(COUNT, generator=generator(s, "order", epoch)) for s in SEEDS]
        before = [active(one) for one in together]
        losses = lockstep.train_batches(torch.stack(orders).split(BATCH, dim=1), rates)
        for s, (one, other) in enumerate(zip(alone, together, strict=True)):
            batches = list(orders[s].split(BATCH))
            loss = one.train_batches(inputs[s], targets[s], batches, rates[s])
            assert losses[s] == pytest.approx(loss, rel=1e-11)
            for name, param in one.network.named_parameters():
                twin = other.network.get_parameter(name)
                assert torch.equal(param != 0, twin != 0), name
                assert torch.allclose(param, twin, rtol=0, atol=1e-10), name
                state, twin_state = one.optimizer.state[param], other.optimizer.state[twin]
                assert state.keys() == twin_state.keys()
                for key, value in state.items():
                    assert torch.allclose(value, twin_state[key], rtol=0, atol=1e-10), key
            switched += int((before[s] != active(other)).sum())
    assert switched > 100, "hardly a group was switched: the test is too easy"
    groups = torch.stack([active(one) for one in together]).double().mean(1)
    assert 0 < float(groups.min()) < 1, "all or nothing is active: the test is too easy"


def active(one: TextbookTrainer) -> Tensor:
    """Which entries are not zero, of all weights that have groups."""
    grouped = [
        param
        for group in one.optimizer.param_groups
        for param in group["params"]
        if not isinstance(group["regularizer"], Zero)
    ]
    return torch.cat([param.detach().flatten() != 0 for param in grouped])


def test_seeds_with_different_numbers_of_steps_cannot_be_in_lockstep() -> None:
    trainers = [trainer(seed, "autoencoder", True, 1.0) for seed in SEEDS]
    inputs = torch.rand(32, SIDE**2, dtype=torch.float64)
    trainers[1].train_batches(inputs, inputs, [torch.arange(32)], 0.001)
    together = inputs.expand(len(SEEDS), *inputs.shape)
    with pytest.raises(ValueError, match=r"not \[0.0, 1.0\]"):
        LockstepTrainer(trainers, together, together)


def test_with_recorded_steps_each_batch_is_trained_on_once(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bookkeeping of CUDA graphs, with a recorder in their place; not what CUDA makes of it."""
    clean = images.train_images[:COUNT, 6:22:2, 6:22:2].double().flatten(1) / 255
    targets = clean.expand(len(SEEDS), *clean.shape)
    one, other = (
        LockstepTrainer([trainer(seed, "residual", True, 1.0) for seed in SEEDS], targets, targets)
        for _ in range(2)
    )
    step, recording, replayed = other._step, [], []

    class Graph:
        def __init__(self) -> None:
            self.batches: list[Tensor] = []

        def replay(self) -> None:
            replayed.append(self)
            for batch in self.batches:
                step(batch)

        def pool(self) -> str:
            return "the pool"

    pools = []

    @contextmanager
    def graph(target: Graph, pool: str | None) -> Iterator[None]:
        pools.append(pool)
        recording.append(target)
        yield
        recording.pop()

    def step_or_record(batch: Tensor) -> None:
        recording[-1].batches.append(batch) if recording else step(batch)

    monkeypatch.setattr(other, "_step", step_or_record)
    for name, value in {"CUDAGraph": Graph, "graph": graph, "stream": nullcontext}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    other._rates.fill_(0.001)
    for epoch in range(3):
        numbers = generator(epoch, "order")
        orders = torch.stack([torch.randperm(COUNT, generator=numbers) for _ in SEEDS])
        one.train_batches(orders.split(256, dim=1), [0.001] * 3)
        for batch in orders.split(256, dim=1):  # 256, 256 and 88 images
            other._replay(batch)
    assert len(replayed) == 3 * 3 - 2, "all but the first of each size"
    assert len(set(replayed)) == 2
    assert pools == [None, "the pool"]
    for stack, twin in zip(one._stacks, other._stacks, strict=True):
        assert torch.equal(stack.theta, twin.theta)
        assert torch.equal(stack.v, twin.v)


RUNS = ["paper-autoencoder", "authors-residual", "authors-densenet"]


def side_by_side(run: Run, images: ImageSet, device: str = "cpu") -> LockstepSearch:
    searches = (searcher(run, images, seed, "textbook", device) for seed in SEEDS)
    return LockstepSearch(SEEDS, searches)


@pytest.mark.parametrize("run", RUNS)
def test_a_search_takes_the_same_images_in_the_same_order(
    project: Path, job_in: JobIn, run: str
) -> None:
    """In single precision, as searches run: the same numbers but for the order of sums."""
    settings = job_in(project, run).run
    data = load(settings.experiment.dataset, "sample", PROJECT)
    together = side_by_side(settings, data)
    alone = [searcher(settings, data, seed, "textbook") for seed in SEEDS]
    for epoch in range(2):
        batches = together.batches(epoch, 300)
        assert [batch.shape[1] for batch in batches] == [300, 300, 300, 100]
        together.begin_epoch(epoch)
        losses = together.train_batches(batches, RATES)
        for s, (seed, search) in enumerate(zip(SEEDS, alone, strict=True)):
            examples = search.train_examples(epoch)
            order = torch.randperm(1_000, generator=generator(seed, "order", epoch))
            loss = search.train_batches(
                examples.inputs, examples.targets, list(order.split(300)), RATES[s]
            )
            assert losses[s] == pytest.approx(loss, rel=1e-4)
            seen, expected = together.searches[s].observe(RATES[s]), search.observe(RATES[s])
            assert seen.keys() == expected.keys()
            for name, value in expected.items():
                assert (
                    seen[name] == pytest.approx(value, rel=1e-3, abs=1e-6)
                    if isinstance(value, float)
                    else seen[name] == value
                ), name


def test_images_that_seeds_share_are_held_once(project: Path, job_in: JobIn) -> None:
    for run, shared in (("paper-autoencoder", False), ("authors-densenet", True)):
        settings = job_in(project, run).run
        data = load(settings.experiment.dataset, "sample", PROJECT)
        problems = [one.problem for one in side_by_side(settings, data).searches]
        inputs = {problem.train.inputs.data_ptr() for problem in problems}
        assert len(inputs) == (1 if shared else len(SEEDS))
        assert len({problem.train.targets.data_ptr() for problem in problems}) == 1


@needs_cuda
@pytest.mark.parametrize("run", RUNS)
def test_a_cuda_device_gives_the_numbers_of_the_cpu(project: Path, job_in: JobIn, run: str) -> None:
    settings = job_in(project, run).run
    data = load(settings.experiment.dataset, "sample", PROJECT)
    both = [side_by_side(settings, data, device) for device in ("cpu", "cuda")]
    for epoch in range(4):  # made as they are, recorded, replayed
        for one in both:
            one.begin_epoch(epoch)
        cpu, cuda = (one.train_batches(one.batches(epoch, 300), RATES) for one in both)
        assert cuda == pytest.approx(cpu, rel=1e-3)
