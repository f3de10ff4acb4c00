"""What a run's records say together: metrics.json, seeds.csv and history.csv."""

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bregman_nas.atomic import write_atomically
from bregman_nas.search.records import Record

Row = dict[str, float | int]

#: The lists with one value for each layer, and their columns, in this order.
_BY_LAYER = {
    "active_rows": "width",
    "effective_rows": "effective",
    "living_rows": "living",
    "active_kernels": "kernels",
    "active_channels": "channels",
    "living_channels": "living",
    "switched_on": "switched_on",
    "switched_off": "switched_off",
}
#: What only the last epoch says.
_LAST = ("train_loss", "learning_rate", "living_rows", "active_channels", "living_channels")


def write_results(folder: Path, records: Sequence[Record]) -> None:
    """Write the files of a run that the pipeline declares, from a record for each seed, or none."""
    for name, text in results_of(records).items():
        write_atomically(folder / name, text.encode())


def results_of(records: Sequence[Record]) -> dict[str, str]:
    """The text of each of these files, by its name."""
    seeds, history = [], []
    for record in records:
        seed, result, last = {"seed": record["seed"]}, record["result"], record["history"][-1]
        baselines = {
            f"{part}_mse_{name}": value
            for part in ("test", "held_out")
            for name, value in result.get(f"{part}_baselines", {}).items()
        }
        seeds.append(seed | _flat(result | {k: last[k] for k in _LAST if k in last}) | baselines)
        history += [seed | _flat(entry) for entry in record["history"]]
    metrics = json.dumps(_metrics(seeds), indent=2)
    return {"seeds.csv": _csv(seeds), "history.csv": _csv(history), "metrics.json": f"{metrics}\n"}


def _flat(values: Mapping[str, Any]) -> Row:
    """The numbers of a result or of an epoch, with a column for each layer and skip.

    A DenseNet has a first convolution, the layers of the dense block from 1, and a last one.
    `skip_l_i` leads from x(i) to x(l + 1), as in (2.5). A flag is 0 or 1.
    """
    row: Row = {k: value * 1 for k, value in values.items() if isinstance(value, (float, int))}
    for name, column in _BY_LAYER.items():
        numbers = values.get(name, [])
        layers = [str(layer) for layer in range(1, len(numbers) + 1)]
        if numbers and "active_kernels" in values:
            layers = ["first", *layers[:-2], "last"]
        row |= {f"{column}_{layer}": x for layer, x in zip(layers, numbers, strict=True)}
    for l, skips in enumerate(values.get("skips", [])):
        row |= {f"skip_{l}_{i}": tau for i, tau in enumerate(skips)}
    return row


def _metrics(seeds: Sequence[Row]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) of each column over the seeds.

    Values that are not finite, of a search that diverged, are left out; `diverged` counts the seeds
    that have one. If too few values are left, null.
    """
    diverged = sum(not all(map(math.isfinite, row.values())) for row in seeds)
    metrics: dict[str, Any] = {"seeds": len(seeds), "diverged": diverged}
    for name in _columns(seeds)[1:]:
        values = [float(row[name]) for row in seeds if math.isfinite(row.get(name, math.nan))]
        metrics[name] = {
            "mean": statistics.fmean(values) if values else None,
            "std": statistics.stdev(values) if len(values) > 1 else None,
        }
    return metrics


def _columns(rows: Sequence[Row]) -> list[str]:
    """`seed` and those of all rows; what only newer records have comes last, empty for others."""
    return list(dict.fromkeys(["seed", *(name for row in rows for name in row)]))


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
