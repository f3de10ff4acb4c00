"""Seeds that end in another regime than the others of their run."""

from collections.abc import Mapping
from typing import Any

from bregman_nas.report.read import Run
from bregman_nas.report.table1 import ANSWERS

# A seed is told of if its loss is more than so many times the median of its run.
TIMES = 2.0


def unlike_siblings(runs: Mapping[str, Run]) -> list[dict[str, Any]]:
    """The seeds of restoration runs that converged to a loss far above those of their siblings.

    Args:
        runs: by name, `<protocol>-<network>-<task>`.
    """
    found = []
    for name, run in runs.items():
        protocol, network, task = name.split("-")
        losses = 10 * run.converged.set_index("seed")["test_mse"]
        median = losses.median()
        found += [
            {
                "protocol": protocol,
                "name": f"{ANSWERS[network].lower()}, {task}",
                "seed": str(seed),
                "times": f"{loss / median:.1f}",
                "median": f"{median:.4f}",
            }
            for seed, loss in losses.items()
            if loss > TIMES * median
        ]
    return found
