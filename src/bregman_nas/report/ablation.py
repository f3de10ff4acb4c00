"""The ablation: each choice changed alone, beside its protocol's own run at the same epoch."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bregman_nas.report.claims.widths import LINEAR_R2, coding_layers, rises_linearly
from bregman_nas.report.read import depth, read_table, rows_by_layer, skip_names, skips
from bregman_nas.report.statistics import Summary, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT, NOT_RUN, UNDEFINED
from bregman_nas.report.words import signed
from bregman_nas.settings import ABLATION, Ablation, Variant

NOTES = """\
One choice of a protocol is changed alone; everything else, the seeds included, is as in the
protocol's own run of the experiment, the first line of each group, here at the same epoch. Of that
run the table takes the seeds that the variants have; all of its seeds, as long as no variant is
run. The choices may interact: no conclusion from one of them alone.

- *n*: seeds. Diverged ones (NaN) are counted, and left out of everything else.
- *Difference*: variant less the protocol's own run, paired by seed.
  The protocols hold out different images, so that losses are compared within a protocol only.
- Means with the standard deviation (n - 1) in brackets; the interval is the 95% interval of the
  mean, by Student's t. An en dash: undefined. Layers are numbered from 1, without the input.
"""
LOSS_NOTES = f"""\
In the unit of Table 1, {ARTICLE_UNIT} times the mean squared error per pixel, but on the held-out
images: the official test images are looked at only when a search ends.
"""
DIFFERENCE = ("difference", "95% interval")
SHAPE_NOTES = f"""\
- *Narrowest*: active rows of the coding layer, which is the narrowest hidden layer (as in claim 6).
- *Share*: the same, divided by the active rows of the widest hidden layer: 1 if all are equally
  wide, so that there is no coding layer.
- *Coding layer*: its number in each seed, ascending by seed.
- *Rising line*: seeds in which a line through the widths from the coding layer to the output rises
  and has an R\N{SUPERSCRIPT TWO} of at least {LINEAR_R2} (claim 11, the triangle of Figure 3).
