"""A reproducibility study of "Neural Architecture Search via Bregman Iterations" (2021).

The method itself, for any network, is imported from here: `from bregman_nas import AdaBreg`. It
needs torch alone, and is loaded when first asked for: `bregman-nas --help` does not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bregman_nas.bregman import *  # noqa: F403

__all__ = [  # noqa: F405
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
    "start_sparsely_",
    "stuck_groups",
    "try_mus",
    "warn_of_stuck_groups",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("bregman_nas.bregman"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
