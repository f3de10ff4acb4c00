"""Several seeds of a search in lockstep: networks of one architecture, trained side by side as one.

The steps of one network are a hundred small kernels, which leave an accelerator idle. Here each
parameter of all networks, its subgradient v and its moments are stacks [seeds, ...], and each
kernel works on all of them. The networks stay plain modules: `torch.func` gives their computation
the seed axis, and each network and its optimizer hold views of the stacks, so that a seed can be
observed, saved and evaluated as if it were trained alone.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.optim.adam import adam as torch_adam

from bregman_nas.bregman.regularizers import Regularizer
from bregman_nas.data.degradation import Examples, Problem
from bregman_nas.randomness import generator
from bregman_nas.search.core.loop import BATCHES_PER_STRETCH, Position
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.search.core.textbook import TextbookTrainer


@dataclass(frozen=True)
class Stack:
    """One parameter of all networks as AdaBreg sees it; each tensor is [seeds, ...]."""

    name: str
    regularizer: Regularizer
    theta: Tensor
    v: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor


class LockstepTrainer:
    """Make the steps of several textbook trainers at once.

    The trainers' networks and optimizers then hold views of the stacks: they follow each step, and
    must not be trained by themselves.

    A step never waits for the host. On a CUDA device it is recorded as a CUDA graph, one for each
    size of batch, and replayed, which closes the gaps between its kernels.

    Args:
        trainers: one for each seed; networks of one architecture, AdaBreg with the same options,
            the same number of steps behind them.
        inputs: [seeds, n, ...]; read in place at each step.
        targets: [seeds, n, ...].

    Raises:
        ValueError: if the trainers have made different numbers of steps.
    """

    def __init__(
        self, trainers: Sequence[TextbookTrainer], inputs: Tensor, targets: Tensor
    ) -> None:
        self._inputs, self._targets = inputs, targets
        first = trainers[0]
        self._options = first.optimizer.param_groups[0]
        self._template = deepcopy(first.network).to("meta")
        self._loss = first.loss
        self._stacks, self._steps_made = _stacks(trainers)
        seeds, device = len(trainers), inputs.device
        self._seeds = torch.arange(seeds, device=device)[:, None]
        self._losses = torch.zeros(seeds, dtype=torch.float64, device=device)
        # The CUDA kernel of Adam reads the learning rate in single precision.
        precision = torch.float32 if device.type == "cuda" else torch.float64
        self._rates = torch.zeros(seeds, dtype=precision, device=device)
        shape = (seeds, len(self._stacks))
        self._steps = torch.full(shape, float(self._steps_made), device=device)
        # As Adam's kernel takes them: for each seed a list of its parameters.
        self._by_seed = [
            (
                [stack.v[s] for stack in self._stacks],
                [stack.exp_avg[s] for stack in self._stacks],
                [stack.exp_avg_sq[s] for stack in self._stacks],
                list(self._steps[s]),
            )
            for s in range(seeds)
        ]
        self._warm: set[int] = set()
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        # One for all graphs: they are replayed one after the other, and a step writes only to
        # tensors that existed before.
        self._memory: Any = None

    def train_batches(
        self, batches: Sequence[Tensor], learning_rates: Sequence[float]
    ) -> list[float]:
        """Make one step for each batch; return each seed's sum of the batches' losses.

        Args:
            batches: the indices of the images of each batch, int64 [seeds, images].
            learning_rates: eta of each seed.
        """
        self._losses.zero_()
        self._rates.copy_(torch.tensor(learning_rates, dtype=self._rates.dtype))
        for batch in batches:
            if batch.device.type == "cuda":
                with torch.cuda.device(batch.device):
                    self._replay(batch)
            else:
                self._step(batch)
        self._steps_made += len(batches)
        return self._losses.tolist()

    @torch.no_grad()
    def _step(self, batch: Tensor) -> None:
        thetas = {stack.name: stack.theta for stack in self._stacks}
        gradients, losses = vmap(grad_and_value(self._loss_of))(
            thetas, self._inputs[self._seeds, batch], self._targets[self._seeds, batch]
        )
        self._losses += losses
        # The kernel wants the layout of the parameters.
        g = [gradients[stack.name].contiguous() for stack in self._stacks]
        beta1, beta2 = self._options["betas"]
        rates = self._rates
        if not self._options["correct_first_moment"]:
            # The kernel divides by (1 - beta1^k).
            rates = rates * (1 - beta1 ** (self._steps[:, 0].to(rates.dtype) + 1))
        for s, (v, exp_avg, exp_avg_sq, steps) in enumerate(self._by_seed):
            torch_adam(
                v,
                [gradient[s] for gradient in g],
                exp_avg,
                exp_avg_sq,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=rates[s],
                weight_decay=0.0,
                eps=self._options["eps"],
                maximize=False,
            )
        for stack in self._stacks:
            prox = partial(stack.regularizer.prox, delta=self._options["delta"])
            stack.theta.copy_(vmap(prox)(stack.v))

    def _loss_of(self, thetas: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(functional_call(self._template, thetas, (inputs,)), targets)

    def _replay(self, batch: Tensor) -> None:
        size = batch.shape[1]
        if size not in self._warm:
            # The first step of a size is made directly, on a side stream, as torch asks for before
            # a recording: libraries choose and load their kernels.
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._step(batch)
            torch.cuda.current_stream().wait_stream(stream)
            self._warm.add(size)
            return
        if size not in self._graphs:
            graph, indices = torch.cuda.CUDAGraph(), batch.clone()
            with torch.cuda.graph(graph, pool=self._memory):  # records, and does not compute
                self._step(indices)
            self._graphs[size], self._memory = (graph, indices), graph.pool()
        graph, indices = self._graphs[size]
        indices.copy_(batch)
        graph.replay()


_STATE = ("v", "exp_avg", "exp_avg_sq")


def _stacks(trainers: Sequence[TextbookTrainer]) -> tuple[list[Stack], Tensor]:
    """Stack parameters and states, and let networks and optimizers hold views of the stacks.

    Returns:
        The stacks, and the number of steps made, one tensor for all.
    """
    thetas, _ = stack_module_state([trainer.network for trainer in trainers])
    regularizers = {
        param: group["regularizer"]
        for group in trainers[0].optimizer.param_groups
        for param in group["params"]
    }
    stacks, steps_made = [], torch.zeros(())
    counts: set[float] = set()
    for name, first in trainers[0].network.named_parameters():
        params = [trainer.network.get_parameter(name) for trainer in trainers]
        states = [_state(*pair) for pair in zip(trainers, params, strict=True)]
        counts |= {float(state["step"]) for state in states}
        stacked = {key: torch.stack([state[key] for state in states]) for key in _STATE}
        stack = Stack(name, regularizers[first], thetas[name].detach(), **stacked)
        stacks.append(stack)
        for s, (param, state) in enumerate(zip(params, states, strict=True)):
            param.data = stack.theta[s]
            state |= {"step": steps_made, **{key: stacked[key][s] for key in _STATE}}
    if len(counts) > 1:
        raise ValueError(f"all must have made the same number of steps, not {sorted(counts)}")
    return stacks, steps_made.fill_(counts.pop())


def _state(trainer: TextbookTrainer, param: Tensor) -> dict[str, Tensor]:
    """What AdaBreg keeps of a parameter, initialised if no step has been made."""
    state: dict[str, Tensor] = trainer.optimizer.state[param]
    if not state:
        v = trainer.optimizer.subgradient(param)
        zeros = torch.zeros_like(v)
        state |= {"step": torch.zeros(()), "v": v, "exp_avg": zeros, "exp_avg_sq": zeros}
    return state


class LockstepSearch:
    """The searches of several seeds, trained as one.

    Args:
        seeds: their numbers.
        searches: one for each seed, by the textbook engine, all after the same number of steps.
            They follow the training. Images that seeds share are held once, so a generator that
            makes one search at a time saves memory.
    """

    def __init__(self, seeds: Sequence[int], searches: Iterable[Any]) -> None:
        self.seeds = seeds
        self.searches: list[Any] = []
        for search in searches:
            self.searches.append(search)
            _share_images(self.searches[0], search)
        train = [search.problem.train for search in self.searches]
        first = train[0].inputs
        if all(examples.inputs is first for examples in train):
            inputs = first.expand(len(seeds), *first.shape)
        else:
            inputs = torch.stack([examples.inputs for examples in train])
        self._inputs = list(inputs)
        targets = train[0].targets
        for search, seed_inputs in zip(self.searches, self._inputs, strict=True):
            search.problem = replace(search.problem, train=Examples(seed_inputs, targets))
        trainers = [search.trainer for search in self.searches]
        self._trainer = LockstepTrainer(
            trainers, inputs, targets.expand(len(seeds), *targets.shape)
        )

    def batches(self, epoch: int, batch_size: int) -> list[Tensor]:
        """The indices of the images of each batch of an epoch, int64 [seeds, images]."""
        count = self._inputs[0].shape[0]
        orders = [
            torch.randperm(count, generator=generator(seed, "order", epoch)) for seed in self.seeds
        ]
        return list(torch.stack(orders).to(self._inputs[0].device).split(batch_size, dim=1))

    def begin_epoch(self, epoch: int) -> None:
        """Set the inputs to those of an epoch, counted from 0."""
        for search, inputs in zip(self.searches, self._inputs, strict=True):
            examples = search.train_examples(epoch)
            if examples.inputs is not inputs:  # noise of this epoch alone
                inputs.copy_(examples.inputs)

    def train_batches(
        self, batches: Sequence[Tensor], learning_rates: Sequence[float]
    ) -> list[float]:
        """See `LockstepTrainer.train_batches`; `batches` are of the epoch that was begun."""
        return self._trainer.train_batches(batches, learning_rates)


def train(
    search: LockstepSearch,
    rates: Sequence[LearningRate],
    positions: Sequence[Position],
    *,
    epochs: int,
    batch_size: int,
    after_stretch: Callable[[], None] = lambda: None,
    after_epoch: Callable[[], None] = lambda: None,
) -> None:
    """Train from a position to the end, as `loop.train` does with one seed.

    Args:
        search: what is trained.
        rates: the learning rate of each seed; changed in place.
        positions: of each seed, all in the same epoch and batch; changed in place.
        epochs: how many in all.
        batch_size: of all batches but the last of an epoch, which may be smaller.
        after_stretch: called after every few batches, in a state that can be saved.
        after_epoch: called when each history has a new entry.
    """
    now = positions[0]
    while now.epoch < epochs:
        batches = search.batches(now.epoch, batch_size)
        search.begin_epoch(now.epoch)
        while now.batch < len(batches):
            stretch = batches[now.batch : now.batch + BATCHES_PER_STRETCH]
            losses = search.train_batches(stretch, [rate.value for rate in rates])
            for position, loss in zip(positions, losses, strict=True):
                position.summed_loss += loss
                position.batch += len(stretch)
            if now.batch < len(batches):
                after_stretch()
        for one, rate, position in zip(search.searches, rates, positions, strict=True):
            entry = {
                "epoch": position.epoch + 1,
                "learning_rate": rate.value,
                "train_loss": position.summed_loss / len(batches),
                **one.observe(rate.value),
            }
            rate.end_epoch(position.summed_loss)
            position.history.append(entry)
            position.epoch, position.batch, position.summed_loss = position.epoch + 1, 0, 0.0
        after_epoch()
        after_stretch()


def _share_images(first: Any, search: Any) -> None:
    """Hold images once that are the same for two seeds."""

    def shared(part: str) -> Examples:
        theirs, ours = getattr(first.problem, part), getattr(search.problem, part)
        pairs = ((theirs.inputs, ours.inputs), (theirs.targets, ours.targets))
        return Examples(*(a if torch.equal(a, b) else b for a, b in pairs))

    search.problem = Problem(*map(shared, ("train", "held_out", "test")))
