"""What a revised claim is, the seeds that decide it, and the rules that only it needs."""

from collections.abc import Sequence
from dataclasses import dataclass

from bregman_nas.report.claims.claim import ENOUGH_SEEDS, Claim, Finding, Rule, Verdict, verdict_of
from bregman_nas.report.claims.results import Results

REGISTERED_SEEDS = range(10)
FRESH_SEEDS = range(10, 20)
# If so many of the resampled means have a property, the mean has it for sure, and if only the rest
# have it, it has not: a 95% interval leaves as much on either side.
SURE = 0.975


@dataclass(frozen=True)
class Revision(Claim):
    """A claim with a new rule, or with none: `supported_if` is empty where nothing is decided.

    Attributes:
        why: what the registered rule could not do.
    """

    why: str

    @property
    def rule(self) -> str:
        """In one sentence."""
        return super().rule if self.supported_if else "No verdict."


def fresh(results: Results) -> Results:
    """The fresh seeds alone; a run with fewer than `ENOUGH_SEEDS` of them counts as not run.

    Args:
        results: of one protocol, all seeds.
    """
    return results.of_seeds(FRESH_SEEDS, ENOUGH_SEEDS)


def registered(results: Results) -> Results:
    """The seeds that the registered rules were made for.

    Args:
        results: of one protocol, all seeds.
    """
    return results.of_seeds(REGISTERED_SEEDS)


def verdict(findings: Sequence[Finding]) -> Verdict | None:
    """The verdict on a claim, from its findings; None if none of them decides anything."""
    deciding = [finding for finding in findings if finding.verdict is not None]
    return verdict_of(deciding) if deciding else None


def more_than_negligible(margin: float) -> Rule:
    """The number is positive, and not so small that it is as good as nothing.

    Contradicted if the whole interval lies at or below the margin: the number is negligible, zero
    or negative. This comes first, so that an interval from just above 0 to just below the margin
    contradicts. Else supported if the whole interval lies above 0; else undecided.

    Args:
        margin: the largest negligible number, positive.
    """

    def rule(low: float, high: float) -> Verdict:
        if high <= margin:
            return Verdict.CONTRADICTED
        return Verdict.SUPPORTED if low > 0 else Verdict.UNDECIDED

    return rule


def surely(holds: bool, share: float) -> Verdict:
    """That a mean has a property.

    Args:
        holds: whether it has.
        share: of the resampled means, those that have it.
    """
    if holds and share >= SURE:
        return Verdict.SUPPORTED
    # Not `share <= 1 - SURE`, which rounding moves.
    return Verdict.CONTRADICTED if not holds and 1 - share >= SURE else Verdict.UNDECIDED
