"""Runs in which something is changed, beside their protocol's own run at the same epoch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from bregman_nas.report import measures
from bregman_nas.report.data import Run, Study
from bregman_nas.report.stats import Summary, summarize
from bregman_nas.report.text import NOT_RUN
from bregman_nas.settings import RunRow


class Row(NamedTuple):
    """A protocol's own run, or one in which something is changed.

    `numbers` are as `measures.numbers`, empty if not run; `difference` is `numbers` less those of
    the protocol's own run, for the seeds of both, and empty for that run itself.
    """

    name: str
    row: RunRow
    numbers: pd.DataFrame
    difference: pd.DataFrame = pd.DataFrame()

    @property
    def words(self) -> str:
        """The change, as `in_words`."""
        return in_words(self.row.change) or "as it is"

    def of(self, measure: str) -> Summary:
        """One of the numbers over the seeds; of no seeds if it was not measured."""
        return summarize(self.numbers.get(measure, ()))

    def gap(self, measure: str) -> Summary:
        """The paired difference in one of the numbers; of no seeds if there is no pair."""
        return summarize(self.difference.get(measure, ()))


class Group(NamedTuple):
    """An experiment at an epoch: each protocol's own run, and then its changes."""

    experiment: str
    epoch: int
    rows: Sequence[Row]

    @property
    def layers(self) -> int:
        """The number of layers L."""
        return max(row.numbers.filter(like="width_").shape[1] for row in self.rows)


#: Keys that are called otherwise in the field.
KEYS = {"relu_slope": "leaky ReLU slope"}


def in_words(change: Mapping[str, Any]) -> str:
    """Keys and values, such as `skip threshold 28`."""
    words = []
    for key, value in change.items():
        told = value.get("kind", value) if isinstance(value, dict) else value
        words.append(f"{KEYS.get(key, key.replace('_', ' '))} {told}")
    return ", ".join(words)


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
    def numbers(run: Run | None) -> pd.DataFrame:
        return pd.DataFrame() if run is None else measures.numbers(run, epoch)

    found = {name: numbers(study.runs.get(name)) for name in names}
    run = study.run(protocol, experiment)
    own = numbers(run)
    if wanted := {seed for of_run in found.values() for seed in of_run.index}:
        own = own[own.index.isin(list(wanted))]
    row = RunRow.model_validate({"protocol": protocol, "experiment": experiment, "seeds": 0})
    yield Row(f"{protocol}-{experiment}" if run is None else run.name, row, own)
    for name, of_run in found.items():
        both = of_run.index.intersection(own.index)
        difference = of_run.loc[both] - own.loc[both] if len(both) else pd.DataFrame()
        yield Row(name, study.settings.runs[name], of_run, difference)


def rows(found: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """A line for each run and number, and for each run that has not been made."""
    for group in found:
        for row in group.rows:
            for name in row.numbers.columns if len(row.numbers) else [""]:
                numbers, gap = row.of(name), row.gap(name)
                yield {
                    **{"experiment": group.experiment, "epoch": group.epoch, "run": row.name},
                    "protocol": row.row.protocol,
                    "change": row.words if row.row.change else None,
                    "status": "run" if name else NOT_RUN,
                    "measure": name or None,
                    **(numbers.counts() if name else dict.fromkeys(numbers.counts())),
                    **numbers.named(),
                    "pairs": gap.seeds or None,
                    "nan_pairs": gap.nan_seeds if gap.seeds else None,
                    **gap.named("difference_"),
                }
