"""The findings that decide the revised claims, from the results of one protocol."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from bregman_nas.report.claims import densenet, training, widths
from bregman_nas.report.claims.claim import (
    ENOUGH_SEEDS,
    HALF,
    TOO_MANY_DIVERGED,
    Finding,
    Verdict,
    above,
    at_least,
    at_most,
    difference,
    mean,
    share_of_seeds,
    within,
)
from bregman_nas.report.claims.results import LAYERS, Flags, Results, diverged, seeds_that, summary
from bregman_nas.report.claims.revised import numbers
from bregman_nas.report.claims.revised.revision import more_than_negligible, surely
from bregman_nas.report.read import NETWORKS, PIXELS, TASKS, Array, Run, depth, rows_by_layer
from bregman_nas.report.read import skips as read_skips

# "No wider" is within a hundredth of a layer, which is also about what a search starts with.
NEGLIGIBLE_ROWS = 8
# "Nothing", where a skip that copies its layer is 1.
NEGLIGIBLE_SKIP = 0.02
# Two rows switched on for each one switched off.
MORE_GROWTH_THAN_TURNOVER = 2 / 3
# In nine of ten pairs of an active and an inactive output row the active one has the more frequent
# pixel: in the usual words, the frequency tells them apart outstandingly ...
FREQUENCY_TELLS = 0.9
# ... and half way from chance, 1/2, to certainty: too little to call them the same pixels.
FREQUENCY_DOES_NOT_TELL = 0.75
# With fewer living DenseNets, a mean is that of one or two.
ENOUGH_LIVING = 5


def _enough(run: Run) -> bool:
    few_diverged = diverged(run) <= TOO_MANY_DIVERGED * len(run.seeds)
    return len(run.converged) >= ENOUGH_SEEDS and few_diverged


def _of_the_mean(name: str, run: Run | None, decided: Callable[[Run], Finding]) -> Finding:
    """A finding on a mean over seeds, where there are enough of them.

    Args:
        name: of the finding.
        run: None if not run.
        decided: from the run, called only if enough seeds converged: value, interval, verdict.
    """
    if run is None:
        return Finding(name, seeds=0, verdict=Verdict.NOT_RUN)
    found = decided(run) if _enough(run) else Finding(name, verdict=Verdict.UNDECIDED)
    return replace(found, name=name, seeds=len(run.seeds), diverged=diverged(run))


def _widths(run: Run) -> Array:
    return rows_by_layer(run.converged, "width")


def _width(run: Run, layer: int) -> Array:
    return _widths(run)[:, layer - 1]


def _share_with_shape(run: Run) -> Finding:
    of_seeds = _widths(run)
    share = numbers.share_with_shape(of_seeds)
    return Finding("", share, verdict=surely(widths.has_autoencoder_shape(of_seeds.mean(0)), share))


def shape(results: Results) -> list[Finding]:
    """Of claim 1.

    The tolerances of the registered rule stay. They say how narrow a middle is one, and how large
    a step in the wrong direction still leaves the shape, in shares of the search space. That is no
    matter of noise, which the bootstrap deals with: a middle of four widths that are nearly equal
    is a middle in the mean as well.
    """
    deciding, beside = [], []
    for task in TASKS:
        run = results.restoration("autoencoder", task)
        name = f"{task}, share of the resampled mean profiles with the shape"
        deciding.append(_of_the_mean(name, run, _share_with_shape))
        if run is not None:
            beside += [
                mean(f"{task}, width of layer {layer}", summary(run, partial(_width, layer=layer)))
                for layer in range(1, LAYERS + 1)
            ]
    return [*deciding, *beside]


def _output_flags(run: Run) -> Flags:
    of_seeds = []
    for seed in run.converged["seed"]:
        text = (run.folder / "records" / f"seed-{seed:02d}.json").read_text("utf-8")
        of_seeds.append(json.loads(text)["result"]["output_rows"])
    return numbers.output_map(of_seeds)


def _area(run: Run, frequencies: Array) -> Array:
    return numbers.areas_under_the_curve(_output_flags(run), frequencies)


def _agreement(run: Run, frequencies: Array, index: int) -> Array:
    return numbers.agreement(_output_flags(run), frequencies > 0)[index]


def output_map(results: Results) -> list[Finding]:
    """Of claim 4."""
    deciding, beside = [], []
    rule = at_least(FREQUENCY_TELLS, FREQUENCY_DOES_NOT_TELL)
    frequencies = results.frequencies
    for task in TASKS:
        run = None if frequencies is None else results.restoration("autoencoder", task)
        name = f"{task}, area under the curve"
        if run is None or frequencies is None:
            deciding.append(mean(name, None, rule))
            continue
        area = summary(run, partial(_area, frequencies=frequencies))
        deciding.append(replace(mean(name, area, rule, share=True), diverged=diverged(run)))
        for index, measure in enumerate(("agreement", "Jaccard's index")):
            found = summary(run, partial(_agreement, frequencies=frequencies, index=index))
            name = f"{task}, active output rows and pixels that are ever inked, {measure}"
            beside.append(mean(name, found, share=True))
    (counting,) = (claim for claim in widths.CLAIMS if claim.number == 4)
    counted = [replace(finding, verdict=None) for finding in counting.decide(results)]
    return [*deciding, *beside, *counted]


def wider_output(results: Results) -> list[Finding]:
    """Of claim 7."""
    output = partial(_width, layer=LAYERS)
    return [
        difference(
            f"{task}, width of the output with skips less without",
            summary(results.restoration("residual", task), output),
            summary(results.restoration("autoencoder", task), output),
            more_than_negligible(NEGLIGIBLE_ROWS),
        )
        for task in TASKS
    ]


def _tau(run: Run) -> Array:
    return read_skips(run.converged)


def _into_output(run: Run) -> Array:
    average: Array = _tau(run)[:, -1].mean(1)
    return average


def _into_output_from(run: Run, i: int) -> Array:
    return _tau(run)[:, -1, i]


def positive_skips(results: Results) -> list[Finding]:
    """Of claim 8."""
    positive = more_than_negligible(NEGLIGIBLE_SKIP)
    none = within(-NEGLIGIBLE_SKIP, NEGLIGIBLE_SKIP)
    deciding, beside = [], []
    for task in TASKS:
        run = results.restoration("residual", task)
        name = f"{task}, mean of the skips into the output"
        deciding.append(mean(name, summary(run, _into_output), positive))
        for i in range(LAYERS):
            tau = summary(run, partial(_into_output_from, i=i))
            name = f"{task}, skip into the output from {f'layer {i}' if i else 'the input'}"
            if task == "denoising":
                deciding.append(mean(name, tau, positive if i else none))
            elif run is not None:
                beside.append(mean(name, tau))
    return [*deciding, *beside]


def _negative_share(run: Run) -> Finding:
    share, low, high = numbers.negative_share_of_the_mean(_tau(run))
    return Finding("", share, low=low, high=high, verdict=above(HALF)(low, high))


def negative_skips(results: Results) -> list[Finding]:
    """Of claim 9."""
    return [
        _of_the_mean(
            f"{task}, among the active ones of the mean matrix",
            results.restoration("residual", task),
            _negative_share,
        )
        for task in TASKS
    ]


def _counterdiagonal(run: Run) -> Array:
    return numbers.counterdiagonal_share_of_active(_tau(run))


def unet(results: Results) -> list[Finding]:
    """Of claim 10."""
    findings = []
    for task in TASKS:
        run = results.restoration("residual", task)
        name, rule = f"{task}, share of the counterdiagonal", at_most(numbers.EQUAL_SHARE)
        found = mean(name, summary(run, _counterdiagonal), rule, share=True)
        findings.append(replace(found, diverged=diverged(run)))
    return findings


def _kernels(
    results: Results,
    name: str,
    decided: Callable[[Run], Finding],
    beside: Mapping[str, Callable[[Run], Array]],
) -> list[Finding]:
    """A finding on the living DenseNets, undecided if they are too few; numbers beside it.

    Args:
        results: of one protocol.
        name: of the finding.
        decided: from the networks that did not collapse, called if there are enough of them.
        beside: one number per network, by name.
    """
    run = results.densenet
    if run is None:
        return [Finding(name, seeds=0, verdict=Verdict.NOT_RUN)]
    collapsed = densenet.collapsed(run)
    living = run.only(~collapsed)
    if len(living.converged) >= ENOUGH_LIVING:
        found = replace(decided(living), name=name)
    else:
        reason = f"{name} (undecided: fewer than {ENOUGH_LIVING} living networks)"
        found = Finding(
            reason, seeds=len(living.seeds), diverged=diverged(run), verdict=Verdict.UNDECIDED
        )
    return [
        found,
        Finding("networks that collapsed", float(collapsed.sum()), seeds=len(run.seeds)),
        *(mean(beside_it, summary(living, number)) for beside_it, number in beside.items()),
    ]


def _lead(run: Run) -> Finding:
    return mean("", summary(run, partial(densenet.lead, how="sum")), above(0))


def last_layer(results: Results) -> list[Finding]:
    """Of claim 13."""
    name = "lead of the last layer"
    beside = {
        f"{name}, per kernel": partial(densenet.lead, how="kernel"),
        f"{name}, without the layer just before": partial(densenet.lead, how="skips"),
    }
    return _kernels(results, f"{name}, sums", _lead, beside)


def _both_unused(run: Run) -> Flags:
    inputs = densenet.unused_inputs(run, with_the_last=True)
    return (inputs > 0) & (densenet.unused_outputs(run) > 0)


def _unused(run: Run) -> Finding:
    return share_of_seeds("", seeds_that(run, _both_unused), diverged(run))


def channels(results: Results) -> list[Finding]:
    """Of claim 14."""
    beside: dict[str, Callable[[Run], Array]] = {
        "unused input channels": partial(densenet.unused_inputs, with_the_last=True),
        "unused output channels": densenet.unused_outputs,
    }
    return _kernels(results, "share of the living networks", _unused, beside)


def _switches(run: Run) -> tuple[Array, Array]:
    """Rows switched on, and off, [converged seeds, epochs, L] each."""
    history = run.history.sort_values(["seed", "epoch"])
    seeds, layers = len(run.converged), depth(history)
    on, off = (
        rows_by_layer(history, f"switched_{way}").reshape(seeds, -1, layers)
        for way in ("on", "off")
    )
    return on, off


def _late_additions(run: Run) -> Array:
    return numbers.share_of_late_additions(*_switches(run))


def _late_switches(run: Run) -> Array:
    on, off = _switches(run)
    late: Array = (on + off)[:, 1:].sum((1, 2))
    return late


def _of_all_perceptrons(results: Results) -> list[tuple[str, Run | None]]:
    return [
        (f"{network}, {task}", results.restoration(network, task))
        for network in NETWORKS
        for task in TASKS
    ]


def additions(results: Results) -> list[Finding]:
    """Of claim 16.

    Rows on less rows off is how far the width grows. A search that starts at 1% of the rows must
    grow, so that more rows go on than off, and a share above 1/2 is no finding. But no growth
    forces the share above 2/3: that takes fewer rows off than the width grows by, and a search that
    switches rows on and off to and fro, or adds too many and then prunes, falls below. The first
    epoch is left out, in which the output layer grows at once. Rows that go on and off within one
    epoch are not seen.
    """
    rule = above(MORE_GROWTH_THAN_TURNOVER)
    deciding, beside = [], []
    for name, run in _of_all_perceptrons(results):
        deciding.append(mean(name, summary(run, _late_additions), rule, share=True))
        if run is not None:
            switches = summary(run, _late_switches)
            beside.append(mean(f"{name}, switches after the first epoch", switches))
    return [*deciding, *beside]


def adam(_: Results) -> list[Finding]:
    """Of claim 15."""
    return [Finding(f"holds by test: {training.EQUIVALENCE_TEST}")]


def _active_share_of_all(run: Run) -> Array:
    share: Array = _widths(run).sum(1) / (LAYERS * PIXELS)
    return share


def living(results: Results) -> list[Finding]:
    """Of claim 17: all perceptrons, then those whose rows were kept from dying."""
    findings = []
    for name, run in [*_of_all_perceptrons(results), *results.interventions.items()]:
        of_the_living = summary(run, training.active_share_of)
        of_all = summary(run, _active_share_of_all)
        findings += [
            mean(f"{name}, active among living rows", of_the_living, share=True),
            mean(f"{name}, active among all rows", of_all, share=True),
        ]
    return findings
