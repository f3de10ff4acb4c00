"""The first steps of a search with the DenseNet, looked at one by one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bregman_nas.cli import main
from bregman_nas.data.files import ImageSet, load
from bregman_nas.errors import UserError
from bregman_nas.search import first_steps as module
from bregman_nas.search.core.densenet import DenseNetSearch, active_kernels, convolutions
from bregman_nas.search.core.densenet import network as start_of
from bregman_nas.search.core.loop import Position, train
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.search.first_steps import first_steps, look, write_first_steps
from bregman_nas.settings import Run, load_settings

NewProject = Callable[..., Path]
PROJECT = Path(__file__).resolve().parents[2]
NAME = "authors-densenet"


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load("fashion-mnist", "sample", PROJECT)


def run_of(project: Path) -> Run:
    return load_settings(project / "params.yaml").run(NAME)


def by_hand(
    monkeypatch: pytest.MonkeyPatch, run: Run, images: ImageSet, bias: float, kernel: float
) -> DenseNetSearch:
    """A search whose last convolution has this bias, and one kernel, on a map of the image."""
    net = start_of(run, 0)
    with torch.no_grad():
        for conv in convolutions(net):
            conv.weight.zero_()
        net.first.weight[0, 0, 1, 1] = 1.0
        net.last.weight[0, 0, 1, 1] = kernel
        assert net.last.bias is not None
        net.last.bias.fill_(bias)
    monkeypatch.setattr("bregman_nas.search.core.densenet.network", lambda *_: net)
    return DenseNetSearch(run, images, 0)


@pytest.mark.parametrize(
    ("bias", "kernel", "firing", "varying", "active"),
    [
        (-0.1, 0.0, 0.0, 0.0, 1),  # dead
        (0.1, 0.0, 1.0, 0.0, 1),  # the same for all images
        (-0.1, -1.0, 0.5, 0.5, 2),
    ],
)
def test_what_is_seen_by_hand(
    monkeypatch: pytest.MonkeyPatch,
    project: Path,
    images: ImageSet,
    bias: float,
    kernel: float,
    firing: float,
    varying: float,
    active: int,
) -> None:
    search = by_hand(monkeypatch, run_of(project), images, bias, kernel)
    # Black and white, standardised -1 and 1; -0.1 + 1 is let pass. The upper half is black in all
    # images; the lower half is black in one of two.
    pictures = torch.zeros(2, 1, 28, 28)
    pictures[1, :, 14:] = 1.0
    if kernel:
        pictures[0, :, :14] = 1.0  # each pixel is black in one of the two
    seen = look(search, pictures)
    assert seen["firing"] == firing
    assert seen["varying"] == (1.0 if kernel else varying)
    assert seen["active"] == active
    assert seen["furthest"] == 0, "v starts at 0 where a kernel is off"


def test_how_far_a_kernel_is_from_its_threshold(
    monkeypatch: pytest.MonkeyPatch, project: Path, images: ImageSet
) -> None:
    search = by_hand(monkeypatch, run_of(project), images, 0.1, 0.0)
    trainer: Any = search.trainer
    # mu is 0.05, and a kernel has 9 numbers: it switches on above 0.15.
    trainer.kernels[0].v[0, 1, 0, 0] = 0.06
    trainer.kernels[0].v[0, 1, 2, 2] = -0.08
    seen = look(search, torch.zeros(1, 1, 28, 28))
    assert seen["furthest"] == pytest.approx(0.1 / 0.15)
    assert seen["active"] == 1
    trainer.kernels[0].v[0, 1] *= 1.6
    seen = look(search, torch.zeros(1, 1, 28, 28))
    assert (seen["furthest"], seen["active"]) == (0, 2)


def test_the_steps_are_those_of_the_search(project: Path, images: ImageSet) -> None:
    run = run_of(project)
    rate = LearningRate(run.optimizer.learning_rate, run.protocol.schedule)
    searched = DenseNetSearch(run, images, 3)
    train(searched, rate, Position(), seed=3, epochs=1, batch_size=run.batch_size)
    looked_at = DenseNetSearch(run, images, 3)
    *_, last = first_steps(looked_at, run, 3, steps=10_000)
    assert last["step"] == -(-len(searched.train_examples(0)) // run.batch_size), "one epoch"
    pairs = zip(
        searched.full_network().parameters(), looked_at.full_network().parameters(), strict=True
    )
    assert all(torch.equal(one, other) for one, other in pairs)
    kernels = active_kernels(searched.full_network())
    assert last["active"] == sum(int(layer.sum()) for layer in kernels)


def test_the_table(new_project: NewProject, capsys: pytest.CaptureFixture[str]) -> None:
    project = new_project(changes={f"runs.{NAME}.seeds": 3})
    assert main(["--project", str(project), "first-steps", NAME]) == 0
    path = project / "results" / "runs" / NAME / "first_steps.csv"
    out = capsys.readouterr().out
    assert f"{NAME} seed 2, linear logits: after 5 steps" in out
    assert str(path) in out
    table = pd.read_csv(path)
    assert list(table) == list(module.COLUMNS)
    # Three seeds, two choices of the logits (the protocol's own first), the start and five steps.
    assert table["seed"].tolist() == [seed for seed in range(3) for _ in range(12)]
    assert table["relu_logits"].tolist() == 3 * ([1] * 6 + [0] * 6)
    assert table["step"].tolist() == 6 * list(range(6))
    starts = table[table["step"] == 0].drop(columns="relu_logits")
    assert starts[::2].to_numpy().tolist() == starts[1::2].to_numpy().tolist(), "the same start"
    assert (table[table["step"] > 0]["furthest"] > 0).any()
    before = path.read_bytes()
    write_first_steps(run_of(project), project, 5)
    assert path.read_bytes() == before


def test_without_seeds_the_table_is_empty(new_project: NewProject) -> None:
    project = new_project(changes={f"runs.{NAME}.seeds": 0})
    path = write_first_steps(run_of(project), project, 5)
    assert path.read_text("utf-8") == f"{','.join(module.COLUMNS)}\n"


def test_it_is_for_the_densenet(project: Path) -> None:
    run = load_settings(project / "params.yaml").run("paper-autoencoder")
    with pytest.raises(UserError, match="paper-autoencoder is not"):
        write_first_steps(run, project, 5)
