"""Table 1: the article's losses beside ours and those of answers that need no network."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from bregman_nas.report.data import DENSENET, NETWORKS, PROTOCOLS, REGISTERED, Run, Study
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
FASHION = "fashion"
NAMES = {"denoising": "Denoising", "deblurring": "Deblurring", FASHION: "Fashion-MNIST, % accuracy"}
ANSWERS = {
    "autoencoder": "Autoencoders",
    "residual": "Residual autoencoders",
    "input_unchanged": "Input unchanged",
    "rectified_input": "max(input, 0)",
    "threshold": "One threshold for all pixels",
    "lookup_table": "One look-up table for all pixels",
    "least_squares": "Linear least squares",
    "least_squares_relu": "Linear least squares, then ReLU",
    "wiener": "Wiener deconvolution",
    "wiener_relu": "Wiener deconvolution, then ReLU",
    "principal_components_50": "50 principal components",
    "principal_components_100": "100 principal components",
    "principal_components_autoencoder": "As many principal components as the autoencoder's "
    "narrowest layer",
    "principal_components_residual": "As many principal components as the residual autoencoder's "
    "narrowest layer",
    "mean_image": "Mean training image",
    "zero": "Zero",
    "densenet": "DenseNet",
    "ridge": "Ridge regression on the classes",
    "logistic_regression": "Logistic regression",
}
CLASSIFIERS = ("densenet", "ridge", "logistic_regression")
SEARCHED = (*NETWORKS, "densenet")
IMAGES = {"test": "official test", "held_out": "held out"}


@dataclass(frozen=True)
class Row:
    """One line of the detailed table.

    Attributes:
        protocol: one of `PROTOCOLS`.
        task: one of `NAMES`.
        answer: one of `ANSWERS`: a network, or an answer that needs none.
        images: one of `IMAGES`.
        mse: mean squared error per pixel over the seeds; None if not run, or of a classifier.
        ten_mse: the same in the article's unit.
        article: the article's number, in its unit, for networks.
        welch: test against it, where it is defined.
        accuracy: of a classifier, in percent; None if not run.
    """

    protocol: str
    task: str
    answer: str
    images: str
    mse: Summary | None = None
    ten_mse: Summary | None = None
    article: Reference | None = None
    welch: Welch | None = None
    accuracy: Summary | None = None

    @property
    def cell(self) -> str:
        """Of the compact table: loss in the article's unit or accuracy, and n if it is not ten."""
        found, digits = (self.accuracy, 1) if self.accuracy else (self.ten_mse, 4)
        if found is None:
            return NOT_RUN
        if self.answer not in SEARCHED:
            return fixed(found.mean, digits)
        shown = mean_std(found.mean, found.std, digits)
        if found.nan_seeds:
            return f"{shown}, {found.nan_seeds} of {found.seeds} seeds NaN"
        return f"{shown}, n = {found.seeds}" if found.seeds != ARTICLE_SEEDS else shown


def rows(study: Study) -> list[Row]:
    """The whole table, of the registered seeds; within a task the best answer comes first.

    Answers that need no network are the same for both networks; they come from the first that has
    been run.
    """
    study, found = study.only(REGISTERED), []
    for task in NAMES:
        made = []
        for protocol in PROTOCOLS:
            names = [DENSENET] if task == FASHION else [f"{network}-{task}" for network in NETWORKS]
            runs = {name.partition("-")[0]: study.run(protocol, name) for name in names}
            first = next((run for run in runs.values() if run is not None), None)
            for answer in _answers(task):
                run = runs.get(answer.removeprefix("principal_components_"), first)
                made += [_row(protocol, task, answer, images, run) for images in IMAGES]
        best = sorted(filter(None, map(_rank, made)))
        order = list(dict.fromkeys([answer for _, answer in best] + [row.answer for row in made]))
        found += sorted(made, key=lambda row: order.index(row.answer))
    return found


