"""The first steps of searches with the DenseNet."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from bregman_nas.cli import main
from bregman_nas.data.files import ImageSet
from bregman_nas.networks import DenseNet
from bregman_nas.search.core.densenet import DenseNetSearch, convolutions
from bregman_nas.search.core.searches import train
from bregman_nas.search.first_steps import (
    DEAD,
    GROWS,
    IMAGES,
    UNDECIDED,
    first_steps,
    has_path,
    look,
    outcome,
)
from bregman_nas.settings import load_settings
from tests.helpers import new_project


def by_hand(bias: float, kernel: float) -> DenseNet:
    """A network whose last convolution has this bias, and one kernel, on a map of the image."""
    net = DenseNet(depth=2, growth=2, input_mean=0.5, input_std=0.5)
    with torch.no_grad():
        for conv in convolutions(net):
            conv.weight.zero_()
        net.first.weight[0, 0, 1, 1] = 1.0
        net.last.weight[0, 0, 1, 1] = kernel
        assert net.last.bias is not None
        net.last.bias.fill_(bias)
    return net


@pytest.mark.parametrize(
    ("bias", "kernel", "firing", "varying", "kernels"),
    [
        (-0.1, 0.0, 0.0, 0.0, 1),  # dead
        (0.1, 0.0, 1.0, 0.0, 1),  # the same for all images
        (-0.1, -1.0, 0.5, 1.0, 2),
    ],
)
def test_what_is_seen_by_hand(
    bias: float, kernel: float, firing: float, varying: float, kernels: int
) -> None:
    # One image is black above and white below, the other the reverse: -1 and 1 when standardised.
    pictures = torch.zeros(2, 1, 28, 28)
    pictures[0, :, 14:] = pictures[1, :, :14] = 1.0
    net = by_hand(bias, kernel)
    expected = {"firing": firing, "varying": varying, "kernels": kernels}
    assert look(net, net.linear, pictures) == expected


def test_paths_by_hand() -> None:
    assert has_path(by_hand(0, 1.0))
    net = by_hand(0, 0.0)
    assert not has_path(net), "nothing enters the last convolution"
    with torch.no_grad():
        net.last.weight[0, 4] = 1.0  # the second layer's first channel
        net.layers[1].weight[0, 3] = 1.0  # the first layer's second channel
        net.layers[0].weight[1, 1] = 1.0
        assert not has_path(net), "the first convolution's second channel has no kernel"
        net.layers[0].weight[1, 0] = 1.0
    assert has_path(net)


@pytest.mark.parametrize(
    ("firing", "kernels", "expected"),
    [(0.0, 9, DEAD), (1e-6, 9, GROWS), (1.0, 8, UNDECIDED), (1.0, 7, UNDECIDED)],
)
def test_outcomes(firing: float, kernels: int, expected: str) -> None:
    assert outcome({"kernels": 8}, {"firing": firing, "kernels": kernels}) == expected


def test_the_steps_are_those_of_the_search(project: Path, clothes: ImageSet) -> None:
    run = load_settings(project / "params.yaml").run("authors-densenet")
    searched = DenseNetSearch(run, clothes, 3)
    examples = searched.problem.train
    train(searched, epochs=1, batch_size=run.batch_size)
    row, net = first_steps(run, 3, 10_000, examples), searched.full_network()
    assert row["steps"] == -(-len(examples) // run.batch_size), "one epoch"
    assert row.items() >= look(net, net.linear, examples.inputs[:IMAGES]).items()


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = new_project(tmp_path)
    assert main(["--project", str(project), "first-steps"]) == 0
    path = project / "results" / "first_steps.csv"
    assert str(path) in capsys.readouterr().out
    table = pd.read_csv(path)
    assert table["start"].tolist() == ["authors", "authors", "dense"]
    assert table["seed"].tolist() == [0, 1, 0]
    assert table["density"].tolist() == [0.5, 0.5, 1.0]
    assert table["steps"].tolist() == [5, 5, 5]
    assert table["kernels_0"].iloc[2] == 2 * 1 + 2 * 2 + 1 * 4, "all of them"
    before = path.read_bytes()
    assert main(["--project", str(project), "first-steps"]) == 0
    assert path.read_bytes() == before
