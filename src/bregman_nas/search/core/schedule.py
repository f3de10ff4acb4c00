"""The learning rate over the epochs."""

import math
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bregman_nas.settings import Constant, Plateau


class LearningRate:
    """The learning rate of the current epoch, by torch's `ReduceLROnPlateau`."""

    def __init__(self, start: float, schedule: Constant | Plateau) -> None:
        # torch's schedulers act on an optimizer; this one holds nothing but the learning rate.
        holder = torch.optim.SGD([torch.zeros(())], lr=start)
        # A constant rate waits for ever.
        options = schedule.model_dump(exclude={"kind"}) or {"patience": math.inf}
        self._plateau = ReduceLROnPlateau(holder, threshold_mode="rel", **options)

    @property
    def value(self) -> float:
        """The learning rate of the current epoch."""
        return float(self._plateau.optimizer.param_groups[0]["lr"])

    def end_epoch(self, summed_loss: float) -> None:
        """Note an epoch's training loss, summed over its batches."""
        self._plateau.step(summed_loss)

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which `load_state_dict` continues."""
        best, bad_epochs = float(self._plateau.best), self._plateau.num_bad_epochs
        return {"value": self.value, "best": best, "bad_epochs": bad_epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._plateau.optimizer.param_groups[0]["lr"] = state["value"]
        self._plateau.best = state["best"]
        self._plateau.num_bad_epochs = state["bad_epochs"]
