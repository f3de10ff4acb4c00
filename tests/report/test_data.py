import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from bregman_nas.cli import main
from bregman_nas.errors import UserError
from bregman_nas.report.data import Run, read_study

LAYERS, EPOCHS = 6, 4  # of the runs that are made
SHAPE = [400, 300, 200, 300, 400, 500]
RUN, OTHER = "paper-residual-denoising", "paper-autoencoder-denoising"


@pytest.fixture(scope="module")
def made(make_project: Callable[..., Path]) -> Path:
    tau = {(0, 0): 0.5, (3, 1): -0.25}
    return make_project({OTHER: [{}], RUN: [{"tau": tau}, {"tau": tau, "mse": float("nan")}]})


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A copy, that a test may spoil."""
    return shutil.copytree(made, tmp_path / "project")


def refused(project: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        read_study(project)
    assert all(word in str(caught.value) for word in words), caught.value


def not_published(project: Path) -> None:
    """No command that publishes accepts the results, and none writes anything."""
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    for command in ("aggregate", "figures", "readme", "paper"):
        assert main(["--project", str(project), command]) == 1
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before


def change_params(project: Path, how: Callable[[Any], None]) -> None:
    yaml, path = YAML(typ="safe"), project / "params.yaml"
    content = yaml.load(path.read_text("utf-8"))
    how(content)
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def change_record(project: Path, seed: int, *keys: str | int, value: object) -> None:
    path = project / "results" / "runs" / RUN / "records" / f"seed-{seed:02d}.json"
    content = found = json.loads(path.read_text("utf-8"))
    for key in keys[:-1]:
        found = found[key]
    found[keys[-1]] = value
    path.write_text(json.dumps(content), "utf-8")


def test_frames_by_hand(made: Path) -> None:
    study = read_study(made)
    assert list(study.runs) == [OTHER, RUN]
    run = study.run("paper", "residual-denoising")
    assert run is not None
    assert (run.seeds, run.converged, run.diverged) == ([0, 1], [0], 1)
    assert (run.network, run.task, run.depth, run.last) == ("residual", "denoising", LAYERS, EPOCHS)
    losses = run.frames.losses
    scores = ["mse", "cross_entropy", "accuracy", "logits"]
    assert list(losses) == ["seed", "images", "answer", *scores]
    assert len(losses) == 2 * 2 * 4
    assert run.scores("held_out", "zero")["mse"].tolist() == [0.06, 0.06]
    assert run.score("mse").tolist() == [0.01]
    assert len(run.frames.layers) == 2 * LAYERS * (4 * EPOCHS + 1)
    assert run.rows().tolist() == run.rows("living", 1).tolist() == [SHAPE]
    assert run.rows("effective").tolist() == [[5, 10, 15, 20, 25, 30]]
    tau = run.tau(2)
    assert tau.shape == (1, LAYERS, LAYERS)
    assert (tau[0, 0, 0], tau[0, 3, 1], tau[0, 3, 2]) == (0.5, -0.25, 0)
    assert np.isnan(tau).sum() == LAYERS**2 - 21
    assert study.run("authors", "residual-denoising") is None
    assert study.only([1]).runs.keys() == {RUN}


def test_kernels_by_hand(make_run: Callable[..., Run]) -> None:
    norms = [[[1], [2]], [[3, 4], [5, 6]], [[7, 8, 9, 10]]]
    run = make_run([{"norms": norms}] * 2, "authors-densenet-fashion")
    assert [array[1].tolist() for array in run.norms] == norms
    assert run.score("accuracy").tolist() == [0.9, 0.9]
    assert run.depth == 3


def test_results_that_an_interrupted_pipeline_removed(project: Path) -> None:
    for name in ("metrics.json", "seeds.csv", "history.csv"):
        (project / "results" / "runs" / RUN / name).unlink()
    refused(project, f"{RUN}/seeds.csv cannot be used", "git restore")
    not_published(project)


def test_results_of_other_settings_or_of_the_sample(project: Path) -> None:
    sample = shutil.copytree(project, project.parent / "sample")
    change_params(sample, lambda c: c["data"].update(source="sample"))
    refused(sample, RUN, OTHER, "source = full")
    change_params(project, lambda c: c["experiments"]["residual-denoising"].update(mu=0.5))
    refused(project, RUN, "experiment.mu = 0.07", "params.yaml says 0.5")
    # A run that was made on the sample, under the settings of before.
    change_record(project, 0, "settings", "source", value="sample")
    refused(project, RUN, "source = sample")
    not_published(project)


SPOILT: dict[str, Callable[[bytes], bytes] | None] = {
    "missing": None,
    "cut": lambda content: content[:-100],
    "in conflict": lambda content: b"<<<<<<< HEAD\n" + content + b">>>>>>> other\n",
    "last line twice": lambda content: content + content.splitlines(keepends=True)[-1],
    "a word in it": lambda content: content.replace(b"0.01", b"much", 1),
    "binary": lambda _: b"\xff\xfe\x00",
}


@pytest.mark.parametrize("name", ["seeds.csv", "metrics.json", "records/seed-01.json"])
def test_a_file_that_is_not_what_it_was_is_named(project: Path, name: str) -> None:
    path = project / "results" / "runs" / RUN / name
    content = path.read_bytes()
    for spoil in SPOILT.values():
        path.unlink() if spoil is None else path.write_bytes(spoil(content))
        refused(project, f"{RUN}/{name}", "git restore")


@pytest.mark.parametrize(
    ("keys", "value", "fault"),
    [
        (("seed",), 7, "is of seed 7"),
        (("run",), OTHER, f"of {OTHER}"),
        (("result", "test_mse"), 1e-9, "was edited"),
        (("history", 1, "living_rows"), [1], "was edited"),
        (("digests",), {}, "digests that do not belong together"),
        (("provenance",), 3, "provenance Input should be"),
        (("provenance",), {}, "'versions'"),
    ],
)
def test_a_record_that_is_not_that_of_its_seed(
    project: Path, keys: tuple[str | int, ...], value: object, fault: str
) -> None:
    change_record(project, 1, *keys, value=value)
    refused(project, RUN, fault, "git restore")


def test_missing_seeds(project: Path) -> None:
    change_params(project, lambda c: c["runs"][RUN].update(seeds=3))
    change_params(project, lambda c: c["runs"][OTHER].update(seeds="0-1"))
    refused(project, f"{RUN}/records/seed-02.json cannot", f"{OTHER}/records/seed-01.json cannot")


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
