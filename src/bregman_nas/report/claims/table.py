"""The table of claims: CSV, Markdown, JSON."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bregman_nas.report.claims import densenet, skips, training, widths
from bregman_nas.report.claims.claim import (
    ENOUGH_SEEDS,
    TOO_MANY_DIVERGED,
    Claim,
    Finding,
    Verdict,
    verdict_of,
)
from bregman_nas.report.claims.results import Results, read_results
from bregman_nas.report.read import PROTOCOLS
from bregman_nas.report.table1 import ARTICLE_SEEDS, UNDEFINED
from bregman_nas.report.words import number

CLAIMS = sorted(
    [*widths.CLAIMS, *skips.CLAIMS, *training.CLAIMS, *densenet.CLAIMS],
    key=lambda claim: claim.number,
)

NOTES = f"""\
The claims of the article, and one of this study (17), whose idea came from exploratory runs under
"authors". The rules were fixed before there were results. "Paper" follows the article, "authors"
the released code; each is decided by itself.

"Interval" is the 95% interval: over the seeds by Student's t, of a difference of two networks by
Welch, of a share of seeds the exact one of Clopper and Pearson. A claim is *supported* if all of
its intervals lie where it puts them, *contradicted* if one of them lies entirely elsewhere, and
*undecided* if neither (claim 17 alone has a margin between the two, see there), which includes
fewer than {ENOUGH_SEEDS} converged seeds, or more than {TOO_MANY_DIVERGED:.0%} diverged ones under
a mean. A diverged seed stands against every share of
seeds; means leave it out, but for the loss, where it counts as the answer zero. Layers are numbered
from 1, without the input. Beside a verdict stand the numbers that decide it, denoising first, if
they are not more than two, and the number of seeds; all of them follow below, means with the
standard deviation over the seeds in brackets. Intervals of shares are cut to 0 to 1. None is
widened for the number of claims and findings.

