import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bregman_nas.cli import main
from bregman_nas.errors import UserError
from bregman_nas.report.data import Study, read_study
from bregman_nas.search.records import record_path
from tests.report.studies import EPOCHS, LAYERS

RUN, OTHER = "paper-residual-denoising", "paper-autoencoder-denoising"


@pytest.fixture
def project(partial: Study, tmp_path: Path) -> Path:
    """A copy, that a test may spoil."""
    return shutil.copytree(partial.project, tmp_path / "project")


def refused(project: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        read_study(project)
    assert all(word in str(caught.value) for word in words), caught.value


def change(file: Path, *keys: str | int, value: object) -> None:
    content = found = json.loads(file.read_text("utf-8"))
    for key in keys[:-1]:
        found = found[key]
    found[keys[-1]] = value
    file.write_text(json.dumps(content), "utf-8")


def test_frames_by_hand(partial: Study) -> None:
    others = ["authors-residual-deblurring", "authors-densenet-fashion"]
    assert list(partial.runs) == [OTHER, RUN, *others]
    run = partial.run("paper", "residual-denoising")
    assert run is not None
    assert (run.seeds, run.converged, run.diverged) == ([0, 1, 2], [1, 2], 1)
    assert (run.network, run.task, run.depth, run.last) == ("residual", "denoising", LAYERS, EPOCHS)
    losses = run.frames.losses
    scores = ["mse", "cross_entropy", "accuracy", "logits"]
    assert list(losses) == ["seed", "images", "answer", *scores]
    assert len(losses) == 3 * 2 * 4
    assert run.scores("held_out", "zero")["mse"].tolist() == [0.06] * 3
    assert run.score("mse").tolist() == [0.001, 0.003]
    assert len(run.frames.layers) == 3 * LAYERS * (4 * EPOCHS + 1)
    assert run.rows(epoch=1).tolist() == [[12, 22, 32, 42, 52, 62], [13, 23, 33, 43, 53, 63]]
    assert run.rows("living").tolist() == [[660] * LAYERS] * 2
    assert run.rows("effective").tolist() == [[5, 10, 15, 20, 25, 30]] * 2
    tau = run.tau(2)
    assert tau.shape == (2, LAYERS, LAYERS)
    assert tau[0, [0, 1, 2], [0, 1, 0]].tolist() == [0.2, -0.2, 0]
    assert np.isnan(tau[0]).sum() == LAYERS**2 - 21
    assert partial.run("authors", "residual-denoising") is None
    assert partial.only([2]).runs.keys() == {RUN}


def test_results_of_other_settings_or_of_the_sample(project: Path) -> None:
    sample = shutil.copytree(project, project.parent / "sample")
    change(sample / "params.yaml", "data", "source", value="sample")
    refused(sample, RUN, OTHER, "source = full")
    change(project / "params.yaml", "experiments", "residual-denoising", "mu", value=0.5)
    refused(project, RUN, "experiment.mu = 0.07", "params.yaml says 0.5")
    # A run that was made on the sample, under the settings of before.
    change(record_path(project, RUN, 0), "settings", "source", value="sample")
    refused(project, RUN, "source = sample")
    # No command that publishes accepts the results, and none writes anything.
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    for command in ("aggregate", "figures", "readme", "paper"):
        assert main(["--project", str(project), command]) == 1
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before


@pytest.mark.parametrize("name", ["seeds.csv", "metrics.json", "records/seed-01.json"])
def test_a_file_that_is_not_what_it_was_is_named(project: Path, name: str) -> None:
    path = project / "results" / "runs" / RUN / name
    content = path.read_bytes()
    for spoilt in (content[:-100], content.replace(b"0.01", b"much", 1), b"\xff\xfe\x00", None):
        path.unlink() if spoilt is None else path.write_bytes(spoilt)
        refused(project, f"{RUN}/{name}", "git restore")


@pytest.mark.parametrize(
    ("keys", "value", "fault"),
    [
        (("seed",), 7, "is of seed 7"),
        (("run",), OTHER, f"of {OTHER}"),
        (("history", 1, "living_rows"), [1], "was edited"),
        (("provenance",), {}, "'versions'"),
    ],
)
def test_a_record_that_is_not_that_of_its_seed(
    project: Path, keys: tuple[str | int, ...], value: object, fault: str
) -> None:
    change(record_path(project, RUN, 1), *keys, value=value)
    refused(project, RUN, fault, "git restore")


def test_missing_seeds(project: Path) -> None:
    change(project / "params.yaml", "runs", RUN, "seeds", value=4)
    change(project / "params.yaml", "runs", OTHER, "seeds", value="0-1")
    refused(project, f"{RUN}/records/seed-03.json cannot", f"{OTHER}/records/seed-01.json cannot")


def test_a_picture_and_first_steps_that_cannot_be_read(project: Path) -> None:
    study = read_study(project)
    run = study.runs[RUN]
    assert study.first_steps is None
    assert run.picture(7) is None
    path = run.folder / "records" / "seed-00.png"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"seed-00\.png cannot be used"):
        run.picture(0)
    (project / "results" / "first_steps.csv").write_text("seed,step\n0,0\n", "utf-8")
    with pytest.raises(UserError, match=r"first_steps\.csv cannot be used"):
        read_study(project)
