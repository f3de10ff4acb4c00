"""The textbook training loop, the reference of the fast ones: whole module, autograd, AdaBreg."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bregman_nas.bregman.optimizers import AdaBreg
from bregman_nas.data.degradation import Examples
from bregman_nas.networks import DenseNet, ResidualMLP
from bregman_nas.search.core.trainer import SparseTrainer, Trainer, dead_rows, in_parts, is_at_rest
from bregman_nas.settings import Run

#: What AdaBreg keeps of each parameter, beside the number of steps.
MOMENTS = ("v", "exp_avg", "exp_avg_sq")

Loss = Callable[[Tensor, Tensor], Tensor]


class AutogradTrainer(Trainer):
    """Train any module by any optimizer, batch by batch.

    Args:
        network: the module, changed in place.
        optimizer: of its parameters.
        loss: of outputs and targets, a mean over the batch.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss) -> None:
        self.network, self.optimizer, self.loss = network, optimizer, loss

    def train_batches(self, images: Examples, batches: Sequence[Tensor], rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = torch.zeros((), dtype=torch.float64, device=images.inputs.device)
        for batch in batches:
            self.optimizer.zero_grad()
            loss = self.loss(self.network(images.inputs[batch]), images.targets[batch])
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return float(total)

    def full_parameters(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def size(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


class TextbookTrainer(AutogradTrainer, SparseTrainer):
    """The same by AdaBreg, whose first group has the sparse parameters."""

    network: ResidualMLP | DenseNet
    optimizer: AdaBreg

    def outputs(self, inputs: Tensor) -> Tensor:
        return in_parts(self.network, inputs, 500 if isinstance(self.network, DenseNet) else 1_000)

    def active(self) -> list[Tensor]:
        sparse = self.optimizer.param_groups[0]
        return [sparse["regularizer"].active(weight).cpu() for weight in sparse["params"]]

    @torch.no_grad()
    def dead(self, learning_rate: float) -> list[Tensor]:
        group, dead = self.optimizer.param_groups[0], []
        sloped = getattr(self.network, "relu_slope", 0) != 0  # then every row has a gradient
        for layer in self.network.layers:
            assert layer.bias is not None
            at_rest = torch.tensor(not sloped)
            for parameter in (layer.weight, layer.bias):
                state = state_of(self.optimizer, parameter)
                stack, steps = torch.stack([state[name] for name in MOMENTS]), int(state["step"])
                rest = is_at_rest(stack, learning_rate, group["betas"], group["eps"], steps)
                at_rest = at_rest.to(rest.device) & rest.view(len(rest), -1).all(1)
            active = (layer.weight != 0).flatten(1).any(1)
            dead.append(dead_rows(active, layer.bias, at_rest))
        return dead


def adabreg(run: Run, groups: list[dict[str, Any]]) -> AdaBreg:
    """AdaBreg as the run wants it, in its readable form."""
    options = run.optimizer.model_dump()
    options |= {"correct_first_moment": run.protocol.first_moment == "corrected"}
    return AdaBreg(groups, options.pop("learning_rate"), **options)


def state_of(optimizer: AdaBreg, parameter: Tensor) -> dict[str, Tensor]:
    """What AdaBreg keeps of a parameter, initialised if no step has been made."""
    state: dict[str, Tensor] = optimizer.state[parameter]
    if not state:
        v = optimizer.subgradient(parameter)
        zeros = {name: torch.zeros_like(v) for name in MOMENTS[1:]}
        state |= {"step": torch.zeros(()), "v": v, **zeros}
    return state