More seeds may decide what is undecided with fewer than {ARTICLE_SEEDS}, the article's number. What
is undecided with that many is left open by this study.
"""
COLLAPSED_MARK = "\N{DAGGER}"

# With more numbers than one for each task, the cell has the verdict alone.
VALUES_IN_A_CELL = 2


@dataclass(frozen=True)
class Decision:
    """What one protocol says of a claim.

    Attributes:
        claim: the claim.
        protocol: one of `PROTOCOLS`.
        findings: the numbers that decide it, and those that are told beside.
        collapsed: how many of the networks behind them give the same answer for every image.
    """

    claim: Claim
    protocol: str
    findings: list[Finding]
    collapsed: int = 0

    @property
    def deciding(self) -> list[Finding]:
        """Those of the findings that have a say."""
        return [finding for finding in self.findings if finding.verdict is not None]

    @property
    def verdict(self) -> Verdict:
        """On the claim; undecided, whatever its findings say, if too many networks collapsed."""
        found = verdict_of(self.deciding)
        too_many = self.collapsed > TOO_MANY_DIVERGED * (self.seeds or 0)
        return Verdict.UNDECIDED if too_many and found is not Verdict.NOT_RUN else found

    @property
    def seeds(self) -> int | None:
        """The fewest behind a finding that decides; None if it is no matter of seeds."""
        found = [finding.seeds for finding in self.deciding if finding.seeds is not None]
        return min(found, default=None)


def rows(project: Path) -> list[Decision]:
    """All claims, ascending, under each protocol.

    Args:
        project: the repository.
    """
    results = {protocol: read_results(project, protocol) for protocol in PROTOCOLS}
    return [
        Decision(
            claim,
            protocol,
            claim.decide(results[protocol]),
            _collapsed_networks(claim, results[protocol]),
        )
        for claim in CLAIMS
        for protocol in PROTOCOLS
    ]


def _collapsed_networks(claim: Claim, results: Results) -> int:
    run = results.densenet
    if run is None or claim not in densenet.CLAIMS:
        return 0
    return int(densenet.collapsed(run).sum())


def as_csv(table: Sequence[Decision]) -> str:
    """One line for each claim, protocol and finding.

    `verdict` and `seeds` are those of the claim, `finding_verdict` and `finding_seeds` those of
    the finding; the former is empty where the finding decides nothing.
    """
    lines: list[dict[str, object]] = [
        {
            "claim": decision.claim.number,
            "protocol": decision.protocol,
            "verdict": decision.verdict,
            "seeds": decision.seeds,
            "collapsed": decision.collapsed,
            "finding": finding.name,
            "value": finding.value,
            "std": finding.std,
            "low": finding.low,
            "high": finding.high,
            "finding_seeds": finding.seeds,
            "diverged": finding.diverged,
            "finding_verdict": finding.verdict,
            "words": decision.claim.words,
            "place": decision.claim.place,
            "statistic": decision.claim.statistic,
            "rule": decision.claim.rule,
        }
        for decision in table
        for finding in decision.findings
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def as_json(table: Sequence[Decision]) -> str:
    """`verdicts`: how many of each, by protocol. `claims`: by number; null where there is none."""
    counts = Counter((decision.protocol, decision.verdict) for decision in table)
    claims: dict[str, dict[str, object]] = {}
    for decision in table:
        claim = decision.claim
        entry = claims.setdefault(
            str(claim.number),
            {
                "words": claim.words,
                "place": claim.place,
                "statistic": claim.statistic,
                "rule": claim.rule,
            },
        )
        entry[decision.protocol] = {
            "verdict": decision.verdict,
            "seeds": decision.seeds,
            "collapsed": decision.collapsed,
            "findings": [asdict(finding) for finding in decision.findings],
        }
    content = {
        "verdicts": {p: {str(v): counts[p, v] for v in Verdict} for p in PROTOCOLS},
        "claims": claims,
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def as_markdown(table: Sequence[Decision]) -> str:
    """A line for each claim, and under them all the numbers as lists."""
    lines = [
        "# Claims",
        "",
        NOTES,
        *_mark_explained(table),
        f"| # | Claim | Supported if | {' | '.join(p.capitalize() for p in PROTOCOLS)} |",
        f"|---|---|---|{'---|' * len(PROTOCOLS)}",
    ]
    by_claim = [[d for d in table if d.claim is claim] for claim in CLAIMS]
    for decisions in by_claim:
        claim = decisions[0].claim
        cells = [str(claim.number), claim.words, claim.supported_if, *map(_cell, decisions)]
        lines.append(f"| {' | '.join(_in_a_table(cell) for cell in cells)} |")
    lines += ["", "## In detail", ""]
    for decisions in by_claim:
        lines += [*_details(decisions), ""]
    return "\n".join(lines)


def _mark_explained(table: Sequence[Decision]) -> list[str]:
    counts = dict.fromkeys(
        (f"all {one.seeds}" if one.collapsed == one.seeds else f"{one.collapsed} of {one.seeds}")
        + f" under `{one.protocol}`"
        for one in table
        if one.collapsed
    )
    if not counts:
        return []
    return [
        f"{COLLAPSED_MARK} Networks behind this verdict collapsed to one answer for all images: "
        f"{', '.join(counts)}. Their kernels are hardly more than the random start: with "
        f"more than {TOO_MANY_DIVERGED:.0%} of them the claim is undecided, whatever the numbers "
        "below say. This rule alone was added when results were in.\n"
    ]


def _cell(decision: Decision) -> str:
    if decision.verdict is Verdict.NOT_RUN:
        return str(decision.verdict)
    words = f"**{decision.verdict}**{_mark(decision)}"
    values = [finding.value for finding in decision.deciding if finding.value is not None]
    if values and len(decision.deciding) <= VALUES_IN_A_CELL:
        words += f": {'; '.join(map(number, values))}"
    return f"{words} (n = {decision.seeds})" if decision.seeds is not None else words


def _mark(decision: Decision) -> str:
    return COLLAPSED_MARK if decision.collapsed else ""


def _in_a_table(cell: str) -> str:
    return cell.replace("|", r"\|")


def _details(decisions: Sequence[Decision]) -> list[str]:
    claim = decisions[0].claim
    lines = [
        f"### Claim {claim.number}",
        "",
        f"{claim.words} ({claim.place})",
        "",
        f"- *Statistic:* {claim.statistic}.",
        f"- *Rule:* {claim.rule}",
    ]
    for decision in decisions:
        lines.append(f"- *{decision.protocol.capitalize()}:* {decision.verdict}{_mark(decision)}")
        if decision.verdict is Verdict.NOT_RUN and not any(
            finding.value is not None for finding in decision.findings
        ):
            continue
        lines += [f"  - {_in_words(f)}: {f.verdict}" for f in decision.deciding]
        lines += _beside(f for f in decision.findings if f.verdict is None)
    return lines


def _beside(findings: Iterable[Finding]) -> list[str]:
    """A line for all findings whose names begin alike, up to the last comma."""
    groups: dict[str, list[str]] = {}
    for finding in findings:
        beginning, _, name = finding.name.rpartition(", ")
        groups.setdefault(beginning, []).append(f"{name} {_mean_std(finding)}")
    return [
        f"  - beside it, {beginning}: {'; '.join(group)}"
        if beginning
        else f"  - beside it: {'; '.join(group)}"
        for beginning, group in groups.items()
    ]


def _in_words(finding: Finding) -> str:
    if finding.seeds == 0:
        return finding.name
    parts = []
    if finding.value is not None:
        parts.append(_mean_std(finding))
    if finding.low is not None and finding.high is not None:
        parts.append(f"interval {number(finding.low)} to {number(finding.high)}")
    if finding.seeds is not None:
        diverged = f", {finding.diverged} diverged" if finding.diverged else ""
        parts.append(f"{finding.seeds} {'seed' if finding.seeds == 1 else 'seeds'}{diverged}")
    return f"{finding.name}: {', '.join(parts)}" if parts else finding.name


def _mean_std(finding: Finding) -> str:
    if finding.value is None:
        return UNDEFINED
    spread = "" if finding.std is None else f" ({number(finding.std)})"
    return f"{number(finding.value)}{spread}"
