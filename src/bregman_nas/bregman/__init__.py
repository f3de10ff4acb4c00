"""Training by Bregman iterations, for any `torch.nn.Module`."""

from bregman_nas.bregman.choose import try_mus
from bregman_nas.bregman.cut import cut
from bregman_nas.bregman.groups import ByKind, HeadLasso, architecture, parameter_groups
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
from bregman_nas.bregman.start import start_sparsely_, stuck_groups, warn_of_stuck_groups

__all__ = [
    "L1",
    "AdaBreg",
    "ByKind",
    "GroupLasso",
    "HeadLasso",
    "LinBreg",
    "NonNegativeL1",
    "Regularizer",
    "Zero",
    "ZeroIndicator",
    "architecture",
    "cut",
    "parameter_groups",
    "sparse_kaiming_normal_",
    "start_sparsely_",
    "stuck_groups",
    "try_mus",
    "warn_of_stuck_groups",
]
