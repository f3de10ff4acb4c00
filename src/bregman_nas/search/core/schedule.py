"""The learning rate over the epochs."""

from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bregman_nas.settings import Constant, Plateau


class LearningRate:
    """The learning rate of the current epoch: constant, or torch's `ReduceLROnPlateau`."""

    def __init__(self, start: float, schedule: Constant | Plateau) -> None:
        # torch's schedulers act on an optimizer; this one holds nothing but the learning rate.
        self._holder = torch.optim.SGD([torch.zeros(())], lr=start)
        self._plateau = (
            ReduceLROnPlateau(
                self._holder,
                mode="min",
                factor=schedule.factor,
                patience=schedule.patience,
                threshold=schedule.threshold,
                threshold_mode="rel",
            )
            if isinstance(schedule, Plateau)
            else None
        )

    @property
    def value(self) -> float:
        """The learning rate of the current epoch."""
        return float(self._holder.param_groups[0]["lr"])

    def end_epoch(self, summed_loss: float) -> None:
        """Note an epoch's training loss, summed over its batches."""
        if self._plateau is not None:
            self._plateau.step(summed_loss)

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which `load_state_dict` continues."""
        plateau = self._plateau
        return {
            "value": self.value,
            "best": float(plateau.best) if plateau else None,
            "bad_epochs": plateau.num_bad_epochs if plateau else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._holder.param_groups[0]["lr"] = state["value"]
        if self._plateau is not None:
            self._plateau.best = state["best"]
            self._plateau.num_bad_epochs = state["bad_epochs"]
