"""The losses beside the article's, from `results/table1.json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bregman_nas.report.paper.missing import entry, read_json
from bregman_nas.report.paper.words import interval, mean_std
from bregman_nas.report.read import NETWORKS, PROTOCOLS, TASKS
from bregman_nas.report.table1 import ANSWERS, BASELINES
from bregman_nas.report.words import DASH, probability

MADE_BY = "bregman-nas aggregate"
# Welch's test tells two means apart.
LEVEL = 0.05
# The article prints three decimals.
ROUNDING = 0.0005


@dataclass(frozen=True)
class Comparison:
    """A mean loss on the official test images beside the article's, in its unit.

    Attributes:
        network: such as `residual autoencoders`.
        task: one of `TASKS`.
        protocol: one of `PROTOCOLS`.
        ours: our mean.
        article: the article's.
        p: of Welch's test.
    """

    network: str
    task: str
    protocol: str
    ours: float
    article: float
    p: float

    @property
    def significant(self) -> bool:
        """Whether the two differ at `LEVEL`."""
        return self.p < LEVEL

    @property
    def gap(self) -> float:
        """How far ours is from the article's, as a share of that."""
        return abs(self.ours / self.article - 1)

    @property
    def change(self) -> str:
        """How much higher or lower ours is, in percent of the article's."""
        percent = f"{100 * self.gap:.0f}%"
        return f"{percent} {'higher' if self.ours > self.article else 'lower'}"

    @property
    def told(self) -> dict[str, Any]:
        """As the article tells it; `rounding`: the article's rounding alone can explain it."""
        p = probability(self.p)
        return {
            "name": f"{self.network}, {self.task}",
            "protocol": self.protocol,
            "change": self.change,
            "p": p if p.startswith("<") else f"= {p}",
            "rounding": abs(self.ours - self.article) <= ROUNDING,
        }


def losses(project: Path) -> dict[str, Any]:
    """The article's Table 1 with ours, and how they compare.

    Raises:
        PaperError: if an entry is missing.
    """
    path = project / "results" / "table1.json"
    content = read_json(path, MADE_BY)
    rows = [
        _row(content, path, answer, task, images)
        for task in TASKS
        for answer in ANSWERS
        for images in (("test",) if answer in BASELINES else ("test", "held_out"))
    ]
    found = compare(project)
    apart = [one for one in found if one.significant]
    others = [one for one in found if not one.significant]
    largest, widest = (
        max(these, key=lambda one: one.gap, default=None) for these in (apart, others)
    )
    return {
        "rows": rows,
        "means": str(len(NETWORKS) * len(TASKS) * len(PROTOCOLS)),
        "tested": str(len(found)),
        "level": f"{LEVEL:.0%}",
        "apart": [one.told for one in apart],
        "largest": largest and largest.told,
        # The largest gap of all, where the spread over the seeds hides it.
        "hidden": widest.told
        if widest is not None and (largest is None or widest.gap > largest.gap)
        else None,
        "by_protocol": [
            {
                "protocol": p,
                "tested": str(sum(one.protocol == p for one in found)),
                "apart": str(sum(one.protocol == p for one in apart)),
            }
            for p in PROTOCOLS
        ],
        "rounding": str(sum(one.told["rounding"] for one in apart)),
        "directions": directions(apart),
        "others": widest and {"count": str(len(others)), "most": f"{100 * widest.gap:.0f}%"},
        "corrected": str(len(holm([one.p for one in found]))),
        "unit": {
            "noisy": _baseline(rows, "input_unchanged", "denoising"),
            "mean_image": _baseline(rows, "mean_image", "denoising"),
        },
        "article": {
            f"{n}_{t}": f"{entry(content, path, MADE_BY, 'article', n, t, 'mean'):.3f}"
            for n in NETWORKS
            for t in TASKS
        },
    }


def compare(project: Path) -> list[Comparison]:
    """All mean losses that can be tested against the article's.

    Raises:
        PaperError: if an entry is missing.
    """
    path = project / "results" / "table1.json"
    content = read_json(path, MADE_BY)
    found = []
    for task in TASKS:
        for network in NETWORKS:
            article = entry(content, path, MADE_BY, "article", network, task, "mean")
            for protocol in PROTOCOLS:
                cell = entry(content, path, MADE_BY, protocol, network, task, "test")
                if cell is not None and cell["welch"] is not None:
                    ours, p = cell["ten_mse"]["mean"], cell["welch"]["p"]
                    name = ANSWERS[network].lower()
                    found.append(Comparison(name, task, protocol, ours, article, p))
    return found


def directions(apart: list[Comparison]) -> str:
    """How many of these are higher than the article's, how many lower, and by how much."""
    parts = []
    for direction in ("higher", "lower"):
        percents = [
            100 * abs(one.ours / one.article - 1)
            for one in apart
            if (one.ours > one.article) == (direction == "higher")
        ]
        if not percents:
            continue
        least, most = f"{min(percents):.0f}%", f"{max(percents):.0f}%"
        by = least if least == most else f"{least} to {most}"
        count = "all" if len(apart) > 1 and len(percents) == len(apart) else str(len(percents))
        parts.append(f"{count} {direction} (by {by})")
    return ", ".join(parts)


def holm(probabilities: list[float]) -> list[float]:
    """Those that remain below `LEVEL` if it is to hold for all of them together (Holm)."""
    kept: list[float] = []
    for rank, p in enumerate(sorted(probabilities)):
        if p >= LEVEL / (len(probabilities) - rank):
            break
        kept.append(p)
    return kept


def _row(content: Any, path: Path, answer: str, task: str, images: str) -> dict[str, Any]:
    article = None
    if answer not in BASELINES:
        article = entry(content, path, MADE_BY, "article", answer, task)
    cells = {p: entry(content, path, MADE_BY, p, answer, task, images) for p in PROTOCOLS}
    return {
        "task": task,
        "answer": answer,
        "name": "on held-out images" if images == "held_out" else ANSWERS[answer],
        "trained": article is not None,
        "article": None
        if article is None or images == "held_out"
        else f"{article['mean']:.3f} ({article['std']:.3f})",
        **{protocol: None if cell is None else _loss(cell) for protocol, cell in cells.items()},
    }


def _loss(cell: dict[str, Any]) -> dict[str, str]:
    ten, test = cell["ten_mse"], cell["welch"]
    used = cell["seeds"] - cell["nan_seeds"]
    return {
        "mean": mean_std(ten, 4),
        "mean_alone": DASH if ten["mean"] is None else f"{ten['mean']:.4f}",
        "interval": interval(ten, 4, used),
        "seeds": str(used) + (f" of {cell['seeds']}" if cell["nan_seeds"] else ""),
        "p": DASH if test is None else probability(test["p"]),
        "per_pixel": DASH if cell["mse"]["mean"] is None else f"{cell['mse']['mean']:.4f}",
    }


def _baseline(rows: list[dict[str, Any]], answer: str, task: str) -> str:
    """The loss per pixel of an answer that needs no training, of the first protocol that has it."""
    for row in rows:
        for protocol in PROTOCOLS:
            if (row["answer"], row["task"]) == (answer, task) and row[protocol] is not None:
                return str(row[protocol]["per_pixel"])
    return "not run"
