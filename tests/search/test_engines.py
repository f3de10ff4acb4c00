"""Every engine gives what the readable loop gives, in double precision, on real images."""

import copy
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bregman_nas.bregman import L1, AdaBreg, GroupLasso, Zero, sparse_kaiming_normal_
from bregman_nas.data.degradation import Examples, Problem
from bregman_nas.data.files import load
from bregman_nas.networks import DenseNet, ResidualMLP
from bregman_nas.randomness import generator
from bregman_nas.search.core import compact_densenet
from bregman_nas.search.core.compact_densenet import CompactDenseNet
from bregman_nas.search.core.compact_mlp import CompactMLP
from bregman_nas.search.core.lockstep import LockstepSearch
from bregman_nas.search.core.searches import Search, searcher
from bregman_nas.search.core.textbook import TextbookTrainer
from bregman_nas.settings import Run
from tests.helpers import PROJECT, job_in

SEEDS = (0, 1, 2)

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device: torch finds none"
)


@dataclass(frozen=True)
class Case:
    """A network of the study's kinds, small, and how it is searched."""

    network: str
    skip_mu: float | None = None
    corrected: bool = True
    delta: float = 1.0
    relu_logits: bool = False

    @property
    def rate(self) -> float:
        return 1e-2 if self.network == "densenet" else 3e-3

    def examples(self) -> Examples:
        """Noisy and clean digits, 10 by 10 pixels; or clothes, 9 by 9, and their classes."""
        if self.network == "densenet":
            clothes = load("fashion-mnist", "sample", PROJECT)
            pixels = clothes.train_images[:, None, ::3, ::3][..., :9, :9].double() / 255
            return Examples(pixels, clothes.train_labels)
        images = load("mnist", "sample", PROJECT).train_images[:, 4:24:2, 4:24:2]
        clean = images.double().flatten(1) / 255
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)).double()
        return Examples(clean + 0.05 * noise, clean)

    def start(self, seed: int = 0, density: float | None = None) -> Any:
        numbers = torch.Generator().manual_seed(seed)
        net: Any
        groups: tuple[int, ...]
        if self.network == "densenet":
            how: Any = {"input_mean": 0.5, "input_std": 0.5, "relu_logits": self.relu_logits}
            net, groups, biases = DenseNet(3, 6, side=9, **how), (0, 1), (-0.01, 0.02)
        else:
            how = {"input_mean": 0.13, "input_std": 0.31}
            skips = self.skip_mu is not None
            net, groups, biases = ResidualMLP(100, 4, skips=skips, **how), (0,), (0, 0.003)
        density = density or {"densenet": 0.1}.get(self.network, 0.05)
        how = {"density": density, "group_dims": groups, "scale": 3, "generator": numbers}
        for name, param in net.double().named_parameters():
            if param.ndim == 1:
                share = torch.rand(param.shape, generator=numbers)
                param.data.copy_(biases[0] + (biases[1] - biases[0]) * share)
            elif name == "linear.weight":
                nn.init.kaiming_normal_(param, generator=numbers)
            elif name != "skips":
                sparse_kaiming_normal_(param, **how)
        return net

    def optimizer(self, net: Any) -> AdaBreg:
        densenet = self.network == "densenet"
        parts: dict[str, list[Tensor]] = {"sparse": [], "free": [], "skips": []}
        for name, param in net.named_parameters():
            sparse = param.ndim == 4 if densenet else name.endswith("weight")
            parts["skips" if name == "skips" else "sparse" if sparse else "free"].append(param)
        lasso = GroupLasso(0.1, (0, 1)) if densenet else GroupLasso(0.14, (0,))
        regularizers = {"sparse": lasso, "free": Zero(), "skips": L1(self.skip_mu or 0)}
        groups = [{"params": x, "regularizer": regularizers[k]} for k, x in parts.items() if x]
        corrected = self.corrected
        return AdaBreg(groups, betas=(0.7, 0.99), delta=self.delta, correct_first_moment=corrected)

    def textbook(self, net: Any) -> TextbookTrainer:
        loss = functional.cross_entropy if self.network == "densenet" else functional.mse_loss
        return TextbookTrainer(net, self.optimizer(net), loss)

    def compact(self, net: Any) -> Any:
        if self.network == "densenet":
            return CompactDenseNet(net, self.optimizer(net))
        return CompactMLP(net, self.optimizer(net))


