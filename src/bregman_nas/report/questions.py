"""What decides the architecture? Questions, with answers generated from the results.

An answer is a sentence with its numbers, so that a text can quote it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd

from bregman_nas.report import claims, variance
from bregman_nas.report.changes import groups, measure
from bregman_nas.report.claims.claim import Verdict
from bregman_nas.report.data import REGISTERED, Run, Study
from bregman_nas.report.output_map import outputs
from bregman_nas.report.stats import Summary, difference_interval, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT
from bregman_nas.report.text import counted, fixed, interval, quoted
from bregman_nas.settings import RunRow

NETWORK_WORDS = {"autoencoder": "plain", "residual": "residual"}
# The words for a difference in each measure, and its digits.
TOLD = {
    "coding_width": ("the width of the narrowest hidden layer", 0),
    "rows_on": ("the number of active rows", 0),
    "rows_living": ("that of living rows", 0),
    "ten_mse": ("the loss", 5),
}


Answer = dict[str, Any]  # as from `_answer`
Question = dict[str, Any]


def ask(study: Study, apart: pd.DataFrame, revised: Sequence[claims.Decision]) -> list[Question]:
    """All questions.

    Args:
        study: all results.
        apart: from `variance.taken_apart`.
        revised: the claims, decided by the fresh seeds.

    Returns:
        For each question a short `name`, its `words`, its `answers` as far as there are results
        (`sentence`; `run`, the run or the design; `seeds`, the fewest behind a number; `numbers`,
        by name, with 95% intervals), and `missing`: runs with fewer seeds than are planned.
    """

    def question(
        name: str,
        words: str,
        answers: Iterable[Answer],
        holds: Callable[[RunRow], bool] = lambda _: False,
    ) -> Question:
        missing = [
            {"run": run, "seeds": len(row.seeds), "planned": row.planned}
            for run, row in study.settings.runs.items()
            if holds(row) and len(row.seeds) < (row.planned or 0)
        ]
        return {"name": name, "words": words, "answers": [*answers], "missing": missing}

    def changed(name: str, words: str, keys: set[str], *measures: str) -> Question:
        def holds(row: RunRow) -> bool:
            return bool(row.change) and row.change.keys() <= keys

        answers = (
            _differences(
                f"In {_name(row.row)}, with {row.words}, after {group.epoch} epochs,",
                row.name,
                {measure: row.gap(measure) for measure in measures or TOLD},
                "pair",
            )
            for group in groups(study)
            for row in group.rows
            if holds(row.row)
        )
        return question(name, words, chain.from_iterable(answers), holds)

    return [
        changed(
            "threshold-and-scale",
            "What do the threshold of the skips and the scale of the initial weights decide?",
            {"skip_threshold", "initial_scale"},
            *("coding_width", "rows_on", "ten_mse"),
        ),
        question(
            "variance",
            "How much is the setting, how much the task, how much the seed?",
            _variance(apart),
        ),
        changed(
            "dying",
            "Do rows stay off because they are dead?",
            {"relu_slope", "inactive_biases"},
            *("rows_on", "rows_living", "ten_mse"),
        ),
        question(
            "finished",
            "Do widths and loss stand still at the end?",
            (answer for run in study.runs.values() for answer in _longer(study, run)),
            lambda row: bool(row.epochs) and not row.change,
        ),
        changed("delta", "Does delta matter?", {"delta"}),
        question(
            "output-layer",
            "Are the active output rows those of the pixels that are inked?",
            _output(study),
        ),
        question(
            "fresh-seeds",
            "Do fresh seeds say the same?",
            [*_fresh(study), *_verdicts(revised)],
            lambda row: not row.change and not row.epochs,
        ),
    ]


def _name(row: RunRow) -> str:
    """Such as `plain denoising under "paper"`."""
    network, _, task = row.experiment.partition("-")
    return f"{NETWORK_WORDS.get(network, network)} {task} under {quoted(row.protocol)}"


def _answer(
    sentence: str, run: str, seeds: int, numbers: Mapping[str, Sequence[float | None]]
) -> Answer:
    """A sentence that a text can quote, and the numbers in it: value and interval."""
    named = {
        name: dict(zip(("value", "low", "high"), ends, strict=True))
        for name, ends in numbers.items()
    }
    return {"sentence": sentence, "run": run, "seeds": seeds, "numbers": named}


def _longer(study: Study, run: Run) -> Iterator[Answer]:
    """How a run goes on after the epoch at which others of its experiment end."""
    if run.own or run.row.change or not run.frames.kernels.empty:
        return
    usual = study.settings.experiments[run.row.experiment].epochs
    for first in dict.fromkeys((usual, run.last - usual)):
        if usual <= first < run.last:
            change = measure(run, run.last) - measure(run, first)
            found = {name: summarize(change[name]) for name in TOLD if name in change}
            start = f"In {_name(run.row)}, from epoch {first} to {run.last},"
            yield from _differences(start, run.name, found, "seed")


def _differences(
    start: str, run: str, found: Mapping[str, Summary | None], unit: str
) -> Iterator[Answer]:
    """A sentence of differences; none if there are none."""
    there = {n: (s.mean, s.low, s.high) for n, s in found.items() if s and s.mean is not None}
    if there:
        seeds = min(summary.used for summary in found.values() if summary and summary.used)
        parts = "; ".join(_part(name, *numbers) for name, numbers in there.items())
        yield _answer(f"{start} {parts} ({counted(seeds, unit)}).", run, seeds, there)


def _part(name: str, mean: float, low: float | None, high: float | None) -> str:
    words, digits = TOLD[name]
    size = fixed(abs(mean), digits)
    same = float(size) == 0
    words += f" is {'the same' if same else size + (' higher' if mean > 0 else ' lower')}"
    if low is not None and high is not None:
        words += f" ({interval(low, high, digits, sign=True)})" + _chance(low, high) * (not same)
    return words


def _chance(low: float, high: float) -> str:
    return ", which may be chance" if low <= 0 <= high else ""


def _variance(apart: pd.DataFrame) -> Iterator[Answer]:
    told = apart[apart["measure"].isin([variance.NARROWEST, variance.ROWS])].dropna(subset="share")
    for (design, name), rows in told.groupby(["design", "measure"], sort=False):
        numbers = {
            str(row["component"]): [float(row[name]) for name in ("share", "low", "high")]
            for row in rows.to_dict("records")
        }
        parts = [
            f"{'their combinations' if of == variance.TOGETHER else f'the {of}'}"
            f"{'' if k else ' makes up'} {share:.0%} ({low:.0%} to {high:.0%})"
            for k, (of, (share, low, high)) in enumerate(numbers.items())
        ]
        seeds = int(rows["seeds"].iloc[0])
        sentence = (
            f"Of the variance of the {name} ({design}), {', '.join(parts[:-1])} and {parts[-1]}, "
            f"with {seeds} seeds in each cell."
        )
        yield _answer(sentence, f"{design}, {name}", seeds, numbers)


def _output(study: Study) -> Iterator[Answer]:
    for run, found in outputs(study):
        area = found["area"]
        if area.mean is not None:
            ends = interval(area.low, area.high, 3)
            sentence = (
                f"In {_name(run.row)}, the frequency of a pixel tells whether its output row is "
                f"active with an area under the curve of {area.mean:.3f} ({ends}, "
                f"{counted(area.used, 'seed')})."
            )
            numbers = {"area": (area.mean, area.low, area.high)}
            yield _answer(sentence, run.name, area.used, numbers)


def _fresh(study: Study) -> Iterator[Answer]:
    """The mean losses of the fresh seeds less those of the registered."""
    for run in study.restoration:
        first, then = (
            summarize(run.only(seeds).scores()["mse"], ARTICLE_UNIT)
            for seeds in (REGISTERED, claims.FRESH)
        )
        ends = difference_interval(then, first)
        if first.mean is None or then.mean is None or ends is None:
            continue
        gap = then.mean - first.mean
        sentence = (
            f"In {_name(run.row)}, the mean loss of {counted(then.used, 'fresh seed')} is "
            f"{then.mean:.4f}, that of the registered ones {first.mean:.4f}: a difference of "
            f"{fixed(gap, 4, sign=True)} ({interval(*ends, 4, sign=True)}){_chance(*ends)}."
        )
        yield _answer(sentence, run.name, then.used, {"ten_mse": (gap, *ends)})


def _verdicts(revised: Sequence[claims.Decision]) -> Iterator[Answer]:
    for protocol in dict.fromkeys(decision.protocol for decision in revised):
        those = [decision for decision in revised if decision.protocol == protocol]
        seeds = [decision.seeds for decision in those if decision.seeds]
        if seeds:
            told = {str(v): [one.verdict for one in those].count(v) for v in Verdict}
            parts = [f"{n} {'is' if n == 1 else 'are'} {v}" for v, n in told.items() if n]
            words = f"under {quoted(protocol)}, {', '.join(parts)}."
            numbers = {verdict: (count, None, None) for verdict, count in told.items()}
            sentence = f"Of the claims by the revised rules, {words}"
            yield _answer(sentence, protocol, min(seeds), numbers)
