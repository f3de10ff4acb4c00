"""Answers that need no network: by hand, and where their truth is known."""

import numpy as np
import pytest
import torch

from bregman_nas.baselines.answers import (
    Array,
    lookup_table,
    mean_squared_error,
    principal_components,
    restoration_answers,
    threshold,
    wiener_filter,
    wiener_matrix,
)
from bregman_nas.data.degradation import Examples, Problem, blurred
from bregman_nas.settings import Blur


def image(*values: float) -> Array:
    return np.array([values], dtype=np.float32)


def test_the_threshold_with_the_least_error() -> None:
    """Clean pixels are 0 or 1. With t above 0.4 and at most 0.7 all noise around 0 is gone."""
    inputs, targets = image(0.1, -0.2, 0.4, 0.7, 1.1), image(0, 0, 0, 1, 1)
    answer = threshold(inputs, targets)
    np.testing.assert_array_equal(answer(inputs), image(0, 0, 0, 0.7, 1.1))
    # 0.7 stands for 0 more often than for 1.
    inputs, targets = image(0.7, 0.7, 0.7, 1.1), image(0, 0, 1, 1)
    answer = threshold(inputs, targets)
    np.testing.assert_array_equal(answer(image(0.7, 1.1)), image(0, 1.1))


def test_the_lookup_table_is_the_conditional_mean() -> None:
    inputs, targets = image(0.2, 0.2, 0.2, 0.6, -9.0, 9.0), image(0, 1, 1, 0.5, 0.1, 0.9)
    answer = lookup_table(inputs, targets)
    np.testing.assert_allclose(answer(image(0.2, 0.6)), image(2 / 3, 0.5), rtol=1e-6)
    # Beyond the bins the outermost ones hold, and between filled bins a straight line.
    np.testing.assert_allclose(answer(image(-7.0, 7.0)), image(0.1, 0.9), rtol=1e-6)
    np.testing.assert_allclose(answer(image(0.4)), image((2 / 3 + 0.5) / 2), rtol=1e-2)


def test_principal_components_by_hand() -> None:
    """The inputs vary ten times as much along the first pixel; the targets are twice the inputs."""
    inputs = np.array([[10, 0], [-10, 0], [0, 1], [0, -1]], dtype=np.float32) + np.float32(3)
    answers = principal_components(inputs, 2 * inputs, [0, 1, 2])
    new = image(7.0, 5.0)
    np.testing.assert_allclose(answers[0](new), image(6, 6), atol=1e-5)
    np.testing.assert_allclose(answers[1](new), image(14, 6), atol=1e-5)
    np.testing.assert_allclose(answers[2](new), image(14, 10), atol=1e-5)


SIDE = 12
BLUR = Blur(size=3, std=1.0)


def blurred_squares(count: int, noise_std: float) -> tuple[Array, Array]:
    numbers = torch.Generator().manual_seed(0)
    clean = torch.zeros(count, SIDE, SIDE)
    clean[:, 3:9, 3:9] = torch.rand(count, 6, 6, generator=numbers)
    noise = noise_std * torch.randn(clean.shape, generator=numbers)
    degraded = blurred(clean, BLUR) + noise
    return degraded.flatten(1).numpy(), clean.flatten(1).numpy()


def test_without_noise_and_regularisation_wiener_inverts_the_blur() -> None:
    """The blur's zeros outside of the image are those of the filter: nothing wraps around."""
    inputs, targets = blurred_squares(20, 0.0)
    restored = inputs @ wiener_matrix(SIDE, 3, 1.0, 1e-9)
    assert mean_squared_error(restored, targets) < 1e-5
    assert mean_squared_error(inputs, targets) > 1e-3


def test_wiener_takes_the_regularisation_that_is_best() -> None:
    inputs, targets = blurred_squares(50, 0.05)
    chosen = mean_squared_error(wiener_filter(inputs, targets, 3, 1.0)(inputs), targets)
    for balance in (1e-3, 1e-2, 1e-1, 1.0):
        error = mean_squared_error(inputs @ wiener_matrix(SIDE, 3, 1.0, balance), targets)
        assert chosen <= error * (1 + 1e-6)
    assert chosen < mean_squared_error(inputs, targets)


@pytest.mark.parametrize("blur", [None, BLUR])
def test_the_answers_to_a_problem(blur: Blur | None) -> None:
    inputs, targets = (torch.tensor(x) for x in blurred_squares(2_000, 0.05))
    train = Examples(inputs[:1500], targets[:1500])
    rest = Examples(inputs[1500:], targets[1500:])
    answers = restoration_answers(Problem(train, rest, rest), blur)
    x, y = rest.inputs.numpy(), rest.targets.numpy()
    errors = {name: mean_squared_error(answer(x), y) for name, answer in answers.items()}
    assert errors["zero"] == pytest.approx(float(np.square(y).mean()))
    mean = targets[:1500].mean(0).numpy()
    assert errors["mean_image"] == pytest.approx(float(np.square(mean - y).mean()))
    assert errors["input_unchanged"] == pytest.approx(float(np.square(x - y).mean()))
    assert errors["rectified_input"] <= errors["input_unchanged"]
    assert errors["least_squares_relu"] <= errors["least_squares"] < errors["mean_image"]
    assert ("wiener" in errors) == ("wiener_relu" in errors) == (blur is not None)
