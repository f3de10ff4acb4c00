"""Table 1: the article's losses beside those of both protocols and of answers without training."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from bregman_nas.report.read import NETWORKS, PROTOCOLS, TASKS, Run, read_run
from bregman_nas.report.statistics import Reference, Summary, Welch, summarize, welch
from bregman_nas.report.words import probability

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
NOT_RUN = "not run"
UNDEFINED = "\N{EN DASH}"

NOTES = """\
Mean (standard deviation, n - 1) over 10 seeds; where a cell rests on another number, it says so.
"Article" is Table 1 of the article. Its unit is not the mean squared error per pixel (MSE) but ten
times that: the released code adds up the MSE of ten test batches. All of this first table is in
that unit, on the images of the official test file. "Paper" follows the article, "authors" the
released code. The last three rows need no training, and hardly depend on the seed.
"""
DETAILED_NOTES = """\
- *held out*: the article's kind of split, images of the training file that were not trained on;
  *official test*: those of the test file.
- The interval is the 95% interval of the mean, by Student's t. *t* and *p*: Welch's two-sided test
  against the article's mean, standard deviation and 10 runs; *t* is positive if ours is larger.
- The article prints its numbers to three decimals. 0.005 (0.000) is rounded to within 10% of the
  mean; the test takes both as printed, so that a small *p* there can be due to rounding alone.
- NaN seeds (diverged searches) are counted, and left out of everything else. An en dash: undefined.
"""


@dataclass(frozen=True)
class Row:
    """One line of the detailed table.

    Attributes:
        protocol: one of `PROTOCOLS`.
        answer: one of `ANSWERS`: a network, or an answer that needs no training.
        task: one of `TASKS`.
        images: one of `IMAGES`.
        mse: mean squared error per pixel over the seeds; None if not run.
        welch: test against the article, for networks, where it is defined.
    """

    protocol: str
    answer: str
    task: str
    images: str
    mse: Summary | None
    welch: Welch | None = None

    @property
    def ten_mse(self) -> Summary | None:
        """`mse` in the article's unit."""
        return None if self.mse is None else self.mse.scaled(ARTICLE_UNIT)

    @property
    def article(self) -> Reference | None:
        """The article's number, in its unit."""
        return ARTICLE.get((self.answer, self.task))


def rows(project: Path) -> list[Row]:
    """The whole table, from the `seeds.csv` of the restoration runs.

    Baselines are the same for both networks; they come from the first that has been run.
    """
    return [
        row
        for protocol in PROTOCOLS
        for task in TASKS
        for row in _rows_of_task(
            protocol,
            task,
            {network: read_run(project, protocol, f"{network}-{task}") for network in NETWORKS},
        )
    ]


def as_csv(table: Sequence[Row]) -> str:
    """One line for each row; numbers of runs not made are empty.

    Columns `mse_*` are per pixel, `ten_mse_*` and `article_*` in the article's unit.
    """
    lines = [_flat(row) for row in table]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def as_json(table: Sequence[Row]) -> str:
    """Numbers nested by protocol, answer, task and images; null if not run or undefined."""
    nested: dict[str, Any] = {"article": {}}
    for (answer, task), reference in ARTICLE.items():
        nested["article"].setdefault(answer, {})[task] = asdict(reference)
    for row in table:
        by_task = nested.setdefault(row.protocol, {}).setdefault(row.answer, {})
        by_task.setdefault(row.task, {})[row.images] = _numbers(row)
    return json.dumps(nested, indent=2, allow_nan=False) + "\n"


def as_metrics(table: Sequence[Row]) -> str:
    """The losses of the networks on the official test images alone, few enough for `dvc metrics`.

    By protocol and experiment, in the article's unit; runs not made are left out.
    """
    metrics: dict[str, dict[str, dict[str, float | None]]] = {}
    for row in table:
        if row.answer in NETWORKS and row.images == "test" and row.ten_mse is not None:
            loss = row.ten_mse
            found = {"ten_mse": loss.mean, "ten_mse_std": loss.std, "seeds": loss.seeds}
            metrics.setdefault(row.protocol, {})[f"{row.answer}-{row.task}"] = found
    return json.dumps(metrics, indent=2, allow_nan=False) + "\n"


