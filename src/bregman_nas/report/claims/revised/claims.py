"""The claims with the rules that decide them on the fresh seeds, in words."""

from collections.abc import Callable

from bregman_nas.report.claims import densenet, skips, training, widths
from bregman_nas.report.claims.claim import Claim, Finding
from bregman_nas.report.claims.results import Results
from bregman_nas.report.claims.revised import findings
from bregman_nas.report.claims.revised.numbers import RESAMPLES
from bregman_nas.report.claims.revised.revision import SURE, Revision

_REGISTERED = {
    claim.number: claim
    for claims in (widths.CLAIMS, skips.CLAIMS, training.CLAIMS, densenet.CLAIMS)
    for claim in claims
}


def _revise(
    number: int,
    decide: Callable[[Results], list[Finding]],
    *,
    why: str,
    statistic: str,
    supported_if: str = "",
    contradicted_if: str = "",
    words: str = "",
) -> Revision:
    """The claim of that number with other findings and other words for its rule."""
    claim = _REGISTERED[number]
    words = words or claim.words
    place = claim.place
    return Revision(number, words, place, statistic, supported_if, contradicted_if, decide, why)


_ROWS, _SKIP = findings.NEGLIGIBLE_ROWS, findings.NEGLIGIBLE_SKIP

_REVISIONS = [
    _revise(
        1,
        findings.shape,
        why="The article speaks of average widths; the registered rule asks for the shape in each "
        "seed, where the middle layers scatter.",
        statistic="mean width of each layer over the seeds, the input before it: the narrowest "
        "hidden layer is narrower than input and output by at least "
        f"{widths.WIDTH_MARGIN:.0f} rows, and up to it no width rises above one before, after it "
        f"none falls below one before, by more than {widths.STEP_TOLERANCE:.0f}; the share of "
        f"{RESAMPLES:,} bootstrap samples of the seeds whose mean widths have that shape",
        supported_if="on both tasks the mean widths have the shape, and at least "
        f"{SURE:.1%} of the bootstrap samples have it",
        contradicted_if="on one task the mean widths do not have it, and at least "
        f"{SURE:.1%} of the bootstrap samples do not",
    ),
    _revise(
        4,
        findings.output_map,
        words="The width of the output layer accounts for the digits not filling the image: its "
        "active rows are those of the pixels that are inked.",
        why="Counting pixels says nothing of which rows are active. The count keeps its registered "
        "rule, and stands beside.",
        statistic="area under the ROC curve of a pixel's frequency, the share of the training "
        "images in which it is not zero, as predictor of its output row being active, without "
        "skips, mean over the seeds; 1/2 is chance",
        supported_if="on both tasks the interval of the area is at least "
        f"{findings.FREQUENCY_TELLS}",
        contradicted_if=f"on one task it is below {findings.FREQUENCY_DOES_NOT_TELL}",
    ),
    _revise(
        7,
        findings.wider_output,
        why="The registered rule has no answer if the widths are the same.",
        statistic=f"difference of the mean widths of layer 6, with skips less without; {_ROWS} "
        "rows, a hundredth of a layer, are negligible",
        supported_if="on both tasks the interval of the difference is above 0, and reaches beyond "
        f"{_ROWS} rows",
        contradicted_if=f"on one task it is nowhere above {_ROWS} rows",
    ),
    _revise(
        8,
        findings.positive_skips,
        why="The registered rule has no answer if a skip is zero.",
        statistic="mean over the seeds of the average of the six skips into the output; for "
        f"denoising also of each of them; {_SKIP} is negligible",
        supported_if="the intervals of both averages and, for denoising, of the skips from layers "
        f"1 to 5 are above 0 and reach beyond {_SKIP}, and that of the skip from the input lies "
        f"within {_SKIP} of 0",
        contradicted_if=f"one of the former is nowhere above {_SKIP}, or the last lies entirely "
        "outside",
    ),
    _revise(
        9,
        findings.negative_skips,
        why="The article shows the matrix of average skips; the registered rule counts in each "
        "seed.",
        statistic="share of negative entries among the active ones of the mean matrix of skips, "
        "without those that lead into the output; interval from "
        f"{RESAMPLES:,} bootstrap samples of the seeds",
        supported_if="on both tasks the interval of the share of negative ones is above 1/2",
        contradicted_if="on one task it is nowhere above 1/2",
    ),
    _revise(
        10,
        findings.unet,
        why="Equal skips have 1/7 on the counterdiagonal, so that a share below 1/2 is no sign of "
        "anything.",
        statistic="share in the sum of |tau(l, i)| of those on the counterdiagonal (l + i = 5), "
        "mean over the seeds; a network without skips has no such share and is left out, and with "
        "more than a fifth of them nothing is decided",
        supported_if="on both tasks the interval of the share of the counterdiagonal is nowhere "
        "above 1/7",
        contradicted_if="on one task it is above 1/7",
    ),
    _revise(
        13,
        findings.last_layer,
        why="Collapsed networks keep the kernels of their start; the registered rule lets them "
        "decide, or decides nothing.",
        statistic="sum of tau(l, r) over r for the last layer l of the dense block, less the "
        "largest of the other layers, as a share of the sum over all, mean over the networks that "
        f"did not collapse, at least {findings.ENOUGH_LIVING}",
        supported_if="the interval of the lead of the last layer is above 0",
        contradicted_if="it is nowhere above 0",
    ),
    _revise(
        14,
        findings.channels,
        why="As for claim 13.",
        statistic="share of the networks that did not collapse, at least "
        f"{findings.ENOUGH_LIVING}, in which of the channels of the first convolution and the "
        "dense block at least one is read by no active kernel, and at least one is written by none",
        supported_if="the interval of the share with unused channels of both kinds is above 1/2",
        contradicted_if="it is below 1/2",
    ),
    _revise(
        15,
        findings.adam,
        why="It is a property of the code, which a test proves, and no finding.",
        statistic=f"{training.EQUIVALENCE_TEST}; no run is needed",
    ),
    _revise(
        16,
        findings.additions,
        why="A start at 1% of the rows forces growth, and growth alone puts the registered share "
        "above 1/2.",
        statistic="share of switching on among all switching of rows after the first epoch, from "
        "the end of one epoch to that of the next, mean over the seeds; two in three means that "
        "the growth, rows on less rows off, is as large as the turnover, rows on that make up for "
        "rows off",
        supported_if="for both networks on both tasks the interval of the share of switching on is "
        "above 2/3",
        contradicted_if="for one of them it is nowhere above 2/3",
    ),
    _revise(
        17,
        findings.living,
        why="How many living rows are active is a matter of degree, and no test of the cause.",
        statistic="share of the living rows of all layers that are active after the last epoch, "
        "and of all rows, mean over the seeds; the same where rows are kept from dying",
    ),
]

# All claims, ascending: the revised rule where there is one (`Revision`), else the registered.
REVISED: list[Claim] = list(
    (_REGISTERED | {revision.number: revision for revision in _REVISIONS}).values()
)
REVISED.sort(key=lambda claim: claim.number)
