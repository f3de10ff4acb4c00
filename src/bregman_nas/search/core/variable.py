"""A parameter as the compact trainers keep it."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Variable:
    """A parameter as AdaBreg sees it: v and its two moments, of the same shape."""

    v: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor

    @classmethod
    def start(cls, v: Tensor) -> "Variable":
        """At step 0: no momentum."""
        return cls(v, torch.zeros_like(v), torch.zeros_like(v))

    def select(self, dim: int, index: Tensor) -> "Variable":
        """A copy of the given rows (dim 0) or columns (dim 1)."""
        return Variable(*(t.index_select(dim, index) for t in self.tensors()))

    def write(self, full: "Variable", index: tuple[Tensor, ...]) -> None:
        """Copy into a larger variable at the given positions."""
        for target, source in zip(full.tensors(), self.tensors(), strict=True):
            target[index] = source

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """v and the moments."""
        return self.v, self.exp_avg, self.exp_avg_sq
