"""Networks that the searched one is measured against.

They are trained like a search: same images, noise, order of the batches, learning rate and number
of epochs. The penalty and the start are what differs.
"""

from collections.abc import Mapping
from typing import Any, cast

from bregman_nas.baselines.architectures import Architecture, Arm, architecture, start_
from bregman_nas.baselines.trainers import AdamTrainer, AfterStep, FastTrainer, ReferenceTrainer
from bregman_nas.data.files import ImageSet
from bregman_nas.networks.residual_mlp import ResidualMLP
from bregman_nas.randomness import generator
from bregman_nas.search.core.mlp import Restoration, effective_widths, mean_squared_error, restore
from bregman_nas.settings import Engine, MLPExperiment, Run


class Training(Restoration):
    """A network of a given architecture, trained by Adam; nothing is taken out.

    Args:
        run: its settings.
        images: the raw images.
        seed: decides noise and order, and with the method of the run the start.
        engine: as for `Search`.
        device: where it runs.
        found: the record of the search whose architecture is trained, of the same seed.
    """

    trainer: AdamTrainer

    def __init__(
        self,
        run: Run,
        images: ImageSet,
        seed: int,
        engine: Engine,
        device: str,
        found: Mapping[str, Any],
    ) -> None:
        super().__init__(run, images, seed, engine, device)
        self._found = Architecture.from_record(found)
        self._made = self._architecture()
        experiment = run.experiment
        assert isinstance(experiment, MLPExperiment)
        depth, width = self._made.rows.shape
        self.network = ResidualMLP(
            width,
            depth,
            skips=self._made.skips is not None,
            input_mean=experiment.input_mean,
            input_std=experiment.input_std,
        )
        start_(self.network, self._made, generator(seed, "start", run.method))
        self.network.to(self.device)
        kind = ReferenceTrainer if engine == "textbook" else FastTrainer
        betas, eps = run.optimizer.betas, run.optimizer.eps
        self.trainer = kind(
            self.network, self._made, betas=betas, eps=eps, after_step=self._after_step
        )

    def _architecture(self) -> Architecture:
        """Of the network at its start: all rows and skips."""
        return Architecture.dense(*self._found.rows.shape, skips=self._found.skips is not None)

    #: Acts on the parameters after each step.
    _after_step: AfterStep | None = None

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
        outputs = restore(net, test.inputs)
        return {
            "test_mse": mean_squared_error(outputs, test.targets),
            "held_out_mse": mean_squared_error(restore(net, held_out.inputs), held_out.targets),
            "dead": not bool(outputs.any()),
            "parameters": made.parameters(),
            "active_rows": made.widths,
            "effective_rows": effective_widths(net, test.inputs),
            **self._skips(),
        }


class Retraining(Training):
    """An architecture made from the one that was found, trained anew; see `architecture`."""

    def _architecture(self) -> Architecture:
        return architecture(cast(Arm, self.run.method), self._found, self.seed)

    def architecture(self) -> Architecture:
        """As at the start: a skip that is allowed belongs to it whatever its value."""
        return self._made

    def result(self) -> dict[str, Any]:
        """As `Training`; `parameters_found` is the number of parameters of the one found."""
        return super().result() | {"parameters_found": self._found.parameters()}
