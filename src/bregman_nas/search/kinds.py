"""Where the code of each kind of run is; see `Run.kind`."""

from importlib import import_module
from typing import Any

#: Module and class, as names: the digest of one kind must not cover the others.
SEARCHES = {
    "mlp": ("bregman_nas.search.core.mlp", "MLPSearch"),
    "densenet": ("bregman_nas.search.core.densenet", "DenseNetSearch"),
    "retraining": ("bregman_nas.baselines.searchers", "retraining"),
    "competitor": ("bregman_nas.baselines.competitors", "competitor"),
}


def search_class(kind: str) -> Any:
    """The class of that kind."""
    module, name = SEARCHES[kind]
    return getattr(import_module(module), name)
