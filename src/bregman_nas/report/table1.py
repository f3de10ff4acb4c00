"""Table 1: the article's losses beside those of both protocols and of answers without training."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from bregman_nas.report.data import NETWORKS, PROTOCOLS, REGISTERED, TASKS, Run, Study
from bregman_nas.report.stats import Reference, Summary, Welch, summarize, welch
from bregman_nas.report.text import DASH, NOT_RUN, fixed, mean_std

# The article's losses are sums over ten test batches of their mean squared error per pixel.
ARTICLE_UNIT = 10
ARTICLE_SEEDS = 10
ARTICLE = {
    ("autoencoder", "denoising"): Reference(0.081, 0.012, ARTICLE_SEEDS),
    ("autoencoder", "deblurring"): Reference(0.147, 0.021, ARTICLE_SEEDS),
    ("residual", "denoising"): Reference(0.005, 0.000, ARTICLE_SEEDS),
    ("residual", "deblurring"): Reference(0.112, 0.006, ARTICLE_SEEDS),
}
BASELINES = ("input_unchanged", "mean_image", "zero")
ANSWERS = {
    "autoencoder": "Autoencoders",
    "residual": "Residual autoencoders",
    "input_unchanged": "Input unchanged",
    "mean_image": "Mean training image",
    "zero": "Zero",
}
IMAGES = {"test": "official test", "held_out": "held out"}


@dataclass(frozen=True)
class Row:
    """One line of the detailed table.

    Attributes:
        protocol: one of `PROTOCOLS`.
        task: one of `TASKS`.
        answer: one of `ANSWERS`: a network, or an answer that needs no training.
        images: one of `IMAGES`.
        mse: mean squared error per pixel over the seeds; None if not run.
        ten_mse: the same in the article's unit.
        article: the article's number, in its unit, for networks.
        welch: test against it, where it is defined.
    """

    protocol: str
    task: str
    answer: str
    images: str
    mse: Summary | None = None
    ten_mse: Summary | None = None
    article: Reference | None = None
    welch: Welch | None = None

    @property
    def cell(self) -> str:
        """Of the compact table: the loss in the article's unit, and what is to be said of n."""
        if self.ten_mse is None:
            return NOT_RUN
        if self.article is None:
            return fixed(self.ten_mse.mean, 4)
        loss = mean_std(self.ten_mse.mean, self.ten_mse.std, 4)
        if self.ten_mse.nan_seeds:
            return f"{loss}, {self.ten_mse.nan_seeds} of {self.ten_mse.seeds} seeds NaN"
        few = self.ten_mse.seeds != ARTICLE_SEEDS
        return f"{loss}, n = {self.ten_mse.seeds}" if few else loss


def rows(study: Study) -> list[Row]:
    """The whole table, of the registered seeds.

    Answers that need no training are the same for both networks; they come from the first that has
    been run.
    """
    study, found = study.only(REGISTERED), []
    for protocol in PROTOCOLS:
        for task in TASKS:
            runs = {network: study.run(protocol, f"{network}-{task}") for network in NETWORKS}
            first = next((run for run in runs.values() if run is not None), None)
            for images in IMAGES:
                for answer in ANSWERS:
                    where = (protocol, task, answer, images)
                    found.append(_row(*where, runs.get(answer, first)))
    return found


def _row(protocol: str, task: str, answer: str, images: str, run: Run | None) -> Row:
    article = ARTICLE.get((answer, task))
    if run is None:
        return Row(protocol, task, answer, images, article=article)
    losses = run.scores(images, "network" if answer in NETWORKS else answer)["mse"]
    mse, ten = summarize(losses), summarize(losses, ARTICLE_UNIT)
    test = None if article is None else welch(ten, article)
    return Row(protocol, task, answer, images, mse, ten, article, test)


def compact(table: Sequence[Row]) -> Iterator[list[str]]:
    """For each answer its name and, by task, the cells of the article and the protocols."""
    cells = {(r.answer, r.task, r.protocol): r.cell for r in table if r.images == "test"}
    for answer, name in ANSWERS.items():
        line = [name]
        for task in TASKS:
            article = ARTICLE.get((answer, task))
            line.append(DASH if article is None else mean_std(article.mean, article.std, 3))
            line += [cells[answer, task, protocol] for protocol in PROTOCOLS]
        yield line


def as_frame(table: Sequence[Row]) -> pd.DataFrame:
    """One line for each row; the numbers of runs not made are empty.

    Columns `mse_*` are per pixel, `ten_mse_*` and `article_*` in the article's unit.
    """
    nothing = summarize([])
    lines = [
        {
            **{name: getattr(row, name) for name in ("protocol", "task", "answer", "images")},
            "status": NOT_RUN if row.mse is None else "run",
            "seeds": row.mse and row.mse.seeds,
            "nan_seeds": row.mse and row.mse.nan_seeds,
            **{f"mse_{k}": v for k, v in (row.mse or nothing).moments.items()},
            **{f"ten_mse_{k}": v for k, v in (row.ten_mse or nothing).moments.items()},
            **{f"article_{k}": getattr(row.article, k, None) for k in ("mean", "std", "seeds")},
            **{f"welch_{k}": getattr(row.welch, k, None) for k in ("t", "p")},
        }
        for row in table
    ]
    counts = dict.fromkeys(("seeds", "nan_seeds", "article_seeds"), "Int64")
    return pd.DataFrame(lines).astype(counts)


def as_json(table: Sequence[Row]) -> dict[str, Any]:
    """Numbers nested by protocol, answer, task and images; None if not run or undefined."""
    nested: dict[str, Any] = {"article": {}}
    for (answer, task), reference in ARTICLE.items():
        nested["article"].setdefault(answer, {})[task] = asdict(reference)
    for row in table:
        by_task = nested.setdefault(row.protocol, {}).setdefault(row.answer, {})
        by_task.setdefault(row.task, {})[row.images] = row.mse and {
            "seeds": row.mse.seeds,
            "nan_seeds": row.mse.nan_seeds,
            "mse": row.mse.moments,
            "ten_mse": row.ten_mse and row.ten_mse.moments,
            "welch": row.welch and asdict(row.welch),
        }
    return nested


def metrics(study: Study) -> dict[str, Any]:
    """The losses of the networks on the official test images alone, for `dvc metrics`.

    By protocol, then by experiment, or by the name of a run in which something is changed; in the
    article's unit; runs not made are left out.
    """
    found: dict[str, Any] = {protocol: {} for protocol in PROTOCOLS}
    for run in study.perceptrons:
        loss = summarize(run.scores()["mse"], ARTICLE_UNIT)
        told = {"ten_mse": loss.mean, "ten_mse_std": loss.std, "seeds": loss.seeds}
        found[run.protocol][run.row.experiment if run.own else run.name] = told
    return {protocol: told for protocol, told in found.items() if told}
