"""Other ways to a small network: proximal Adam, and pruning by magnitude.

Both start from all rows, dense, and have the search's images, noise and batches.
"""

from typing import Any

import torch
from torch import Tensor

from bregman_nas.baselines.architectures import Architecture
from bregman_nas.baselines.searchers import Training
from bregman_nas.bregman.regularizers import L1, GroupLasso
from bregman_nas.networks.residual_mlp import ResidualMLP
from bregman_nas.search.core.mlp import ROWS, skip_mu
from bregman_nas.settings import Run


def competitor(run: Run, *others: Any) -> Training:
    """The arm that a run describes; the other arguments are those of `Training`."""
    return (ProximalAdam if run.method == "proximal-adam" else Pruning)(run, *others)


class ProximalAdam(Training):
    """Adam's step on theta, then the prox of the search's penalty J: no subgradient v.

        theta <- prox_{lr J}(theta - lr m1 / (sqrt(m2) + eps)), both moments corrected

    J is that of the search: mu sum sqrt(n_g) |row|_2 for the rows of the weights, the L1 norm for
    the skips, nothing for the biases. A step shrinks each row by lr mu sqrt(n_g), so that mu is on
    another scale than in the search, where v crosses a threshold.
    """

    @torch.no_grad()
    def _after_step(
        self, weights: list[Tensor], skips: Tensor | None, learning_rate: float
    ) -> None:
        """theta <- prox_{lr J}(theta)."""
        rows, skip = GroupLasso(self.run.experiment.mu, ROWS), L1(skip_mu(self.run))
        for weight in weights:
            weight.copy_(rows.prox(weight / learning_rate, learning_rate))
        if skips is not None:
            skips.copy_(skip.prox(skips / learning_rate, learning_rate))


class Pruning(Training):
    """The dense network, from half time on with as many rows as the search found.

    Of all layers together the rows with the largest norms stay, so that pruning chooses widths of
    its own. They go on with their values and momentum; the others are taken out for good. All
    skips stay allowed.
    """

    _epochs = 0

    def end_epoch(self, learning_rate: float) -> None:
        """Prune, after half of the epochs."""
        self._epochs += 1
        if self._epochs == max(1, self.run.experiment.epochs // 2):
            rows = largest_rows(self.full_network(), int(self._found.rows.sum()))
            self.trainer.restrict(Architecture(rows, self._made.skips))

    def state_dict(self) -> dict[str, Any]:
        """See `Search`."""
        return super().state_dict() | {"epochs": self._epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Search`."""
        super().load_state_dict(state)
        self._epochs = state["epochs"]


@torch.no_grad()
def largest_rows(network: ResidualMLP, count: int) -> Tensor:
    """Boolean [depth, width], on the CPU: the rows of all layers with the largest norms."""
    norms = torch.stack([torch.linalg.vector_norm(x.weight, dim=1) for x in network.layers]).cpu()
    chosen = torch.zeros(norms.numel(), dtype=torch.bool)
    chosen[norms.flatten().argsort(descending=True, stable=True)[:count]] = True
    return chosen.view_as(norms)