AUTOENCODER, RESIDUAL = Case("autoencoder"), Case("residual", skip_mu=0.4)
DENSENET = Case("densenet", relu_logits=True)
CASES = {
    "autoencoder": AUTOENCODER,
    "autoencoder, uncorrected": Case("autoencoder", corrected=False, delta=0.5),
    "early skips": Case("residual", skip_mu=0.05),
    "late skips": RESIDUAL,
    "late skips, uncorrected": Case("residual", skip_mu=0.15, corrected=False, delta=2.0),
    "densenet": DENSENET,
    "densenet, linear": Case("densenet", delta=2.0),
    "densenet, uncorrected": Case("densenet", relu_logits=True, corrected=False),
}


def epochs(count: int, batches: int, size: int) -> Iterator[list[Tensor]]:
    numbers = torch.Generator().manual_seed(2)
    for _ in range(count):
        yield list(torch.randperm(2_000, generator=numbers)[: batches * size].split(size))


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], atol: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=atol, msg=name)


def subgradients(trainer: Any) -> dict[str, Tensor]:
    """v of all parameters in full."""
    if isinstance(trainer, TextbookTrainer):
        named = trainer.network.named_parameters()
        return {name: trainer.optimizer.subgradient(param) for name, param in named}
    bare = copy.copy(trainer)
    bare.delta, bare._regularizer, bare._skip_regularizer = 1.0, Zero(), Zero()
    bare._shrink()
    full: dict[str, Tensor] = bare.full_parameters()
    return full


@pytest.mark.parametrize("name", CASES)
def test_compact_is_the_textbook_loop(name: str) -> None:
    case, atol = CASES[name], 1e-10 if name.startswith("densenet") else 1e-12
    compact, textbook = case.compact(case.start()), case.textbook(case.start())
    examples = case.examples()
    sizes, columns, switched = [], [], 0
    steps = (12, 25, 32) if case.network == "densenet" else (14, 30, 64)
    for batches in epochs(*steps):
        before = textbook.active()
        losses = [
            trainer.train_batches(examples, batches, case.rate) for trainer in (compact, textbook)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=100 * atol)
        living = textbook.living(case.rate)
        assert compact.living(case.rate) == living
        for mine, theirs, old in zip(compact.active(), textbook.active(), before, strict=True):
            assert torch.equal(mine, theirs)
            switched += int((mine != old).sum())
        compact.compact(case.rate)
        assert compact.living(case.rate) == living
        assert_same(compact.full_parameters(), textbook.full_parameters(), atol)
        assert_same(subgradients(compact), subgradients(textbook), atol)
        sizes.append(compact.size())
        columns.append(sum(map(len, getattr(compact, "columns", []))))
    some = examples.inputs[:700]
    torch.testing.assert_close(compact.outputs(some), textbook.outputs(some), rtol=0, atol=atol)
    # The comparison means something only if groups came, and went for good more than once.
    assert switched > 10
    if name not in ("densenet, linear", "densenet, uncorrected"):
        assert len(set(sizes)) > 1, sizes
    if case is RESIDUAL:
        assert any(later > earlier for earlier, later in pairwise(columns)), "none came back"


def change(name: str, net: DenseNet) -> None:
    """Cases in which part of the DenseNet has no gradient."""
    bias, end = net.layers[1].bias, net.last.bias
    assert bias is not None
    assert end is not None
    with torch.no_grad():
        if name == "never reached":  # no channel depends on the image
            net.first.weight.zero_()
        elif name == "never firing":  # active channels that put out 0, for all images
            bias.fill_(-100)
        elif name == "never ending":  # only the last bias has a gradient
            end.fill_(-100)
        elif name == "hardly read":  # a layer that puts out constants
            net.layers[1].weight.zero_()
            bias.fill_(0.1)


@pytest.mark.parametrize("density", [0.03, 0.3, 1.0])
@pytest.mark.parametrize(
    "name", ["as it is", "never reached", "never firing", "never ending", "hardly read"]
)
def test_nothing_is_left_out_that_has_a_gradient(name: str, density: float) -> None:
    case = Case("densenet")
    examples = case.examples()
    for seed in range(4):
        net = case.start(seed, density)
        change(name, net)
        trainers = case.compact(net), case.textbook(net)
        for step in range(3):
            batch = [torch.arange(step * 16, step * 16 + 16)]
            ours, theirs = (
                trainer.train_batches(examples, batch, case.rate) for trainer in trainers
            )
            assert ours == pytest.approx(theirs)
        # Not theta: what a gradient does to an inactive kernel shows in v alone.
        assert_same(subgradients(trainers[0]), subgradients(trainers[1]), 1e-10)


