"""What is special to searches with the DenseNet, by hand and on the sample."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bregman_nas.data.files import ImageSet
from bregman_nas.search.core.densenet import DenseNetSearch, convolutions, evaluate
from bregman_nas.search.core.densenet import network as start_of
from tests.helpers import job_in, new_project


def kernel_norms(weight: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(weight.detach(), dim=(2, 3))
    return norms


def test_three_percent_of_the_kernels_of_each_layer_start_active(tmp_path: Path) -> None:
    changes = {f"experiments.densenet.{k}": x for k, x in [("density", 0.03), ("growth", 12)]}
    project = new_project(tmp_path, {**changes, "experiments.densenet.depth": 5})
    net = start_of(job_in(project, "authors-densenet").run, seed=0)
    for conv in convolutions(net):
        kernels = conv.out_channels * conv.in_channels
        assert int((kernel_norms(conv.weight) > 0).sum()) == math.ceil(3 * kernels / 100)
    assert [conv.in_channels for conv in convolutions(net)] == [1, 12, 24, 36, 48, 60, 72]
    weight, bias = net.linear.weight.detach(), net.linear.bias.detach()
    assert (weight != 0).all(), "the last layer is dense"
    assert float(weight.std()) == pytest.approx(5 * (2 / 784) ** 0.5, rel=0.03)
    assert 0 <= float(bias.min()) <= float(bias.max()) <= 1 / 28


def test_accuracy_and_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)]]).expand(1_000, 2)  # probabilities 1/4 and 3/4
    loss, accuracy = evaluate(logits, torch.tensor([1, 1, 1, 0] * 250))
    assert accuracy == 0.75
    assert loss == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))


def test_result_and_observation(project: Path, clothes: ImageSet) -> None:
    run = job_in(project, "authors-densenet").run
    searcher, start = DenseNetSearch(run, clothes, 0), start_of(run, 0)
    searcher.train_batches(torch.arange(320).split(16))
    norms = [kernel_norms(conv.weight) for conv in convolutions(searcher.full_network())]
    active = [int((n > 0).sum()) for n in norms]
    shapes = [(2, 1), (2, 2), (1, 4)]  # growth 2, depth 1

    result = searcher.result()
    assert result["active_kernels"] == active
    assert [torch.tensor(n).shape for n in result["kernel_norms"]] == shapes
    assert result["kernel_norms"] == [n.tolist() for n in norms]
    assert 0 <= result["test_accuracy"] <= 1
    logits = searcher.full_network()(searcher.problem.test.inputs)
    assert result["logits_ever_positive"] == int((logits > 0).any(0).sum())

    seen = searcher.observe(0.001)
    assert seen["active_kernels"] == active
    assert seen["active_channels"] == [int((n > 0).any(1).sum()) for n in norms]
    assert seen["held_out_loss"] == pytest.approx(result["held_out_loss"])
    before = [int((kernel_norms(conv.weight) > 0).sum()) for conv in convolutions(start)]
    on, off = seen["switched_on"], seen["switched_off"]
    assert [b + n - m for b, n, m in zip(before, on, off, strict=True)] == active
    assert seen["living_channels"][0] == 2, "the first convolution has no ReLU: no death"
    for channels, living in zip(seen["active_channels"], seen["living_channels"], strict=True):
        assert channels <= living
    assert searcher.full_network() is searcher.network
