"""What was found, in the order of its weight: a headline for the abstract, and its numbers.

The README and the report's abstract are made of these sentences. Each follows from the results, so
that none stays when they change.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bregman_nas.report import table1, table2
from bregman_nas.report.claims import OURS, Decision
from bregman_nas.report.claims.claim import Verdict
from bregman_nas.report.data import PROTOCOLS, Run, Study
from bregman_nas.report.text import counted, fixed
from bregman_nas.report.variance import ROWS

PAPER = PROTOCOLS[0]
#: What readers are told that the protocols are.
WORDS = {"paper": "text", "authors": "code"}


NETWORK_WORDS = {"autoencoder": "plain", "residual": "residual"}
#: The claim that AdaBreg without J is Adam, which a test of our code decides.
OF_THE_CODE = 15
#: A network, its task, an answer without training beside it, and its name.
BESIDE = (
    ("autoencoder", "denoising", "input_unchanged", "the noisy image itself"),
    ("residual", "denoising", "lookup_table", "one look-up table for all pixels"),
    ("autoencoder", "deblurring", "least_squares_relu", "linear least squares"),
    ("residual", "deblurring", "least_squares_relu", "linear least squares"),
)


@dataclass(frozen=True)
class Finding:
    """One answer.

    Attributes:
        topic: two or three words.
        headline: a sentence with at most one or two numbers.
        detail: the numbers behind it, as sentences; may be empty.
        source: the file under results/ that has them.
    """

    topic: str
    headline: str
    detail: str
    source: str


def findings(
    study: Study, facts: dict[str, Any], decisions: Sequence[Decision], apart: pd.DataFrame
) -> list[Finding]:
    """All of them that the results allow.

    Args:
        study: all results.
        facts: of `facts.facts`.
        decisions: on the claims, by the registered rules.
        apart: the variances, of `variance.taken_apart`.
    """
    found = [
        _arms(table2.groups(study)),
        _no_training(study),
        _settings(apart),
        _losses(facts),
        _claims(decisions),
        _densenet(study, facts),
    ]
    return [one for one in found if one is not None]


def _arms(groups: Sequence[table2.Group]) -> Finding:
    """Is what was found better than layers of one width?"""
    pairs = {group.of: one for group in groups if (one := table2.deciding(group)) is not None}
    topic, source = "Found against uniform", "table2.md"
    if not pairs:
        return Finding(
            topic,
            "Whether the architectures found are better than layers of one width has not been "
            "tested yet.",
            "",
            source,
        )
    verdicts = Counter(one["verdict"] for one in pairs.values())
    better, worse = verdicts["found better"], verdicts["uniform better"]
    same = verdicts["equivalent"]
    many = counted(len(pairs), "experiment")
    uniform = "layers of one width with as many parameters"
    if better and not worse:
        said = f"beat {uniform} in {better} of {many}"
    elif worse and not better:
        said = f"lose to {uniform} in {worse} of {many}, and beat them in none"
    elif better and worse:
        said = f"beat {uniform} in {better} of {many}, and lose in {worse}"
    elif same == len(pairs):
        said = f"are as good as {uniform}, and no better"
    else:
        said = f"are not shown to beat {uniform} in any of {many}"
    detail = "Test error, found to uniform: " + "; ".join(map(_ratio, pairs.values(), pairs)) + "."
    if verdicts["undecided"]:
        fewest = min(one["pairs"] for one in pairs.values())
        said += f"; with {counted(fewest, 'seed')} the intervals are wide"
    return Finding(topic, f"Trained anew, the architectures found {said}.", detail, source)


def _ratio(one: dict[str, Any], of: str) -> str:
    """Such as: residual denoising 0.98 (0.93 to 1.04, 10 pairs)."""
    name = of.removeprefix(f"{PAPER}-").replace("-", " ").replace("autoencoder", "plain")
    low, high = one["low"], one["high"]
    ends = "no interval" if low is None or high is None else f"{low:.2f} to {high:.2f}"
    return f"{name} {one['ratio']:.2f} ({ends}, {counted(one['pairs'], 'pair')})"


def _no_training(study: Study) -> Finding | None:
    """Do networks beat answers that need none?"""
    rows = {
        (row["answer"], row["task"]): row["ten_mse_mean"]
        for row in table1.rows(study)
        if row["protocol"] == PAPER and row["images"] == "test" and row["ten_mse_mean"]
    }
    told, lost = [], []
    for network, task, answer, words in BESIDE:
        if {(network, task), (answer, task)} <= rows.keys():
            ours, theirs = rows[network, task], rows[answer, task]
            name = f"the {NETWORK_WORDS[network]} {task} network"
            told.append(f"{words} {fixed(theirs, 4)}, {name} {fixed(ours, 4)}")
            if theirs < ours:
                lost.append((words, name))
    if not told:
        return None
    said = [f"{words} beats {name}" for words, name in lost]
    if not lost:
        said = ["every network is better than the answers that need no training"]
    return Finding(
        "Answers without training",
        f"{_capital(', and '.join(said))}.",
        f"Ten times the mean squared error: {'; '.join(told)}.",
        "table1.md",
    )


def _settings(apart: pd.DataFrame) -> Finding | None:
    """What decides how many rows are active?"""
    chosen = apart[(apart["design"] == "residual autoencoders") & (apart["measure"] == ROWS)]
    parts = {
        str(name): [float(x) for x in numbers]
        for name, *numbers in chosen[["component", "share", "low", "high"]].to_numpy().tolist()
    }
    if not {"setting", "task"} <= parts.keys() or math.isnan(parts["task"][0]):
        return None
    setting, task = parts["setting"][0], parts["task"][0]
    return Finding(
        "What decides",
        f"The settings in which text and code part make up {setting:.0%} of the variance of the "
        f"size of residual autoencoders, the task {task:.0%}.",
        "Of the number of active rows, with 95% intervals: "
        + ", ".join(
            f"{name} {share:.0%} ({low:.0%} to {high:.0%})"
            for name, (share, low, high) in parts.items()
        )
        + ".",
        "variance.md",
    )


def _losses(facts: dict[str, Any]) -> Finding | None:
    """Are the losses those of the article?"""
    differ, tested = facts["losses"]["differ"], facts["losses"]["tested"]
    if not tested:
        return None
    details = [
        f"`{one['run']}` is {abs(one['change']):.0%} {'higher' if one['change'] > 0 else 'lower'}"
        for one in differ
    ]
    return Finding(
        "The article's losses",
        f"{tested - len(differ)} of {counted(tested, 'mean loss', 'mean losses')} agree with the "
        "article's, as far as ten runs can tell.",
        f"After Holm's correction, {' and '.join(details)}." if details else "",
        "table1.md",
    )


def _claims(decisions: Sequence[Decision]) -> Finding | None:
    """Which claims hold?"""
    verdicts = {
        p: {d.claim.number: d.verdict for d in decisions if d.protocol == p} for p in PROTOCOLS
    }
    numbers = [n for n in verdicts[PAPER] if n not in (OURS, OF_THE_CODE)]

    def both(kind: Verdict) -> int:
        return sum(all(verdicts[p][n] is kind for p in PROTOCOLS) for n in numbers)

    holds, fails = both(Verdict.SUPPORTED), both(Verdict.CONTRADICTED)
    if not holds + fails:
        return None
    counts = {p: Counter(verdicts[p][n] for n in numbers) for p in PROTOCOLS}
    said = [
        f"following the {WORDS[p]}, {of[Verdict.SUPPORTED]} hold, {of[Verdict.CONTRADICTED]} fail, "
        f"{of[Verdict.UNDECIDED]} are open"
        for p, of in counts.items()
    ]
    return Finding(
        "The article's claims",
        f"Of the article's {len(numbers)} claims on networks {holds} hold and {fails} fail both "
        "ways, following its text and following its code, which describe different experiments.",
        f"{_capital('; '.join(said))}.",
        "claims.md",
    )


def _densenet(study: Study, facts: dict[str, Any]) -> Finding | None:
    """Do DenseNets live, and are they good?"""
    run = study.run("authors", "densenet-fashion")
    if run is None or not (told := facts["densenet"].get("authors")):
        return None
    linear = _best_linear(run)
    living = told["living"]
    best = ""
    if living["seeds"]:
        best = f"; the best of the others has {living['accuracy'][1]:.1%} accuracy"
        best += "" if linear is None else f", logistic regression {linear:.1%}"
    starts = facts["first_steps"]
    detail = ""
    if starts:
        own = starts["settings"][0]
        detail = (
            f"Of {own['seeds']} starts {own['dead']} are dead after {starts['steps']} steps: the "
            "last ReLU passes nothing."
        )
    return Finding(
        "The DenseNet",
        f"Of {told['seeds']} DenseNets {told['collapsed']} die{best}.",
        detail,
        "table1.md",
    )


def _best_linear(run: Run) -> float | None:
    scores = run.scores(answer="logistic_regression")["accuracy"].to_numpy(float)
    return float(scores.mean()) if len(scores) and not math.isnan(scores.mean()) else None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def as_json(found: Sequence[Finding]) -> list[dict[str, str]]:
    """For the report."""
    return [vars(one) for one in found]


def markdown(found: Sequence[Finding]) -> Iterator[str]:
    """For the README: a line each."""
    for one in found:
        yield f"- **{one.headline}** {one.detail} (`results/{one.source}`)".replace("  ", " ")
