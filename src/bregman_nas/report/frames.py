"""The results of a run as a few tidy frames: the contract between records and report.

Each has the column `seed`, and:

- `losses(images, answer, mse, cross_entropy, accuracy)`: after the last epoch. `images` is `test`
  or `held_out`; `answer` is `network` or an answer that needs none (`add_answers`). `mse` is the
  mean squared error per pixel; a classifier has `cross_entropy` and `accuracy` instead.
- `epochs(epoch, learning_rate, train_loss, held_out_loss)`.
- `layers(epoch, layer, kind, rows)`: layers from 1. `kind` is `active`, `living`, `switched_on` or
  `switched_off`, and after the last epoch also `effective`. For a DenseNet, layer 0 is the first
  convolution, and kernels (living: channels) are counted.
- `skips(epoch, l, i, tau)`: tau(l, i) leads from x(i) to x(l + 1), i <= l; (2.5).
- `output(row)`: the active rows of a perceptron's output layer, from 0.
- `kernels(conv, out, in, norm)`: Frobenius norms of a DenseNet's kernels; conv 0 is the first.
- `networks(mse, parameters, dead)`: a perceptron's error on the test images, its number of
  parameters (NaN if its record does not keep which rows are active), and whether all outputs are 0.
- `costs(seconds, processor, device, torch, lockstep)`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bregman_nas.search.records import unpack

Record = Mapping[str, Any]  # as of `search.records`

#: The kinds of `layers`, by their names in the history of a record.
KINDS = {
    "active_rows": "active",
    "active_kernels": "active",
    "living_rows": "living",
    "living_channels": "living",
    "switched_on": "switched_on",
    "switched_off": "switched_off",
}


@dataclass(frozen=True)
class Frames:
    """The frames of one run; those that its network does not have are empty."""

    losses: pd.DataFrame
    epochs: pd.DataFrame
    layers: pd.DataFrame
    skips: pd.DataFrame
    output: pd.DataFrame
    kernels: pd.DataFrame
    networks: pd.DataFrame
    costs: pd.DataFrame


def frames_of(records: Sequence[Record]) -> Frames:
    """The frames of a run, from the records of all its seeds."""
    results = pd.DataFrame([{"seed": r["seed"], **r["result"]} for r in records])
    every = [{"seed": r["seed"], **entry} for r in records for entry in r["history"]]
    history = pd.DataFrame(every).rename(columns=KINDS)
    perceptron = "effective_rows" in results
    counts = history.melt(["seed", "epoch"], [*dict.fromkeys(KINDS.values())], "kind", "rows")
    if perceptron:
        effective = results[["seed"]].assign(rows=results["effective_rows"], kind="effective")
        counts = pd.concat([counts, effective.assign(epoch=history["epoch"].max())])
    skips = history.reindex(columns=["seed", "epoch", "skips"]).rename(columns={"skips": "tau"})
    output = results.reindex(columns=["seed", "output_rows"]).explode("output_rows").dropna()
    norms = results.reindex(columns=["seed", "kernel_norms"])
    return Frames(
        losses=pd.DataFrame([row for r in records for row in _losses(r)]).astype(
            {"mse": float, "cross_entropy": float, "accuracy": float}
        ),
        epochs=history[["seed", "epoch", "learning_rate", "train_loss", "held_out_loss"]],
        layers=_long(counts, "rows", {"layer": int(perceptron)}),
        skips=_long(skips, "tau", {"l": 0, "i": 0}),
        output=output.rename(columns={"output_rows": "row"}).astype(int),
        kernels=_long(
            norms.rename(columns={"kernel_norms": "norm"}), "norm", {"conv": 0, "out": 0, "in": 0}
        ),
        networks=networks_of(records),
        costs=pd.DataFrame([_cost(record) for record in records]),
    )


def networks_of(records: Sequence[Record]) -> pd.DataFrame:
    """The frame `networks` of a run or an arm."""
    lines = []
    for record in records:
        result = record["result"]
        if "parameters" in result:  # of an arm
            lines.append((record["seed"], *(result[k] for k in ("test_mse", "parameters", "dead"))))
        elif "test_mse" in result:
            # A network whose outputs are all 0 has the error of that answer, to the last bit.
            dead = result["test_mse"] == result["test_baselines"].get("zero")
            lines.append((record["seed"], result["test_mse"], _parameters(record), dead))
    return pd.DataFrame(lines, columns=["seed", "mse", "parameters", "dead"])


def add_answers(frames: Frames, network: str, table: pd.DataFrame) -> Frames:
    """Add the answers that need no network to the losses of a run.

    Principal components are called `principal_components_<dimensions>`, and
    `principal_components_<network>` where they are as many as the seed's narrowest layer has rows.

    Args:
        frames: of the run.
        network: `autoencoder`, `residual` or `densenet`.
        table: the lines of results/baselines.csv that are about the run.

    Raises:
        ValueError: if the table and the records give another error for the same answer.
    """
    losses, layers = frames.losses, frames.layers
    components = table.dropna(subset="dimensions")
    every = [table[table["dimensions"].isna()]]
    if network == "densenet":  # nothing is random, so that there is one line for all seeds
        every = [every[0].drop(columns="seed").merge(losses[["seed"]].drop_duplicates(), "cross")]
    else:
        last = layers[(layers["epoch"] == layers["epoch"].max()) & (layers["kind"] == "active")]
        narrowest = components["seed"].map(last.groupby("seed")["rows"].min())
        number = components["dimensions"].astype(int).astype(str)
        every.append(components.assign(answer=components["answer"] + "_" + number))
        own = components[components["dimensions"] == narrowest]
        every.append(own.assign(answer=own["answer"] + f"_{network}"))
    key = ["seed", "images", "answer"]
    found = pd.concat(every).astype({"seed": int})[[*key, "mse", "accuracy"]]
    both = found.merge(losses, "left", on=key, suffixes=("", "_recorded"), indicator="there")
    known = both["there"] == "both"
    if not np.allclose(both.loc[known, "mse"], both.loc[known, "mse_recorded"], rtol=1e-4):
        raise ValueError("it is of other images or noise than the records")
    new = found[~known.to_numpy()]
    return replace(frames, losses=pd.concat([losses, new], ignore_index=True))


def skip_names(layers: int) -> list[tuple[int, int]]:
    """All (l, i) of tau(l, i), i <= l."""
    return [(l, i) for l in range(layers) for i in range(l + 1)]


def _long(frame: pd.DataFrame, column: str, axes: Mapping[str, int]) -> pd.DataFrame:
    """One row for each number in nested lists.

    Args:
        frame: has the lists in a column; NaN where there are none.
        column: its name.
        axes: a name for the place at each level of the lists, and its first number.
    """
    for axis, first in axes.items():
        frame = frame.dropna(subset=column)
        frame = frame[frame[column].map(len) > 0].reset_index(drop=True).explode(column)
        frame[axis] = frame.groupby(level=0).cumcount() + first
    return frame.infer_objects().reset_index(drop=True)


def _losses(record: Record) -> Iterator[dict[str, object]]:
    for images in ("test", "held_out"):
        of = {
            name: record["result"].get(f"{images}_{name}")
            for name in ("mse", "loss", "accuracy", "baselines")
        }
        for answer, mse in {"network": of["mse"], **(of["baselines"] or {})}.items():
            row = {"seed": record["seed"], "images": images, "answer": answer, "mse": mse}
            yield {**row, "cross_entropy": of["loss"], "accuracy": of["accuracy"]}


def _parameters(record: Record) -> float:
    """Of a searched perceptron, counted as `baselines.architectures` counts."""
    if not record.get("active_groups"):
        return float("nan")
    layers = [unpack(group) for group in record["active_groups"].values()]
    skips = record["result"].get("skips", [])
    count, carrying = 0, [np.ones_like(layers[0])]  # the entries of each x(l) that can be nonzero
    for l, rows in enumerate(layers):
        count += int(rows.sum()) * (int(carrying[l].sum()) + 1)
        on = [carrying[i] for i, tau in enumerate(skips[l] if skips else []) if tau]
        carrying.append(np.any([rows, *on], axis=0))
    return float(count + sum(tau != 0 for row in skips for tau in row))


def _cost(record: Record) -> dict[str, object]:
    """The time of a seed; seeds in lockstep share that of their batch evenly."""
    provenance = record["provenance"]
    batch = provenance.get("in_lockstep", [])
    return {
        "seed": record["seed"],
        "seconds": provenance["seconds"] / max(1, len(batch)),
        "processor": provenance["host"]["processor"],
        "device": provenance["host"]["device"],
        "torch": provenance["versions"].get("torch", ""),
        "lockstep": bool(batch),
    }
