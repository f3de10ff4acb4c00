"""Table 1: the article's losses beside ours and those of answers that need no network."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from bregman_nas.report import stats
from bregman_nas.report.data import NETWORKS, PROTOCOLS, REGISTERED, TASKS, Run, Study
from bregman_nas.report.stats import Reference, summarize, welch
from bregman_nas.report.text import NOT_RUN, fixed, mean_std

# The article's losses are sums over ten test batches of their mean squared error per pixel.
ARTICLE_UNIT = 10
ARTICLE_SEEDS = 10
ROUNDING = 0.0005  # half a unit of the last of the three decimals that the article prints
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

Line = dict[str, Any]  # of a table, by column; None for what is not there


def rows(study: Study) -> list[Line]:
    """The lines of the detailed table, for the registered seeds; the best answer of a task first.

    Answers that need no network are the same for both networks; they come from the first that has
    been run. Columns `mse_*` are per pixel, `ten_mse_*` and `article_*` in the article's unit,
    `accuracy_*` in percent, `welch_*` of the test against the article.
    """
    study, found = study.only(REGISTERED), []
    for task in NAMES:
        answers = [a for a in ANSWERS if (a in CLASSIFIERS) == (task == FASHION)]
        if task != "deblurring":
            answers = [answer for answer in answers if "wiener" not in answer]
        by_answer: dict[str, list[Line]] = {answer: [] for answer in answers}
        for protocol in PROTOCOLS:
            runs = {n: study.run(protocol, f"{n}-{task}") for n in SEARCHED}
            first = next(filter(None, runs.values()), None)
            for answer, lines in by_answer.items():
                run = runs.get(answer.removeprefix("principal_components_"), first)
                lines += [_line(protocol, task, answer, images, run) for images in IMAGES]
        found += [line for lines in sorted(by_answer.values(), key=_error) for line in lines]
    return found


def _line(protocol: str, task: str, answer: str, images: str, run: Run | None) -> Line:
    mse = ten_mse = accuracy = summarize([])
    if run is not None:
        scores = run.scores(images, "network" if answer in SEARCHED else answer)
        if task == FASHION:
            accuracy = summarize(scores["accuracy"], 100)
        else:
            mse, ten_mse = summarize(scores["mse"]), summarize(scores["mse"], ARTICLE_UNIT)
    seeds, article = mse.seeds or accuracy.seeds, ARTICLE.get((answer, task))
    test = None if article is None else welch(ten_mse, article)
    return {
        **{"protocol": protocol, "task": task, "answer": answer, "images": images},
        "status": "run" if seeds else NOT_RUN,
        "seeds": seeds or None,
        "nan_seeds": mse.nan_seeds + accuracy.nan_seeds if seeds else None,
        **mse.named("mse_"),
        **ten_mse.named("ten_mse_"),
        **accuracy.named("accuracy_"),
        **{f"article_{k}": getattr(article, k, None) for k in ("mean", "std", "seeds")},
        **{f"welch_{k}": getattr(test, k, None) for k in ("t", "p")},
    }


def _error(lines: Sequence[Line]) -> float:
    """The least on the test images under either protocol, which orders the answers of a task."""
    errors = {"ten_mse_mean": 1, "accuracy_mean": -1}
    found = [
        sign * line[name]
        for line in lines
        for name, sign in errors.items()
        if line["images"] == "test" and line[name] is not None
    ]
    return min(found, default=math.inf)


def shown(table: Sequence[Line]) -> dict[str, dict[str, list[Line]]]:
    """By task the answers, the best first, without those that nobody has fitted.

    Of each the lines on the test images, one for each protocol.
    """
    found: dict[str, dict[str, list[Line]]] = {task: {} for task in NAMES}
    for (task, answer), group in groupby(table, lambda line: (line["task"], line["answer"])):
        lines = [*group]
        if answer in SEARCHED or any(line["status"] == "run" for line in lines):
            found[task][answer] = [line for line in lines if line["images"] == "test"]
    return found


def cell(line: Line) -> str:
    """The loss in the article's unit, or the accuracy, and n if it is not ten."""
    if line["status"] == NOT_RUN:
        return NOT_RUN
    name, digits = ("accuracy", 1) if line["task"] == FASHION else ("ten_mse", 4)
    if line["answer"] not in SEARCHED:
        return fixed(line[f"{name}_mean"], digits)
    found = mean_std(line[f"{name}_mean"], line[f"{name}_std"], digits)
    if line["nan_seeds"]:
        return f"{found}, {line['nan_seeds']} of {line['seeds']} seeds NaN"
    return found if line["seeds"] == ARTICLE_SEEDS else f"{found}, n = {line['seeds']}"


