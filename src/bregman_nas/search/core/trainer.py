"""The interface of all trainers, and the fused step of those with gradients by hand."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bregman_nas.bregman.optimizers import AdaBreg, fused_adam_
from bregman_nas.networks.densenet import DenseNet
from bregman_nas.networks.residual_mlp import ResidualMLP
from bregman_nas.search.core.momentum import Momentum


class Trainer(ABC):
    """Trains one network batch by batch."""

    @abstractmethod
    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        """Make one step for each batch.

        Args:
            inputs: one image a row, not yet standardised.
            targets: one clean image, or the class, a row.
            batches: the numbers of the images of each batch, int64.
            learning_rate: eta; it never rises.

        Returns:
            The sum over the batches of their mean losses.
        """

    def compact(self, learning_rate: float) -> None:  # noqa: B027, some take out nothing
        """Take out what no step with this learning rate or a lower one will change again."""

    @abstractmethod
    def full_parameters(self) -> dict[str, Tensor]:
        """The parameters of the network with nothing taken out, by their names in the module."""

    def write_to(self, network: nn.Module) -> None:
        """Set the parameters of a full network to those of this one."""
        network.load_state_dict(self.full_parameters())

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
    def living(self, learning_rate: float) -> list[int]:
        """For each layer in which they can die, how many rows or channels are not dead."""


@dataclass
class Subgradient:
    """The subgradient v of a parameter and its two moments, of the same shape."""

    v: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor

    @classmethod
    def start(cls, v: Tensor) -> "Subgradient":
        """At step 0: no momentum."""
        return cls(v, torch.zeros_like(v), torch.zeros_like(v))

    def select(self, dim: int, index: Tensor) -> "Subgradient":
        """A copy of the given rows (dim 0) or columns (dim 1)."""
        return Subgradient(*(t.index_select(dim, index) for t in self.tensors()))

    def write(self, full: "Subgradient", index: tuple[Tensor, ...]) -> None:
        """Copy into a larger one at the given positions."""
        for target, source in zip(full.tensors(), self.tensors(), strict=True):
            target[index] = source

    def copy(self) -> "Subgradient":
        """With tensors of its own."""
        return Subgradient(*(t.clone() for t in self.tensors()))

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """v and the moments."""
        return self.v, self.exp_avg, self.exp_avg_sq


class FusedTrainer(Trainer):
    """Gradients written out by hand, and one fused kernel that moves all subgradients."""

    #: The attributes that make up the state.
    _state: tuple[str, ...]

    def __init__(
        self,
        network: ResidualMLP | DenseNet,
        betas: tuple[float, float],
        eps: float,
        correct_first_moment: bool = True,
    ) -> None:
        self.input_mean, self.input_std = network.input_mean, network.input_std
        self.betas, self.eps, self.correct_first_moment = betas, eps, correct_first_moment
        self.steps = 0

    @torch.no_grad()
    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        """See `Trainer`."""
        total = torch.zeros((), dtype=torch.float64, device=inputs.device)
        for batch in batches:
            x = inputs.index_select(0, batch).sub_(self.input_mean).div_(self.input_std)
            total += self._loss_and_gradients(x, targets.index_select(0, batch))
            self._update(learning_rate)
        return float(total)

    @abstractmethod
    def _loss_and_gradients(self, x: Tensor, targets: Tensor) -> Tensor:
        """Write the gradients for standardised images; return the mean loss."""

    def _update(self, learning_rate: float) -> None:
        """Make the step, for gradients that are written."""
        self._move(learning_rate)
        self.steps += 1

    def _move(self, learning_rate: float) -> None:
        v, exp_avg, exp_avg_sq = zip(*(x.tensors() for x in self._trained), strict=True)
        fused_adam_(
            v,
            self._gradients,
            exp_avg,
            exp_avg_sq,
            self._counters,
            lr=learning_rate,
            betas=self.betas,
            eps=self.eps,
            correct_first_moment=self.correct_first_moment,
        )

    def _train(self, trained: list[Subgradient]) -> None:
        """Let the steps from now on be of these."""
        self._trained = trained
        self._gradients = [torch.zeros_like(x.v) for x in trained]
        self._counters = [torch.tensor(float(self.steps), device=x.v.device) for x in trained]

    @abstractmethod
    def _prepare(self) -> None:
        """Make everything that follows from the state."""

    def size(self) -> int:
        """See `Trainer`."""
        return sum(x.v.numel() for x in self._trained)

    def state_dict(self) -> dict[str, Any]:
        """See `Trainer`."""
        return {name: _plain(getattr(self, name)) for name in self._state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Trainer`."""
        for name in self._state:
            setattr(self, name, _restored(getattr(self, name), state[name]))
        self._prepare()


class CompactTrainer(FusedTrainer, SparseTrainer):
    """Bregman iterations without what has died.

    Args:
        network: at its start; it is not changed, and its device and type are those of training.
        optimizer: of its parameters; it says how they are trained, and is not used itself.
    """

    #: Images at a time where nothing is trained.
    _at_once: int

    def __init__(self, network: ResidualMLP | DenseNet, optimizer: AdaBreg) -> None:
        group = optimizer.param_groups[0]
        self.delta: float = group["delta"]
        super().__init__(network, group["betas"], group["eps"], group["correct_first_moment"])

    def _update(self, learning_rate: float) -> None:
        super()._update(learning_rate)
        self._shrink()

    @abstractmethod
    def _shrink(self) -> None:
        """The step theta = prox(delta v), and what follows from theta."""

    def _train(self, trained: list[Subgradient]) -> None:
        super()._train(trained)
        self._shrink()

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        """See `SparseTrainer`."""
        parts = inputs.split(self._at_once)
        return torch.cat([self._outputs((x - self.input_mean) / self.input_std) for x in parts])

    @abstractmethod
    def _outputs(self, x: Tensor) -> Tensor:
        """The outputs for standardised images, one a row."""

    def _momentum(self, learning_rate: float) -> Momentum:
        return Momentum(learning_rate, self.betas[0], self.betas[1], self.eps, self.steps)


def _plain(value: Any) -> Any:
    """Data classes as dictionaries, which can be loaded without running code."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value


def _restored(like: Any, plain: Any) -> Any:
    """What `_plain` was made of: data classes and lists of the same kinds as `like`."""
    if isinstance(like, list):
        return [_restored(like[0], item) for item in plain]
    if is_dataclass(like):
        kind: Any = type(like)
        return kind(**{name: _restored(getattr(like, name), x) for name, x in plain.items()})
    return plain
