"""Networks that the searched one is measured against, each a `loop.Searcher`.

They are trained like a search: same images, noise, order of the batches, learning rate and number
of epochs. The penalty and the start are what differs.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from bregman_nas.baselines.architectures import Architecture, Arm, architecture, start_
from bregman_nas.baselines.trainers import AfterStep, FastTrainer, ReferenceTrainer, Trainer
from bregman_nas.data.degradation import Examples
from bregman_nas.data.files import ImageSet
from bregman_nas.networks.residual_mlp import ResidualMLP
from bregman_nas.randomness import generator
from bregman_nas.search.core.mlp import (
    PICTURED,
    effective_widths,
    fresh_inputs,
    lower_triangle,
    mean_squared_error,
    problem,
    restore,
)
from bregman_nas.settings import Engine, MLPExperiment, Run


class Training:
    """A network of a given architecture, trained by Adam.

    Args:
        run: protocol and experiment.
        images: the raw images.
        seed: decides noise and order, and with the name the start.
        name: of the kind of network.
        architecture: of the network at its start.
        engine: `compact`, or `textbook` for the same by full-size module and autograd.
        device: where it runs.
        after_step: acts on the parameters after each step.
    """

    def __init__(
        self,
        run: Run,
        images: ImageSet,
        seed: int,
        name: str,
        architecture: Architecture,
        engine: Engine = "compact",
        device: torch.device | str = "cpu",
        *,
        after_step: AfterStep | None = None,
    ) -> None:
        experiment = run.experiment
        assert isinstance(experiment, MLPExperiment)
        self.run, self.images, self.seed, self.device = run, images, seed, torch.device(device)
        self.problem = problem(run, images, seed).to(self.device)
        depth, width = architecture.rows.shape
        self.network = ResidualMLP(
            width,
            depth,
            skips=architecture.skips is not None,
            input_mean=experiment.input_mean,
            input_std=experiment.input_std,
        )
        start_(self.network, architecture, generator(seed, "start", name))
        self.network.to(self.device)
        kind = ReferenceTrainer if engine == "textbook" else FastTrainer
        self.trainer: Trainer = kind(
            self.network,
            architecture,
            betas=run.optimizer.betas,
            eps=run.optimizer.eps,
            after_step=after_step,
        )

    def train_examples(self, epoch: int) -> Examples:
        """The degraded and clean images of this epoch."""
        if self.run.protocol.noise == "once":
            return self.problem.train
        inputs = fresh_inputs(self.run, self.images, self.seed, epoch)
        return Examples(inputs.to(self.device), self.problem.train.targets)

    def train_batches(
        self, inputs: Tensor, targets: Tensor, batches: list[Tensor], learning_rate: float
    ) -> float:
        """See `loop.Searcher`."""
        return self.trainer.train_batches(inputs, targets, batches, learning_rate)

    def end_epoch(self, learning_rate: float) -> None:
        """Nothing is taken out."""

    def architecture(self) -> Architecture:
        """The rows and skips that are not zero."""
        return Architecture.of(self.full_network())

    def observe(self, learning_rate: float) -> dict[str, Any]:
        """Loss on the held-out images, rows and skips.

        For each layer: the rows that exist, and those whose ReLU is positive for at least one
        held-out image.
        """
        held_out = self.problem.held_out
        outputs, fires = self.trainer.look(held_out.inputs)
        observation: dict[str, Any] = {
            "held_out_loss": mean_squared_error(outputs, held_out.targets),
            "active_rows": self.architecture().widths,
            "firing_rows": fires,
        }
        return observation | self._skips()

    def result(self) -> dict[str, Any]:
        """Losses and architecture of the network as it is now, judged as a full-size module.

        `dead` is whether all outputs are 0 for all test images.
        """
        net, made = self.full_network(), self.architecture()
        test, held_out = self.problem.test, self.problem.held_out
        outputs = restore(net, test.inputs)
        result: dict[str, Any] = {
            "test_mse": mean_squared_error(outputs, test.targets),
            "held_out_mse": mean_squared_error(restore(net, held_out.inputs), held_out.targets),
            "dead": not bool(outputs.any()),
            "parameters": made.parameters(),
            "active_rows": made.widths,
            "effective_rows": effective_widths(net, test.inputs),
        }
        return result | self._skips()

    def _skips(self) -> dict[str, Any]:
        net = self.full_network()
        return {} if net.skips is None else {"skips": lower_triangle(net.skips.tolist())}

    def picture(self) -> Tensor:
        """The first test images, uint8 [3 * side, 8 * side]: rows clean, degraded, restored."""
        inputs, targets = (
            t[:PICTURED] for t in (self.problem.test.inputs, self.problem.test.targets)
        )
        rows = torch.stack([targets, inputs, restore(self.full_network(), inputs)])
        side = math.isqrt(rows.shape[-1])
        grid = rows.reshape(3, -1, side, side).permute(0, 2, 1, 3).reshape(3 * side, -1)
        return grid.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()

    def full_network(self) -> ResidualMLP:
        """The network as it is now, with all its rows."""
        self.trainer.write_to(self.network)
        return self.network

    def state_dict(self) -> dict[str, Any]:
        """See `loop.Searcher`."""
        return {"trainer": self.trainer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `loop.Searcher`."""
        self.trainer.load_state_dict(state["trainer"])


class Retraining(Training):
    """An architecture made from the one that was found, trained anew.

    Args:
        run: of the search.
        images: the raw images.
        seed: of the search.
        arm: which architecture, see `architectures.architecture`.
        found: the architecture that was found with this seed.
        engine: as for `Training`.
        device: where it runs.
    """

    def __init__(
        self,
        run: Run,
        images: ImageSet,
        seed: int,
        arm: Arm,
        found: Architecture,
        engine: Engine = "compact",
        device: torch.device | str = "cpu",
    ) -> None:
        self._architecture = architecture(arm, found, seed)
        self._found = found
        super().__init__(run, images, seed, arm, self._architecture, engine, device)

    def architecture(self) -> Architecture:
        """It stays; a skip that is allowed belongs to it whatever its value."""
        return self._architecture

    def result(self) -> dict[str, Any]:
        """As `Training`; `parameters_found` is the number of parameters of the one found."""
        return super().result() | {"parameters_found": self._found.parameters()}


def retraining(
    run: Run,
    images: ImageSet,
    seed: int,
    engine: Engine,
    device: torch.device | str,
    record: Mapping[str, Any],
) -> Retraining:
    """The arm that a run describes, for the architecture in the record of the search."""
    arm = cast(Arm, run.method)
    return Retraining(run, images, seed, arm, Architecture.from_record(record), engine, device)
