"""Numbers of a run, one for each converged seed, of which claims, facts and tables are made."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bregman_nas.report.data import PIXELS, Array, Flags, Run, Study
from bregman_nas.report.stats import Summary, summarize
from bregman_nas.report.table1 import ARTICLE_UNIT

LAYERS = 6  # L of the article's perceptrons, which the claims are about
HALF = 0.5
# A tenth of the search space: by so much the two ends of an autoencoder are wider than its middle,
# and by no more do two "very similar" widths differ.
WIDTH_MARGIN = 0.1 * PIXELS
# Half of that may a width rise on the way down, or fall on the way up: the article's own middle
# layers spread over the runs, so that not every step is in order.
STEP_TOLERANCE = 0.05 * PIXELS
LINEAR_R2 = 0.9  # a line explains nine tenths of the variance of the widths
POINTS_OF_A_LINE = 3  # two always lie on one
CHANCE = 0.1  # right answers if all images get the same: ten classes of equal size
RESAMPLES = 10_000

Measure = Callable[..., Array]  # of a run, and options: one number for each converged seed
Holds = Callable[[Run], Flags | Array]  # whether something holds, for each converged seed


def summary(run: Run | None, measure: Measure) -> Summary:
    """One number for each seed, NaN where it diverged; no seeds if not run."""
    if run is None:
        return summarize([])
    values = measure(run).tolist() if run.converged else []
    return summarize([*values, *[np.nan] * run.diverged])


def ratio(part: ArrayLike, whole: ArrayLike, of_nothing: float) -> Array:
    """Part / whole, or another number where the whole is 0."""
    part, whole = np.asarray(part), np.asarray(whole)
    found = np.full(np.broadcast_shapes(part.shape, whole.shape), float(of_nothing))
    return np.asarray(np.divide(part, whole, out=found, where=whole > 0))


def numbers(run: Run, epoch: int | None = None) -> pd.DataFrame:
    """What is compared of a perceptron after an epoch, by default the last, indexed by seed.

    NaN where it diverged. Columns: `ten_mse`, ten times the held-out mean squared error per pixel;
    if there are hidden layers, `coding_width`, `coding_share` (of the widest hidden layer),
    `coding_layer` and `rising_line` (1 or 0); if there are skips, `skips_on` and `largest_skip`;
    `rows_on` and `rows_living` of all layers; `width_l`, active rows of layer l. Empty if the run
    ended before.
    """
    epoch = run.last if epoch is None else epoch
    at_epoch = run.frames.epochs[run.frames.epochs["epoch"] == epoch].set_index("seed")
    if at_epoch.empty:
        return pd.DataFrame()
    widths, size = run.rows(epoch=epoch), np.abs(run.tau(epoch))
    found = {"ten_mse": ARTICLE_UNIT * at_epoch.loc[run.converged, "held_out_loss"].to_numpy(float)}
    if (hidden := widths[:, :-1]).size:
        found |= {
            "coding_width": hidden.min(1),
            # Without a single active row in the hidden layers none is narrower than another.
            "coding_share": ratio(hidden.min(1), hidden.max(1), 1),
            "coding_layer": coding_layers(widths),
            "rising_line": np.array([float(rises_linearly(of_seed)) for of_seed in widths]),
        }
    if not np.isnan(size).all():
        found |= {"skips_on": (size > 0).sum((1, 2)) * 1.0, "largest_skip": np.nanmax(size, (1, 2))}
    found |= {"rows_on": widths.sum(1), "rows_living": run.rows("living", epoch).sum(1)}
    found |= {f"width_{l}": of_layer for l, of_layer in enumerate(widths.T, start=1)}
    return pd.DataFrame(found, index=pd.Index(run.converged, name="seed")).reindex(run.seeds)


def number(name: str) -> Measure:
    """One of the `numbers` after the last epoch."""
    return lambda run: numbers(run).loc[run.converged, name].to_numpy(float)


def coding_layers(widths: Array) -> Array:
    """The first narrowest hidden layer of each network, from 1, of widths [seeds, L]."""
    return np.asarray(widths[:, :-1].argmin(1) + 1.0)


def has_autoencoder_shape(widths: Array) -> Flags:
    """Whether widths [..., L] fall from the input's 784 to an inner layer, and then rise.

    The inner layer is `WIDTH_MARGIN` narrower than both ends, and no layer is more than
    `STEP_TOLERANCE` wider than one before it on the way down, or than one after it on the way up.
    """
    layers = np.insert(widths, 0, PIXELS, axis=-1)
    hidden, ends = layers[..., 1:-1], np.minimum(layers[..., 0], layers[..., -1])
    least_before = np.minimum.accumulate(layers, -1)[..., :-1]
    least_after = np.minimum.accumulate(layers[..., ::-1], -1)[..., -2::-1]
    down = layers[..., 1:] - least_before <= STEP_TOLERANCE
    up = layers[..., :-1] - least_after <= STEP_TOLERANCE
    is_down = np.arange(widths.shape[-1]) <= hidden.argmin(-1)[..., None]
    in_order = np.where(is_down, down, up).all(-1)
    return np.asarray(in_order & (ends - hidden.min(-1) >= WIDTH_MARGIN))


def rises_linearly(widths: Array) -> bool:
    """Whether the widths of one network, [L], lie on a rising line from the coding layer on."""
    rising = widths[int(coding_layers(widths[None])[0]) - 1 :]
    if len(rising) < POINTS_OF_A_LINE or np.ptp(rising) == 0:
        return False
    correlation = float(np.corrcoef(np.arange(len(rising)), rising)[0, 1])
    return correlation > 0 and correlation**2 >= LINEAR_R2


def excess_spread(run: Run, layer: int) -> Array:
    """By how much the inner layers spread more than one of layer 1 and the output.

    The spread of a layer in a seed is how far its width is from the median of all seeds, as in
    the test of Brown and Forsythe; that of the inner layers, 2 to L - 1, is averaged. Compared
    within each seed, because the layers of a network are not independent.
    """
    distances = np.abs(run.rows() - np.median(run.rows(), 0))
    return np.asarray(distances[:, 1:-1].mean(1) - distances[:, layer - 1])


def effective_share(run: Run) -> Array:
    """The share of the active rows of all layers that are effective."""
    return ratio(run.rows("effective").sum(1), run.rows().sum(1), 0)


def active_share(run: Run, layer: int | None = None) -> Array:
    """The share of the living rows, of all layers or of one, that are active; 1 if none lives."""
    only = slice(None) if layer is None else slice(layer - 1, layer)
    active, living = (run.rows(kind)[:, only].sum(1) for kind in ("active", "living"))
    return ratio(active, living, 1)


def dead_share(run: Run) -> Array:
    """The share of the rows of all layers that are dead."""
    return np.asarray(1 - run.rows("living").sum(1) / (run.depth * PIXELS))


def losses(run: Run) -> Array:
    """The loss on the test images of each seed, [seeds], diverged ones with that of answering 0."""
    found = run.scores()["mse"].to_numpy(float)
    return np.where(np.isfinite(found), found, run.scores(answer="zero")["mse"].to_numpy(float))


def switches(run: Run, after: int = 0) -> tuple[Array, Array]:
    """How often groups switched on, and off, after an epoch."""
    frame = run.frames.layers[run.frames.layers["seed"].isin(run.converged)]
    late = frame["rows"].where(frame["epoch"] > after, 0)
    counts = late.groupby([frame["kind"], frame["seed"]]).sum()
    return counts["switched_on"].to_numpy(float), counts["switched_off"].to_numpy(float)


def switched(run: Run, after: int = 0) -> Array:
    """The number of all `switches`."""
    return np.add(*switches(run, after))


def share_of_additions(run: Run, after: int = 0) -> Array:
    """The share of switching on among all `switches`; 1/2 where nothing switched."""
    on, off = switches(run, after)
    return ratio(on, on + off, HALF)


def negative_share(tau: Array) -> Array:
    """The share of negative ones among the active skips that do not lead into the output, [seeds].

    0 if none is active. Of tau [seeds, L, L], NaN for i > l.
    """
    others = np.nan_to_num(tau[:, :-1])
    return ratio((others < 0).sum((1, 2)), (others != 0).sum((1, 2)), 0)


def counterdiagonal(layers: int) -> NDArray[np.bool_]:
    """Which (l, i) a U-Net would have, from x(i) to its mirror image x(L - i); [L, L].

    With the input there are L + 1 layers, x(0) to x(L). The first is connected with the last, the
    second with the penultimate, and so on: l + 1 = L - i, thus l + i = L - 1. For L = 6: (5, 0),
    (4, 1) and (3, 2); x(3) is in the middle, its own mirror image.
    """
    return np.tri(layers, dtype=bool) & np.fliplr(np.eye(layers, dtype=bool))


def counterdiagonal_share(run: Run, of_nothing: float = 0) -> Array:
    """The share of the counterdiagonal in the sum of |tau|; `of_nothing` if no skip is active."""
    sizes = np.nan_to_num(np.abs(run.tau()))
    return ratio(sizes[:, counterdiagonal(run.depth)].sum(1), sizes.sum((1, 2)), of_nothing)


def mean_size(run: Run, pairs: NDArray[np.bool_]) -> Array:
    """The mean |tau(l, i)| over some of the (l, i), marked in [L, L]."""
    return np.asarray(np.mean([*np.abs(run.tau())[:, pairs].T], 0))


def collapsed(run: Run) -> Flags:
    """Whether a DenseNet converged, and is no better than one answer to all images, [seeds]."""
    scores = run.scores()[["accuracy", "cross_entropy"]].to_numpy(float)
    return np.asarray((scores[:, 0] <= CHANCE) & np.isfinite(scores[:, 1]))


def living(run: Run) -> Run:
    """The seeds that did not collapse; diverged ones are among them."""
    return run.only([s for s, lost in zip(run.seeds, collapsed(run), strict=True) if not lost])


def lead(run: Run, how: str = "sum") -> Array:
    """By how much the last layer of the dense block receives more than the best of the others.

    As a share of what all receive: from -1 to 1, and 0 where no layer receives anything. How: by
    the `sum` of the norms of a layer's kernels, that is of tau(l, r) over all r <= l; per `kernel`,
    the same divided by their number; by `skips`, the sum without the kernels that read the layer
    just before, which are no skip.
    """
    # Each layer has as many outputs as the first convolution, k, and k more inputs than the last.
    growth = run.norms[0].shape[1]
    read = [norms[:, :, :-growth] if how == "skips" else norms for norms in run.norms[1:-1]]
    layers = np.stack([n.mean((1, 2)) if how == "kernel" else n.sum((1, 2)) for n in read], 1)
    return ratio(layers[:, -1] - layers[:, :-1].max(1, initial=0), layers.sum(1), 0)


def unused_inputs(run: Run, last: bool = True) -> Array:
    """How many of a DenseNet's channels are read by no active kernel.

    Without the last convolution as a reader, of those channels that the dense block reads.
    """
    readers = run.norms[1:] if last else run.norms[1:-1]
    used = np.zeros((len(readers[-1]), readers[-1].shape[2]), dtype=bool)
    for norms in readers:
        used[:, : norms.shape[2]] |= (norms > 0).any(1)
    return np.asarray((~used).sum(1), dtype=float)


def unused_outputs(run: Run) -> Array:
    """How many of a DenseNet's channels are written by no active kernel."""
    written = np.concatenate([(norms > 0).any(2) for norms in run.norms[:-1]], 1)
    return np.asarray((~written).sum(1), dtype=float)


