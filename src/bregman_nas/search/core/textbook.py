"""The textbook training loop, the reference of the fast ones: whole module, autograd, AdaBreg."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bregman_nas.bregman.optimizers import AdaBreg
from bregman_nas.search.core.momentum import Momentum, dead_rows
from bregman_nas.search.core.trainer import SparseTrainer, Trainer
from bregman_nas.settings import Run


class AutogradTrainer(Trainer):
    """Train any module by any optimizer, batch by batch.

    Args:
        network: the module, changed in place.
        optimizer: of its parameters.
        loss: of outputs and targets, a mean over the batch.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        self.network, self.optimizer, self.loss = network, optimizer, loss

    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        """See `Trainer`."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        total = torch.zeros((), dtype=torch.float64, device=inputs.device)
        for batch in batches:
            self.optimizer.zero_grad()
            loss = self.loss(self.network(inputs[batch]), targets[batch])
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return float(total)

    def full_parameters(self) -> dict[str, Tensor]:
        """See `Trainer`."""
        return self.network.state_dict()

    def write_to(self, network: nn.Module) -> None:
        """See `Trainer`; the network that is trained has its parameters already."""
        if network is not self.network:
            super().write_to(network)

    def size(self) -> int:
        """See `Trainer`."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def state_dict(self) -> dict[str, Any]:
        """See `Trainer`."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Trainer`."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


class TextbookTrainer(AutogradTrainer, SparseTrainer):
    """The same by AdaBreg.

    Args:
        network: the module, changed in place.
        optimizer: of its parameters; the first group has the sparse ones.
        loss: of outputs and targets, a mean over the batch.
        layers: those with the nonlinearity behind them, whose rows or channels can die.
        slope: of the nonlinearity for negative values: with one, every row has a gradient.
        at_once: images at a time where nothing is trained.
    """

    optimizer: AdaBreg

    def __init__(
        self,
        network: nn.Module,
        optimizer: AdaBreg,
        loss: Callable[[Tensor, Tensor], Tensor],
        layers: Sequence[nn.Linear | nn.Conv2d] = (),
        slope: float = 0.0,
        at_once: int = 1_000,
    ) -> None:
        super().__init__(network, optimizer, loss)
        self._layers, self._slope, self._at_once = layers, slope, at_once

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        """See `SparseTrainer`."""
        return torch.cat([self.network(part) for part in inputs.split(self._at_once)])

    def active(self) -> list[Tensor]:
        """See `SparseTrainer`."""
        sparse = self.optimizer.param_groups[0]
        return [sparse["regularizer"].active(weight).cpu() for weight in sparse["params"]]

    def living(self, learning_rate: float) -> list[int]:
        """See `SparseTrainer`."""
        if self._slope:
            return [len(layer.weight) for layer in self._layers]
        dead = [
            dead_outputs(self.optimizer, layer.weight, layer.bias, learning_rate)
            for layer in self._layers
            if layer.bias is not None
        ]
        return [int((~rows).sum()) for rows in dead]


def adabreg(run: Run, groups: list[dict[str, Any]]) -> AdaBreg:
    """AdaBreg as the run wants it, in its readable form."""
    return AdaBreg(
        groups,
        lr=run.optimizer.learning_rate,
        betas=run.optimizer.betas,
        eps=run.optimizer.eps,
        delta=run.optimizer.delta,
        correct_first_moment=run.protocol.first_moment == "corrected",
    )


@torch.no_grad()
def dead_outputs(optimizer: AdaBreg, weight: Tensor, bias: Tensor, learning_rate: float) -> Tensor:
    """Boolean [out]: which rows of a weight, or output channels of a convolution, are dead."""
    state, bias_state = optimizer.state[weight], optimizer.state[bias]
    group = optimizer.param_groups[0]
    beta1, beta2 = group["betas"]
    momentum = Momentum(learning_rate, beta1, beta2, group["eps"], int(state["step"]))
    moments = ("v", "exp_avg", "exp_avg_sq")
    at_rest = momentum.is_at_rest(*(state[m] for m in moments)).flatten(1).all(1)
    at_rest &= momentum.is_at_rest(*(bias_state[m] for m in moments))
    return dead_rows((weight != 0).flatten(1).any(1), bias, at_rest)