@pytest.mark.parametrize("relu_logits", [True, False])
def test_a_silent_densenet_ends_as_if_all_of_it_were_trained(
    relu_logits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case("densenet", relu_logits=relu_logits)
    examples, nets = case.examples(), [case.start() for _ in range(2)]
    for net in nets:
        change("never ending", net)
    stops, whole = (case.compact(net) for net in nets)
    silent, sizes = [], []
    for batches in epochs(6, 63, 32):  # all images, the last batch smaller
        with monkeypatch.context() as context:
            losses = [stops.train_batches(examples, batches, case.rate)]
            stops.compact(case.rate)
            context.setattr(compact_densenet, "MARGIN", math.inf)
            losses += [whole.train_batches(examples, batches, case.rate)]
            whole.compact(case.rate)
        assert losses[0] == losses[1]
        assert stops.living(case.rate) == whole.living(case.rate)
        assert_same(stops.full_parameters(), whole.full_parameters(), 0)
        silent.append(stops.silent)
        sizes.append(stops.size())
        assert not whole.silent
    assert silent == sorted(silent)
    assert silent[0] is False
    assert sizes[-1] == 10
    again = case.compact(nets[0])
    again.load_state_dict(stops.state_dict())
    assert again.silent
    assert_same(again.full_parameters(), whole.full_parameters(), 0)


@pytest.mark.parametrize("name", ["late skips", "densenet"])
def test_training_continues_bit_for_bit_from_a_saved_state(name: str) -> None:
    case = CASES[name]
    examples, (whole, resumed) = case.examples(), (case.compact(case.start()) for _ in range(2))
    for number, batches in enumerate(epochs(10, 15, 32)):
        losses = [
            trainer.train_batches(examples, batches, case.rate)
            for trainer in ([whole] if number < 5 else [whole, resumed])
        ]
        assert len(set(losses)) == 1
        whole.compact(case.rate)
        resumed.compact(case.rate)
        if number == 4:
            file = io.BytesIO()
            torch.save(whole.state_dict(), file)
            file.seek(0)
            resumed.load_state_dict(torch.load(file, weights_only=True))
    assert_same(whole.full_parameters(), resumed.full_parameters(), 0)


# ---------------------------------------------------------------- in lockstep


def side_by_side(case: Case, count: int = 600) -> LockstepSearch:
    """Seeds of a case with noise of their own."""
    examples, searches = case.examples(), []
    for seed in SEEDS:
        inputs = examples.inputs[:count]
        if case.network != "densenet":
            inputs = inputs + 0.05 * torch.randn(inputs.shape, generator=generator(seed, "noise"))
        train = Examples(inputs, examples.targets[:count])
        how: Any = {"problem": Problem(train, train, train), "seed": seed, "device": "cpu"}
        how |= {"rate": SimpleNamespace(value=0.001), "summed_loss": 0.0, "batch": 0}
        search: Any = SimpleNamespace(**how)
        search.batches = partial(Search.batches, search)
        search.trainer = case.textbook(case.start(seed))
        searches.append(search)
    return LockstepSearch(searches)


@pytest.mark.parametrize(
    "name",
    [
        "autoencoder",
        "late skips",
        "late skips, uncorrected",
        "densenet, linear",
        "densenet, uncorrected",
    ],
)
def test_each_seed_is_trained_as_if_alone(name: str) -> None:
    case = CASES[name]
    alone, together = [case.textbook(case.start(seed)) for seed in SEEDS], side_by_side(case)
    start = [one.active() for one in alone]
    for epoch in range(8):
        rates = [3 * case.rate * 0.9**epoch * (1 + seed / 4) for seed in SEEDS]
        batches = together.batches(epoch, 64)  # the last of 24 images
        for search, rate in zip(together.searches, rates, strict=True):
            search.summed_loss, search.rate.value = 0.0, rate
        together.train_batches(batches)
        for s, (one, search) in enumerate(zip(alone, together.searches, strict=True)):
            train, own = search.problem.train, [batch[s] for batch in batches]
            loss = one.train_batches(train, own, rates[s])
            assert search.summed_loss == pytest.approx(loss, rel=1e-10)
            assert_same(search.trainer.full_parameters(), one.full_parameters(), 1e-9)
            states = (x.optimizer.state_dict()["state"] for x in (search.trainer, one))
            for (_, ours), (_, theirs) in zip(*(sorted(x.items()) for x in states), strict=True):
                assert_same(ours, theirs, 1e-9)
            for ours, theirs in zip(search.trainer.active(), one.active(), strict=True):
                assert torch.equal(ours, theirs)
    pairs = [
        pair
        for one, old in zip(alone, start, strict=True)
        for pair in zip(one.active(), old, strict=True)
    ]
    assert any((now != old).any() for now, old in pairs), "no group switched"


def test_seeds_with_different_numbers_of_steps_cannot_be_in_lockstep() -> None:
    searches = side_by_side(AUTOENCODER).searches
    for search in searches:
        search.trainer = AUTOENCODER.textbook(AUTOENCODER.start())
    examples = AUTOENCODER.examples()
    batches = [torch.arange(32)]
    searches[1].trainer.train_batches(examples, batches, 0.01)
    with pytest.raises(ValueError, match=r"not \[0.0, 1.0\]"):
        LockstepSearch(searches)


def test_with_recorded_steps_each_batch_is_trained_on_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bookkeeping of CUDA graphs, with a recorder in their place; not what CUDA makes of it."""
    one, other = side_by_side(RESIDUAL), side_by_side(RESIDUAL)
    step, recording, replayed, pools = other._step, [], [], []

    class Graph(list[Tensor]):
        """The batches of the recorded steps."""

        def replay(self) -> None:
            replayed.append(id(self))
            for batch in self:
                step(batch)

        def pool(self) -> str:
            return "the pool"

    @contextmanager
    def graph(target: Graph, pool: str | None) -> Iterator[None]:
        pools.append(pool)
        recording.append(target)
        yield
        recording.pop()

    def step_or_record(batch: Tensor) -> None:
        recording[-1].append(batch) if recording else step(batch)

    monkeypatch.setattr(other, "_step", step_or_record)
    for name, value in {"CUDAGraph": Graph, "graph": graph, "stream": nullcontext}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    other._rates.fill_(0.001)
    for epoch in range(3):
        one.train_batches(one.batches(epoch, 256))
        for batch in one.batches(epoch, 256):  # 256, 256 and 88 images
            other._replay(batch)
    assert len(replayed) == 3 * 3 - 2, "all but the first of each size"
    assert len(set(replayed)) == 2
    assert pools == [None, "the pool"]
    for ours, theirs in zip(one.searches, other.searches, strict=True):
        assert_same(subgradients(ours.trainer), subgradients(theirs.trainer), 0)


RUNS = ["paper-autoencoder", "authors-residual", "authors-densenet"]


def searched(run: Run, device: str = "cpu") -> LockstepSearch:
    data = load(run.experiment.dataset, "sample", PROJECT)
    return LockstepSearch(searcher(run, data, s, "textbook", device) for s in SEEDS)


@pytest.mark.parametrize("run", RUNS)
def test_images_that_seeds_share_are_held_once(project: Path, run: str) -> None:
    problems = [one.problem.train for one in searched(job_in(project, run).run).searches]
    inputs = 1 if run == "authors-densenet" else len(SEEDS)  # each seed has noise of its own
    assert len({train.inputs.data_ptr() for train in problems}) == inputs
    assert len({train.targets.data_ptr() for train in problems}) == 1


@needs_cuda
@pytest.mark.parametrize("run", RUNS)
def test_a_cuda_device_gives_the_numbers_of_the_cpu(project: Path, run: str) -> None:
    both = [searched(job_in(project, run).run, device) for device in ("cpu", "cuda")]
    for epoch in range(4):  # made as they are, recorded, replayed
        for one in both:
            one.begin_epoch(epoch)
            one.train_batches(one.batches(epoch, 300))
        cpu, cuda = ([search.summed_loss for search in one.searches] for one in both)
        assert cuda == pytest.approx(cpu, rel=1e-3)