def as_json(table: Sequence[Line]) -> dict[str, Any]:
    """Numbers nested by protocol, answer, task and images; None if not run or undefined.

    `answers`: by task the names of those that are `shown`.
    """
    nested: dict[str, Any] = {
        "answers": {task: {a: ANSWERS[a] for a in of} for task, of in shown(table).items()},
        "article": {n: {t: ARTICLE[n, t]._asdict() for t in TASKS} for n in NETWORKS},
    }
    for line in table:
        mse, ten_mse, welch, accuracy = (
            {k.removeprefix(start): v for k, v in line.items() if k.startswith(start)}
            for start in ("mse_", "ten_mse_", "welch_", "accuracy_")
        )
        numbers: Line = {"seeds": line["seeds"]}
        if line["task"] == FASHION:
            numbers |= accuracy
        else:
            numbers |= {"nan_seeds": line["nan_seeds"], "mse": mse, "ten_mse": ten_mse}
            numbers["welch"] = None if line["welch_p"] is None else welch
        place = nested
        for key in ("protocol", "answer", "task"):
            place = place.setdefault(line[key], {})
        place[line["images"]] = numbers if line["status"] == "run" else None
    return nested


def metrics(study: Study) -> dict[str, Any]:
    """The losses of the networks on the official test images alone, for `dvc metrics`.

    By protocol, then by experiment, or by the name of a run in which something is changed; in the
    article's unit. Runs not made are left out.
    """
    found: dict[str, Any] = {protocol: {} for protocol in PROTOCOLS}
    for run in study.perceptrons:
        if run.protocol in found:
            loss = summarize(run.scores()["mse"], ARTICLE_UNIT)
            told = {"ten_mse": loss.mean, "ten_mse_std": loss.std, "seeds": loss.seeds}
            found[run.protocol][run.row.experiment if run.own else run.name] = told
    return {protocol: runs for protocol, runs in found.items() if runs}


def tests(study: Study) -> Iterator[Line]:
    """The losses on the official test images, in the article's unit, and p of three tests.

    A line for the registered seeds of each of `Study.restoration`, and one for all seeds if there
    are others.
    """
    for run in study.restoration:
        article = ARTICLE[run.network, run.task]
        first = [seed for seed in run.seeds if seed in REGISTERED]
        for which, seeds in {"registered": first, "all": run.seeds}.items():
            if not seeds or (which == "all" and first == seeds):
                continue
            losses = ARTICLE_UNIT * run.only(seeds).scores()["mse"]
            loss = summarize(losses)
            plain, printed = welch(loss, article), stats.welch_of_printed(loss, article, ROUNDING)
            ends = (article.mean - ROUNDING, article.mean + ROUNDING)
            yield {
                **{"run": run.name, "which": which, **loss.counts(), **loss.named()},
                "welch_p": plain and plain.p,
                "printed_p": printed and printed.p,
                "signed_rank_p": stats.signed_rank(losses, *ends),
            }


def apart(table: Sequence[Line], test: str) -> tuple[list[str], int]:
    """The runs whose registered mean differs from the article's (`holm`), and how many have p."""
    registered = (line for line in table if line["which"] == "registered")
    p = {line["run"]: line[test] for line in registered if line[test] is not None}
    return stats.holm(p), len(p)
