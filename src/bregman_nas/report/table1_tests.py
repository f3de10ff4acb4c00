"""Table 1 with all seeds, and tests against the article that rounding or one seed cannot decide."""

from collections.abc import Iterator, Sequence

from bregman_nas.report.data import REGISTERED, Study
from bregman_nas.report.stats import holm, signed_rank, summarize, welch, welch_of_printed
from bregman_nas.report.table1 import ARTICLE, ARTICLE_UNIT, Line

#: Half a unit of the last of the three decimals that the article prints.
ROUNDING = 0.0005
TESTS = {
    "welch_p": "Welch, as printed",
    "printed_p": "Welch, within rounding",
    "signed_rank_p": "signed ranks",
}


def rows(study: Study) -> Iterator[Line]:
    """The losses on the official test images, in the article's unit, and p of each of `TESTS`.

    A line for the registered seeds of each of `Study.restoration`, and one for all seeds if there
    are others.
    """
    for run in study.restoration:
        article = ARTICLE[run.network, run.task]
        first = [seed for seed in run.seeds if seed in REGISTERED]
        for which, seeds in {"registered": first, "all": run.seeds}.items():
            if not seeds or (which == "all" and first == seeds):
                continue
            losses = ARTICLE_UNIT * run.only(seeds).scores()["mse"]
            loss = summarize(losses)
            plain, printed = welch(loss, article), welch_of_printed(loss, article, ROUNDING)
            ends = (article.mean - ROUNDING, article.mean + ROUNDING)
            yield {
                **{"run": run.name, "which": which, **loss.counts(), **loss.named()},
                "welch_p": plain and plain.p,
                "printed_p": printed and printed.p,
                "signed_rank_p": signed_rank(losses, *ends),
            }


def apart(table: Sequence[Line], test: str) -> tuple[int, int]:
    """How many registered means differ from the article's after Holm's correction, of how many."""
    p = [line[test] for line in table if line["which"] == "registered" and line[test] is not None]
    return holm(p), len(p)
