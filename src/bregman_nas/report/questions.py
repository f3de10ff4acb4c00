"""What decides the architecture? Questions, with answers generated from the results.

An answer is a sentence with its numbers, so that a text can quote it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bregman_nas.report import claims, variance
from bregman_nas.report.changes import groups, in_words, measure
from bregman_nas.report.claims.rules import Verdict
from bregman_nas.report.data import PROTOCOLS, REGISTERED, WORDS, Study
from bregman_nas.report.findings import NETWORK_WORDS
from bregman_nas.report.measures import outputs
from bregman_nas.report.stats import Summary, difference_interval, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT
from bregman_nas.report.text import counted, fixed, interval
from bregman_nas.settings import RunRow

QUESTIONS = {
    "threshold-and-scale": "What do the threshold of the skips and the scale of the initial "
    "weights decide?",
    "variance": "How much is the setting, how much the task, how much the seed?",
    "dying": "Do rows stay off because they are dead?",
    "finished": "Do widths and loss stand still at the end?",
    "delta": "Does delta matter?",
    "output-layer": "Are the active output rows those of the pixels that are inked?",
    "fresh-seeds": "Do fresh seeds say the same?",
    "elsewhere": "Does a seed find the same architecture on another machine?",
}
# The words for a difference in each measure, and its digits.
TOLD = {
    "coding_width": ("the width of the narrowest hidden layer", 0),
    "rows_on": ("the number of active rows", 0),
    "rows_living": ("that of living rows", 0),
    "ten_mse": ("the loss", 5),
}
Answer = dict[str, Any]  # as from `_answer`


def ask(
    study: Study, apart: pd.DataFrame, revised: Sequence[claims.Decision]
) -> list[dict[str, Any]]:
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
    rows = study.settings.runs

    def changed(*keys: str) -> list[str]:
        return [name for name, row in rows.items() if row.change and row.change.keys() <= {*keys}]

    def unchanged(longer: bool) -> list[str]:
        return [n for n, row in rows.items() if not row.change and bool(row.epochs) is longer]

    scale, delta = changed("skip_threshold", "initial_scale"), changed("delta")
    alive = changed("relu_slope", "inactive_biases")
    # The runs whose seeds may be missing, and the answers.
    asked: dict[str, tuple[list[str], Iterable[Answer]]] = {
        "threshold-and-scale": (
            scale,
            _changes(study, scale, "coding_width", "rows_on", "ten_mse"),
        ),
        "variance": ([], _variance(apart)),
        "dying": (alive, _changes(study, alive, "rows_on", "rows_living", "ten_mse")),
        "finished": (unchanged(longer=True), _longer(study)),
        "delta": (delta, _changes(study, delta, *TOLD)),
        "output-layer": ([], _output(study)),
        "fresh-seeds": (unchanged(longer=False), [*_fresh(study), *_verdicts(revised)]),
        "elsewhere": ([], _elsewhere(study)),
    }
    return [
        {
            "name": name,
            "words": QUESTIONS[name],
            "answers": [*answers],
            "missing": [
                {"run": run, "seeds": len(rows[run].seeds), "planned": rows[run].planned}
                for run in runs
                if len(rows[run].seeds) < (rows[run].planned or 0)
            ],
        }
        for name, (runs, answers) in asked.items()
    ]


def _changes(study: Study, names: Collection[str], *measures: str) -> Iterator[Answer]:
    for group in groups(study):
        for row in (row for row in group.rows if row.name in names):
            start = f"In {_name(row.row)}, with {row.words}, after {group.epoch} epochs,"
            found = {measure: row.gap(measure) for measure in measures}
            yield from _differences(start, row.name, found, "pair")


def _name(row: RunRow) -> str:
    """Such as `plain denoising following the text`."""
    network, _, task = row.experiment.partition("-")
    return f"{NETWORK_WORDS.get(network, network)} {task} following the {WORDS[row.protocol]}"


def _answer(
    sentence: str, run: str, seeds: int, numbers: Mapping[str, Sequence[float | None]]
) -> Answer:
    """A sentence that a text can quote, and the numbers in it: value and interval."""
    named = {
        name: dict(zip(("value", "low", "high"), ends, strict=True))
        for name, ends in numbers.items()
    }
    return {"sentence": sentence, "run": run, "seeds": seeds, "numbers": named}


def _longer(study: Study) -> Iterator[Answer]:
    """How longer runs go on after the epoch at which others of their experiment end."""
    for run in study.perceptrons:
        usual = study.settings.experiments[run.row.experiment].epochs
        for first in dict.fromkeys((usual, run.last - usual)):
            if run.row.epochs and not run.row.change and usual <= first < run.last:
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
        ends = rows[["component", "share", "low", "high"]].astype({"share": float})
        numbers = {of: tuple(map(float, some)) for of, *some in ends.itertuples(index=False)}
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
        if (area := found["area"]).mean is not None:
            sentence = (
                f"In {_name(run.row)}, the frequency of a pixel tells whether its output row is "
                f"active with an area under the curve of {area.mean:.3f} "
                f"({interval(area.low, area.high, 3)}, {counted(area.used, 'seed')})."
            )
            ends = (area.mean, area.low, area.high)
            yield _answer(sentence, run.name, area.used, {"area": ends})


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
        changed = f", with {words}," if (words := in_words(run.row.change)) else ""
        sentence = (
            f"In {_name(run.row)}{changed} the architectures of a seed on two machines, which "
            f"round sums otherwise, differ by {counted(round(machines), 'row')} a hidden layer "
            f"({counted(len(again), 'seed')}), those of two seeds by {others:.0f}."
        )
        numbers = {"machines": (machines, None, None), "seeds": (others, None, None)}
        yield _answer(sentence, run.name, len(again), numbers)


def _verdicts(revised: Sequence[claims.Decision]) -> Iterator[Answer]:
    for protocol in PROTOCOLS:
        those = [decision for decision in revised if decision.protocol == protocol]
        seeds = [decision.seeds for decision in those if decision.seeds]
        if seeds:
            told = {str(v): sum(one.verdict is v for one in those) for v in Verdict}
            parts = [f"{n} {'is' if n == 1 else 'are'} {v}" for v, n in told.items() if n]
            words = f"following the {WORDS[protocol]}, {', '.join(parts)}."
            numbers = {verdict: (count, None, None) for verdict, count in told.items()}
            sentence = f"Of the claims by the revised rules, {words}"
            yield _answer(sentence, protocol, min(seeds), numbers)
