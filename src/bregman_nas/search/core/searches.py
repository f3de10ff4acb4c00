"""The search of each network, by name."""

from importlib import import_module
from typing import Any

from bregman_nas.data.files import ImageSet
from bregman_nas.settings import Engine, Run

#: Module and class, as names: the digest of one network's search must not cover the other's.
SEARCHES = {
    "mlp": ("bregman_nas.search.core.mlp", "MLPSearch"),
    "densenet": ("bregman_nas.search.core.densenet", "DenseNetSearch"),
}


def searcher(
    run: Run,
    images: ImageSet,
    seed: int,
    engine: Engine = "compact",
    device: str = "cpu",
) -> Any:
    """The search of a run's network at its start: an `MLPSearch` or a `DenseNetSearch`."""
    module, name = SEARCHES[run.kind]
    search: Any = getattr(import_module(module), name)(run, images, seed, engine, device)
    if run.protocol.noise == "once":
        search.images = None  # needed again only for new noise
    return search
