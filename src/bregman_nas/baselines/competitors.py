"""Other ways to a small network: proximal Adam, and pruning by magnitude.

Both start from all rows, dense, and have the search's images, noise and batches.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bregman_nas.baselines.architectures import Architecture
from bregman_nas.baselines.searchers import Training
from bregman_nas.bregman.regularizers import L1, GroupLasso
from bregman_nas.data.files import ImageSet
from bregman_nas.networks.residual_mlp import ResidualMLP
from bregman_nas.search.core.mlp import ROWS, skip_mu
from bregman_nas.settings import Engine, Run


def competitor(
    run: Run,
    images: ImageSet,
    seed: int,
    engine: Engine,
    device: torch.device | str,
    record: Mapping[str, Any],
) -> Training:
    """The arm that a run describes, beside the architecture in the record of the search."""
    kind = ProximalAdam if run.method == "proximal-adam" else Pruning
    return kind(run, images, seed, Architecture.from_record(record), engine, device)


class ProximalAdam(Training):
    """Adam's step on theta, then the prox of the search's penalty J: no subgradient v.

        theta <- prox_{lr J}(theta - lr m1 / (sqrt(m2) + eps)), both moments corrected

    J is that of the search: mu sum sqrt(n_g) |row|_2 for the rows of the weights, the L1 norm for
    the skips, nothing for the biases. A step shrinks each row by lr mu sqrt(n_g), so that mu is on
    another scale than in the search, where v crosses a threshold.

    Args:
        run: as the search, with a mu of its own.
        images: the raw images.
        seed: decides noise, order and start.
        found: gives depth and width, and says whether there are skips.
        engine: as for `Training`.
        device: where it runs.
    """

    def __init__(
        self,
        run: Run,
        images: ImageSet,
        seed: int,
        found: Architecture,
        engine: Engine = "compact",
        device: torch.device | str = "cpu",
    ) -> None:
        self._rows, self._skip = GroupLasso(run.experiment.mu, ROWS), L1(skip_mu(run))
        dense = Architecture.dense(*found.rows.shape, skips=found.skips is not None)
        super().__init__(
            run, images, seed, "proximal-adam", dense, engine, device, after_step=self._shrink
        )

    @torch.no_grad()
    def _shrink(self, weights: list[Tensor], skips: Tensor | None, learning_rate: float) -> None:
        """theta <- prox_{lr J}(theta)."""
        for weight in weights:
            weight.copy_(self._rows.prox(weight / learning_rate, learning_rate))
        if skips is not None:
            skips.copy_(self._skip.prox(skips / learning_rate, learning_rate))


class Pruning(Training):
    """The dense network, from half time on with as many rows as the search found.

    Of all layers together the rows with the largest norms stay, so that pruning chooses widths of
    its own. They go on with their values and momentum; the others are taken out for good. All
    skips stay allowed.

    Args:
        run: as the search.
        images: the raw images.
        seed: decides noise, order and start.
        found: the architecture that was found with this seed.
        engine: as for `Training`.
        device: where it runs.
    """

    def __init__(
        self,
        run: Run,
        images: ImageSet,
        seed: int,
        found: Architecture,
        engine: Engine = "compact",
        device: torch.device | str = "cpu",
    ) -> None:
        self._dense = Architecture.dense(*found.rows.shape, skips=found.skips is not None)
        super().__init__(run, images, seed, "pruned", self._dense, engine, device)
        self._kept, self._epochs = int(found.rows.sum()), 0

    def end_epoch(self, learning_rate: float) -> None:
        """Prune, after half of the epochs."""
        self._epochs += 1
        if self._epochs == max(1, self.run.experiment.epochs // 2):
            rows = largest_rows(self.full_network(), self._kept)
            self.trainer.restrict(Architecture(rows, self._dense.skips))

    def state_dict(self) -> dict[str, Any]:
        """See `loop.Searcher`."""
        return super().state_dict() | {"epochs": self._epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `loop.Searcher`."""
        super().load_state_dict(state)
        self._epochs = state["epochs"]


@torch.no_grad()
def largest_rows(network: ResidualMLP, count: int) -> Tensor:
    """Boolean [depth, width], on the CPU: the rows of all layers with the largest norms."""
    norms = torch.stack([torch.linalg.vector_norm(x.weight, dim=1) for x in network.layers]).cpu()
    chosen = torch.zeros(norms.numel(), dtype=torch.bool)
    chosen[norms.flatten().argsort(descending=True, stable=True)[:count]] = True
    return chosen.view_as(norms)
