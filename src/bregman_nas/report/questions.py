"""What decides the architecture? Each question with its runs, its answers, and what is missing.

An answer is a sentence made from the results, with the numbers in it; so that a text that quotes it
says what the results say.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from bregman_nas.report import claims, variance
from bregman_nas.report.changes import Group, Row, groups, measure
from bregman_nas.report.claims.claim import Verdict
from bregman_nas.report.data import REGISTERED, Run, Study
from bregman_nas.report.output_map import outputs
from bregman_nas.report.stats import Summary, difference_interval, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT
from bregman_nas.report.text import counted, fixed, interval, quoted
from bregman_nas.settings import RunRow

NETWORK_WORDS = {"autoencoder": "plain", "residual": "residual"}
# What is told of a difference, with how many digits.
TOLD = {
    "coding_width": ("the width of the narrowest hidden layer", 0),
    "rows_on": ("the number of active rows", 0),
    "rows_living": ("that of living rows", 0),
    "ten_mse": ("the loss", 5),
}


@dataclass(frozen=True)
class Number:
    """A number of an answer, with its 95% interval if there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Answer:
    """A sentence and its numbers.

    Attributes:
        sentence: such as a text can take.
        run: what it is about: a run, a design.
        seeds: behind each number, the fewest.
        numbers: by name.
    """

    sentence: str
    run: str
    seeds: int
    numbers: dict[str, Number]


@dataclass(frozen=True)
class Question:
    """A question, and what the results say.

    Attributes:
        name: a short one.
        words: the question.
        answers: as far as there are results.
        missing: runs with their seeds, and how many are planned, where there are fewer.
    """

    name: str
    words: str
    answers: list[Answer] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)


def ask(study: Study, apart: pd.DataFrame, revised: Sequence[claims.Decision]) -> list[Question]:
    """All questions.

    Args:
        study: all results.
        apart: of `variance.taken_apart`.
        revised: the claims, decided by the fresh seeds.
    """
    compared = groups(study)

    def changed(
        name: str, words: str, keys: set[str], measures: Sequence[str] = [*TOLD]
    ) -> Question:
        def holds(row: RunRow) -> bool:
            return bool(row.change) and row.change.keys() <= keys

        answers = [
            answer
            for group in compared
            for row in group.rows
            if holds(row.row)
            for answer in _of_a_change(group, row, measures)
        ]
        return Question(name, words, answers, list(_missing(study, holds)))

    return [
        changed(
            "threshold-and-scale",
            "What do the threshold of the skips and the scale of the initial weights decide?",
            {"skip_threshold", "initial_scale"},
            ["coding_width", "rows_on", "ten_mse"],
        ),
        Question(
            "variance",
            "How much is the setting, how much the task, how much the seed?",
            list(_variance(apart)),
        ),
        changed(
            "dying",
            "Do rows stay off because they are dead?",
            {"relu_slope", "inactive_biases"},
            ["rows_on", "rows_living", "ten_mse"],
        ),
        Question(
            "finished",
            "Do widths and loss stand still at the end?",
            [answer for run in study.runs.values() for answer in _longer(study, run)],
            list(_missing(study, lambda row: bool(row.epochs) and not row.change)),
        ),
        changed("delta", "Does delta matter?", {"delta"}),
        Question(
            "output-layer",
            "Are the active output rows those of the pixels that are inked?",
            list(_output(study)),
        ),
        Question(
            "fresh-seeds",
            "Do fresh seeds say the same?",
            [*_fresh(study), *_verdicts(revised)],
            list(_missing(study, lambda row: not row.change and not row.epochs)),
        ),
    ]


def as_json(questions: Iterable[Question]) -> dict[str, Any]:
    """By the question's name."""
    return {question.name: asdict(question) for question in questions}


def _name(row: RunRow) -> str:
    """Such as `plain denoising under "paper"`."""
    network, _, task = row.experiment.partition("-")
    return f"{NETWORK_WORDS.get(network, network)} {task} under {quoted(row.protocol)}"


def _missing(study: Study, holds: Callable[[RunRow], bool]) -> Iterator[dict[str, Any]]:
    for name, row in study.settings.runs.items():
        if holds(row) and len(row.seeds) < (row.planned or 0):
            yield {"run": name, "seeds": len(row.seeds), "planned": row.planned}


