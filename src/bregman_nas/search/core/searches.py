"""The search that belongs to a run."""

from typing import Any

from bregman_nas.data.files import ImageSet
from bregman_nas.search.kinds import search_class
from bregman_nas.settings import Engine, Run


def searcher(
    run: Run,
    images: ImageSet,
    seed: int,
    engine: Engine = "compact",
    device: str = "cpu",
    found: Any = None,
) -> Any:
    """A run's search at its start, such as an `MLPSearch` or a `DenseNetSearch`.

    Args:
        run: its settings.
        images: the raw images.
        seed: the number of the seed.
        engine: how it is computed.
        device: a torch device.
        found: the record of the search whose architecture is trained anew; None for a search.
    """
    of_record = () if found is None else (found,)
    search: Any = search_class(run.kind)(run, images, seed, engine, device, *of_record)
    if run.protocol.noise == "once":
        search.images = None  # needed again only for new noise
    return search
