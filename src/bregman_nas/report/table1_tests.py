"""Table 1 with all seeds, and tests against the article that rounding or one seed cannot decide."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from bregman_nas.report.data import REGISTERED, Run, Study
from bregman_nas.report.stats import Summary, holm, signed_rank, summarize, welch, welch_of_printed
from bregman_nas.report.table1 import ARTICLE, ARTICLE_UNIT

#: Half a unit of the last of the three decimals that the article prints.
ROUNDING = 0.0005
REGISTERED_SEEDS, ALL_SEEDS = "registered", "all"
TESTS = {
    "welch_p": "Welch, as printed",
    "printed_p": "Welch, within rounding",
    "signed_rank_p": "signed ranks",
}


@dataclass(frozen=True)
class Row:
    """The loss of a network on the official test images, in the article's unit.

    Attributes:
        run: the run.
        which: `registered` or `all` seeds.
        loss: over the seeds.
        tests: the p of each of `TESTS`; None where it is undefined.
    """

    run: Run
    which: str
    loss: Summary
    tests: dict[str, float | None]


def rows(study: Study) -> Iterator[Row]:
    """Of each of `Study.restoration` the registered seeds, and all of them if there are others."""
    for run in study.restoration:
        first = [seed for seed in run.seeds if seed in REGISTERED]
        if first:
            yield _row(run, REGISTERED_SEEDS, first)
        if len(first) < len(run.seeds):
            yield _row(run, ALL_SEEDS, run.seeds)


def _row(run: Run, which: str, seeds: Sequence[int]) -> Row:
    article = ARTICLE[run.network, run.task]
    losses = ARTICLE_UNIT * run.only(seeds).scores()["mse"]
    loss = summarize(losses)
    plain, printed = welch(loss, article), welch_of_printed(loss, article, ROUNDING)
    ends = (article.mean - ROUNDING, article.mean + ROUNDING)
    welches = (None if test is None else test.p for test in (plain, printed))
    found = (*welches, signed_rank(losses, *ends))
    return Row(run, which, loss, dict(zip(TESTS, found, strict=True)))


def apart(found: Sequence[Row], test: str) -> tuple[int, int]:
    """How many registered means differ from the article's after Holm's correction, of how many."""
    p = [one.tests[test] for one in found if one.which == REGISTERED_SEEDS]
    defined = [value for value in p if value is not None]
    return holm(defined), len(defined)


def as_frame(found: Sequence[Row]) -> pd.DataFrame:
    """One line for each row, the loss in the article's unit."""
    names = ["run", "which", "seeds", "nan_seeds", "mean", "std", "low", "high", *TESTS]
    lines = [
        {
            "run": one.run.name,
            "which": one.which,
            "seeds": one.loss.seeds,
            "nan_seeds": one.loss.nan_seeds,
            **one.loss.moments,
            **one.tests,
        }
        for one in found
    ]
    return pd.DataFrame(lines, columns=names)