def _answers(task: str) -> list[str]:
    if task == FASHION:
        return [*CLASSIFIERS]
    blurred = task == "deblurring"
    return [a for a in ANSWERS if a not in CLASSIFIERS and (blurred or "wiener" not in a)]


def _row(protocol: str, task: str, answer: str, images: str, run: Run | None) -> Row:
    article = ARTICLE.get((answer, task))
    nothing = Row(protocol, task, answer, images, article=article)
    if run is None:
        return nothing
    scores = run.scores(images, "network" if answer in SEARCHED else answer)
    if scores.empty:
        return nothing
    if task == FASHION:
        return replace(nothing, accuracy=summarize(scores["accuracy"], 100))
    mse, ten = summarize(scores["mse"]), summarize(scores["mse"], ARTICLE_UNIT)
    test = None if article is None else welch(ten, article)
    return replace(nothing, mse=mse, ten_mse=ten, welch=test)


def _rank(row: Row) -> tuple[float, str] | None:
    """What the order within a task follows: the error on the test images, under either protocol."""
    found = row.accuracy or row.ten_mse
    if row.images != "test" or found is None or found.mean is None:
        return None
    return (-found.mean if row.accuracy else found.mean), row.answer


def shown(table: Sequence[Row]) -> dict[str, dict[str, str]]:
    """By task the names of its answers, the best first, less those that nobody has fitted."""
    found: dict[str, dict[str, str]] = {task: {} for task in NAMES}
    for row in table:
        if row.answer in SEARCHED or row.mse or row.accuracy:
            found[row.task][row.answer] = ANSWERS[row.answer]
    return found


def compact(table: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """The lines of each task by its title: `name`, whether it is `searched`, and its `cells`.

    The cells are the article's and the protocols'.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for task, answers in shown(table).items():
        for answer, name in answers.items():
            where = (task, answer, "test")
            article = ARTICLE.get((answer, task))
            theirs = DASH if article is None else mean_std(article.mean, article.std, 3)
            ours = [row.cell for row in table if (row.task, row.answer, row.images) == where]
            line = {"name": name, "searched": answer in SEARCHED, "cells": [theirs, *ours]}
            found.setdefault(NAMES[task], []).append(line)
    return found


def fitted(table: Sequence[Row]) -> bool:
    """Whether there is any of the answers that only results/baselines.csv has."""
    return any(row.answer == "lookup_table" and row.mse for row in table)


def as_frame(table: Sequence[Row]) -> pd.DataFrame:
    """One line for each row; the numbers of runs not made are empty.

    Columns `mse_*` are per pixel, `ten_mse_*` and `article_*` in the article's unit, `accuracy_*`
    in percent.
    """
    nothing = summarize([])
    lines = [
        {
            **{name: getattr(row, name) for name in ("protocol", "task", "answer", "images")},
            "status": "run" if row.mse or row.accuracy else NOT_RUN,
            **{k: getattr(row.mse or row.accuracy, k, None) for k in ("seeds", "nan_seeds")},
            **{
                f"{name}_{k}": v
                for name in ("mse", "ten_mse", "accuracy")
                for k, v in (getattr(row, name) or nothing).moments.items()
            },
            **{f"article_{k}": getattr(row.article, k, None) for k in ("mean", "std", "seeds")},
            **{f"welch_{k}": getattr(row.welch, k, None) for k in ("t", "p")},
        }
        for row in table
    ]
    counts = dict.fromkeys(("seeds", "nan_seeds", "article_seeds"), "Int64")
    return pd.DataFrame(lines).astype(counts)


def as_json(table: Sequence[Row]) -> dict[str, Any]:
    """Numbers nested by protocol, answer, task and images; None if not run or undefined.

    `answers`: as `shown`.
    """
    nested: dict[str, Any] = {"answers": shown(table), "article": {}}
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
        if row.accuracy:
            by_task[row.task][row.images] = {"seeds": row.accuracy.seeds, **row.accuracy.moments}
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
