"""Runs in which something is changed, beside their protocol's own run at the same epoch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bregman_nas.report.data import Run, Study
from bregman_nas.report.measures import coding_layers, rises_linearly
from bregman_nas.report.stats import Summary, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT
from bregman_nas.report.text import NOT_RUN
from bregman_nas.settings import RunRow

NOTHING = summarize([])


@dataclass(frozen=True)
class Row:
    """A protocol's own run, or one in which something is changed.

    `numbers` are those of `measure`, empty if not run; `difference` is `numbers` less those of the
    protocol's own run, for the seeds of both, and empty for that run itself.
    """

    name: str
    row: RunRow
    numbers: pd.DataFrame
    difference: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def words(self) -> str:
        """The change, as `in_words`."""
        return in_words(self.row.change) or "as it is"

    def of(self, measure: str) -> Summary | None:
        """One of the numbers over the seeds; None if it was not measured."""
        return summarize(self.numbers[measure]) if measure in self.numbers else None

    def gap(self, measure: str) -> Summary | None:
        """The paired difference in one of the numbers; None if there is no pair."""
        return summarize(self.difference[measure]) if measure in self.difference else None


class Group(NamedTuple):
    """An experiment at an epoch: each protocol's own run, and then its changes."""

    experiment: str
    epoch: int
    rows: Sequence[Row]

    @property
    def layers(self) -> int:
        """The number of layers L."""
        return max(row.numbers.filter(like="width_").shape[1] for row in self.rows)


def in_words(change: Mapping[str, Any]) -> str:
    """Keys and values, such as `skip threshold 28`."""
    return ", ".join(
        f"{key.replace('_', ' ')} {value.get('kind', value) if isinstance(value, dict) else value}"
        for key, value in change.items()
    )


def measure(run: Run, epoch: int) -> pd.DataFrame:
    """The numbers that are compared, indexed by seed; NaN where it diverged.

    Columns: `ten_mse`, ten times the held-out mean squared error per pixel; if there are hidden
    layers, `coding_width`, `coding_share` (of the widest hidden layer), `coding_layer` and
    `rising_line` (1 or 0); if there are skips, `skips_on` and `largest_skip`; `rows_on` and
    `rows_living` of all layers; `width_l`, active rows of layer l. Empty if the run ended before.
    """
    at_epoch = run.frames.epochs[run.frames.epochs["epoch"] == epoch].set_index("seed")
    if at_epoch.empty:
        return pd.DataFrame()
    widths, size = run.rows(epoch=epoch), np.abs(run.tau(epoch))
    found = {"ten_mse": ARTICLE_UNIT * at_epoch.loc[run.converged, "held_out_loss"].to_numpy(float)}
    if (hidden := widths[:, :-1]).size:
        narrowest, widest = hidden.min(1), hidden.max(1)
        found |= {
            "coding_width": narrowest,
            # Without a single active row in the hidden layers none is narrower than another.
            "coding_share": np.where(widest > 0, narrowest / np.maximum(widest, 1), 1),
            "coding_layer": coding_layers(widths),
            "rising_line": np.array([float(rises_linearly(of_seed)) for of_seed in widths]),
        }
    if not np.isnan(size).all():
        found |= {"skips_on": (size > 0).sum((1, 2)) * 1.0, "largest_skip": np.nanmax(size, (1, 2))}
    found |= {"rows_on": widths.sum(1), "rows_living": run.rows("living", epoch).sum(1)}
    found |= {f"width_{l}": of_layer for l, of_layer in enumerate(widths.T, start=1)}
    return pd.DataFrame(found, index=pd.Index(run.converged, name="seed")).reindex(run.seeds)


def groups(study: Study) -> list[Group]:
    """The runs in which something is changed, each group led by its protocol's own run.

    That run has the seeds of the runs beside it, or all of its seeds if none of them is run. A
    group without any run is left out.
    """
    settings = study.settings
    changed: dict[tuple[str, int], dict[str, list[str]]] = {}
    for name, row in settings.runs.items():
        experiment = settings.experiments[row.experiment]
        if row.change and experiment.network == "mlp":
            key = (row.experiment, row.epochs or experiment.epochs)
            changed.setdefault(key, {}).setdefault(row.protocol, []).append(name)
    return [
        Group(*key, [row for p, names in found.items() for row in _rows(study, *key, p, names)])
        for key, found in changed.items()
        if any(name in study.runs for names in found.values() for name in names)
    ]


def _rows(
    study: Study, experiment: str, epoch: int, protocol: str, names: Sequence[str]
) -> Iterator[Row]:
    runs = {name: study.runs.get(name) for name in names}
    found = {n: pd.DataFrame() if r is None else measure(r, epoch) for n, r in runs.items()}
    run = study.run(protocol, experiment)
    own = pd.DataFrame() if run is None else measure(run, epoch)
    wanted = {seed for numbers in found.values() for seed in numbers.index}
    if wanted:
        own = own[own.index.isin(list(wanted))]
    row = RunRow.model_validate({"protocol": protocol, "experiment": experiment, "seeds": 0})
    yield Row(f"{protocol}-{experiment}" if run is None else run.name, row, own)
    for name, numbers in found.items():
        both = numbers.index.intersection(own.index)
        difference = numbers.loc[both] - own.loc[both] if len(both) else pd.DataFrame()
        yield Row(name, study.settings.runs[name], numbers, difference)


def rows(found: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """A line for each run and number, and for each run that has not been made."""
    for group in found:
        for row in group.rows:
            for name in row.numbers.columns if len(row.numbers) else [None]:
                numbers, gap = (row.of(name), row.gap(name)) if name else (None, None)
                yield {
                    **{"experiment": group.experiment, "epoch": group.epoch, "run": row.name},
                    "protocol": row.row.protocol,
                    "change": row.words if row.row.change else None,
                    "status": "run" if name else NOT_RUN,
                    "measure": name,
                    "seeds": numbers and numbers.seeds,
                    "nan_seeds": numbers and numbers.nan_seeds,
                    **(numbers or NOTHING).named(),
                    "pairs": gap and gap.seeds,
                    "nan_pairs": gap and gap.nan_seeds,
                    **(gap or NOTHING).named("difference_"),
                }