def as_markdown(table: Sequence[Row]) -> str:
    """The compact table in the article's unit, then the detailed one."""
    columns = [(task, source) for task in TASKS for source in ("article", *PROTOCOLS)]
    compact = [
        ["", *(f"{task.capitalize()}: {source}" for task, source in columns)],
        *([ANSWERS[answer], *_compact_cells(table, answer)] for answer in ANSWERS),
    ]
    detailed = [_DETAILED_HEADER, *(_detailed_cells(row) for row in table)]
    return "\n".join(
        [
            "# Table 1: loss on MNIST",
            "",
            NOTES,
            _markdown(compact),
            "",
            "## In detail",
            "",
            DETAILED_NOTES,
            _markdown(detailed),
            "",
        ]
    )


def as_latex(table: Sequence[Row]) -> str:
    """The compact table as a `tabular` for booktabs, without caption."""
    sources = len(PROTOCOLS) + 1
    heads = " & ".join(rf"\multicolumn{{{sources}}}{{c}}{{{task.capitalize()}}}" for task in TASKS)
    rules = "".join(
        rf"\cmidrule(lr){{{2 + sources * index}-{1 + sources * (index + 1)}}}"
        for index in range(len(TASKS))
    )
    lines = [
        rf"\begin{{tabular}}{{l{'c' * sources * len(TASKS)}}}",
        r"\toprule",
        rf" & {heads} \\",
        rules,
        rf" & {' & '.join(['article', *PROTOCOLS] * len(TASKS))} \\",
        r"\midrule",
        *(_latex_line(table, answer) for answer in NETWORKS),
        r"\midrule",
        *(_latex_line(table, answer) for answer in BASELINES),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def as_detailed_latex(table: Sequence[Row]) -> str:
    """All losses with intervals and tests as a `tabular` for booktabs, without caption.

    The answers that need no training have a mean alone: it hardly depends on the seed.
    """
    heads = ["", "images", "protocol", "$n$", "MSE per pixel", r"10 $\times$ MSE"]
    heads += [r"95\% interval", "$p$"]
    lines = [rf"\begin{{tabular}}{{lll{'c' * 5}}}", r"\toprule", _latex(heads)]
    for task in TASKS:
        of_task = [row for row in table if row.task == task]
        lines += [r"\midrule", rf"\multicolumn{{8}}{{l}}{{\emph{{{task.capitalize()}}}}} \\"]
        for answer, images in product(ANSWERS, IMAGES):
            reference = ARTICLE.get((answer, task))
            if reference is not None and images == "test":
                moments = _mean_std(reference.mean, reference.std, 3)
                cells = [ANSWERS[answer], "", "article", str(reference.seeds), "", moments, "", ""]
                lines.append(_latex(cells))
            lines += [
                _latex(_detailed_latex_cells(row))
                for row in of_task
                if (row.answer, row.images) == (answer, images)
            ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _detailed_latex_cells(row: Row) -> list[str]:
    cells = [ANSWERS[row.answer], IMAGES[row.images], row.protocol]
    if row.mse is None or row.ten_mse is None:
        return [*cells, "", NOT_RUN, "", "", ""]
    if row.article is None:
        means = _decimal(row.mse.mean, 6), _decimal(row.ten_mse.mean, 5)
        return [*cells, "", *means, "", ""]
    return [
        *cells,
        str(row.mse.used),
        _mean_std(row.mse.mean, row.mse.std, 6),
        _mean_std(row.ten_mse.mean, row.ten_mse.std, 5),
        _interval(row.ten_mse, 5),
        UNDEFINED if row.welch is None else probability(row.welch.p).replace("< ", "$<$ "),
    ]


def _rows_of_task(protocol: str, task: str, runs: dict[str, Run | None]) -> list[Row]:
    first = next((run for run in runs.values() if run is not None), None)
    found = []
    for images in IMAGES:
        for network, run in runs.items():
            mse = _summary(run, f"{images}_mse")
            ten_mse = None if mse is None else mse.scaled(ARTICLE_UNIT)
            test = None if ten_mse is None else welch(ten_mse, ARTICLE[network, task])
            found.append(Row(protocol, network, task, images, mse, test))
        for baseline in BASELINES:
            mse = _summary(first, f"{images}_mse_{baseline}")
            found.append(Row(protocol, baseline, task, images, mse))
    return found


def _summary(run: Run | None, column: str) -> Summary | None:
    return None if run is None else summarize(run.seeds[column])


def _flat(row: Row) -> dict[str, object]:
    mse, ten_mse, article = row.mse, row.ten_mse, row.article
    return {
        "protocol": row.protocol,
        "task": row.task,
        "answer": row.answer,
        "images": row.images,
        "status": NOT_RUN if mse is None else "run",
        "seeds": mse and mse.seeds,
        "nan_seeds": mse and mse.nan_seeds,
        **{f"mse_{name}": value for name, value in _moments(mse).items()},
        **{f"ten_mse_{name}": value for name, value in _moments(ten_mse).items()},
        "article_mean": article and article.mean,
        "article_std": article and article.std,
        "article_seeds": article and article.seeds,
        "welch_t": row.welch and row.welch.t,
        "welch_p": row.welch and row.welch.p,
    }


def _numbers(row: Row) -> dict[str, object] | None:
    if row.mse is None:
        return None
    return {
        "seeds": row.mse.seeds,
        "nan_seeds": row.mse.nan_seeds,
        "mse": _moments(row.mse),
        "ten_mse": _moments(row.ten_mse),
        "welch": row.welch and asdict(row.welch),
    }


def _moments(summary: Summary | None) -> dict[str, float | None]:
    names = ("mean", "std", "low", "high")
    return {name: None if summary is None else getattr(summary, name) for name in names}


_DETAILED_HEADER = [
    "Protocol",
    "Task",
    "Answer",
    "Images",
    "Seeds",
    "NaN",
    "MSE per pixel",
    "95% interval",
    "10 \N{MULTIPLICATION SIGN} MSE",
    "95% interval",
    "Welch *t*",
    "*p*",
]


def _detailed_cells(row: Row) -> list[str]:
    cells = [row.protocol, row.task, ANSWERS[row.answer], IMAGES[row.images]]
    if row.mse is None or row.ten_mse is None:
        return [*cells, NOT_RUN, *[""] * (len(_DETAILED_HEADER) - len(cells) - 1)]
    cells += [str(row.mse.seeds), str(row.mse.nan_seeds)]
    for summary, digits in ((row.mse, 6), (row.ten_mse, 5)):
        cells += [_mean_std(summary.mean, summary.std, digits), _interval(summary, digits)]
    if row.article is None:
        return [*cells, "", ""]
    if row.welch is None:
        return [*cells, UNDEFINED, UNDEFINED]
    return [*cells, f"{row.welch.t:.2f}", probability(row.welch.p)]


def _compact_cells(table: Sequence[Row], answer: str) -> list[str]:
    cells = []
    for task in TASKS:
        article = ARTICLE.get((answer, task))
        cells.append(UNDEFINED if article is None else _mean_std(article.mean, article.std, 3))
        for protocol in PROTOCOLS:
            wanted = (protocol, answer, task, "test")
            (row,) = (r for r in table if (r.protocol, r.answer, r.task, r.images) == wanted)
            cells.append(_compact_cell(row))
    return cells


def _compact_cell(row: Row) -> str:
    ten_mse = row.ten_mse
    if ten_mse is None:
        return NOT_RUN
    if row.answer in BASELINES:
        return _decimal(ten_mse.mean, 4)
    cell = _mean_std(ten_mse.mean, ten_mse.std, 4)
    if ten_mse.nan_seeds:
        return f"{cell}, {ten_mse.nan_seeds} of {ten_mse.seeds} seeds NaN"
    return cell if ten_mse.seeds == ARTICLE_SEEDS else f"{cell}, n = {ten_mse.seeds}"


def _mean_std(mean: float | None, std: float | None, digits: int) -> str:
    return f"{_decimal(mean, digits)} ({_decimal(std, digits)})"


def _interval(summary: Summary, digits: int) -> str:
    if summary.low is None:
        return UNDEFINED
    return f"{_decimal(summary.low, digits)} to {_decimal(summary.high, digits)}"


def _decimal(value: float | None, digits: int) -> str:
    return UNDEFINED if value is None else f"{value:.{digits}f}"


def _latex_line(table: Sequence[Row], answer: str) -> str:
    cells = [ANSWERS[answer], *_compact_cells(table, answer)]
    return _latex(cells)


def _latex(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cell.replace(UNDEFINED, '--') for cell in cells)} \\"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    header, *body = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([header, "|---" * len(lines[0]) + "|", *body])