"""
SKIP_NOTES = """\
*On*: skips that are not zero. *Largest*: the largest |tau|, 0 if none is on.
"""


@dataclass(frozen=True)
class Row:
    """One run: a protocol's own, or a variant of it.

    Attributes:
        run: its name, which is also its folder.
        protocol: the protocol, of a variant its base.
        variant: what it changes; None for the protocol's own run.
        numbers: one row for each seed (the index), columns as of `measure`; empty if not run.
        difference: `numbers` less those of the protocol's own run, for the seeds of both; empty
            for that run itself.
    """

    run: str
    protocol: str
    variant: Variant | None
    numbers: pd.DataFrame
    difference: pd.DataFrame

    @property
    def words(self) -> str:
        """What is changed, such as `skip_threshold 28`."""
        if self.variant is None:
            return "as it is"
        ((choice, value),) = self.variant.change.items()
        return f"{choice} {value['kind'] if isinstance(value, dict) else value}"

    def summary(self, name: str) -> Summary | None:
        """One of the numbers over the seeds; None if there is none."""
        return summarize(self.numbers[name]) if name in self.numbers else None

    def difference_of(self, name: str) -> Summary | None:
        """The paired difference in one of the numbers; None if there is no pair."""
        return summarize(self.difference[name]) if name in self.difference else None


def measure(history: pd.DataFrame) -> pd.DataFrame:
    """What the table says of each seed.

    Args:
        history: lines of `history.csv`, one for each seed.

    Returns:
        Index `seed`. Columns: `ten_mse`, ten times the held-out mean squared error per pixel;
        `width_l`, active rows of layer l; if there are hidden layers, `coding_width`,
        `coding_share`, `coding_layer` and `rising_line` (1 or 0); if there are skips, `skips_on`
        and `largest_skip`. NaN in all of them if the loss is not finite.
    """
    widths = rows_by_layer(history, "width")
    numbers = {"ten_mse": ARTICLE_UNIT * history["held_out_loss"].to_numpy(float)}
    hidden = widths[:, :-1]
    if hidden.size:
        widest = hidden.max(1)
        numbers["coding_width"] = hidden.min(1)
        # Without a single active row in the hidden layers none is narrower than another.
        numbers["coding_share"] = np.where(widest > 0, hidden.min(1) / np.maximum(widest, 1), 1)
        numbers["coding_layer"] = coding_layers(widths)
        numbers["rising_line"] = np.array([float(rises_linearly(w)) for w in widths])
    if "skip_0_0" in history:
        tau = np.nan_to_num(skips(history), nan=0.0)
        numbers["skips_on"] = (tau != 0).sum((1, 2)).astype(float)
        numbers["largest_skip"] = np.abs(tau).max((1, 2))
    for layer, width in enumerate(widths.T, start=1):
        numbers[f"width_{layer}"] = width
    table = pd.DataFrame(numbers, index=pd.Index(history["seed"], name="seed")).sort_index()
    return table.where(np.isfinite(table["ten_mse"]), axis=0)


def rows(project: Path, ablation: Ablation) -> list[Row]:
    """For each protocol its own run and then its variants, in the order of `params.yaml`.

    Args:
        project: the repository.
        ablation: what is compared.
    """
    results, epoch = project / "results", ablation.epochs
    variants = {name: _at_epoch(results / ABLATION / name, epoch) for name in ablation.variants}
    wanted = {seed for numbers in variants.values() for seed in numbers.index}
    table = []
    for protocol in dict.fromkeys(variant.base for variant in ablation.variants.values()):
        name = f"{protocol}-{ablation.experiment}"
        own = _at_epoch(results / name, epoch)
        if wanted:
            own = own[own.index.isin(wanted)]
        table.append(Row(name, protocol, None, own, pd.DataFrame()))
        for name, variant in ablation.variants.items():
            if variant.base == protocol:
                numbers = variants[name]
                both = numbers.index.intersection(own.index)
                difference = numbers.loc[both] - own.loc[both] if len(both) else pd.DataFrame()
                table.append(Row(f"{ABLATION}/{name}", protocol, variant, numbers, difference))
    return table


def as_csv(table: Sequence[Row]) -> str:
    """One line for each run and number, or for a run that has not been made."""
    lines: list[dict[str, object]] = []
    for row in table:
        for name in row.numbers.columns if len(row.numbers) else [None]:
            numbers = None if name is None else row.summary(name)
            difference = None if name is None else row.difference_of(name)
            lines.append(
                {
                    "run": row.run,
                    "protocol": row.protocol,
                    "change": row.variant and row.words,
                    "status": NOT_RUN if name is None else "run",
                    "measure": name,
                    "seeds": numbers and numbers.seeds,
                    "nan_seeds": numbers and numbers.nan_seeds,
                    **_moments(numbers),
                    "pairs": difference and difference.seeds,
                    "nan_pairs": difference and difference.nan_seeds,
                    **{f"difference_{key}": value for key, value in _moments(difference).items()},
                }
            )
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def as_json(table: Sequence[Row], ablation: Ablation) -> str:
    """By run: what it changes, its numbers over the seeds and for each of them; null if not run."""
    runs = {
        row.run: {
            "protocol": row.protocol,
            "change": row.variant and row.variant.change,
            "words": row.words,
            "measures": _measures(row) if len(row.numbers) else None,
            "by_seed": [
                {"seed": seed} | {k: v if math.isfinite(v) else None for k, v in values.items()}
                for seed, values in zip(
                    row.numbers.index.tolist(), row.numbers.to_dict("records"), strict=True
                )
            ],
        }
        for row in table
    }
    content = {"experiment": ablation.experiment, "epoch": ablation.epochs, "runs": runs}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def as_markdown(table: Sequence[Row], ablation: Ablation) -> str:
    """Four tables: losses, shape, skips, widths."""
    layers = max((depth(row.numbers) for row in table), default=0)
    loss = [
        ["*n*", f"{ARTICLE_UNIT} \N{MULTIPLICATION SIGN} MSE", *DIFFERENCE, "pairs"],
        *(
            [
                _seeds(row),
                _mean(row.summary("ten_mse"), 5),
                *_paired(row, "ten_mse", 5),
                _pairs(row),
            ]
            for row in table
        ),
    ]
    shape = [
        ["narrowest", *DIFFERENCE, "share", *DIFFERENCE, "coding layer", "rising line"],
        *(_shape_cells(row) for row in table),
    ]
    skips_on = [["on", *DIFFERENCE, "largest", *DIFFERENCE], *(map(_skip_cells, table))]
    widths = [
        [f"layer {layer}" for layer in range(1, layers + 1)],
        *(
            [_mean(row.summary(f"width_{layer}"), 0) for layer in range(1, layers + 1)]
            for row in table
        ),
    ]
    return "\n".join(
        [
            f"# Ablation: {ablation.experiment} at epoch {ablation.epochs}",
            "",
            NOTES,
            "## Loss",
            "",
            LOSS_NOTES,
            _table(table, loss),
            "",
            "## Shape",
            "",
            SHAPE_NOTES,
            _table(table, shape),
            "",
            "## Skips",
            "",
            SKIP_NOTES,
            _table(table, skips_on),
            "",
            "## Widths",
            "",
            "Active rows of each layer.",
            "",
            _table(table, widths),
            "",
        ]
    )


def write(project: Path, ablation: Ablation) -> None:
    """Write `results/ablation.csv`, `.md` and `.json`; the same results give the same bytes.

    Args:
        project: the repository.
        ablation: what is compared.
    """
    table = rows(project, ablation)
    results = project / "results"
    results.mkdir(parents=True, exist_ok=True)
    for suffix, text in {
        "csv": as_csv(table),
        "md": as_markdown(table, ablation),
        "json": as_json(table, ablation),
    }.items():
        path = results / f"ablation.{suffix}"
        path.write_text(text, encoding="utf-8", newline="\n")


def _at_epoch(folder: Path, epoch: int) -> pd.DataFrame:
    """The numbers of the seeds of a run that came to an epoch; empty if it has not been made."""
    path = folder / "history.csv"
    history = read_table(path, "seed", "epoch") if path.exists() else pd.DataFrame()
    if "epoch" in history:
        history = history[history["epoch"] == epoch]
    return pd.DataFrame() if history.empty else measure(history)


def _measures(row: Row) -> dict[str, Any]:
    found = {}
    for name in row.numbers.columns:
        numbers, difference = summarize(row.numbers[name]), row.difference_of(name)
        found[name] = {
            "seeds": numbers.seeds,
            "nan_seeds": numbers.nan_seeds,
            **_moments(numbers),
            "difference": difference
            and {
                "pairs": difference.seeds,
                "nan_pairs": difference.nan_seeds,
                **_moments(difference),
            },
        }
    return found


def _moments(summary: Summary | None) -> dict[str, float | None]:
    names = ("mean", "std", "low", "high")
    return {name: None if summary is None else getattr(summary, name) for name in names}


def _shape_cells(row: Row) -> list[str]:
    found = row.numbers.get("coding_layer", pd.Series(dtype=float)).dropna()
    rising = row.summary("rising_line")
    return [
        _mean(row.summary("coding_width"), 0),
        *_paired(row, "coding_width", 0),
        _mean(row.summary("coding_share"), 2),
        *_paired(row, "coding_share", 2),
        ", ".join(f"{layer:.0f}" for layer in found) or UNDEFINED,
        UNDEFINED
        if rising is None or rising.mean is None
        else f"{rising.mean * rising.used:.0f} of {rising.used}",
    ]


def _skip_cells(row: Row) -> list[str]:
    on, all_skips = row.summary("skips_on"), len(skip_names(depth(row.numbers)))
    return [
        UNDEFINED if on is None else f"{_mean(on, 1)} of {all_skips}",
        *_paired(row, "skips_on", 1),
        _mean(row.summary("largest_skip"), 2),
        *_paired(row, "largest_skip", 2),
    ]


def _table(table: Sequence[Row], cells: Sequence[Sequence[str]]) -> str:
    """The cells under their header, behind what each run is."""
    header, *body = cells
    lines = [["protocol", "change", *header]]
    for row, found in zip(table, body, strict=True):
        words = row.words if len(row.numbers) else f"{row.words}: {NOT_RUN}"
        lines.append([row.protocol, words, *found])
    rule = "|---" * len(lines[0]) + "|"
    first, *others = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([first, rule, *others])


def _seeds(row: Row) -> str:
    loss = row.summary("ten_mse")
    if loss is None:
        return "0"
    return f"{loss.seeds}, {loss.nan_seeds} NaN" if loss.nan_seeds else str(loss.seeds)


def _paired(row: Row, name: str, digits: int) -> list[str]:
    """Mean difference and its interval."""
    difference = row.difference_of(name)
    if row.variant is None:
        return ["", ""]
    if difference is None:
        return [UNDEFINED, UNDEFINED]
    interval = UNDEFINED
    if difference.low is not None and difference.high is not None:
        interval = f"{signed(difference.low, digits)} to {signed(difference.high, digits)}"
    mean = UNDEFINED if difference.mean is None else signed(difference.mean, digits)
    spread = "" if difference.std is None else f" ({difference.std:.{digits}f})"
    return [f"{mean}{spread}", interval]


def _pairs(row: Row) -> str:
    """How many pairs of seeds the differences rest on."""
    if row.variant is None:
        return ""
    difference = row.difference_of("ten_mse")
    return "0" if difference is None else str(difference.used)


def _mean(summary: Summary | None, digits: int) -> str:
    if summary is None or summary.mean is None:
        return UNDEFINED
    spread = UNDEFINED if summary.std is None else f"{summary.std:.{digits}f}"
    return f"{summary.mean:.{digits}f} ({spread})"
