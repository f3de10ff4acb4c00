"""Where the code of each kind of run is; see `Run.kind`."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from bregman_nas.search.core.searches import Search

#: Module and class, as names: the digest of one kind must not cover the others.
SEARCHES = {
    "mlp": ("bregman_nas.search.core.mlp", "MLPSearch"),
    "densenet": ("bregman_nas.search.core.densenet", "DenseNetSearch"),
    "retraining": ("bregman_nas.baselines.searchers", "Retraining"),
    "competitor": ("bregman_nas.baselines.searchers", "competitor"),
}


def search_class(kind: str) -> Callable[..., "Search[nn.Module]"]:
    """The class of that kind, or what makes one."""
    module, name = SEARCHES[kind]
    made: Callable[..., Search[nn.Module]] = getattr(import_module(module), name)
    return made
