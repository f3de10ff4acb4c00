"""Answers that need no network, for the problems that the networks are trained on.

They are fitted on the images that a search is trained on, with the noise of its seed, and judged on
the images that the search is judged on.
"""

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from skimage.restoration import wiener
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

from bregman_nas.data.degradation import Examples, Problem, gaussian_kernel
from bregman_nas.settings import Blur

Array = NDArray[np.float32]

#: Maps degraded images [n, pixels] to restored ones.
Answer = Callable[[Array], Array]

#: Bins of the look-up table, and thresholds: 0.001 apart, a fiftieth of the noise's standard
#: deviation. What lies beyond, ten standard deviations from any clean pixel, counts as outermost.
EDGES = np.linspace(-0.5, 1.5, 2_001)

#: Weights of the penalty in Wiener's filter, from which one is chosen.
BALANCES = tuple(10.0 ** (k / 4) for k in range(-12, 1))

#: Images at a time.
PART = 5_000


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


def principal_components(
    inputs: Array, targets: Array, dimensions: Iterable[int]
) -> dict[int, Answer]:
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

    return {count: first(count) for count in dimensions}


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
