"""What is special to searches with the multi-layer perceptron, by hand and on the sample."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bregman_nas.data.files import ImageSet, load
from bregman_nas.networks import ResidualMLP
from bregman_nas.search.core.loop import Position, train
from bregman_nas.search.core.mlp import (
    MLPSearch,
    active_rows,
    baselines,
    effective_widths,
    fresh_inputs,
    problem,
    rectified,
    skip_mu,
)
from bregman_nas.search.core.mlp import network as start_of
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.search.job import Job
from bregman_nas.settings import MLPExperiment, Run

JobIn = Callable[..., Job]
NewProject = Callable[..., Path]
PROJECT = Path(__file__).resolve().parents[2]
RUNS = ["paper-autoencoder", "authors-residual"]


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load("mnist", "sample", PROJECT)


# ---------------------------------------------------------------- effective widths, by hand

# Pixel 0 differs from image to image, pixel 1 does not.
INPUTS = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
Matrix = Sequence[Sequence[float]]


def net(
    *weights: Matrix,
    biases: Matrix | None = None,
    skips: dict[tuple[int, int], float] | None = None,
) -> ResidualMLP:
    module = ResidualMLP(len(weights[0]), len(weights), skips=skips is not None)
    with torch.no_grad():
        for l, (layer, weight) in enumerate(zip(module.layers, weights, strict=True)):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.copy_(torch.tensor(biases[l]) if biases else torch.zeros(len(weight)))
        for (l, i), value in (skips or {}).items():
            assert module.skips is not None
            module.skips[l, i] = value
    return module


ALL: Matrix = [[1, 0], [1, 0]]  # both rows read pixel 0
TO_0: Matrix = [[1, 0], [0, 0]]
BOTH: Matrix = [[1, 1], [1, 1]]
NONE: Matrix = [[0, 0], [0, 0]]
# Skips: (l, i) leads from x(i) to x(l + 1).
BY_HAND = {
    "row 1 is read by nobody": (net(ALL, ALL), [1, 2]),
    "an inactive row at the end": (net(ALL, [[1, 1], [0, 0]]), [2, 1]),
    "row 0 is read by nobody": (net(ALL, [[0, 1], [0, 1]]), [1, 2]),
    "row 0 is constant": (net([[0, 1], [1, 0]], BOTH), [1, 2]),
    "nothing depends on the input": (net([[0, 1], [0, 1]], ALL), [0, 0]),
    "row 0 is never positive": (net([[-1, 0], [1, 0]], BOTH), [1, 2]),
    "a bias lets row 0 respond": (
        net([[-1, 0], [1, 0]], BOTH, biases=[[1.5, 0], [0, 0]]),
        [2, 2],
    ),
    "a bias holds the output at zero": (net(ALL, ALL, biases=[[0, 0], [-9, 0]]), [1, 1]),
    "a chain that ends midway": (net(ALL, [[1, 0], [0, 1]], TO_0), [1, 1, 1]),
    "row 1 is read only by a row that never responds": (
        net(ALL, [[1, 0], [0, -1]], BOTH),
        [1, 1, 2],
    ),
    "skips that are zero": (net(ALL, ALL, skips={}), [1, 2]),
    "a skip reads both rows": (net(ALL, ALL, skips={(1, 1): 0.5}), [2, 2]),
    "a skip of the input alone": (net(ALL, ALL, skips={(1, 0): 0.5}), [1, 2]),
    "a skip past a silent layer": (net(NONE, ALL, skips={(0, 0): 1.0}), [0, 2]),
    "a skip to a state that is read by nobody": (
        net(ALL, TO_0, TO_0, skips={(1, 1): 0.5}),
        [1, 1, 1],
    ),
    "a skip to a state that the next skip reads": (
        net(ALL, TO_0, TO_0, skips={(1, 1): 0.5, (2, 2): -1.0}),
        [2, 1, 1],
    ),
    "a long skip past layers that carry nothing": (
        net(ALL, NONE, TO_0, skips={(2, 1): 0.5}),
        [2, 0, 0],
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_effective_widths_by_hand(name: str) -> None:
    network, widths = BY_HAND[name]
    assert effective_widths(network, INPUTS) == widths
    one_by_one = INPUTS.repeat(700, 1)  # in several parts
    assert effective_widths(network, one_by_one) == widths


def test_an_effective_row_is_one_whose_freezing_is_felt(images: ImageSet) -> None:
    """Rows are held, one by one, at what they put out for the first image."""
    inputs = (images.test_images[:200] / 255).flatten(1)[:, 300:340]
    numbers = torch.Generator().manual_seed(4)
    module = ResidualMLP(40, 3)
    felt = []
    with torch.no_grad():
        for layer in module.layers:
            layer.weight.normal_(generator=numbers)
            layer.weight.mul_(torch.rand(40, 1, generator=numbers) < 0.5)
            layer.weight.mul_(torch.rand(40, 40, generator=numbers) < 0.05)
            layer.bias.normal_(generator=numbers)
        assert module.skips is not None
        module.skips[2, 1] = 0.3
        before, outputs = module(inputs), rectified(module, inputs)
        for layer, output in zip(module.layers, outputs, strict=True):
            count = 0
            for row, value in enumerate(output[0]):
                kept = layer.weight[row].clone(), layer.bias[row].clone()
                layer.weight[row], layer.bias[row] = 0, value
                count += not torch.equal(module(inputs), before)
                layer.weight[row], layer.bias[row] = kept
            felt.append(count)
    widths = effective_widths(module, inputs)
    assert widths == felt
    active = [int(active_rows(layer.weight).sum()) for layer in module.layers]
    assert 0 < widths[1] < active[1]


def test_baselines_by_hand() -> None:
    targets = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    inputs = torch.tensor([[0.5, 1.0], [1.0, 0.0]])
    assert baselines(inputs, targets, torch.tensor([0.5, 0.0])) == {
        "input_unchanged": 0.25 / 4,
        "mean_image": (0.25 + 1 + 0.25 + 0) / 4,
        "zero": 0.5,
    }


# ---------------------------------------------------------------- on the sample


def search(job: Job, images: ImageSet, **how: Any) -> tuple[MLPSearch, list[dict[str, Any]]]:
    searcher = MLPSearch(job.run, images, job.seed, **how)
    position = Position()
    rate = LearningRate(job.run.optimizer.learning_rate, job.run.protocol.schedule)
    epochs, batch_size = job.run.experiment.epochs, job.run.batch_size
    train(searcher, rate, position, seed=job.seed, epochs=epochs, batch_size=batch_size)
    return searcher, position.history


@pytest.mark.parametrize("run", RUNS)
def test_the_fast_engine_gives_what_the_textbook_gives(
    project: Path, job_in: JobIn, images: ImageSet, run: str
) -> None:
    """In single precision, as searches run: the same numbers but for the order of sums."""
    (compact, fast), (textbook, slow) = (
        search(job_in(project, run), images, engine=engine) for engine in ("compact", "textbook")
    )
    near = {"living_rows": {"abs": 4}, "effective_rows": {"abs": 4}}
    a, b = compact.result(), textbook.result()
    for ours, theirs in [*zip(fast, slow, strict=True), (a, b)]:
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            if name == "skips":
                value = [pytest.approx(line, abs=1e-3) for line in value]
            elif name in near or isinstance(value, float):
                value = pytest.approx(value, **near.get(name, {"rel": 1e-3}))
            assert ours[name] == value, name
    assert max(entry["switched_on"][-1] for entry in slow) > 10
    assert ("skips" in a) == (run == "authors-residual")
    difference = compact.picture().int() - textbook.picture().int()
    assert difference.abs().max() <= 2


def test_observations_by_hand(project: Path, job_in: JobIn, images: ImageSet) -> None:
    searcher = MLPSearch(job_in(project).run, images, 0)
    before = searcher.full_network().layers
    active = [(layer.weight != 0).any(1) for layer in before]
    start = searcher.observe(0.001)
    assert start["active_rows"] == [int(rows.sum()) for rows in active]
    assert start["switched_on"] == start["switched_off"] == [0, 0]
    examples = searcher.train_examples(0)
    batches = 3 * list(torch.arange(800).split(16))
    searcher.train_batches(examples.inputs, examples.targets, batches, 0.001)
    now = [(layer.weight != 0).any(1) for layer in searcher.full_network().layers]
    seen = searcher.observe(0.001)
    changes = list(zip(active, now, strict=True))
    assert seen["active_rows"] == [int(rows.sum()) for rows in now]
    assert seen["switched_on"] == [int((b & ~a).sum()) for a, b in changes]
    assert seen["switched_off"] == [int((a & ~b).sum()) for a, b in changes]
    assert sum(seen["switched_on"]) > 0
    assert "skips" not in seen


def test_results_and_picture_at_the_start(project: Path, job_in: JobIn, images: ImageSet) -> None:
    run = job_in(project, "authors-residual").run
    searcher = MLPSearch(run, images, 0)
    result = searcher.result()
    test = searcher.problem.test
    with torch.no_grad():
        outputs = searcher.network(test.inputs)
    expected = float((outputs.double() - test.targets.double()).square().mean())
    assert result["test_mse"] == pytest.approx(expected)
    assert result["skips"] == [[0.0], [0.0, 0.0]]
    last = searcher.network.layers[-1].weight
    rows = [row for row in range(784) if (last[row] != 0).any()]
    assert result["output_rows"] == rows
    picture = searcher.picture()
    assert picture.shape == (3 * 28, 8 * 28)
    assert picture.dtype == torch.uint8
    for number in (0, 7):
        columns = slice(28 * number, 28 * (number + 1))
        assert torch.equal(picture[:28, columns], images.test_images[number])
        degraded = (test.inputs[number].reshape(28, 28).clamp(0, 1) * 255).round()
        assert torch.equal(picture[28:56, columns].float(), degraded)


def with_noise(run: Run, noise_std: float) -> Run:
    experiment = run.experiment
    assert isinstance(experiment, MLPExperiment)
    noisy = experiment.model_copy(update={"noise_std": noise_std})
    return run.model_copy(update={"experiment": noisy})


def test_fresh_inputs_are_in_the_order_of_the_targets(
    project: Path, job_in: JobIn, images: ImageSet
) -> None:
    run = job_in(project, "authors-residual").run
    noiseless = with_noise(run, 0.0)
    clean = problem(noiseless, images, 0).train
    assert torch.equal(fresh_inputs(noiseless, images, 0, 3), clean.inputs)

    def noise(seed: int, epoch: int) -> Tensor:
        return fresh_inputs(run, images, seed, epoch) - clean.inputs

    assert torch.equal(noise(0, 3), noise(0, 3))
    assert float(noise(0, 3).std()) == pytest.approx(0.05, rel=0.01)
    for other in (noise(0, 4), noise(1, 3)):
        correlation = torch.corrcoef(torch.stack([noise(0, 3).flatten(), other.flatten()]))
        assert abs(float(correlation[0, 1])) < 0.01


def test_noise_is_drawn_once_or_for_each_epoch(
    project: Path, job_in: JobIn, images: ImageSet
) -> None:
    once = MLPSearch(job_in(project, "paper-autoencoder").run, images, 0)
    assert once.train_examples(0) is once.train_examples(1)
    fresh = MLPSearch(job_in(project, "authors-residual").run, images, 0)
    first, second = fresh.train_examples(0), fresh.train_examples(1)
    assert not torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.targets, second.targets)


@pytest.mark.parametrize(("run", "factor"), [("paper-autoencoder", 10.0), ("authors-residual", 5)])
def test_the_start_is_sparse_and_of_the_right_size(
    new_project: NewProject, job_in: JobIn, run: str, factor: float
) -> None:
    experiment = run.split("-")[1]
    project = new_project(changes={f"experiments.{experiment}.density": 0.01})
    nets = [start_of(job_in(project, run).run, seed) for seed in range(10)]
    weights = [layer.weight.detach() for net in nets for layer in net.layers]
    on = [int((weight != 0).any(1).sum()) for weight in weights]
    assert sum(on) == pytest.approx(20 * 7.84, abs=3 * (20 * 7.84) ** 0.5)
    values = torch.cat([weight[(weight != 0).any(1)].flatten() for weight in weights])
    assert float(values.std()) == pytest.approx(factor * (2 / 784) ** 0.5, rel=0.02)
    biases = torch.cat([layer.bias.detach() for net in nets for layer in net.layers])
    assert float(biases.min()) >= 0
    assert 0.9 / 28 < float(biases.max()) <= 1 / 28
    assert all(net.skips is None or not net.skips.any() for net in nets)


def test_the_threshold_of_the_skips(new_project: NewProject, job_in: JobIn) -> None:
    project = new_project(changes={"protocols.authors.skip_threshold": 28})
    assert skip_mu(job_in(project, "authors-residual").run) == pytest.approx(1.96)
