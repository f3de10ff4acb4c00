"""Several seeds of a search in lockstep: networks of one architecture, trained side by side as one.

The steps of one network are a hundred small kernels, which leave an accelerator idle. Here each
parameter of all networks, its subgradient v and its moments are stacks [seeds, ...], and each
kernel works on all of them. The networks stay plain modules: `torch.func` gives their computation
the seed axis, and each network and its optimizer hold views of the stacks, so that a seed can be
observed, saved and evaluated as if it were trained alone.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from bregman_nas.bregman.optimizers import fused_adam_
from bregman_nas.data.degradation import Examples, Problem
from bregman_nas.search.core.textbook import MOMENTS, state_of


class LockstepSearch:
    """The searches of several seeds, trained as one.

    The searches follow each step, and must not be trained by themselves. A step never waits for the
    host. On a CUDA device it is recorded as a CUDA graph, one for each size of batch, and replayed,
    which closes the gaps between its kernels.

    Args:
        searches: one for each seed, by the textbook engine: networks of one architecture, AdaBreg
            with the same options, the same number of steps behind them. Images that seeds share
            are held once, so a generator that makes one search at a time saves memory.

    Raises:
        ValueError: if the searches have made different numbers of steps.
    """

    def __init__(self, searches: Iterable[Any]) -> None:
        self.searches: list[Any] = []
        for search in searches:
            self.searches.append(search)
            _share_images(self.searches[0], search)
        self._stack_images()
        self._stack_parameters()
        device, count = self._inputs.device, len(self.searches)
        self._losses = torch.zeros(count, dtype=torch.float64, device=device)
        # The CUDA kernel of Adam reads the learning rate in single precision.
        precision = torch.float32 if device.type == "cuda" else torch.float64
        self._rates = torch.zeros(count, dtype=precision, device=device)
        self._numbers = torch.arange(count, device=device)[:, None]
        self._warm: set[int] = set()
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        # One for all graphs: they are replayed one after the other, and a step writes only to
        # tensors that existed before.
        self._memory: Any = None

    def _stack_images(self) -> None:
        """Make inputs and targets [seeds, n, ...], of which the searches hold views."""
        train = [search.problem.train for search in self.searches]
        inputs, targets = train[0].inputs, train[0].targets
        if all(examples.inputs is inputs for examples in train):
            self._inputs = inputs.expand(len(train), *inputs.shape)
        else:
            self._inputs = torch.stack([examples.inputs for examples in train])
        self._targets = targets.expand(len(train), *targets.shape)
        for search, own in zip(self.searches, self._inputs, strict=True):
            search.problem = replace(search.problem, train=Examples(own, targets))

    def _stack_parameters(self) -> None:
        """Stack parameters and states, and let networks and optimizers hold views of the stacks."""
        trainers = [search.trainer for search in self.searches]
        self._options, self._loss = trainers[0].optimizer.param_groups[0], trainers[0].loss
        self._template = deepcopy(trainers[0].network).to("meta")
        regularizers = {
            param: group["regularizer"]
            for group in trainers[0].optimizer.param_groups
            for param in group["params"]
        }
        thetas, _ = stack_module_state([trainer.network for trainer in trainers])
        self._thetas = {name: theta.detach() for name, theta in thetas.items()}
        self._prox: dict[str, Callable[[Tensor], Tensor]] = {}
        self._moments: dict[str, list[Tensor]] = {}
        self._steps_made, counts = torch.zeros(()), set()
        for name, theta in self._thetas.items():
            params = [trainer.network.get_parameter(name) for trainer in trainers]
            states = [state_of(t.optimizer, p) for t, p in zip(trainers, params, strict=True)]
            counts |= {float(state["step"]) for state in states}
            stacks = [torch.stack([state[key] for state in states]) for key in MOMENTS]
            for param, state, own, *of_seed in zip(params, states, theta, *stacks, strict=True):
                param.data = own
                state |= {"step": self._steps_made, **dict(zip(MOMENTS, of_seed, strict=True))}
            prox = regularizers[params[0]].prox
            self._prox[name] = vmap(partial(prox, delta=self._options["delta"]))
            self._moments[name] = stacks
        if len(counts) > 1:
            raise ValueError(f"all must have made the same number of steps, not {sorted(counts)}")
        self._steps_made.fill_(counts.pop())
        shape, device = (len(trainers), len(thetas)), self._inputs.device
        self._steps = torch.full(shape, float(self._steps_made), device=device)
        #: For each seed the lists of v and the moments, as Adam's kernel takes them.
        self._by_seed = [
            [[stack[s] for stack in part] for part in zip(*self._moments.values(), strict=True)]
            for s in range(len(trainers))
        ]

    def batches(self, epoch: int, batch_size: int) -> list[Tensor]:
        """The indices of the images of each batch of an epoch, int64 [seeds, images]."""
        of_seeds = [search.batches(epoch, batch_size) for search in self.searches]
        return [torch.stack(batch) for batch in zip(*of_seeds, strict=True)]

    def begin_epoch(self, epoch: int) -> None:
        """Set the inputs to those of an epoch, counted from 0."""
        for search in self.searches:
            held, new = search.problem.train.inputs, search.train_examples(epoch).inputs
            if new is not held:  # noise of this epoch alone
                held.copy_(new)

    def train_batches(self, batches: Sequence[Tensor]) -> None:
        """Make one step for each batch, see `batches`, and let each search note it."""
        self._losses.zero_()
        rates = [search.rate.value for search in self.searches]
        self._rates.copy_(torch.tensor(rates, dtype=self._rates.dtype))
        for batch in batches:
            if batch.device.type == "cuda":
                with torch.cuda.device(batch.device):
                    self._replay(batch)
            else:
                self._step(batch)
        self._steps_made += len(batches)
        for search, loss in zip(self.searches, self._losses.tolist(), strict=True):
            search.summed_loss += loss
            search.batch += len(batches)

    @torch.no_grad()
    def _step(self, batch: Tensor) -> None:
        gradients, losses = vmap(grad_and_value(self._loss_of))(
            self._thetas, self._inputs[self._numbers, batch], self._targets[self._numbers, batch]
        )
        self._losses += losses
        # The kernel wants the layout of the parameters.
        g = [gradients[name].contiguous() for name in self._thetas]
        betas, rates = self._options["betas"], self._rates
        if not self._options["correct_first_moment"]:
            # The kernel divides by (1 - beta1^k).
            rates = rates * (1 - betas[0] ** (self._steps[:, 0].to(rates.dtype) + 1))
        for s, (v, m1s, m2s) in enumerate(self._by_seed):
            own, steps = [gradient[s] for gradient in g], list(self._steps[s])
            fused_adam_(v, own, m1s, m2s, steps, lr=rates[s], betas=betas, eps=self._options["eps"])
        for name, theta in self._thetas.items():
            theta.copy_(self._prox[name](self._moments[name][0]))

    def _loss_of(self, thetas: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self._loss(functional_call(self._template, thetas, (inputs,)), targets)
        return loss

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


def _share_images(first: Any, search: Any) -> None:
    """Hold images once that are the same for two seeds."""

    def shared(part: str) -> Examples:
        theirs, ours = getattr(first.problem, part), getattr(search.problem, part)
        pairs = ((theirs.inputs, ours.inputs), (theirs.targets, ours.targets))
        return Examples(*(a if torch.equal(a, b) else b for a, b in pairs))

    search.problem = Problem(*map(shared, ("train", "held_out", "test")))
