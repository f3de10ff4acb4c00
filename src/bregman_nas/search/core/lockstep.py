"""Several seeds of a search in lockstep: networks of one architecture, trained side by side as one.

The steps of one network are a hundred small kernels, which leave an accelerator idle. Here each
parameter of all networks, its subgradient v and its moments are stacks [seeds, ...], and each
kernel works on all of them. The networks stay plain modules: `torch.func` gives their computation
the seed axis, and each network and its optimizer hold views of the stacks, so that a seed can be
observed, saved and judged as if it were trained alone.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.optim.adam import adam as torch_adam

from bregman_nas.bregman.regularizers import Regularizer
from bregman_nas.data.degradation import Examples, Problem
from bregman_nas.data.files import ImageSet
from bregman_nas.errors import UserError
from bregman_nas.randomness import generator
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.search.core.searches import searcher
from bregman_nas.search.core.textbook import TextbookTrainer
from bregman_nas.settings import Run


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

    From then on the trainers' networks and optimizers hold views of the stacks: they follow each
    step, and must not be trained by themselves.

    A step waits for nothing on the host. On a CUDA device it is recorded as a CUDA graph, one for
    each size of batch, and replayed, which takes away the gaps between its kernels.

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
        self._stacks = _stacks(trainers)
        seeds, device = len(trainers), inputs.device
        self._seeds = torch.arange(seeds, device=device)[:, None]
        self._losses = torch.zeros(seeds, dtype=torch.float64, device=device)
        # The CUDA kernel of Adam reads the learning rate in single precision.
        precision = torch.float32 if device.type == "cuda" else torch.float64
        self._rates = torch.zeros(seeds, dtype=precision, device=device)
        self._steps_made = _share_stacks(trainers, self._stacks)
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
        # One for all graphs: they are replayed one after the other, and what a step leaves lies
        # in tensors that were made before.
        self._memory: Any = None

    def train_batches(
        self, batches: Sequence[Tensor], learning_rates: Sequence[float]
    ) -> list[float]:
        """Make one step for each batch; return each seed's sum of the batches' losses.

        Args:
            batches: the numbers of the images of each batch, int64 [seeds, images].
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
            # The first step of a size is made as it is, beside the main stream, as torch asks
            # for before a recording: libraries choose and load their kernels.
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


def _stacks(trainers: Sequence[TextbookTrainer]) -> list[Stack]:
    thetas, _ = stack_module_state([trainer.network for trainer in trainers])
    regularizers = {
        param: group["regularizer"]
        for group in trainers[0].optimizer.param_groups
        for param in group["params"]
    }
    stacks = []
    for name, param in trainers[0].network.named_parameters():
        states = [_state(trainer, name) for trainer in trainers]
        stacked = {key: torch.stack([state[key] for state in states]) for key in _STATE}
        stacks.append(Stack(name, regularizers[param], thetas[name].detach(), **stacked))
    return stacks


_STATE = ("v", "exp_avg", "exp_avg_sq")


def _state(trainer: TextbookTrainer, name: str) -> dict[str, Tensor]:
    """What AdaBreg keeps of a parameter; before its first step, with what it begins."""
    param = trainer.network.get_parameter(name)
    state: dict[str, Tensor] = trainer.optimizer.state[param]
    if not state:
        v = trainer.optimizer.subgradient(param)
        zeros = torch.zeros_like(v)
        state |= {"step": torch.zeros(()), "v": v, "exp_avg": zeros, "exp_avg_sq": zeros}
    return state


def _share_stacks(trainers: Sequence[TextbookTrainer], stacks: Sequence[Stack]) -> Tensor:
    """Let networks and optimizers hold views; the number of steps made, one tensor for all."""
    states = [_state(trainer, stack.name) for trainer in trainers for stack in stacks]
    counts = {float(state["step"]) for state in states}
    if len(counts) > 1:
        raise ValueError(f"all must have made the same number of steps, not {sorted(counts)}")
    steps_made = torch.tensor(counts.pop())
    for s, trainer in enumerate(trainers):
        for stack in stacks:
            param, state = trainer.network.get_parameter(stack.name), _state(trainer, stack.name)
            param.data = stack.theta[s]
            state["step"] = steps_made
            for key in _STATE:
                state[key] = getattr(stack, key)[s]
    return steps_made


