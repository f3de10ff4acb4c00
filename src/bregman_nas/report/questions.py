"""What decides the architecture? Questions, with answers generated from the results.

An answer has numbers, and a sentence with them whose words are in templates/sentences.j2, or how a
line of a table of differences starts.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bregman_nas.report import claims, variance
from bregman_nas.report.changes import Group, in_words
from bregman_nas.report.claims.rules import Verdict
from bregman_nas.report.data import PROTOCOLS, REGISTERED, WORDS, Study, experiment_words
from bregman_nas.report.measures import numbers, outputs
from bregman_nas.report.render import macros
from bregman_nas.report.stats import Summary, difference_interval, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT
from bregman_nas.settings import RunRow

#: Of which differences are told.
MEASURES = ("coding_width", "rows_on", "rows_living", "ten_mse")
Answer = dict[str, Any]  # see `ask`


def ask(study: Study, shown: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All questions, by a short name; templates/questions.md.j2 has their words.

    Of each its `answers` as far as there are results (`sentence`, of differences `start`; `run`,
    the run or the design; `seeds`, the fewest behind a number; `numbers`, by name, with 95%
    intervals), and as `missing` which of its runs are planned. `shown` is what else
    `tables.present` has.
    """
    rows, changed, planned = study.settings.runs, shown["changed"], shown["planned"]

    def rows_with(*keys: str) -> list[str]:
        return [name for name, row in rows.items() if row.change and row.change.keys() <= {*keys}]

    def unchanged(longer: bool) -> list[str]:
        return [n for n, row in rows.items() if not row.change and bool(row.epochs) is longer]

    cells = rows_with("skip_threshold", "initial_scale")
    alive, size = rows_with("relu_slope", "inactive_biases"), rows_with("delta", "mu")
    # The runs whose seeds may be missing, and the answers.
    asked: dict[str, tuple[list[str], Iterable[Answer]]] = {
        "threshold-and-scale": (cells, _changes(changed, cells)),
        "variance": ([], _variance(shown["apart"])),
        "dying": (alive, _changes(changed, alive)),
        "finished": (unchanged(longer=True), _longer(study)),
        "delta-and-mu": (size, _changes(changed, size)),
        "output-layer": ([], _output(study)),
        "fresh-seeds": (unchanged(longer=False), [*_fresh(study), *_verdicts(shown["revised"])]),
        "elsewhere": ([], _elsewhere(study)),
    }
    return {
        name: {"answers": [*answers], "missing": [row for row in planned if row["name"] in runs]}
        for name, (runs, answers) in asked.items()
    }


def _answer(kind: str, run: str, seeds: int, ends: Mapping[str, Answer], **told: Any) -> Answer:
    sentence = str(getattr(macros("sentences.j2"), kind)(ends, seeds, **told))
    return {"sentence": sentence, "run": run, "seeds": seeds, "numbers": ends}


def _ends(value: float | None, low: float | None = None, high: float | None = None) -> Answer:
    return {"value": value, "low": low, "high": high}


def _name(row: RunRow) -> str:
    """Such as `plain denoising following the text`."""
    return f"{experiment_words(row.experiment)} following the {WORDS[row.protocol]}"


def _changes(groups: Sequence[Group], names: Collection[str]) -> Iterator[Answer]:
    for group in groups:
        for row in (row for row in group.rows if row.name in names):
            start = f"In {_name(row.row)}, with {row.words}, after {group.epoch} epochs"
            yield from _differences(start, row.name, {name: row.gap(name) for name in MEASURES})


def _longer(study: Study) -> Iterator[Answer]:
    """How longer runs go on after the epoch at which others of their experiment end."""
    for run in study.perceptrons:
        usual = study.settings.experiments[run.row.experiment].epochs
        for first in dict.fromkeys((usual, run.last - usual)):
            if run.row.epochs and not run.row.change and usual <= first < run.last:
                change = numbers(run) - numbers(run, first)
                found = {name: summarize(change[name]) for name in MEASURES if name in change}
                start = f"In {_name(run.row)}, from epoch {first} to {run.last}"
                yield from _differences(start, run.name, found)


def _differences(start: str, run: str, found: Mapping[str, Summary]) -> Iterator[Answer]:
    """None if there are no pairs."""
    if there := {name: summary for name, summary in found.items() if summary.used}:
        seeds = min(summary.used for summary in there.values())
        ends = {name: _ends(of.mean, of.low, of.high) for name, of in there.items()}
        yield {"start": start, "run": run, "seeds": seeds, "numbers": ends}


def _variance(apart: pd.DataFrame) -> Iterator[Answer]:
    told = apart[apart["measure"].isin([variance.NARROWEST, variance.ROWS])].dropna(subset="share")
    for (design, name), rows in told.groupby(["design", "measure"], sort=False):
        shares = rows.set_index("component")[["share", "low", "high"]].astype(float)
        ends = {str(part): _ends(*of) for part, *of in shares.itertuples()}
        seeds = int(rows["seeds"].iloc[0])
        yield _answer("variance", f"{design}, {name}", seeds, ends, measure=name, design=design)


def _output(study: Study) -> Iterator[Answer]:
    for run, found in outputs(study):
        if (area := found["area"]).used:
            ends = {"area": _ends(area.mean, area.low, area.high)}
            yield _answer("output", run.name, area.used, ends, name=_name(run.row))


def _fresh(study: Study) -> Iterator[Answer]:
    """The mean losses of the fresh seeds less those of the registered."""
    for run in study.restoration:
        first, then = (
            summarize(run.only(seeds).scores()["mse"], ARTICLE_UNIT)
            for seeds in (REGISTERED, claims.FRESH)
        )
        interval = difference_interval(then, first)
        if first.mean is not None and then.mean is not None and interval is not None:
            ends = {"ten_mse": _ends(then.mean - first.mean, *interval)}
            means = {"now": then.mean, "before": first.mean}
            yield _answer("fresh", run.name, then.used, ends, name=_name(run.row), **means)


def _elsewhere(study: Study) -> Iterator[Answer]:
    """Hidden rows by which two searches of a seed differ on two machines, and two seeds on one."""
    for run in study.perceptrons:
        again = [one for one in study.elsewhere(run) if one["seed"] in run.converged]
        if not again:
            continue
        hidden = run.rows()[:, :-1]
        ours = hidden[[run.converged.index(one["seed"]) for one in again]]
        theirs = np.array([one["result"]["active_rows"][:-1] for one in again])
        machines = float(np.abs(ours - theirs).mean())
        # Each seed is also compared with itself, which adds 0.
        others = float(np.abs(ours[:, None] - hidden).mean()) * len(hidden) / (len(hidden) - 1)
        name = _name(run.row) + (f", with {words}" if (words := in_words(run.row.change)) else "")
        ends = {"machines": _ends(machines), "seeds": _ends(others)}
        yield _answer("elsewhere", run.name, len(again), ends, name=name)


def _verdicts(revised: Sequence[claims.Decision]) -> Iterator[Answer]:
    for protocol in PROTOCOLS:
        those = [decision for decision in revised if decision.protocol == protocol]
        if seeds := [decision.seeds for decision in those if decision.seeds]:
            counts = {str(v): _ends(sum(one.verdict is v for one in those)) for v in Verdict}
            yield _answer("verdicts", protocol, min(seeds), counts, protocol=protocol)
