"""Training by Bregman iterations, for any `torch.nn.Module`."""

from bregman_nas.bregman.initialization import sparse_kaiming_normal_
from bregman_nas.bregman.optimizers import AdaBreg, LinBreg
from bregman_nas.bregman.regularizers import (
    L1,
    GroupLasso,
    NonNegativeL1,
    Regularizer,
    Zero,
    ZeroIndicator,
)

__all__ = [
    "L1",
    "AdaBreg",
    "GroupLasso",
    "LinBreg",
    "NonNegativeL1",
    "Regularizer",
    "Zero",
    "ZeroIndicator",
    "sparse_kaiming_normal_",
]
