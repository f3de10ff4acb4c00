"""The results of a run as tidy frames: the contract between records and report."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bregman_nas.search.records import unpack

Record = Mapping[str, Any]  # as of `search.records`

#: The kinds of `Frames.layers`, by their names in the history of a record.
KINDS = {"active_rows": "active", "active_kernels": "active"}
KINDS |= {"living_rows": "living", "living_channels": "living"}
KINDS |= {"switched_on": "switched_on", "switched_off": "switched_off"}
SCORES = ["mse", "cross_entropy", "accuracy", "logits"]


class Frames(NamedTuple):
    """The frames of a run, each with the column `seed`; empty if its network does not have them.

    Attributes:
        losses: `images`, `answer`, `mse`, `cross_entropy`, `accuracy` after the last epoch.
            `images` is `test` or `held_out`; `answer` is `network` or one that needs none
            (`add_answers`). A classifier has no `mse` (per pixel), others none of the last two, nor
            `logits`: how many are positive for some test image, NaN if the record is older.
        epochs: `epoch`, `learning_rate`, `train_loss`, `held_out_loss`.
        layers: `epoch`, `layer` from 1, `kind`, `rows`. `kind` is `active`, `living`, `switched_on`
            or `switched_off`, and after the last epoch also `effective`. For a DenseNet, layer 0 is
            the first convolution, and kernels (living: channels) are counted.
        skips: `epoch`, `l`, `i`, `tau`: tau(l, i) leads from x(i) to x(l + 1), i <= l; (2.5).
        output: `row`: the active rows of a perceptron's output layer, from 0.
        kernels: `conv`, `out`, `in`, `norm`: Frobenius norms of a DenseNet's kernels.
        networks: of perceptrons, as `networks_of`.
        costs: `seconds`, `processor`, `device`, `torch`; seeds in lockstep share the time evenly.
    """

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
    results = results.rename(columns={"output_rows": "row", "kernel_norms": "norm"})
    every = [{"seed": r["seed"], **entry} for r in records for entry in r["history"]]
    history = pd.DataFrame(every).rename(columns={**KINDS, "skips": "tau"})
    counts = history.melt(["seed", "epoch"], [*dict.fromkeys(KINDS.values())], "kind", "rows")
    perceptron = "effective_rows" in results
    if perceptron:
        effective = results[["seed"]].assign(rows=results["effective_rows"], kind="effective")
        counts = pd.concat([counts, effective.assign(epoch=history["epoch"].max())])
    losses = []
    for r, images in product(records, ("test", "held_out")):
        of = r["result"].get
        answers = {"network": of(f"{images}_mse"), **of(f"{images}_baselines", {})}
        others = of(f"{images}_loss"), of(f"{images}_accuracy"), of("logits_ever_positive")
        losses += [(r["seed"], images, answer, mse, *others) for answer, mse in answers.items()]
    costs = [
        {
            **{"seed": seed, "torch": made["versions"].get("torch", "")},
            **{name: made["host"][name] for name in ("processor", "device")},
            "seconds": made["seconds"] / max(1, len(made.get("in_lockstep", []))),
        }
        for seed, made in ((r["seed"], r["provenance"]) for r in records)
    ]
    scores = pd.DataFrame(losses, columns=["seed", "images", "answer", *SCORES])
    return Frames(
        scores.astype(dict.fromkeys(SCORES, float)),
        history[["seed", "epoch", "learning_rate", "train_loss", "held_out_loss"]],
        _long(counts, "rows", {"layer": int(perceptron)}),
        _long(history.reindex(columns=["seed", "epoch", "tau"]), "tau", {"l": 0, "i": 0}),
        results.reindex(columns=["seed", "row"]).explode("row").dropna().astype(int),
        _long(results.reindex(columns=["seed", "norm"]), "norm", {"conv": 0, "out": 0, "in": 0}),
        networks_of(records),
        pd.DataFrame(costs),
    )


NETWORK_COLUMNS = [
    *("seed", "mse", "train_mse", "best_held_out_mse", "best_epoch"),
    *("narrowest", "effective", "parameters", "dead"),
]


def networks_of(records: Sequence[Record]) -> pd.DataFrame:
    """The perceptrons of a run or an arm.

    Columns: `seed`; `mse` on the test images; `train_mse`, the mean over the last epoch's batches,
    each before its step; `best_held_out_mse`, the least of all epochs, and `best_epoch`;
    `narrowest`, the rows of the narrowest hidden layer, and `effective`, the share of all hidden
    rows that are (see docs/results.md), NaN if there are none; `parameters`, NaN if the record does
    not keep which rows are active; `dead`, whether all outputs are 0.
    """
    lines = []
    for record in records:
        result, history = record["result"], record["history"]
        if "test_mse" not in result:
            continue
        if "parameters" in result:  # of an arm
            size = result["parameters"], result["dead"]
        else:  # a network whose outputs are all 0 has the error of that answer, to the last bit
            size = _parameters(record), result["test_mse"] == result["test_baselines"].get("zero")
        best = min((entry["held_out_loss"], entry["epoch"]) for entry in history)
        errors = result["test_mse"], history[-1]["train_loss"]
        hidden, effective = result["active_rows"][:-1], sum(result["effective_rows"][:-1])
        layers = min(hidden, default=np.nan), effective / sum(hidden) if any(hidden) else np.nan
        lines.append((record["seed"], *errors, *best, *layers, *size))
    return pd.DataFrame(lines, columns=NETWORK_COLUMNS)


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
        counts = components["dimensions"].map("_{:.0f}".format)
        own = components[components["dimensions"] == narrowest]
        every.append(components.assign(answer=components["answer"] + counts))
        every.append(own.assign(answer=own["answer"] + f"_{network}"))
    key = ["seed", "images", "answer"]
    found = pd.concat(every).astype({"seed": int})[[*key, "mse", "accuracy"]]
    both = found.merge(losses, "left", on=key, suffixes=("", "_recorded"), indicator=True)
    known = both["_merge"] == "both"
    if not np.allclose(both.loc[known, "mse"], both.loc[known, "mse_recorded"], rtol=1e-4):
        raise ValueError("it is of other images or noise than the records")
    return frames._replace(losses=pd.concat([losses, found[~known.to_numpy()]], ignore_index=True))


def _long(frame: pd.DataFrame, column: str, axes: Mapping[str, int]) -> pd.DataFrame:
    """One row for each number of a column of nested lists, NaN where there are none.

    `axes` has a name for the place at each level of the lists, and its first number.
    """
    for axis, first in axes.items():
        frame = frame.dropna(subset=column)
        frame = frame[frame[column].map(len) > 0].reset_index(drop=True).explode(column)
        frame[axis] = frame.groupby(level=0).cumcount() + first
    return frame.infer_objects().reset_index(drop=True)


def _parameters(record: Record) -> float:
    """Of a searched perceptron, counted as `baselines.architectures` counts."""
    if not record.get("active_groups"):
        return float("nan")
    layers = [unpack(group) for group in record["active_groups"].values()]
    skips = record["result"].get("skips") or [[]] * len(layers)
    count, carrying = 0, [np.ones_like(layers[0])]  # the entries of each x(l) that can be nonzero
    for l, (rows, of_layer) in enumerate(zip(layers, skips, strict=True)):
        count += int(rows.sum() * (carrying[l].sum() + 1)) + int(np.count_nonzero(of_layer))
        on = [carrying[i] for i, tau in enumerate(of_layer) if tau]
        carrying.append(np.any([rows, *on], axis=0))
    return float(count)
