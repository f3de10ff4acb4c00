"""The results of a run as a few tidy frames: the contract between records and report.

Each has a column `run`:

- `losses(seed, images, answer, mse, cross_entropy, accuracy)`: after the last epoch. `images` are
  `test` or `held_out`, `answer` is `network` or one that needs no training (`add_answers`). `mse`
  is the mean squared error per pixel; a classifier has `cross_entropy` and `accuracy` in its place.
- `epochs(seed, epoch, learning_rate, train_loss, held_out_loss)`.
- `layers(seed, epoch, layer, kind, rows)`: layers from 1. `kind`: `active`, `living`, `switched_on`
  and `switched_off`, and after the last epoch `effective`. Of a DenseNet, layer 0 is the first
  convolution, and kernels (living: channels) are counted.
- `skips(seed, epoch, l, i, tau)`: tau(l, i) leads from x(i) to x(l + 1), i <= l; (2.5).
- `output(seed, row)`: the active rows of a perceptron's output layer, from 0.
- `kernels(seed, conv, out, in, norm)`: Frobenius norms of a DenseNet's kernels, from the first
  convolution (0) to the last.
- `networks(seed, mse, parameters, dead)`: what a perceptron is compared by, also one that was not
  searched: error on the test images, number of parameters (NaN if its record does not keep which
  rows are active), and whether all its outputs are 0.
- `costs(seed, seconds, processor, device, torch, lockstep)`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from bregman_nas.report.records import ArmRecord, Classification, Record, Restoration, Trained
from bregman_nas.search.records import unpack


@dataclass(frozen=True)
class Frames:
    """The frames of one run; those that its network does not have are empty."""

    losses: pd.DataFrame
    epochs: pd.DataFrame = field(default_factory=pd.DataFrame)
    layers: pd.DataFrame = field(default_factory=pd.DataFrame)
    skips: pd.DataFrame = field(default_factory=pd.DataFrame)
    output: pd.DataFrame = field(default_factory=pd.DataFrame)
    kernels: pd.DataFrame = field(default_factory=pd.DataFrame)
    networks: pd.DataFrame = field(default_factory=pd.DataFrame)
    costs: pd.DataFrame = field(default_factory=pd.DataFrame)


def frames_of(run: str, records: Sequence[Record]) -> Frames:
    """The frames of a run.

    Args:
        run: its name.
        records: of all its seeds.
    """
    results = [record.result for record in records]
    every = [entry for record in records for entry in record.history]
    axes: dict[str, Any] = {
        "seed": [record.seed for record in records],
        "epoch": [entry.epoch for entry in records[0].history],
    }
    last = axes | {"epoch": axes["epoch"][-1:]}
    values = ["learning_rate", "train_loss", "held_out_loss"]
    kinds = ["active", "living", "switched_on", "switched_off"]
    perceptrons = [result for result in results if isinstance(result, Restoration)]
    layer = range(bool(perceptrons), len(every[0].active) + bool(perceptrons))
    counts = [[getattr(entry, kind) for kind in kinds] for entry in every]
    layers = [_tidy("rows", counts, **axes, kind=kinds, layer=layer)]
    if perceptrons:
        effective = [result.effective for result in perceptrons]
        layers.append(_tidy("rows", effective, **last, kind=["effective"], layer=layer))
    pairs = skip_names(len(every[0].skips))
    skips = [[tau for row in entry.skips for tau in row] for entry in every]
    norms = [result.kernel_norms for result in results if isinstance(result, Classification)]
    kernels = [
        _tidy("norm", of_conv, seed=axes["seed"], conv=[conv], out=out, **{"in": into})
        for conv, of_conv in enumerate(zip(*norms, strict=True))
        for out, into in [(range(len(of_conv[0])), range(len(of_conv[0][0])))]
    ]
    found = {
        "losses": pd.DataFrame([row for record in records for row in _losses(record)]),
        "epochs": _tidy(
            "value", [[getattr(e, v) for v in values] for e in every], **axes, of=values
        )
        .pivot(index=["seed", "epoch"], columns="of", values="value")
        .reset_index(),
        "layers": pd.concat(layers),
        "output": pd.DataFrame(
            [
                (record.seed, row)
                for record in records
                if isinstance(record.result, Restoration)
                for row in record.result.output_rows
            ],
            columns=["seed", "row"],
        ),
        "skips": _tidy("tau", skips, **axes, l=[0], i=pairs),
        "kernels": pd.concat(kernels) if kernels else pd.DataFrame(),
        "networks": networks_of(records),
        "costs": pd.DataFrame([_cost(record) for record in records]),
    }
    if pairs:
        found["skips"][["l", "i"]] = found["skips"]["i"].tolist()
    return Frames(**{name: frame.assign(run=run) for name, frame in found.items()})


def networks_of(records: Sequence[Record | ArmRecord]) -> pd.DataFrame:
    """The frame `networks` of a run or an arm, without the column `run`."""
    lines: list[tuple[int, float, float, bool]] = []
    for record in records:
        result = record.result
        if isinstance(result, Trained):
            lines.append((record.seed, result.test_mse, result.parameters, result.dead))
        elif isinstance(result, Restoration) and isinstance(record, Record):
            # A network whose outputs are all 0 has the error of that answer, to the last bit.
            dead = result.test_mse == result.test_baselines.get("zero")
            lines.append((record.seed, result.test_mse, _parameters(record, result.skips), dead))
    return pd.DataFrame(lines, columns=["seed", "mse", "parameters", "dead"])


def _parameters(record: Record, skips: Sequence[Sequence[float]]) -> float:
    """Of a searched perceptron, counted as `baselines.architectures` counts."""
    if not record.active_groups:
        return float("nan")
    layers = [unpack(group) for group in record.active_groups.values()]
    count, carrying = (
        0,
        [np.ones_like(layers[0])],
    )  # the entries of each x(l) that can be other than 0
    for l, rows in enumerate(layers):
        count += int(rows.sum()) * (int(carrying[l].sum()) + 1)
        tau = skips[l] if skips else []
        carrying.append(np.any([rows, *(carrying[i] for i, t in enumerate(tau) if t)], axis=0))
    return float(count + sum(t != 0 for row in skips for t in row))


def add_answers(frames: Frames, network: str, table: pd.DataFrame) -> Frames:
    """The frames of a run, `losses` with the answers of results/baselines.csv.

    Principal components are called `principal_components_<dimensions>`, and
    `principal_components_<network>` where they are as many as the seed's narrowest layer has rows.

    Args:
        frames: of the run.
        network: `autoencoder`, `residual` or `densenet`.
        table: the lines of the run.

    Raises:
        ValueError: if an error that the records have too is another in the table.
    """
    losses, layers = frames.losses, frames.layers
    every = [table[table["dimensions"].isna()]]
    if network == "densenet":  # without a seed, as nothing is random
        every = [every[0].assign(seed=seed) for seed in losses["seed"].unique()]
    else:
        active = layers[(layers["epoch"] == layers["epoch"].max()) & (layers["kind"] == "active")]
        narrowest = active.groupby("seed")["rows"].min()
        of_pca = table[table["dimensions"].notna()]
        own = of_pca[of_pca["dimensions"] == of_pca["seed"].map(narrowest)]
        numbers = of_pca["dimensions"].astype(int).astype(str)
        every += [
            of_pca.assign(answer=of_pca["answer"] + "_" + numbers),
            own.assign(answer=own["answer"] + f"_{network}"),
        ]
    found = pd.concat(every).astype({"seed": int})
    key = ["seed", "images", "answer"]
    both = losses.merge(found, on=key, suffixes=("", "_there"))
    if not np.allclose(both["mse"], both["mse_there"], rtol=1e-4):
        raise ValueError("it is of other images or noise than the records")
    new = found[~pd.MultiIndex.from_frame(found[key]).isin(pd.MultiIndex.from_frame(losses[key]))]
    new = new[[*key, "mse", "accuracy"]].assign(run=losses["run"].iloc[0])
    return replace(frames, losses=pd.concat([losses, new], ignore_index=True))


def skip_names(layers: int) -> list[tuple[int, int]]:
    """All (l, i) of tau(l, i), i <= l."""
    return [(l, i) for l in range(layers) for i in range(l + 1)]


def _tidy(name: str, values: object, **axes: Collection[object]) -> pd.DataFrame:
    """A row for each number; the axes are those of the array, from outside to inside."""
    index = pd.MultiIndex.from_product(list(axes.values()), names=list(axes))
    return pd.DataFrame({name: np.asarray(values).ravel()}, index=index).reset_index()


def _losses(record: Record) -> Iterator[dict[str, object]]:
    result, nan = record.result, float("nan")
    for images in ("test", "held_out"):
        row = {"seed": record.seed, "images": images, "cross_entropy": nan, "accuracy": nan}
        if isinstance(result, Restoration):
            answers = {"network": getattr(result, f"{images}_mse")}
            for answer, mse in (answers | getattr(result, f"{images}_baselines")).items():
                yield row | {"answer": answer, "mse": mse}
        else:
            loss, accuracy = (getattr(result, f"{images}_{k}") for k in ("loss", "accuracy"))
            found = {"answer": "network", "mse": nan, "cross_entropy": loss, "accuracy": accuracy}
            yield row | found


def _cost(record: Record) -> dict[str, object]:
    """Seeds in lockstep share the time of their batch evenly."""
    told = record.provenance
    return {
        "seed": record.seed,
        "seconds": told.seconds / max(1, len(told.in_lockstep)),
        "processor": told.host.processor,
        "device": told.host.device,
        "torch": told.versions.get("torch", ""),
        "lockstep": bool(told.in_lockstep),
    }
