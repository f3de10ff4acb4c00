"""What a run's records say together: metrics.json, seeds.csv and history.csv."""

import csv
import io
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bregman_nas.atomic import write_atomically
from bregman_nas.search.records import Record

Row = dict[str, float | int]


def write_results(folder: Path, records: Sequence[Record]) -> None:
    """Write the files that the pipeline declares, from the records of all seeds.

    Args:
        folder: of the run.
        records: one for each seed; without any, the files say so.
    """
    for name, text in results_of(records).items():
        write_atomically(folder / name, text.encode())


def results_of(records: Sequence[Record]) -> dict[str, str]:
    """The text of each of these files, by its name."""
    seeds = [seed_row(record) for record in records]
    history = [row for record in records for row in history_rows(record)]
    metrics = json.dumps(metrics_of(seeds), indent=2)
    return {"seeds.csv": _csv(seeds), "history.csv": _csv(history), "metrics.json": f"{metrics}\n"}


def seed_row(record: Record) -> Row:
    """One line of seeds.csv: the outcome of a seed, flat."""
    result, last = record["result"], record["history"][-1]
    row: Row = {"seed": record["seed"]}
    for name, value in result.items():
        if isinstance(value, (float, int)):  # a flag is 0 or 1
            row[name] = value * 1
    row["train_loss"] = last["train_loss"]
    row["learning_rate"] = last["learning_rate"]
    if "active_rows" in result:
        row |= _numbered("width", result["active_rows"])
        row |= _numbered("effective", result["effective_rows"])
        row |= _numbered("living", last.get("living_rows", []))
        row |= _skips(result.get("skips", []))
        for part in ("test", "held_out"):
            for name, value in result.get(f"{part}_baselines", {}).items():
                row[f"{part}_mse_{name}"] = value
    else:
        row |= _by_layer("kernels", result["active_kernels"])
        row |= _by_layer("channels", last["active_channels"])
        row |= _by_layer("living", last["living_channels"])
    return row


def history_rows(record: Record) -> Iterable[Row]:
    """The lines of history.csv of one seed, one for each epoch."""
    for entry in record["history"]:
        row: Row = {"seed": record["seed"]}
        row |= {name: value for name, value in entry.items() if not isinstance(value, list)}
        if "active_rows" in entry:
            row |= _numbered("width", entry["active_rows"])
            row |= _numbered("living", entry.get("living_rows", []))
            row |= _numbered("switched_on", entry.get("switched_on", []))
            row |= _numbered("switched_off", entry.get("switched_off", []))
            row |= _skips(entry.get("skips", []))
        else:
            row |= _by_layer("kernels", entry["active_kernels"])
            row |= _by_layer("channels", entry["active_channels"])
            row |= _by_layer("living", entry["living_channels"])
            row |= _by_layer("switched_on", entry["switched_on"])
            row |= _by_layer("switched_off", entry["switched_off"])
        yield row


def metrics_of(seeds: Sequence[Row]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) of each column over the seeds.

    A value that is not finite, of a search that diverged, does not enter; how many seeds have one
    stands beside the number of seeds. Where too few are left, null.
    """
    diverged = sum(not all(map(math.isfinite, row.values())) for row in seeds)
    metrics: dict[str, Any] = {"seeds": len(seeds), "diverged": diverged}
    for name in _columns(seeds):
        if name != "seed":
            values = [float(row[name]) for row in seeds if math.isfinite(row.get(name, math.nan))]
            metrics[name] = {
                "mean": statistics.fmean(values) if values else None,
                "std": statistics.stdev(values) if len(values) > 1 else None,
            }
    return metrics


def _numbered(name: str, values: Sequence[float]) -> Row:
    return {f"{name}_{number}": value for number, value in enumerate(values, start=1)}


def _by_layer(name: str, values: Sequence[float]) -> Row:
    """First convolution, the layers of the dense block from 1, last convolution."""
    inner = {f"{name}_{number}": value for number, value in enumerate(values[1:-1], start=1)}
    return {f"{name}_first": values[0], **inner, f"{name}_last": values[-1]}


def _skips(tau: Sequence[Sequence[float]]) -> Row:
    """`skip_l_i` leads from x(i) to x(l + 1), as in (2.5)."""
    return {f"skip_{l}_{i}": value for l, row in enumerate(tau) for i, value in enumerate(row)}


def _columns(rows: Sequence[Row]) -> list[str]:
    """Of all rows; what only newer records say stands last, and is empty for the older ones."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_columns(rows) or ["seed"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