def _of_a_change(group: Group, row: Row, measures: Sequence[str]) -> Iterator[Answer]:
    found = {name: row.gap(name) for name in measures}
    start = f"In {_name(row.row)}, with {row.words}, after {group.epoch} epochs,"
    yield from _answer(start, row.name, found, "pair")


def _longer(study: Study, run: Run) -> Iterator[Answer]:
    """How a run goes on after the epoch at which others of its experiment end."""
    if run.own or run.row.change or run.frames.layers.empty:
        return
    usual = study.settings.experiments[run.row.experiment].epochs
    for first in dict.fromkeys((usual, run.last - usual)):
        if usual <= first < run.last:
            change = measure(run, run.last) - measure(run, first)
            found = {name: summarize(change[name]) for name in TOLD if name in change}
            start = f"In {_name(run.row)}, from epoch {first} to {run.last},"
            yield from _answer(start, run.name, found, "seed")


def _answer(
    start: str, run: str, found: Mapping[str, Summary | None], unit: str
) -> Iterator[Answer]:
    """A sentence of differences; none if there are none."""
    there = {n: s for n, s in found.items() if s is not None and s.mean is not None}
    if not there:
        return
    parts = [_part(name, summary) for name, summary in there.items()]
    seeds = min(summary.used for summary in there.values())
    sentence = f"{start} {'; '.join(parts)} ({counted(seeds, unit)})."
    numbers = {n: Number(s.mean or 0.0, s.low, s.high) for n, s in there.items()}
    yield Answer(sentence, run, seeds, numbers)


def _part(name: str, found: Summary) -> str:
    words, digits = TOLD[name]
    mean = found.mean or 0.0
    size = fixed(abs(mean), digits)
    same = float(size) == 0
    told = f"{words} is {'the same' if same else f'{size} {_direction(mean)}'}"
    if found.low is None or found.high is None:
        return told
    told += f" ({interval(found.low, found.high, digits, sign=True)})"
    return told if same else told + _chance(found.low, found.high)


def _direction(difference: float) -> str:
    return "higher" if difference > 0 else "lower"


def _chance(low: float, high: float) -> str:
    return ", which may be chance" if low <= 0 <= high else ""


def _variance(apart: pd.DataFrame) -> Iterator[Answer]:
    told = apart[apart["measure"].isin([variance.NARROWEST, variance.ROWS])].dropna(subset="share")
    for (design, name), rows in told.groupby(["design", "measure"], sort=False):
        numbers = {
            str(row["component"]): Number(*map(float, (row["share"], row["low"], row["high"])))
            for row in rows.to_dict("records")
        }
        parts = [
            f"{'their combinations' if of == variance.TOGETHER else f'the {of}'}"
            f"{'' if k else ' makes up'} {_percent(one)}"
            for k, (of, one) in enumerate(numbers.items())
        ]
        seeds = int(rows["seeds"].iloc[0])
        sentence = (
            f"Of the variance of the {name} ({design}), {', '.join(parts[:-1])} and {parts[-1]}, "
            f"with {seeds} seeds in each cell."
        )
        yield Answer(sentence, f"{design}, {name}", seeds, numbers)


def _percent(one: Number) -> str:
    return f"{one.value:.0%} ({one.low:.0%} to {one.high:.0%})"


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
            yield Answer(
                sentence, run.name, area.used, {"area": Number(area.mean, area.low, area.high)}
            )


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
        yield Answer(sentence, run.name, then.used, {"ten_mse": Number(gap, *ends)})


def _verdicts(revised: Sequence[claims.Decision]) -> Iterator[Answer]:
    for protocol in dict.fromkeys(decision.protocol for decision in revised):
        seeds = [d.seeds for d in revised if d.protocol == protocol and d.seeds]
        if not seeds:
            continue
        told = {v: sum(d.protocol == protocol and d.verdict is v for d in revised) for v in Verdict}
        parts = [f"{n} {'is' if n == 1 else 'are'} {v}" for v, n in told.items() if n]
        sentence = (
            f"Of the claims by the revised rules, under {quoted(protocol)}, {', '.join(parts)}."
        )
        yield Answer(sentence, protocol, min(seeds), {str(v): Number(n) for v, n in told.items()})
