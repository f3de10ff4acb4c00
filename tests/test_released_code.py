"""The released code beside ours: the comparison by hand, and both codes where there is a clone."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bregman_nas import released_code
from bregman_nas.data.files import load
from bregman_nas.errors import UserError
from bregman_nas.networks import ResidualMLP
from bregman_nas.released_code import (
    NOTEBOOKS,
    OPTIMIZERS,
    PUBLISHED,
    ReleasedCode,
    compare,
    differences,
    first_epoch,
)
from bregman_nas.report.render import render
from bregman_nas.search.records import run_folder
from bregman_nas.settings import load_settings
from tests.helpers import PROJECT

VARIABLE = "BREGMAN_RELEASED_CODE"
needs_clone = pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"${VARIABLE} names no clone of the released code"
)


class Block(torch.nn.Module):
    """A layer of the released network, as far as it is looked at."""

    def __init__(self, layer: torch.nn.Linear, skips: int) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.skips = torch.nn.Parameter(torch.zeros(skips))


@pytest.mark.parametrize("skips", [True, False])
def test_differences_by_hand(skips: bool) -> None:
    ours = ResidualMLP(3, 2, skips=skips)
    for layer in ours.layers:
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.ones_(layer.bias)
    blocks = [Block(layer, l + 1) for l, layer in enumerate(ours.layers)]
    theirs = torch.nn.Sequential(*blocks)
    assert differences(ours, theirs) == {"weight": 0, "bias": 0, "skip": 0, "groups": 0}
    with torch.no_grad():
        blocks[0].layer.weight[1] = 0  # a row
        blocks[1].layer.bias[2] = -1
        blocks[1].skips[1] = 0.5
    assert differences(ours, theirs) == {"weight": 1, "bias": 2, "skip": 0.5, "groups": 2}


def test_the_first_epoch_by_hand(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    published = {"active_share": [0.25, 0.5], "width": 784, "batches": 10, "summed_train_loss": 3.0}
    (tmp_path / PUBLISHED).write_text(json.dumps(published), "utf-8")
    folder = run_folder(tmp_path, "authors-autoencoder-denoising")
    folder.mkdir(parents=True)
    table = {"seed": [1, 0, 0], "epoch": [1, 1, 2], "train_loss": [0.5, 0.25, 9.0]}
    widths = {"width_1": [7, 8, 9], "width_2": [1, 2, 3]}
    pd.DataFrame(table | widths).to_csv(folder / "history.csv", index=False)
    found = first_epoch(tmp_path)
    assert found["theirs"] == {"loss": 3.0, "rows": [196, 392]}
    assert found["seeds"] == [
        {"seed": 0, "loss": 2.5, "rows": [8, 2]},
        {"seed": 1, "loss": 5.0, "rows": [7, 1]},
    ]


def test_the_committed_table_is_of_the_committed_numbers() -> None:
    path = PROJECT / "results" / "released-code.json"
    content = json.loads(path.read_text("utf-8"))
    assert path.with_suffix(".md").read_text("utf-8") == render("released-code.md.j2", **content)
    assert {row["run"] for row in content["compared"]} == {*NOTEBOOKS}
    for row in content["compared"]:  # 200 steps of both codes
        assert max(row["weight"], row["bias"], row["skip"] or 0) < 1e-12
        assert row["groups"] == 0


def test_a_folder_that_is_no_clone_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path} is no clone[\s\S]*git clone https://github"):
        ReleasedCode(tmp_path)


def compared(name: str, ours: str, theirs: str) -> list[dict[str, Any]]:
    """Three steps on the sample, by the optimizers with these first moments."""
    run = load_settings(PROJECT / "params.yaml").run(name)
    protocol = run.protocol.model_copy(update={"first_moment": ours})
    images = load(run.experiment.dataset, "sample", PROJECT)
    code = ReleasedCode(Path(os.environ[VARIABLE]), theirs)
    return compare(code, run.model_copy(update={"protocol": protocol}), images)


@needs_clone
@pytest.mark.parametrize("first_moment", OPTIMIZERS)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_both_codes_make_the_same_steps(
    name: str, first_moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(released_code, "STEPS", 3)
    found = compared(name, first_moment, first_moment)
    assert [(row["trainer"], row["steps"]) for row in found] == [("textbook", 3), ("compact", 3)]
    for row in found:
        assert max(row["weight"], row["bias"], row["skip"] or 0) < 1e-12
        assert row["groups"] == 0


@needs_clone
def test_the_other_first_moment_makes_other_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released_code, "STEPS", 3)
    found = compared("authors-autoencoder-denoising", "uncorrected", "corrected")
    assert all(row["bias"] > 1e-4 for row in found)


@needs_clone
def test_the_published_epoch_is_what_the_notebook_printed() -> None:
    published = json.loads((PROJECT / PUBLISHED).read_text("utf-8"))
    code = ReleasedCode(Path(os.environ[VARIABLE]))
    cells = json.loads(code.git("show", f"{published['commit']}:{published['file']}"))["cells"]
    outputs = [output.get("text", []) for cell in cells for output in cell.get("outputs", [])]
    printed = "".join(line for output in outputs for line in output)
    assert f"Train Loss: {published['summed_train_loss']}\n" in printed
    assert f"Node sparsity: {published['active_share']}\n" in printed
