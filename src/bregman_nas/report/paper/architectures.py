"""The residual architectures of the two protocols beside each other."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from bregman_nas.report.claims.claim import ENOUGH_SEEDS, above, difference
from bregman_nas.report.claims.widths import coding_layers
from bregman_nas.report.paper.words import interval, mean_std
from bregman_nas.report.read import PROTOCOLS, TASKS, Array, Run, depth, rows_by_layer, skip_names
from bregman_nas.report.statistics import Summary, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT
from bregman_nas.report.words import DASH, signed


def _loss(run: Run) -> Array:
    return ARTICLE_UNIT * run.converged["test_mse"].to_numpy(float)


def _total(run: Run) -> Array:
    total: Array = rows_by_layer(run.converged, "width").sum(1)
    return total


def _narrowest(run: Run) -> Array:
    narrowest: Array = rows_by_layer(run.converged, "width")[:, :-1].min(1)
    return narrowest


def zero_skips(run: Run) -> Array:
    """How many skips of a search are exactly zero in the end, [converged seeds]."""
    columns = [f"skip_{l}_{i}" for l, i in skip_names(depth(run.seeds))]
    return (run.converged[columns] == 0).sum(axis=1).to_numpy(float)


# What is compared, of a run [converged seeds], and with how many digits.
MEASURES: dict[str, tuple[Callable[[Run], Array], int]] = {
    "loss": (_loss, 4),
    "active rows": (_total, 0),
    "zero skips": (zero_skips, 1),
    "width of the narrowest hidden layer": (_narrowest, 0),
}


def architectures(runs: dict[str, Run]) -> dict[str, Any]:
    """By task what the residual autoencoders are under each protocol; None for what is not run.

    Args:
        runs: by `<protocol>-<experiment>`.

    Returns:
        `tasks`: for each task the measures with the difference of the protocols (`authors` less
        `paper`, Welch), and by protocol `seeds` and in how many of them each hidden layer is the
        narrowest. `apart`: the measures whose interval excludes zero on each task. `compared`:
        whether both protocols have enough seeds on each task.
    """
    tasks = {
        task: _of_task({p: runs.get(f"{p}-residual-{task}") for p in PROTOCOLS}) for task in TASKS
    }
    apart = [
        name for name in MEASURES if all(one["measures"][name]["apart"] for one in tasks.values())
    ]
    counts = [seeds for one in tasks.values() for seeds in one["seeds"].values()]
    compared = all(seeds is not None and int(seeds) >= ENOUGH_SEEDS for seeds in counts)
    return {"tasks": tasks, "apart": apart, "compared": compared}


def _of_task(runs: dict[str, Run | None]) -> dict[str, Any]:
    return {
        "measures": {
            name: _compared(runs, measure, digits) for name, (measure, digits) in MEASURES.items()
        },
        "narrowest": {p: None if run is None else _places(run) for p, run in runs.items()},
        "seeds": {p: None if run is None else str(len(run.converged)) for p, run in runs.items()},
    }


def _compared(
    runs: dict[str, Run | None], measure: Callable[[Run], Array], digits: int
) -> dict[str, Any]:
    found = {p: None if run is None else summarize(measure(run)) for p, run in runs.items()}
    gap = difference("", found["authors"], found["paper"], above(0))
    enough = gap.seeds is not None and gap.seeds >= ENOUGH_SEEDS
    apart = enough and gap.low is not None and gap.high is not None and gap.low * gap.high > 0
    return {
        **{p: None if one is None else mean_std(vars(one), digits) for p, one in found.items()},
        **{f"{p}_mean": _mean(one, digits) for p, one in found.items()},
        "difference": DASH if gap.value is None else signed(gap.value, digits),
        "interval": interval(vars(gap), digits, gap.seeds),
        "apart": apart,
    }


def _places(run: Run) -> str:
    layers = coding_layers(rows_by_layer(run.converged, "width"))
    counts = Counter(int(layer) for layer in layers[np.isfinite(layers)])
    return ", ".join(f"{layer} ({count})" for layer, count in sorted(counts.items()))


def _mean(summary: Summary | None, digits: int) -> str:
    return DASH if summary is None or summary.mean is None else f"{summary.mean:.{digits}f}"
