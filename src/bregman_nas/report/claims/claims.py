"""The rules of the claims as code: two tables of findings. Their words are in claims.yaml."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from bregman_nas.report import measures
from bregman_nas.report.claims import rules
from bregman_nas.report.claims.rules import Finding, above, mean, of_seeds, over, share, within
from bregman_nas.report.data import NETWORKS, PIXELS, TASKS, Array, Flags, Run
from bregman_nas.report.measures import HALF, LAYERS, WIDTH_MARGIN, number
from bregman_nas.report.stats import CONFIDENCE, summarize

NONZERO = (0.6, 0.7)  # "around 65%", and half of the step to the next number with a name of its own
CODING_WIDTH = (150, 250)  # "approximately 200 neurons", give or take a quarter
NEGLIGIBLE_ROWS = 8  # "no wider": a hundredth of a layer, about what a search starts with
# In nine of ten pairs of an active and an inactive output row the active one has the more frequent
# pixel: in the usual words, the frequency tells them apart outstandingly ...
FREQUENCY_TELLS = 0.9
# ... and half way from chance, 1/2, to certainty: too little to call them the same pixels.
FREQUENCY_DOES_NOT_TELL = 0.75
SMALL_SKIP = 0.05  # of the input, the output receives nothing; an identity is 1
NEGLIGIBLE_SKIP = 0.02  # "nothing", where a skip that copies its layer is 1
LOSS_RATIOS = {"denoising": 10, "deblurring": 1}  # "more than one order of magnitude", "lower"
ENOUGH_LIVING = 5  # with fewer living DenseNets, a mean is that of one or two
ALL_LIVING = 0.99  # "every" living row, but for those about to switch on when the run ends ...
NOT_ALL_LIVING = 0.9  # ... and clearly not: in between, both readings can be had
EQUIVALENCE_TEST = "tests/bregman/test_optimizers.py"


def _shape_of_mean(run: Run) -> Finding:
    # With the tolerances of the registered rule, which say how narrow a middle is one. That is no
    # matter of noise: a middle of four widths that are nearly equal is one in the mean as well.
    having = float(measures.has_autoencoder_shape(measures.resampled_means(run.rows())).mean())
    has_it = bool(measures.has_autoencoder_shape(run.rows().mean(0)))
    return Finding("", having, verdict=rules.surely(has_it, having))


def _pixels(results: rules.Results) -> rules.Findings:
    ink = results.study.frequencies
    names = ("share of pixel values that are not zero", "pixels that are ever not zero")
    if ink is None:
        yield from (Finding(name, verdict=rules.Verdict.NOT_RUN) for name in names)
        return
    low, high = NONZERO
    values = float(ink.mean()), float((ink > 0).mean())
    literal, lenient = (low <= value <= high for value in values)
    for name, value in zip(names, values, strict=True):
        yield Finding(name, value, verdict=rules.judged(literal, not lenient))
    for percent in (0.1, 1):
        name = f"pixels that are not zero in at least {percent}% of the images"
        yield Finding(name, float((ink >= percent / 100).mean()))


def _output_map(results: rules.Results) -> rules.Findings:
    ink, rule = results.study.frequencies, rules.at_least(FREQUENCY_TELLS, FREQUENCY_DOES_NOT_TELL)
    if ink is None:  # as if nothing were run
        ink, results = np.zeros(PIXELS), results._replace(study=results.study.only([]))
    both = "active output rows and pixels that are ever inked"
    yield from over(
        "autoencoder",
        share("area under the curve", lambda run: measures.output_map(run, ink)["area"], rule),
        share(f"{both}, agreement", lambda run: measures.output_map(run, ink)["agreement"]),
        share(f"{both}, Jaccard's index", lambda run: measures.output_map(run, ink)["jaccard"]),
    )(results)
    yield from (counted and replace(counted, verdict=None) for counted in _pixels(results))


def _similarity(results: rules.Results) -> rules.Findings:
    runs = [run for run in results.frame("autoencoder").values() if run is not None]
    columns = [f"width_{layer}" for layer in range(1, LAYERS + 1)]
    gap = pd.DataFrame(columns=columns)
    if len(runs) == len(TASKS):  # of the seeds of both; NaN where one of the two diverged
        one, other = (measures.numbers(run).reindex(columns=columns) for run in runs)
        gap = (one - other).loc[one.index.intersection(other.index)]
    for layer, column in enumerate(columns, start=1):
        name = f"layer {layer}, {TASKS[0]} minus {TASKS[1]}"
        yield rules.mean_of(name, summarize(gap[column]), within(-WIDTH_MARGIN, WIDTH_MARGIN))


def _wider_output(results: rules.Results, rule: rules.Rule) -> rules.Findings:
    for task in TASKS:
        runs = (results.run(network, task) for network in NETWORKS)
        without, skips = (measures.summary(run, number(f"width_{LAYERS}")) for run in runs)
        name = f"{task}, width of the output with skips minus without"
        yield rules.difference(name, skips, without, rule)


def _loss(results: rules.Results) -> rules.Findings:
    for task in TASKS:
        runs = [results.run(network, task) for network in NETWORKS]
        without, skips = (summarize(np.log(measures.losses(run)) if run else ()) for run in runs)
        name = f"{task}, loss without skips / loss with skips"
        found = rules.difference(name, without, skips, above(LOSS_RATIOS[task]), unit=math.exp)
        yield replace(found, diverged=sum(run.diverged for run in runs if run))


def _into_output(positive: rules.Rule, none: rules.Rule) -> rules.Part:
    def part(task: str, decides: bool) -> rules.Part:
        each = [mean("mean of the skips into the output", _skips_into_output, positive)]
        for i in range(LAYERS):
            rule = (positive if i else none) if decides else None
            name = f"skip into the output from {f'layer {i}' if i else 'the input'}"
            each.append(mean(name, _skips_into_output, rule, only=i))
        return over(f"residual-{task}", *each)

    return rules.together(part("denoising", decides=True), part("deblurring", decides=False))


def _skips_into_output(run: Run, only: int | None = None) -> Array:
    skips = run.tau()[:, -1]
    return np.asarray(skips.mean(1) if only is None else skips[:, only])


def _negative_of_all(run: Run) -> Array:
    others = run.tau()[:, :-1]
    return np.asarray((others < 0).sum((1, 2)) / (~np.isnan(others)).sum((1, 2)))


def _negative_of_mean(run: Run) -> Finding:
    value = float(measures.negative_share(run.tau().mean(0, keepdims=True))[0])
    of_samples = measures.negative_share(measures.resampled_means(run.tau()))
    low, high = np.quantile(of_samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
    return Finding("", value, low=low, high=high, verdict=above(HALF)(low, high))


def _if_alive(estimate: rules.Estimate) -> rules.Estimate:
    """Of the networks that did not collapse; undecided if they are too few."""

    def found(run: Run | None) -> Finding | None:
        alive, of_none = run and measures.living(run), estimate(None)
        if alive is None or of_none is None or len(alive.converged) >= ENOUGH_LIVING:
            return estimate(alive)
        name = f"{of_none.name} (undecided: fewer than {ENOUGH_LIVING} living networks)"
        return Finding(name, seeds=len(alive.seeds), verdict=rules.Verdict.UNDECIDED)

    return found


def _collapsed(run: Run | None) -> Finding | None:
    if run is None:
        return None
    lost = float(measures.collapsed(run).sum())
    return Finding("networks that collapsed", lost, seeds=len(run.seeds))


def _both_unused(run: Run) -> Flags:
    return (measures.unused_inputs(run) > 0) & (measures.unused_outputs(run) > 0)


def _kernels(run: Run | None) -> Finding | None:
    """Of the networks in which any kernel is switched."""
    if run is not None:
        counts = measures.switched(run) if run.converged else np.zeros(0)
        moved = [seed for seed, n in zip(run.converged, counts, strict=True) if n]
        run = run.only(moved) if moved else None
    return share("DenseNet, kernels (seeds with switches)", measures.share_of_additions)(run)


WIDTHS = [mean(f"width of layer {l}", number(f"width_{l}")) for l in range(1, LAYERS + 1)]
COUNTERDIAGONAL = measures.counterdiagonal(LAYERS)
OFF = np.tri(LAYERS, dtype=bool) & ~COUNTERDIAGONAL
OTHERS = "(networks that did not collapse)"
LEAD = "lead of the last layer"
INPUTS, OUTPUTS = "unused input channels", "unused output channels"
UNUSED = [mean(INPUTS, measures.unused_inputs), mean(OUTPUTS, measures.unused_outputs)]
LIVING = "share of the living networks"
EXCESS = "spread of the inner layers minus that of layer"
UNET = "share of the counterdiagonal"

#: The findings of each claim by the registered rules ...
REGISTERED: dict[int, rules.Part] = {
    1: over("autoencoder", of_seeds("", lambda run: measures.has_autoencoder_shape(run.rows()))),
    2: over(
        "autoencoder",
        mean(f"{EXCESS} 1", measures.excess_spread, above(0), layer=1),
        mean(f"{EXCESS} {LAYERS}", measures.excess_spread, above(0), layer=LAYERS),
        *WIDTHS,
    ),
    3: over("autoencoder", share("", lambda run: run.rows()[:, -1] / PIXELS, within(*NONZERO))),
    4: _pixels,
    5: _similarity,
    6: over(
        "residual",
        mean("width of the coding layer", number("coding_width"), within(*CODING_WIDTH)),
        of_seeds("coding layer 1 or 2", lambda run: number("coding_layer")(run) <= 2),
        mean("coding layer", number("coding_layer")),
    ),
    7: partial(_wider_output, rule=above(0)),
    8: _into_output(above(0), rules.at_most(SMALL_SKIP)),
    9: over(
        "residual",
        share("among the active ones", lambda run: measures.negative_share(run.tau()), above(HALF)),
        share("among active and inactive ones", _negative_of_all),
    ),
    10: over(
        "residual",
        share(UNET, measures.counterdiagonal_share, rules.at_most(HALF)),
        mean("mean |tau| on the counterdiagonal", measures.mean_size, pairs=COUNTERDIAGONAL),
        mean("mean |tau| off the counterdiagonal", measures.mean_size, pairs=OFF),
    ),
    11: over("residual-denoising", of_seeds("widths on a rising line", number("rising_line"))),
    12: _loss,
    13: rules.together(
        over(
            "densenet",
            mean(f"{LEAD}, sums", measures.lead, above(0)),
            mean(f"{LEAD}, per kernel", measures.lead, how="kernel"),
            mean(f"{LEAD}, sums without the layer just before", measures.lead, how="skips"),
        ),
        over("living", mean(f"{LEAD}, sums {OTHERS}", measures.lead)),
    ),
    14: rules.together(
        over(
            "densenet",
            of_seeds("share of the seeds", _both_unused),
            UNUSED[0],
            mean(f"{INPUTS} of the dense block alone", measures.unused_inputs, last=False),
            UNUSED[1],
        ),
        over(
            "living",
            mean(f"{INPUTS} {OTHERS}", measures.unused_inputs),
            mean(f"{OUTPUTS} {OTHERS}", measures.unused_outputs),
        ),
    ),
    15: lambda _: iter([Finding(f"proved by {EQUIVALENCE_TEST}", verdict=rules.Verdict.SUPPORTED)]),
    16: rules.together(
        over(
            "perceptrons",
            share("", measures.share_of_additions, above(HALF)),
            mean("switches in a seed", measures.switched),
        ),
        over("densenet", _kernels, mean("DenseNet, switches in a seed", measures.switched)),
    ),
    17: over(
        "perceptrons",
        share("", measures.active_share, rules.at_least(ALL_LIVING, NOT_ALL_LIVING)),
        *(share(f"layer {l}", measures.active_share, layer=l) for l in range(1, LAYERS + 1)),
        share("dead rows among all", measures.dead_share),
    ),
}

#: ... and by the revised ones.
REVISED: dict[int, rules.Part] = {
    1: over(
        "autoencoder",
        rules.of_the_mean("share of the resampled mean profiles with the shape", _shape_of_mean),
        *WIDTHS,
    ),
    4: _output_map,
    7: partial(_wider_output, rule=rules.more_than_negligible(NEGLIGIBLE_ROWS)),
    8: _into_output(
        rules.more_than_negligible(NEGLIGIBLE_SKIP), within(-NEGLIGIBLE_SKIP, NEGLIGIBLE_SKIP)
    ),
    9: over(
        "residual", rules.of_the_mean("among the active ones of the mean matrix", _negative_of_mean)
    ),
    # A network without skips has no such share. If all are equal, it is 3 of 21.
    10: over(
        "residual",
        share(UNET, measures.counterdiagonal_share, rules.at_most(3 / 21), of_nothing=np.nan),
    ),
    13: rules.together(
        over("densenet", _if_alive(mean(f"{LEAD}, sums", measures.lead, above(0))), _collapsed),
        over(
            "living",
            mean(f"{LEAD}, per kernel", measures.lead, how="kernel"),
            mean(f"{LEAD}, without the layer just before", measures.lead, how="skips"),
        ),
    ),
    14: rules.together(
        over("densenet", _if_alive(of_seeds(LIVING, _both_unused)), _collapsed),
        over("living", *UNUSED),
    ),
    15: lambda _: iter([Finding(f"holds by test: {EQUIVALENCE_TEST}")]),
    # A start at 1% of the rows forces growth, and with it a share above 1/2, but none above 2/3: a
    # search that switches rows to and fro, or adds too many and then prunes, falls below. The first
    # epoch is left out, in which the output layer grows at once. What goes on and off within one
    # epoch is not seen.
    16: over(
        "perceptrons",
        share("", measures.share_of_additions, above(2 / 3), after=1),
        mean("switches after the first epoch", measures.switched, after=1),
    ),
    17: rules.together(
        *(
            over(
                frame,
                share("active among living rows", measures.active_share),
                share("active among all rows", lambda run: run.rows().sum(1) / (LAYERS * PIXELS)),
            )
            for frame in ("perceptrons", "interventions")
        )
    ),
}
