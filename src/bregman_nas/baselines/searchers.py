"""Networks that the searched one is measured against.

They are trained like a search: same images, noise, order of the batches, learning rate and number
of epochs. The penalty and the start are what differs.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from bregman_nas.baselines.architectures import Architecture, architecture, start_
from bregman_nas.baselines.trainers import FastTrainer, ReferenceTrainer
from bregman_nas.bregman.regularizers import L1, GroupLasso
from bregman_nas.data.files import ImageSet
from bregman_nas.networks import ResidualMLP
from bregman_nas.randomness import generator
from bregman_nas.search.core.mlp import ROWS, Restoration, effective_widths, mean_squared_error
from bregman_nas.search.core.trainer import in_parts
from bregman_nas.search.records import Record
from bregman_nas.settings import Engine, Run


class Training(Restoration):
    """A network of a given architecture, trained by Adam; nothing is taken out.

    The arguments are those of `Search`, and the record of the search, of the same seed, that has
    `found` the architecture. The start depends on seed and method.
    """

    trainer: FastTrainer | ReferenceTrainer

    def __init__(
        self, run: Run, images: ImageSet, seed: int, engine: Engine, device: str, found: Record
    ) -> None:
        super().__init__(run, images, seed, engine, device)
        self._found = Architecture.from_record(found)
        made = self._made = architecture(run.method, self._found, seed)
        depth, width = made.rows.shape
        standardised = run.experiment.model_dump(include={"input_mean", "input_std"})
        self.network = ResidualMLP(width, depth, skips=made.skips is not None, **standardised)
        start_(self.network, made, generator(seed, "start", run.method))
        self.network.to(self.device)
        betas, eps = run.optimizer.betas, run.optimizer.eps
        adam = Adam(self.network.parameters(), betas=betas, eps=eps)
        kind: Any = ReferenceTrainer if engine == "textbook" else FastTrainer
        self.trainer = kind(self.network, made, adam, self._after_step)

    def _after_step(self, weights: list[Tensor], skips: Tensor | None, rate: float) -> None:
        """Act on the parameters after each step."""

    def architecture(self) -> Architecture:
        """The rows and skips that are not zero."""
        return Architecture.of(self.full_network())

    def observe(self, learning_rate: float) -> dict[str, Any]:
        """Loss on the held-out images; rows of each layer that exist, and that fire; skips."""
        held_out = self.problem.held_out
        outputs, fires = self.trainer.look(held_out.inputs)
        return {
            "held_out_loss": mean_squared_error(outputs, held_out.targets),
            "active_rows": self.architecture().widths,
            "firing_rows": fires,
            **self._skips(),
        }

    def result(self) -> dict[str, Any]:
        """See `Search`; `dead` is whether all outputs are 0 for all test images."""
        net, made = self.full_network(), self.architecture()
        test, held_out = self.problem.test, self.problem.held_out
        outputs = in_parts(net, test.inputs)
        return {
            "test_mse": mean_squared_error(outputs, test.targets),
            "held_out_mse": mean_squared_error(in_parts(net, held_out.inputs), held_out.targets),
            "dead": not bool(outputs.any()),
            "parameters": made.parameters(),
            "active_rows": made.widths,
            "effective_rows": effective_widths(net, test.inputs),
            **self._skips(),
        }


class Retraining(Training):
    """An architecture made from the one that was found, trained anew; see `architecture`."""

    def architecture(self) -> Architecture:
        """As at the start: a skip that is allowed belongs to it whatever its value."""
        return self._made

    def result(self) -> dict[str, Any]:
        """As `Training`; `parameters_found` is the number of parameters of the one found."""
        return super().result() | {"parameters_found": self._found.parameters()}


def competitor(run: Run, *others: Any) -> Training:
    """The arm that a run describes; the other arguments are those of `Training`."""
    return (ProximalAdam if run.method == "proximal-adam" else Pruning)(run, *others)


class ProximalAdam(Training):
    """Adam's step on theta, then the prox of the search's penalty J: no subgradient v.

        theta <- prox_{lr J}(theta - lr m1 / (sqrt(m2) + eps)), both moments corrected

    It starts from all rows. A step shrinks each row by lr mu sqrt(n_g), so that mu is on another
    scale than in the search, where v crosses a threshold.
    """

    @torch.no_grad()
    def _after_step(self, weights: list[Tensor], skips: Tensor | None, rate: float) -> None:
        """theta <- prox_{lr J}(theta)."""
        mu = self.run.experiment.mu
        rows, skip = GroupLasso(mu, ROWS), L1(self.run.protocol.skip_threshold * mu)
        for weight in weights:
            weight.copy_(rows.prox(weight / rate, rate))
        if skips is not None:
            skips.copy_(skip.prox(skips / rate, rate))


class Pruning(Training):
    """The dense network, from half time on with as many rows as the search found.

    Of all layers together the rows with the largest norms stay, so that pruning chooses widths of
    its own. They go on with their values and momentum; the others are taken out for good. All
    skips stay allowed.
    """

    def compact(self, learning_rate: float) -> None:
        """Prune, after half of the epochs."""
        if self.epoch + 1 == max(1, self.run.experiment.epochs // 2):
            rows = largest_rows(self.full_network(), int(self._found.rows.sum()))
            self.trainer.restrict(Architecture(rows, self._made.skips))


@torch.no_grad()
def largest_rows(network: ResidualMLP, count: int) -> Tensor:
    """Boolean [depth, width], on the CPU: the rows of all layers with the largest norms."""
    norms = torch.stack([torch.linalg.vector_norm(x.weight, dim=1) for x in network.layers]).cpu()
    chosen = torch.zeros(norms.numel(), dtype=torch.bool)
    chosen[norms.flatten().argsort(descending=True, stable=True)[:count]] = True
    return chosen.view_as(norms)
