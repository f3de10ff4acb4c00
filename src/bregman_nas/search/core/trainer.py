"""The interface of all trainers, the fused step of those with gradients by hand, dead rows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bregman_nas.bregman.optimizers import AdaBreg, fused_adam_
from bregman_nas.bregman.regularizers import GroupLasso
from bregman_nas.data.degradation import Examples
from bregman_nas.networks import DenseNet, ResidualMLP


class Trainer(ABC):
    """Trains one network batch by batch."""

    @abstractmethod
    def train_batches(self, images: Examples, batches: Sequence[Tensor], rate: float) -> float:
        """Make one step for each batch; return the sum of the batches' mean losses.

        Args:
            images: not yet standardised.
            batches: the numbers of the images of each batch, int64.
            rate: the learning rate, eta; it never rises.
        """

    def compact(self, learning_rate: float) -> None:  # noqa: B027, some take out nothing
        """Take out what no step with this learning rate or a lower one will change again."""

    @abstractmethod
    def full_parameters(self) -> dict[str, Tensor]:
        """The parameters of the network with nothing taken out, by their names in the module."""

    @abstractmethod
    def size(self) -> int:
        """How many numbers are trained: fewer after compaction."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors from which `load_state_dict` continues bit for bit."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""


class SparseTrainer(Trainer):
    """A trainer that switches groups of parameters on and off: rows, or kernels."""

    @abstractmethod
    def outputs(self, inputs: Tensor) -> Tensor:
        """The outputs [n, ...] of the network as it is now."""

    @abstractmethod
    def active(self) -> list[Tensor]:
        """For each layer which groups are active; boolean, on the CPU."""

    @abstractmethod
    def dead(self, learning_rate: float) -> list[Tensor]:
        """For each layer in which they can die, which of its rows or channels are dead."""

    def living(self, learning_rate: float) -> list[int]:
        """For the same layers, how many rows or channels are not dead."""
        return [int((~dead).sum()) for dead in self.dead(learning_rate)]


class FusedTrainer(Trainer):
    """Gradients written out by hand, and one fused kernel that moves all parameters.

    What is trained are stacks [3, ...]: of v, or the parameter itself, and of its two moments.
    `options` are those of torch's Adam, or of AdaBreg.
    """

    #: The attributes that make up the state.
    _state: tuple[str, ...]
    depth: int

    def __init__(self, network: ResidualMLP | DenseNet, options: dict[str, Any]) -> None:
        self.input_mean, self.input_std = network.input_mean, network.input_std
        self.betas, self.eps = options["betas"], options["eps"]
        self._corrected: bool = options.get("correct_first_moment", True)
        self.steps = 0

    @torch.no_grad()
    def train_batches(self, images: Examples, batches: Sequence[Tensor], rate: float) -> float:
        total = torch.zeros((), dtype=torch.float64, device=images.inputs.device)
        for batch in batches:
            x = images.inputs.index_select(0, batch).sub_(self.input_mean).div_(self.input_std)
            total += self._loss_and_gradients(x, images.targets.index_select(0, batch))
            self._move(rate)
        return float(total)

    @abstractmethod
    def _loss_and_gradients(self, x: Tensor, targets: Tensor) -> Tensor:
        """Write the gradients for standardised images; return the mean loss."""

    def _move(self, learning_rate: float) -> None:
        """Move v, and do what follows."""
        lists = (self._v, self._gradients, self._exp_avg, self._exp_avg_sq, self._counters)
        how: Any = {"betas": self.betas, "eps": self.eps, "correct_first_moment": self._corrected}
        fused_adam_(*lists, lr=learning_rate, **how)
        self.steps += 1

    def _train(self, stacks: list[Tensor]) -> None:
        """Let the steps from now on be of these."""
        self._memories: dict[int, Tensor] = {}
        self._v, self._exp_avg, self._exp_avg_sq = map(list, zip(*stacks, strict=True))
        self._gradients = [torch.zeros_like(v) for v in self._v]
        self._counters = [torch.tensor(float(self.steps), device=v.device) for v in self._v]

    def _memory(self, x: Tensor) -> Tensor:
        """All states of a batch of this size, and their gradients; used again in every step."""
        if x.shape[1] not in self._memories:
            self._memories[x.shape[1]] = x.new_zeros(2, self.depth + 1, *x.shape)
        return self._memories[x.shape[1]]

    @abstractmethod
    def _prepare(self) -> None:
        """Make everything that follows from the state."""

    def size(self) -> int:
        return sum(v.numel() for v in self._v)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._state:
            setattr(self, name, state[name])
        self._prepare()


