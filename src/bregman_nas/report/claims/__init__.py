"""The article's claims, each decided by a rule that was fixed before there were results.

A claim rests on one or more findings: a number, its interval, and whether it bears the claim out.

- The seed is the unit. Means have the 95% interval of Student's t over the seeds, differences of
  two networks that of Welch, shares of seeds the exact one of Clopper and Pearson.
- A finding supports its claim if the whole interval lies where the claim puts the number, and
  contradicts it if the whole interval lies elsewhere. Where the interval covers the threshold, or
  fewer than `claim.ENOUGH_SEEDS` seeds converged, it is undecided.
- That a number is about as large as another is decided as equivalence: the interval must lie
  within a margin, which is two one-sided tests.
- A claim is supported if all its findings support it. It is contradicted if one of them
  contradicts it: a claim on two tasks must hold on both. If results that it needs are absent, it
  is not run; else it is undecided. Intervals are not widened for the number of findings. Support
  needs no such correction, since all of them must hold; a contradiction by one finding among many
  can be chance, and the table shows which finding it is.
- A diverged seed counts. It has no shape, and stands against every share of seeds. It has no
  width, and a mean leaves it out; if it is one of too many (`claim.TOO_MANY_DIVERGED`), the mean
  decides nothing. Its loss is that of answering zero.
- A DenseNet that collapsed keeps about the kernels of its start, which say nothing of the method:
  if it is one of too many, the claim is undecided. This rule was added when results were in.
- Protocols are decided apart, by the same rules.

Some of these rules cannot answer their claim. Beside them stand revised ones (`claim.revise`).
They were written after seeds 0 to 9 had been seen and before seeds 10 to 19 were searched, and are
decided on the latter alone.

The article counts the input as its first layer: its second and last layers are 1 and 6 here.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from bregman_nas.report.claims import claim, densenet, skips, training, widths  # noqa: F401
from bregman_nas.report.claims.claim import (
    ENOUGH_SEEDS,
    TOO_MANY_DIVERGED,
    Claim,
    Finding,
    Results,
    Verdict,
    verdict_of,
)
from bregman_nas.report.data import PROTOCOLS, REGISTERED, Run, Study

#: All claims, ascending, with the registered rules; and with the revised one where there is one.
CLAIMS = [found for _, found in sorted(claim.REGISTERED.items())]
REVISED = [claim.REVISED.get(found.number, found) for found in CLAIMS]
#: The seeds that the revised rules are decided by.
FRESH = range(10, 20)
#: The claim that is not the article's.
OURS = 17
#: The claims on the DenseNet.
OF_THE_DENSENET = (13, 14)
COLLAPSED_MARK = "\N{DAGGER}"


@dataclass(frozen=True)
class Decision:
    """The outcome of a claim under one protocol.

    Attributes:
        claim: the claim.
        protocol: one of `PROTOCOLS`.
        findings: the numbers that decide it, and others that stand beside them.
        collapsed: how many of the networks behind them give the same answer for every image.
    """

    claim: Claim
    protocol: str
    findings: list[Finding]
    collapsed: int = 0

    @property
    def deciding(self) -> list[Finding]:
        """The findings that have a verdict."""
        return [finding for finding in self.findings if finding.verdict is not None]

    @property
    def verdict(self) -> Verdict | None:
        """On the claim; undecided, whatever its findings say, if too many networks collapsed.

        None if no finding decides anything.
        """
        if not self.deciding:
            return None
        found = verdict_of(self.deciding)
        too_many = self.collapsed > TOO_MANY_DIVERGED * (self.seeds or 0)
        return Verdict.UNDECIDED if too_many and found is not Verdict.NOT_RUN else found

    @property
    def seeds(self) -> int | None:
        """The fewest behind a finding that decides; None if it does not come from seeds."""
        found = [finding.seeds for finding in self.deciding if finding.seeds is not None]
        return min(found, default=None)

    @property
    def few(self) -> bool:
        """Whether it is undecided with fewer seeds than were registered: more may decide it."""
        few = self.seeds is not None and self.seeds < len(REGISTERED)
        return few and self.verdict is Verdict.UNDECIDED


def decide(study: Study) -> list[Decision]:
    """All claims, ascending, under each protocol, by the registered seeds alone."""
    registered, found = study.only(REGISTERED), []
    for one in CLAIMS:
        for protocol in PROTOCOLS:
            results = Results(registered, protocol)
            run = results.densenet if one.number in OF_THE_DENSENET else None
            collapsed = 0 if run is None else int(densenet.collapsed(run).sum())
            found.append(Decision(one, protocol, one.findings(results), collapsed))
    return found


def decide_revised(study: Study) -> list[Decision]:
    """All claims, ascending, under each protocol, by the fresh seeds alone and the revised rules.

    A run with fewer than `ENOUGH_SEEDS` of them counts as not run. Interventions keep all seeds.
    """
    fresh = study.only(FRESH, ENOUGH_SEEDS)
    results = [Results(fresh, p, interventions(study, p)) for p in PROTOCOLS]
    return [Decision(one, of.protocol, one.findings(of)) for one in REVISED for of in results]


def interventions(study: Study, protocol: str) -> dict[str, Run]:
    """Perceptrons whose rows were kept from dying, by network, task and change."""
    found = {}
    for run in study.perceptrons:
        change = run.row.change
        if run.protocol == protocol and change.keys() & {"relu_slope", "inactive_biases"}:
            how = " and ".join(f"{key} {value}" for key, value in change.items())
            found[f"{run.network}, {run.task}, {how}"] = run
    return found


def findings(registered: Iterable[Decision], revised: Iterable[Decision]) -> pd.DataFrame:
    """A row for each claim, protocol and finding; `verdict` is empty where it decides nothing.

    `rules`: `registered` or `revised`.
    """
    rows = [
        {"claim": one.claim.number, "protocol": one.protocol, "rules": rules, **asdict(finding)}
        for rules, decisions in (("registered", registered), ("revised", revised))
        for one in decisions
        for finding in one.findings
    ]
    return pd.DataFrame(rows).rename(columns={"seeds": "n"}).astype({"n": "Int64"})


def as_json(registered: Sequence[Decision], revised: Sequence[Decision]) -> dict[str, Any]:
    """`verdicts`: how many of each, by protocol. `claims`: by number; None where there is none.

    Both are by the registered rules; `revised` has the same by the revised ones, and `why`.
    """
    found = _as_json(revised)
    for one in revised:
        found["claims"][str(one.claim.number)]["why"] = one.claim.why
    return {**_as_json(registered), "revised": found}


def _as_json(decisions: Sequence[Decision]) -> dict[str, Any]:
    counts = Counter((decision.protocol, decision.verdict) for decision in decisions)
    claims: dict[str, Any] = {}
    for decision in decisions:
        of = decision.claim
        told = {name: getattr(of, name) for name in ("words", "place", "statistic", "rule")}
        claims.setdefault(str(of.number), told)[decision.protocol] = {
            **{name: getattr(decision, name) for name in ("verdict", "seeds", "collapsed")},
            "findings": [asdict(finding) for finding in decision.findings],
        }
    verdicts = {p: {str(v): counts[p, v] for v in Verdict} for p in PROTOCOLS}
    return {"verdicts": verdicts, "claims": claims}
