"""What was found, in the order of its weight: a headline for the abstract, and its numbers.

The README and the report's abstract are made of these sentences. Each follows from the results, so
that none stays when they change. The words are in templates/findings.txt.j2.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bregman_nas.report import table1, table2
from bregman_nas.report.claims import OURS, Decision
from bregman_nas.report.data import PROTOCOLS, WORDS, experiment_words
from bregman_nas.report.render import render
from bregman_nas.report.stats import difference_interval, holm, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT
from bregman_nas.report.variance import ROWS

PAPER = PROTOCOLS[0]
#: The claim that AdaBreg without J is Adam, which a test of our code decides.
OF_THE_CODE = 15
RIVAL = "proximal-adam"
#: A network, its task, an answer without training beside it, and its name.
BESIDE = (
    ("autoencoder", "denoising", "input_unchanged", "the noisy image"),
    ("residual", "denoising", "lookup_table", "one look-up table for all pixels"),
    ("autoencoder", "deblurring", "least_squares_relu", "least squares with ReLU"),
    ("residual", "deblurring", "least_squares_relu", "least squares with ReLU"),
)


def findings(shown: Mapping[str, Any]) -> list[dict[str, str]]:
    """All that the results allow.

    `topic`, `headline`, `numbers` and `more`, either may be empty, `source`, a file of results/.
    `shown` is what else `tables.present` has.
    """
    groups = {experiment_words(one.of.removeprefix(f"{PAPER}-")): one for one in shown["compared"]}
    variances = {one["run"]: one["numbers"] for one in shown["questions"]["variance"]["answers"]}
    searched = Counter(
        one["verdict"]
        for group in groups.values()
        for one in group.comparisons
        if (one["first"], one["second"]) == ("search", "uniform")
    )
    rivals = {name: rival for name, group in groups.items() if (rival := _rival(group))}
    arms = {name: one for name, group in groups.items() if (one := group.deciding)}
    return told(
        arms=arms,
        after_holm=holm({name: one["p"] for name, one in arms.items() if one["p"] is not None}),
        searched=searched,
        rivals=rivals,
        more_pairs=any(row["method"] == table2.METHODS["found"] for row in shown["planned"]),
        dying=shown["questions"]["dying"]["answers"],
        **_claims(shown["decisions"]),
        **_answers(shown["losses"]),
        size=variances.get(f"residual autoencoders, {ROWS}"),
        choice=variances.get(f"residual autoencoders, denoising, {ROWS}"),
        facts=shown["facts"],
    )


def told(**numbers: Any) -> list[dict[str, str]]:
    """The findings in words."""
    found: list[dict[str, str]] = []
    for line in filter(None, render("findings.txt.j2", **numbers).splitlines()):
        name, _, words = line.partition(": ")
        if name == "topic":
            found.append({"headline": "", "numbers": "", "more": ""})
        found[-1][name] = words.strip()
    return found


def _rival(group: table2.Group) -> dict[str, Any] | None:
    """Proximal Adam beside the search, each at the mu of its least error; None without both.

    By the error on the test images, `last`, and by the least on held-out ones, `best`: the numbers
    of the two, and the interval of the difference of their means (Welch).
    """
    told: dict[str, Any] = {"pairs": [p for p in group.comparisons if p.get("method") == RIVAL]}
    for name, column in (("last", "mse"), ("best", "best_held_out_mse")):
        kinds = []
        for method in (RIVAL, "search"):
            made = [one for one in group.lines if one.method == method and len(one.networks)]
            if not made:
                return None
            kinds.append(min(made, key=lambda one: float(one.networks[column].mean())))
        errors = (summarize(one.networks[column], ARTICLE_UNIT) for one in kinds)
        low, high = difference_interval(*errors) or (None, None)
        told[name] = {"kinds": [one.numbers() for one in kinds], "low": low, "high": high}
    return told


def _answers(losses: Sequence[table1.Line]) -> dict[str, Any]:
    """Do networks beat answers that need none? And the accuracy of logistic regression."""
    rows = {
        (row["protocol"], row["answer"], row["task"]): row
        for row in losses
        if row["images"] == "test"
    }
    beside = []
    for network, task, answer, words in BESIDE:
        ours, theirs = (rows[PAPER, name, task]["ten_mse_mean"] for name in (network, answer))
        if ours and theirs:
            name = experiment_words(f"{network}-{task}")
            one = {"answer": words, "network": name, "ours": ours, "theirs": theirs}
            beside.append({**one, "lost": theirs < ours})
    logistic = rows["authors", "logistic_regression", table1.FASHION]["accuracy_mean"]
    return {"beside": beside, "logistic": logistic and logistic / 100}


def _claims(decisions: Sequence[Decision]) -> dict[str, Any]:
    """How many of the article's claims hold, and fail: by text and by code, and by both."""
    article = [one for one in decisions if one.claim.number not in (OURS, OF_THE_CODE)]
    verdicts = [[one.verdict for one in article if one.protocol == p] for p in PROTOCOLS]
    both = Counter(first for first, *others in zip(*verdicts, strict=True) if others == [first])
    return {"both": both, "claims": dict(zip(WORDS.values(), map(Counter, verdicts), strict=True))}
