"""The textbook training loop, the reference of the fast ones: whole module, autograd, AdaBreg."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bregman_nas.bregman.optimizers import AdaBreg
from bregman_nas.search.core.momentum import Adam, dead_rows
from bregman_nas.settings import Run


class TextbookTrainer:
    """Train any module by AdaBreg, batch by batch.

    Args:
        network: the module, changed in place.
        optimizer: AdaBreg over its parameters.
        loss: of outputs and targets, a mean over the batch.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: AdaBreg,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.loss = loss

    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        """Make one step for each batch; return the sum of the batches' losses.

        Args:
            inputs: one row an image.
            targets: one row an image.
            batches: the numbers of the images of each batch, int64.
            learning_rate: eta.
        """
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

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers from which `load_state_dict` continues bit for bit."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


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
    """Which rows of a weight, or output channels of a convolution, are dead.

    Args:
        optimizer: that trains both, after a step at least.
        weight: [out, ...]; a ReLU follows.
        bias: [out].
        learning_rate: the largest that any later step will have.

    Returns:
        Boolean [out].
    """
    state, bias_state = optimizer.state[weight], optimizer.state[bias]
    group = optimizer.param_groups[0]
    beta1, beta2 = group["betas"]
    adam = Adam(learning_rate, beta1, beta2, group["eps"], int(state["step"]))
    moments = ("v", "exp_avg", "exp_avg_sq")
    at_rest = adam.is_at_rest(*(state[m] for m in moments)).flatten(1).all(1)
    at_rest &= adam.is_at_rest(*(bias_state[m] for m in moments))
    return dead_rows((weight != 0).flatten(1).any(1), bias, at_rest)