class LockstepSearch:
    """The searches of several seeds, trained as one.

    Args:
        run: protocol and experiment.
        images: the raw images.
        seeds: their numbers.
        device: where they run.
        states: for each seed what its search's `state_dict` returned, to continue from there.

    Attributes:
        searches: one for each seed, by the textbook engine; they follow the training.
    """

    def __init__(
        self,
        run: Run,
        images: ImageSet,
        seeds: Sequence[int],
        device: str = "cpu",
        states: Mapping[int, dict[str, Any]] | None = None,
    ) -> None:
        if getattr(run.experiment, "inactive_biases", "learned") == "frozen":
            raise UserError("seeds in lockstep cannot freeze biases; use another --engine")
        self.seeds = seeds
        self.searches: list[Any] = []
        for seed in seeds:
            search = searcher(run, images, seed, "textbook", device)
            if states is not None:
                search.load_state_dict(states[seed])
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
        self._trainer = LockstepTrainer(
            [search.trainer for search in self.searches],
            inputs,
            targets.expand(len(seeds), *targets.shape),
        )

    def batches(self, epoch: int, batch_size: int) -> list[Tensor]:
        """The numbers of the images of each batch of an epoch, int64 [seeds, images]."""
        count = self._inputs[0].shape[0]
        orders = [
            torch.randperm(count, generator=generator(seed, "order", epoch)) for seed in self.seeds
        ]
        return list(torch.stack(orders).to(self._inputs[0].device).split(batch_size, dim=1))

    def begin_epoch(self, epoch: int) -> None:
        """Let the inputs be those of an epoch, which is counted from 0."""
        for search, inputs in zip(self.searches, self._inputs, strict=True):
            examples = search.train_examples(epoch)
            if examples.inputs is not inputs:  # noise of this epoch alone
                inputs.copy_(examples.inputs)

    def train_batches(
        self, batches: Sequence[Tensor], learning_rates: Sequence[float]
    ) -> list[float]:
        """Make one step for each batch; return each seed's sum of their losses.

        Args:
            batches: some of `batches` of the epoch that was begun.
            learning_rates: eta of each seed.
        """
        return self._trainer.train_batches(batches, learning_rates)


@dataclass
class Course:
    """How far one of the seeds in lockstep has come.

    Attributes:
        rate: its learning rate.
        summed_loss: of the batches of the epoch so far.
        history: one entry for each finished epoch.
    """

    rate: LearningRate
    summed_loss: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


def train(
    search: LockstepSearch,
    courses: Sequence[Course],
    epoch: int,
    batch: int,
    *,
    epochs: int,
    batch_size: int,
    stretch: int | None = None,
    after_stretch: Callable[[int, int], None] = lambda *_: None,
    after_epoch: Callable[[], None] = lambda: None,
) -> None:
    """Train from a position to the end, as `loop.train` does with one seed.

    Args:
        search: what is trained.
        courses: of its seeds; changed in place.
        epoch: the current one, from 0.
        batch: the next batch of the epoch.
        epochs: how many in all.
        batch_size: of all batches but the last of an epoch, which may be smaller.
        stretch: the host waits for the device after so many batches; by default after each epoch.
        after_stretch: called with the position after every few batches, where all can be saved.
        after_epoch: called when all histories have a new entry.
    """
    while epoch < epochs:
        batches = search.batches(epoch, batch_size)
        search.begin_epoch(epoch)
        while batch < len(batches):
            some = batches[batch : batch + (stretch or len(batches))]
            losses = search.train_batches(some, [course.rate.value for course in courses])
            for course, loss in zip(courses, losses, strict=True):
                course.summed_loss += loss
            batch += len(some)
            if batch < len(batches):
                after_stretch(epoch, batch)
        for course, one in zip(courses, search.searches, strict=True):
            _end_epoch(course, one, len(batches))
        after_epoch()
        epoch, batch = epoch + 1, 0
        after_stretch(epoch, batch)


def _end_epoch(course: Course, search: Any, batches: int) -> None:
    used = course.rate.value
    entry = {
        "epoch": len(course.history) + 1,
        "learning_rate": used,
        "train_loss": course.summed_loss / batches,
        **search.observe(used),
    }
    course.rate.end_epoch(course.summed_loss)
    course.history.append(entry)
    course.summed_loss = 0.0


def _share_images(first: Any, search: Any) -> None:
    """Hold images once that are the same for two seeds."""

    def shared(theirs: Examples, ours: Examples) -> Examples:
        pairs = ((theirs.inputs, ours.inputs), (theirs.targets, ours.targets))
        return Examples(*(a if torch.equal(a, b) else b for a, b in pairs))

    one, other = first.problem, search.problem
    search.problem = Problem(
        train=shared(one.train, other.train),
        held_out=shared(one.held_out, other.held_out),
        test=shared(one.test, other.test),
    )
