"""What is special to searches with the multi-layer perceptron, by hand and on the sample."""

import itertools
from pathlib import Path

import pytest
import torch

from bregman_nas.data.files import ImageSet
from bregman_nas.networks import ResidualMLP
from bregman_nas.search.core.mlp import (
    MLPSearch,
    active_rows,
    baselines,
    effective_widths,
)
from bregman_nas.search.core.mlp import network as start_of
from tests.helpers import job_in, new_project


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_an_effective_row_is_one_whose_freezing_is_felt(
    digits: ImageSet, seed: int, skips: bool
) -> None:
    """Rows are held, one by one, at what they put out for the first image."""
    inputs = (digits.test_images[:200] / 255).flatten(1)[:, 300:340]
    numbers = torch.Generator().manual_seed(seed)
    module = ResidualMLP(40, 3, skips=skips)
    felt = []
    with torch.no_grad():
        for layer in module.layers:
            layer.weight.normal_(generator=numbers)
            layer.weight.mul_(torch.rand(40, 1, generator=numbers) < 0.5)
            layer.weight.mul_(torch.rand(40, 40, generator=numbers) < 0.05)
            layer.bias.normal_(generator=numbers)
        if module.skips is not None:
            some = torch.rand(3, 3, generator=numbers) < 0.4
            module.skips.copy_((torch.randn(3, 3, generator=numbers) * some).tril())
        before, outputs = module(inputs), module.states(inputs)[1]
        for layer, output in zip(module.layers, outputs, strict=True):
            count = 0
            for row, value in enumerate(output[0]):
                kept = layer.weight[row].clone(), layer.bias[row].clone()
                layer.weight[row], layer.bias[row] = 0, value
                count += not torch.equal(module(inputs), before)
                layer.weight[row], layer.bias[row] = kept
            felt.append(count)
    assert effective_widths(module, inputs) == felt
    assert effective_widths(module, inputs.repeat(6, 1)) == felt, "in several parts"
    active = [int(active_rows(layer.weight).sum()) for layer in module.layers]
    assert 0 < sum(felt) < sum(active)


def test_baselines_by_hand() -> None:
    targets = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    inputs = torch.tensor([[0.5, 1.0], [1.0, 0.0]])
    assert baselines(inputs, targets, torch.tensor([0.5, 0.0])) == {
        "input_unchanged": 0.25 / 4,
        "mean_image": (0.25 + 1 + 0.25 + 0) / 4,
        "zero": 0.5,
    }


def test_results_and_picture_at_the_start(project: Path, digits: ImageSet) -> None:
    run = job_in(project, "authors-residual").run
    searcher = MLPSearch(run, digits, 0)
    result = searcher.result()
    test = searcher.problem.test
    with torch.no_grad():
        outputs = searcher.network(test.inputs)
    expected = float((outputs.double() - test.targets.double()).square().mean())
    assert result["test_mse"] == pytest.approx(expected)
    assert result["skips"] == [[0.0], [0.0, 0.0]]
    active = [active_rows(layer.weight) for layer in searcher.network.layers]
    assert result["output_rows"] == active[-1].nonzero()[:, 0].tolist()
    seen = searcher.observe(0.001)
    assert seen["active_rows"] == result["active_rows"] == [int(rows.sum()) for rows in active]
    assert seen["switched_on"] == seen["switched_off"] == [0, 0]
    picture = searcher.picture()
    assert picture.shape == (3 * 28, 8 * 28)
    assert picture.dtype == torch.uint8
    for number in (0, 7):
        columns = slice(28 * number, 28 * (number + 1))
        assert torch.equal(picture[:28, columns], digits.test_images[number])
        degraded = (test.inputs[number].reshape(28, 28).clamp(0, 1) * 255).round()
        assert torch.equal(picture[28:56, columns].float(), degraded)


def test_noise_is_drawn_once_or_for_each_epoch_and_keeps_the_order_of_the_targets(
    project: Path, digits: ImageSet
) -> None:
    once = MLPSearch(job_in(project, "paper-autoencoder").run, digits, 0)
    assert once.train_examples(0) is once.train_examples(1)
    fresh = MLPSearch(job_in(project, "authors-residual").run, digits, 0)
    noisy = [fresh.problem.train.inputs, *(fresh.train_examples(n).inputs for n in (0, 1))]
    for one, other in itertools.combinations(noisy, 2):
        assert float((one - other).std()) == pytest.approx(0.05 * 2**0.5, rel=0.01)
    assert fresh.train_examples(0).targets is fresh.problem.train.targets


@pytest.mark.parametrize(("run", "factor"), [("paper-autoencoder", 10.0), ("authors-residual", 5)])
def test_the_start_is_sparse_and_of_the_right_size(tmp_path: Path, run: str, factor: float) -> None:
    experiment = run.split("-")[1]
    project = new_project(tmp_path, {f"experiments.{experiment}.density": 0.01})
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
