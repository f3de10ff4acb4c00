"""Seeds that end in another regime than the others of their run."""

from collections.abc import Mapping
from typing import Any

from bregman_nas.report.read import Run
from bregman_nas.report.statistics import summarize, welch
from bregman_nas.report.table1 import ANSWERS, ARTICLE, ARTICLE_UNIT
from bregman_nas.report.words import probability

# A seed is told of if its loss is more than so many times the median of its run.
TIMES = 2.0


def unlike_siblings(runs: Mapping[str, Run]) -> list[dict[str, Any]]:
    """The seeds of restoration runs that converged to a loss far above those of their siblings.

    Args:
        runs: by name, `<protocol>-<network>-<task>`.

    Returns:
        Of each seed how many times the median of its run its loss is; that median; and what the
        mean would be `without` this seed, its change against the article and Welch's p.
    """
    found = []
    for name, run in runs.items():
        protocol, network, task = name.split("-")
        losses = ARTICLE_UNIT * run.converged.set_index("seed")["test_mse"]
        median = losses.median()
        for seed, loss in losses[losses > TIMES * median].items():
            others = summarize(losses.drop(seed))
            article = ARTICLE[network, task]
            test = welch(others, article)
            if others.mean is None or test is None:
                continue
            p = probability(test.p)
            change = others.mean / article.mean - 1
            found.append(
                {
                    "protocol": protocol,
                    "name": f"{ANSWERS[network].lower()}, {task}",
                    "seed": str(seed),
                    "times": f"{loss / median:.1f}",
                    "median": f"{median:.4f}",
                    "without": f"{others.mean:.4f}",
                    "change": f"{100 * abs(change):.0f}% {'above' if change > 0 else 'below'}",
                    "p": p if p.startswith("<") else f"= {p}",
                }
            )
    return found
