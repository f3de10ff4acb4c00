"""A reproducibility study of "Neural Architecture Search via Bregman Iterations" (2021).

The method itself, for any network, is imported from here: `from bregman_nas import AdaBreg`. It
needs torch and numpy alone, and is loaded when first asked for: `bregman-nas --help` does not wait
for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bregman_nas.bregman import *  # noqa: F403


def __getattr__(name: str) -> Any:
    return getattr(import_module("bregman_nas.bregman"), name)
