"""The article's claims, each decided by a rule that was fixed before there were results.

A claim rests on findings: a number, its interval, and whether it bears the claim out. How they
decide is told at the beginning of `results/claims.md`. Beside that:

- That a number is about as large as another is decided as equivalence: the interval must lie
  within a margin, which is two one-sided tests.
- Support needs no correction for the number of findings, since all of them must hold; a
  contradiction by one among many can be chance, and the table shows which finding it is.
- The revised rules were written after seeds 0 to 9 had been seen and before seeds 10 to 19 were
  searched.

The article counts the input as its first layer: its second and last layers are 1 and 6 here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from ruamel.yaml import YAML

from bregman_nas.report import measures
from bregman_nas.report.claims import claims as code
from bregman_nas.report.claims import rules
from bregman_nas.report.claims.rules import ENOUGH_SEEDS, Finding, Part, Results, Verdict
from bregman_nas.report.data import PROTOCOLS, REGISTERED, Study


class Claim(NamedTuple):
    """A claim: its texts of claims.yaml, and its rule as code.

    A revised rule has a `why`; if nothing is decided, `supported_if` is empty.
    """

    number: int
    part: Part
    short: str
    words: str
    place: str
    statistic: str
    supported_if: str = ""
    contradicted_if: str = ""
    why: str | None = None

    @property
    def rule(self) -> str:
        """In one sentence."""
        ends = f"contradicted if {self.contradicted_if}; else undecided."
        return f"Supported if {self.supported_if}; {ends}" if self.supported_if else "No verdict."


def _claim(number: int, part: Part, texts: Mapping[str, str]) -> Claim:
    """The texts may name constants of the code."""
    constants = {**vars(measures), **vars(rules), **vars(code)}
    return Claim(number, part, **{k: text.format_map(constants) for k, text in texts.items()})


#: All claims, ascending, with the registered rules; and with the revised one where there is one.
CLAIMS: list[Claim] = []
REVISED: list[Claim] = []
for _number, _texts in YAML(typ="safe").load(Path(__file__).with_name("claims.yaml")).items():
    _new = _texts.pop("revised", None)
    CLAIMS.append(_claim(_number, code.REGISTERED[_number], _texts))
    _same = {name: _texts[name] for name in ("short", "words", "place")}
    REVISED.append(_claim(_number, code.REVISED[_number], _same | _new) if _new else CLAIMS[-1])

#: The seeds that the revised rules are decided by.
FRESH = range(10, 20)
#: The claim that is not the article's, and those on the DenseNet.
OURS, OF_THE_DENSENET = 17, (13, 14)
COLLAPSED_MARK = "\N{DAGGER}"


class Decision(NamedTuple):
    """The outcome of a claim under one of `PROTOCOLS`.

    `findings` are those that decide it, then others that stand beside them; `collapsed` is how many
    of the networks behind them give the same answer for every image.
    """

    claim: Claim
    protocol: str
    findings: Sequence[Finding]
    collapsed: int = 0

    @property
    def deciding(self) -> list[Finding]:
        """The findings that have a verdict."""
        return [finding for finding in self.findings if finding.verdict is not None]

    @property
    def verdict(self) -> Verdict | None:
        """On the claim, None if no finding decides anything.

        Undecided, whatever its findings say, if too many networks collapsed: they keep about the
        kernels of their start, which say nothing of the method.
        """
        if not self.deciding:
            return None
        found = rules.verdict_of(self.deciding)
        too_many = self.collapsed > rules.TOO_MANY_DIVERGED * (self.seeds or 0)
        return Verdict.UNDECIDED if too_many and found is not Verdict.NOT_RUN else found

    @property
    def seeds(self) -> int | None:
        """The fewest behind a finding that decides; None if it does not come from seeds."""
        return min((f.seeds for f in self.deciding if f.seeds is not None), default=None)


def decide(study: Study) -> list[Decision]:
    """All claims, ascending, under each protocol, by the registered seeds alone."""
    results = [Results(study.only(REGISTERED), protocol, study) for protocol in PROTOCOLS]
    return [_decision(one, of, one.number in OF_THE_DENSENET) for one in CLAIMS for of in results]


def decide_revised(study: Study) -> list[Decision]:
    """All claims, ascending, under each protocol, by the fresh seeds alone and the revised rules.

    A run with fewer than `ENOUGH_SEEDS` of them counts as not run. Interventions keep all seeds,
    and so does the DenseNet, whose fresh seeds that live are too few; that was decided when results
    were known.
    """
    fresh = study.only(FRESH, ENOUGH_SEEDS)
    results, every = ([Results(of, p, study) for p in PROTOCOLS] for of in (fresh, study))
    return [
        _decision(one, of)
        for one in REVISED
        for of in (every if one.number in OF_THE_DENSENET else results)
    ]


def _decision(claim: Claim, results: Results, count_collapsed: bool = False) -> Decision:
    found = [finding for finding in claim.part(results) if finding is not None]
    found.sort(key=lambda finding: finding.verdict is None)
    run = results.frame("densenet")[""] if count_collapsed else None
    lost = 0 if run is None else int(measures.collapsed(run).sum())
    return Decision(claim, results.protocol, found, lost)


def findings(registered: Sequence[Decision], revised: Sequence[Decision]) -> pd.DataFrame:
    """A row for each claim, protocol and finding; `verdict` is empty where it decides nothing.

    `rules`: `registered` or `revised`.
    """
    rows = [
        {"claim": one.claim.number, "protocol": one.protocol, "rules": by, **asdict(finding)}
        for by, decisions in (("registered", registered), ("revised", revised))
        for one in decisions
        for finding in one.findings
    ]
    return pd.DataFrame(rows).rename(columns={"seeds": "n"}).astype({"n": "Int64"})


def as_json(decisions: Sequence[Decision]) -> dict[str, Any]:
    """By the number of the claim its texts, and by protocol its verdict and findings."""
    found: dict[str, Any] = {}
    for one in decisions:
        texts = {k: getattr(one.claim, k) for k in ("short", "words", "place", "statistic", "rule")}
        claim = found.setdefault(str(one.claim.number), texts)
        claim[one.protocol] = {k: getattr(one, k) for k in ("verdict", "seeds", "collapsed")}
        claim[one.protocol]["findings"] = [asdict(finding) for finding in one.findings]
    return found
