"""Answers that need no network, judged on the problems of all runs: results/baselines.csv.

They are fitted on the images that a search is trained on, with the noise of its seed, and judged on
the images that the search is judged on.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skimage.restoration import wiener
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

from bregman_nas.data.degradation import Examples, Problem, gaussian_kernel
from bregman_nas.data.files import ImageSet, load
from bregman_nas.search.core import densenet, mlp
from bregman_nas.search.records import run_folder
from bregman_nas.settings import Blur, MLPExperiment, Run, Settings

#: Numbers of principal components beside that of the run's narrowest layer.
DIMENSIONS = (50, 100)

#: They hardly depend on the seed, so that the ten of Table 1 are enough.
SEEDS = range(10)

COLUMNS = ["run", "seed", "images", "answer", "dimensions", "mse", "accuracy"]

#: Bins of the look-up table, and thresholds: 0.001 apart, a fiftieth of the noise's standard
#: deviation. What lies beyond, ten standard deviations from any clean pixel, counts as outermost.
EDGES = np.linspace(-0.5, 1.5, 2_001)

#: Weights of the penalty in Wiener's filter, from which one is chosen.
BALANCES = tuple(10.0 ** (k / 4) for k in range(-12, 1))

#: Images at a time.
PART = 5_000

Row = dict[str, str | int | float]
Array = NDArray[np.float32]

#: Maps degraded images [n, pixels] to restored ones.
Answer = Callable[[Array], Array]


def write_baselines(project: Path, settings: Settings) -> Path:
    """Fit and judge the answers for every search that changes nothing; write results/baselines.csv.

    One line for each run, seed of `SEEDS`, set of images and answer. `dimensions` counts principal
    components, `mse` the mean squared error per pixel, `accuracy` the share of images classified
    right. Nothing random is in the classifiers and their images: they have no seed. Returned is the
    path of the file.
    """
    rows: list[Row] = []
    searched = (name for name, row in settings.runs.items() if not (row.change or row.epochs))
    images = cache(lambda dataset: load(dataset, settings.data.source, project))
    #: Runs of restoration; those of a group differ in the network alone.
    groups: dict[object, list[Run]] = {}
    for run in map(settings.run, searched):
        x = run.experiment
        if isinstance(x, MLPExperiment):
            key = (x.dataset, x.noise_std, x.blur, run.protocol.held_out)
            groups.setdefault(key, []).append(run)
        elif run.seeds:
            rows += _classification(run, images(x.dataset))
    for group in groups.values():
        for seed in SEEDS:
            if any(seed in run.seeds for run in group):
                rows += _restoration(group, seed, images(group[0].experiment.dataset), project)
    types: Any = {"run": pd.CategoricalDtype(list(settings.runs)), "seed": "Int64"}
    table = pd.DataFrame(rows, columns=COLUMNS).astype({**types, "dimensions": "Int64"})
    path = project / "results" / "baselines.csv"
    path.parent.mkdir(exist_ok=True)
    table.sort_values(["run", "seed"], kind="stable").to_csv(
        path, index=False, float_format="%.6g", lineterminator="\n"
    )
    return path


def _restoration(group: Sequence[Run], seed: int, images: ImageSet, project: Path) -> Iterator[Row]:
    experiment = group[0].experiment
    assert isinstance(experiment, MLPExperiment)
    posed = mlp.problem(group[0], images, seed)
    narrowest = {r.name: narrowest_layer(project, r, seed) for r in group if seed in r.seeds}
    wanted = {*DIMENSIONS, *(count for count in narrowest.values() if count is not None)}
    answers: dict[Any, Answer] = {
        **restoration_answers(posed, experiment.blur),
        **principal_components(*arrays(posed.train), wanted),
    }
    for part, (name, answer) in product(("test", "held_out"), answers.items()):
        inputs, targets = arrays(getattr(posed, part))
        row: Row = {"seed": seed, "images": part, "answer": name}
        if name in wanted:
            row |= {"answer": "principal_components", "dimensions": name}
        row["mse"] = mean_squared_error(answer(inputs), targets)
        for run, own in narrowest.items():
            if name not in wanted or name in (*DIMENSIONS, own):
                yield {"run": run, **row}


def narrowest_layer(project: Path, run: Run, seed: int) -> int | None:
    """The smallest number of active rows of any layer that a search found; None if unfinished."""
    path = run_folder(project, run.name) / "seeds.csv"
    if not path.exists():
        return None
    table = pd.read_csv(path)
    widths = table[table["seed"] == seed].filter(regex=r"^width_\d+$")
    return None if widths.empty else int(widths.to_numpy().min())


def _classification(run: Run, images: ImageSet) -> Iterator[Row]:
    posed = densenet.problem(run, images)
    answers = classification_answers(posed.train)
    for part in ("test", "held_out"):
        inputs, classes = arrays(getattr(posed, part))
        for name, classify in answers.items():
            right = float((classify(inputs) == classes).mean())
            yield {"run": run.name, "images": part, "answer": name, "accuracy": right}


def restoration_answers(problem: Problem, blur: Blur | None) -> dict[str, Answer]:
    """The answers to a problem of restoration, by name.

    - `input_unchanged`, `zero`, `mean_image` (of the clean images trained on);
    - `rectified_input`: max(x, 0);
    - `threshold`: x where it is above one number, the same for all pixels, else 0;
    - `lookup_table`: one curve, x -> E[clean | x], the same for all pixels;
    - `least_squares`: the best affine map; `least_squares_relu`: max(0, that);
    - where there is blur, `wiener`: deconvolution with the known filter; `wiener_relu`.
    """
    inputs, targets = arrays(problem.train)
    mean = targets.mean(0)
    answers: dict[str, Answer] = {
        "input_unchanged": lambda x: x,
        "zero": np.zeros_like,
        "mean_image": lambda x: np.broadcast_to(mean, x.shape),
        "rectified_input": _rectified(lambda x: x),
        "threshold": threshold(inputs, targets),
        "lookup_table": lookup_table(inputs, targets),
        "least_squares": least_squares(inputs, targets),
    }
    if blur is not None:
        answers["wiener"] = wiener_filter(*arrays(problem.held_out), blur.size, blur.std)
    for name in ("least_squares", "wiener"):
        if name in answers:
            answers[f"{name}_relu"] = _rectified(answers[name])
    return answers


def threshold(inputs: Array, targets: Array) -> Answer:
    """x where x >= t, else 0, with the t among the `EDGES` that has the least squared error."""
    kept, dropped = _sums(inputs, (inputs - targets) ** 2, targets**2)
    # With t at edge k the bins below it are dropped.
    below = np.concatenate([[0.0], np.cumsum(dropped)])
    above = np.concatenate([np.cumsum(kept[::-1])[::-1], [0.0]])
    first = np.argmin(below + above)
    return lambda x: np.where(_bins(x) >= first, x, np.float32(0))


def lookup_table(inputs: Array, targets: Array) -> Answer:
    """x -> E[clean | x], constant in each bin of `EDGES`; an empty bin lies between the others."""
    counts, sums = _sums(inputs, np.ones_like(targets), targets)
    filled = counts.nonzero()[0]
    means = sums[filled] / counts[filled]
    table = np.interp(np.arange(len(counts)), filled, means).astype(np.float32)
    return lambda x: table[_bins(x)]


def least_squares(inputs: Array, targets: Array) -> Answer:
    """The affine map of all pixels with the least squared error."""
    # Ridge with alpha 0 solves the normal equations; LinearRegression takes ten times as long.
    predict: Answer = Ridge(alpha=0, solver="cholesky").fit(inputs, targets).predict
    return predict


def principal_components(inputs: Array, targets: Array, counts: Iterable[int]) -> dict[int, Answer]:
    """The linear counterpart of a network's narrowest layer, for several numbers of dimensions.

    An image's first principal components (none give the mean image), then the affine map of these
    with the least squared error. For denoising that is nearly the image itself, projected on them.
    """
    pca = PCA(svd_solver="covariance_eigh").fit(inputs)
    mean = targets.mean(0)
    scores = pca.transform(inputs)
    # Scores are uncorrelated, so that the map of the first ones does not depend on the others.
    loadings = (scores.T @ (targets - mean)) / np.square(scores).sum(0)[:, None]

    def first(count: int) -> Answer:
        return lambda x: pca.transform(x)[:, :count] @ loadings[:count] + mean

    return {count: first(count) for count in counts}


def wiener_filter(inputs: Array, targets: Array, size: int, std: float) -> Answer:
    """Wiener's deconvolution, with the regularisation that is best for the given images.

    They are [n, pixels], and not those trained on. The Gaussian filter has `size` by `size` pixels
    and the standard deviation `std`, in pixels.
    """
    side = round(inputs.shape[1] ** 0.5)
    errors = {
        balance: mean_squared_error(inputs @ wiener_matrix(side, size, std, balance), targets)
        for balance in BALANCES
    }
    matrix = wiener_matrix(side, size, std, min(errors, key=lambda balance: errors[balance]))
    return lambda x: x @ matrix


@cache
def wiener_matrix(side: int, size: int, std: float, balance: float) -> Array:
    """The linear map [pixels, pixels] that scikit-image's filter applies to a padded image.

    The filter assumes that an image repeats itself. Zeros around it, as wide as the blur, make of
    this the zeros that the blur assumes.
    """
    psf = gaussian_kernel(size, std).numpy()
    inside = slice(size, size + side)
    rows = []
    for pixel in np.eye(side * side).reshape(-1, side, side):
        restored = wiener(np.pad(pixel, size), psf, balance, clip=False)
        rows.append(restored[inside, inside].ravel())
    return np.stack(rows).astype(np.float32)


def classification_answers(train: Examples) -> dict[str, Callable[[Array], NDArray[np.int64]]]:
    """Linear classifiers of images, by name.

    `ridge` is least squares on one-hot classes, with scikit-learn's penalty alpha = 1;
    `logistic_regression` is multinomial, with its penalty C = 1.
    """
    images, classes = arrays(train)
    models = {
        "ridge": RidgeClassifier(alpha=1.0),
        "logistic_regression": LogisticRegression(C=1.0, tol=1e-3, max_iter=1_000),
    }
    return {name: model.fit(images, classes).predict for name, model in models.items()}


def arrays(examples: Examples) -> tuple[Array, Array]:
    """Inputs [n, pixels] and targets."""
    return examples.inputs.flatten(1).numpy(), examples.targets.numpy()


def mean_squared_error(outputs: Array, targets: Array) -> float:
    """The mean over all images and pixels, summed in double precision."""
    return float(np.square(outputs - targets, dtype=np.float64).mean())


def _rectified(answer: Answer) -> Answer:
    return lambda x: np.maximum(answer(x), np.float32(0))


def _bins(x: Array) -> NDArray[np.int64]:
    width = EDGES[1] - EDGES[0]
    numbers: NDArray[np.int64] = ((x - EDGES[0]) / width).astype(np.int64)
    return numbers.clip(0, len(EDGES) - 2)


def _sums(x: Array, *values: Array) -> NDArray[np.float64]:
    """The sums of several values in each bin of x, [values, bins].

    A few images at a time: in double precision all of them would be gigabytes.
    """
    sums = np.zeros((len(values), len(EDGES) - 1))
    for k in range(0, len(x), PART):
        part = slice(k, k + PART)
        bins = _bins(x[part]).ravel()
        sums += [np.bincount(bins, y[part].ravel(), minlength=sums.shape[1]) for y in values]
    return sums
