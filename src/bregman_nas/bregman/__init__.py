"""Training by Bregman iterations, for any `torch.nn.Module`."""

from .choose import try_mus
from .cut import cut
from .groups import ByKind, HeadLasso, architecture, parameter_groups
from .initialization import sparse_kaiming_normal_
from .optimizers import AdaBreg, LinBreg
from .regularizers import L1, GroupLasso, NonNegativeL1, Regularizer, Zero, ZeroIndicator
from .start import start_sparsely_, stuck_groups, warn_of_stuck_groups

__all__ = ["AdaBreg", "LinBreg", "architecture", "cut", "parameter_groups", "try_mus"]
__all__ += ["L1", "GroupLasso", "NonNegativeL1", "Regularizer", "Zero", "ZeroIndicator"]
__all__ += ["ByKind", "HeadLasso", "sparse_kaiming_normal_"]
__all__ += ["start_sparsely_", "stuck_groups", "warn_of_stuck_groups"]