class CompactTrainer(FusedTrainer, SparseTrainer):
    """Bregman iterations without what has died.

    Args:
        network: at its start; it is not changed, and its device and type are those of training.
        optimizer: of its parameters; it says how they are trained, and is not used itself. Its
            first group has the sparse ones.
    """

    #: Images at a time where nothing is trained.
    _at_once: int

    def __init__(self, network: ResidualMLP | DenseNet, optimizer: AdaBreg) -> None:
        group = optimizer.param_groups[0]
        super().__init__(network, group)
        self.delta: float = group["delta"]
        self._regularizer: GroupLasso = group["regularizer"]

    @abstractmethod
    def _shrink(self) -> None:
        """The step theta = prox(delta v), and what follows from theta."""

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        parts = inputs.split(self._at_once)
        return torch.cat([self._outputs((x - self.input_mean) / self.input_std) for x in parts])

    @abstractmethod
    def _outputs(self, x: Tensor) -> Tensor:
        """The outputs for standardised images, one a row."""

    def _at_rest(self, stack: Tensor, learning_rate: float) -> Tensor:
        return is_at_rest(stack, learning_rate, self.betas, self.eps, self.steps)


@torch.no_grad()
def in_parts(network: nn.Module, inputs: Tensor, at_once: int = 1_000) -> Tensor:
    """The outputs [n, ...] of a network, so many images at a time."""
    return torch.cat([network(part) for part in inputs.split(at_once)])


def pick(x: Tensor, index: Tensor, dim: int = 0) -> Tensor:
    """The given parts along a dimension, in ascending order; all of them without a copy."""
    return x if len(index) == x.shape[dim] else x.index_select(dim, index)


def with_moments(v: Tensor) -> Tensor:
    """The stack [3, ...] of v and its moments at step 0, which are 0."""
    return torch.stack([v, torch.zeros_like(v), torch.zeros_like(v)])


def is_at_rest(
    stack: Tensor, learning_rate: float, betas: tuple[float, float], eps: float, steps: int
) -> Tensor:
    """Boolean: the entries of v that no later step will change if all gradients are exactly 0.

    Then the moments only decay, and so do the steps: after j more they are beta1^j m1 and
    beta2^j m2, and the step is at most

        lr |m1| beta1^j / (1 - beta1^k) / max(sqrt(m2) beta2^(j/2), eps).

    The sum over j > 0 of either bound is a geometric series. An entry is at rest if adding twice
    the smaller sum does not change its floating-point value.

    Args:
        stack: v, m1 and m2, [3, ...].
        learning_rate: the current one; it must never rise later.
        betas: decay of the moments.
        eps: added to the denominator.
        steps: k, the number of steps made so far.
    """
    (v, exp_avg, exp_avg_sq), (beta1, beta2) = stack.unbind(), betas
    if steps == 0:
        return exp_avg == 0
    if beta1 == 0:
        return torch.ones_like(v, dtype=torch.bool)  # no momentum at all
    ratio = beta1 / math.sqrt(beta2) if beta2 > 0 else math.inf
    by_moment = exp_avg_sq.sqrt() * ((1 - ratio) / ratio if ratio < 1 else 0.0)
    by_eps = eps * (1 - beta1) / beta1
    slowest = torch.clamp_min(by_moment, by_eps)
    bound = exp_avg.abs() * (2 * learning_rate / (1 - beta1**steps)) / slowest
    bound = bound.nan_to_num(nan=0.0)  # 0 / 0: no momentum and no denominator
    return (v + bound == v) & (v - bound == v)


def dead_rows(active: Tensor, bias: Tensor, at_rest: Tensor) -> Tensor:
    """Boolean [rows]: off for good, with no positive bias, and no momentum in v or the bias.

    The pre-activation of such a row is its bias, the same for every image and at most zero: ReLU
    makes 0 of it, with derivative 0, so that neither its weights nor its bias ever have a gradient
    again.

    Args:
        active: boolean [rows], whether the row of W is not zero.
        bias: [rows].
        at_rest: boolean [rows], whether the row's entries of v and its bias all are.
    """
    return ~active & (bias <= 0) & at_rest