def resamples(seeds: int) -> NDArray[np.int64]:
    """Bootstrap samples of so many seeds, [RESAMPLES, seeds], the same each time."""
    return np.random.default_rng(0).integers(seeds, size=(RESAMPLES, seeds))


def resampled_means(values: Array) -> Array:
    """The means of bootstrap samples of the seeds, [RESAMPLES, ...], of values [seeds, ...]."""
    return np.asarray(values[resamples(len(values))].mean(1))


def areas_under_the_curve(active: Flags, frequency: Array) -> Array:
    """How well the frequency of a pixel, [pixels], predicts that its row is active, [seeds].

    The area under the ROC curve, of active [seeds, pixels]: the share of the pairs of an active and
    an inactive row in which the active one has the more frequent pixel, ties by half. NaN where all
    rows are active or none.
    """
    number, inactive = active.sum(1), (~active).sum(1)
    wins = (active * stats.rankdata(frequency)).sum(1) - number * (number + 1) / 2
    return ratio(wins, number * inactive, np.nan)


def output_map(run: Run, frequency: Array) -> dict[str, Array]:
    """How far the active output rows are those of the pixels that are inked, [seeds] each.

    `active`: the number of active rows. `area`: as `areas_under_the_curve`. Of the active rows and
    the pixels that are ever inked `agreement`, the share of the pixels that are in both sets or in
    neither, and `jaccard`, pixels in both / in one at least. `frequency` [pixels]: the share of the
    training images in which the pixel is not zero.
    """
    active, inked = run.output, frequency > 0
    return {
        "active": np.asarray(active.sum(1), dtype=float),
        "area": areas_under_the_curve(active, frequency),
        "agreement": np.asarray((active == inked).mean(1)),
        "jaccard": ratio((active & inked).sum(1), (active | inked).sum(1), 0),
    }


def outputs(study: Study) -> Iterator[tuple[Run, dict[str, Summary]]]:
    """Each of `Study.restoration` with its `output_map`; nothing without frequencies."""
    if study.frequencies is None:
        return
    for run in study.restoration:
        found = output_map(run, study.frequencies)
        yield run, {n: summarize([*of, *[np.nan] * run.diverged]) for n, of in found.items()}
