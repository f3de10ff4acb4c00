"""params.yaml: what is accepted, what a user is told about a mistake, and what decides a seed."""

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest
from ruamel.yaml import YAML

from bregman_nas.errors import UserError
from bregman_nas.settings import Name, Protocol, Run, Settings, load_settings
from tests.helpers import changed

PARAMS = Path(__file__).parents[1] / "params.yaml"
RESIDUAL, DENSENET = "experiments.residual-denoising", "experiments.densenet-fashion"
PAPER = "protocols.paper"
MLP_RUN, DENSENET_RUN = "paper-residual-denoising", "paper-densenet"
ROW, ARM = f"runs.{MLP_RUN}", f"arms.{MLP_RUN}-uniform"
RUN_ROW = {"protocol": "paper", "experiment": "residual-denoising", "seeds": 1}
SETTINGS = load_settings(PARAMS)
PUBLISHED: dict[str, Any] = YAML(typ="safe", pure=True).load(PARAMS.read_text("utf-8"))
PUBLISHED["runs"][DENSENET_RUN] = {**RUN_ROW, "experiment": "densenet-fashion"}


def params(folder: Path, changes: dict[str, Any]) -> Path:
    """Write a copy of params.yaml in which the values at some dotted paths differ."""
    file = folder / "params.yaml"
    file.write_text(json.dumps(changed(PUBLISHED, changes)), "utf-8")
    return file


def complaint(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_settings(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: [1,\n", "is not valid YAML"),
        ("data: \udcff\n", "is not valid YAML"),
        ("batch_size: 1\nbatch_size: 2\n", "duplicate key"),
        ("", "should be a valid dictionary"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "params.yaml"
    assert f"{file} cannot be read: No such file or directory" in complaint(file)
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    assert str(file) in complaint(file)
    assert says in complaint(file)


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        (f"{ROW}.seeds", 1001, f"{ROW}.seeds = 1001: ", "up to 1000"),
        (f"{ROW}.seeds", "4-3", f"{ROW}.seeds = '4-3': ", "range such as 10-19"),
        ("optimizer.betas", [0.9, 1.0], "optimizer.betas.1 = 1.0", "less than 1"),
        (f"{RESIDUAL}.blur", {"size": 8, "std": 5.0}, f"{RESIDUAL}.blur.size = 8", "7, 9, 11"),
        (f"{PAPER}.schedule", {"kind": "cosine"}, f"{PAPER}.schedule", "'plateau'"),
        (f"{PAPER}.schedule", {"kind": "plateau", "factor": 2}, "schedule.factor = 2", "than 1"),
        (f"{PAPER}.initial_scale", "huge", f"{PAPER}.initial_scale = 'huge'", "1/sqrt(density)"),
        (f"{RESIDUAL}.network", "rnn", RESIDUAL, "'densenet'"),
        (f"{ROW}.protocol", "ours", f"{ROW}: there is no protocol 'ours'", "paper, authors"),
        (f"{ROW}.experiment", "residual", f"{ROW}: there is no experiment", "did you mean"),
        (f"{ROW}.change", {"mu": -1}, f"{ROW}: experiment.mu = -1: ", "equal to 0"),
        (
            f"{ROW}.change",
            {"relu_slop": 0.1},
            f"{ROW}: there is no key 'relu_slop'",
            "did you mean",
        ),
        (f"{ARM}.of", "ours", f"{ARM}: there is no run 'ours'", MLP_RUN),
        (f"{ARM}.of", DENSENET_RUN, f"{ARM}: ", "must be 'mlp'"),
        (f"{ARM}.change", {"relu_slope": 0.1}, ARM, "remove relu_slope"),
        (f"{RESIDUAL}.inactive_biases", "frozen", f"arms.{MLP_RUN}-found", "remove relu_slope"),
        ("runs.x;touch FILE", RUN_ROW, "runs.x;touch FILE", "match pattern"),
        (f"{DENSENET}.skips", True, f"{DENSENET}.skips", "not permitted"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(
    tmp_path: Path, path: str, value: object, where: str, says: str
) -> None:
    file = params(tmp_path, {path: value})
    first, *lines = complaint(file).splitlines()
    assert str(file) in first
    assert all(where in line for line in lines)
    assert says in lines[-1]


def test_all_mistakes_are_listed_each_on_one_line(tmp_path: Path) -> None:
    wrong = {f"{RESIDUAL}.mu": -1, f"{PAPER}.noise": "never", "batch_size": ..., "bath_size": 8}
    lines = complaint(params(tmp_path, wrong)).splitlines()[1:]
    assert sorted(line.split()[0].rstrip(":") for line in lines) == sorted(wrong)


@pytest.mark.parametrize("name", ["x;touch FILE", "../x", "Upper", "a--b", "-a", "a\n", ""])
def test_a_name_can_be_a_folder_and_nothing_that_a_shell_runs(name: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        pydantic.TypeAdapter(Name).validate_python(name)


def test_a_wrong_name_is_answered_with_the_right_one_or_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean paper-residual-denoising"):
        SETTINGS.run("paper-residual-denoisin")
    with pytest.raises(UserError, match="there is no run 'x'") as caught:
        SETTINGS.run("x")
    assert all(known in str(caught.value) for known in SETTINGS.runs)
    twice = params(tmp_path, {f"arms.{MLP_RUN}": PUBLISHED["arms"][ARM.removeprefix("arms.")]})
    assert "there is a run of that name" in complaint(twice)


def test_a_run_is_a_protocol_an_experiment_and_what_is_changed(tmp_path: Path) -> None:
    row = {**RUN_ROW, "seeds": "10-12"}
    change = {"skip_threshold": 28, "mu": 0.1, "delta": 2}
    settings = load_settings(
        params(tmp_path, {"runs.plain": row, "runs.other": {**row, "change": change, "epochs": 7}})
    )
    plain, other = settings.run("plain"), settings.run("other")
    assert plain.seeds == other.seeds == (10, 11, 12)
    assert plain.protocol == settings.protocols["paper"]
    assert plain.experiment == settings.experiments["residual-denoising"]
    assert plain.optimizer == settings.optimizer
    assert other.protocol == plain.protocol.model_copy(update={"skip_threshold": 28.0})
    assert other.experiment == plain.experiment.model_copy(update={"mu": 0.1, "epochs": 7})
    assert other.optimizer == plain.optimizer.model_copy(update={"delta": 2.0})


def test_an_arm_is_its_run_by_another_method(tmp_path: Path) -> None:
    changes = {f"{ARM}.change": {"mu": 0.1}, f"{ARM}.seeds": "2-3"}
    settings = load_settings(params(tmp_path, changes))
    arm, run = settings.run(ARM.removeprefix("arms.")), settings.run(MLP_RUN)
    assert (arm.of, arm.method, arm.seeds) == (MLP_RUN, "uniform", (2, 3))
    assert arm.protocol == run.protocol
    assert arm.experiment == run.experiment.model_copy(update={"mu": 0.1})
    assert arm.decisive()["method"] == "uniform"
    assert "method" not in run.decisive(), "records of searches stay as they are"


#: Other values of what is no number; numbers are halved.
OTHERS: dict[str, object] = {
    "data.source": "sample",
    "optimizer.betas": [0.9, 0.99],
    f"{PAPER}.schedule": {"kind": "plateau"},
    f"{PAPER}.initial_scale": 5,
    f"{PAPER}.first_moment": "uncorrected",
    f"{PAPER}.noise": "every-epoch",
    f"{PAPER}.logits": "relu",
    f"{RESIDUAL}.dataset": "fashion-mnist",
    f"{RESIDUAL}.skips": False,
    f"{RESIDUAL}.blur": {"size": 9, "std": 5.0},
    f"{DENSENET}.dataset": "mnist",
}
#: What the protocol says of the other network.
FOREIGN = {MLP_RUN: {"logits"}, DENSENET_RUN: {"skip_threshold", "noise"}}


def decided_by(path: str, value: object) -> set[str]:
    """The runs whose seeds are others with this value."""
    contents = (PUBLISHED, changed(PUBLISHED, {path: value}))
    before, after = (Settings.model_validate(content) for content in contents)
    return {run for run in FOREIGN if before.run(run).decisive() != after.run(run).decisive()}


@pytest.mark.parametrize("block", ["data", "optimizer", PAPER, RESIDUAL, DENSENET])
def test_every_setting_decides_the_seeds_of_the_runs_that_use_it(block: str) -> None:
    parent, _, name = block.partition(".")
    content = PUBLISHED[parent][name] if name else PUBLISHED[parent]
    for key in content.keys() - {"network"}:
        path, value = f"{block}.{key}", content[key]
        other = OTHERS[path] if path in OTHERS else type(value)(value / 2)
        users = {run for run, foreign in FOREIGN.items() if key not in foreign}
        users &= {RESIDUAL: {MLP_RUN}, DENSENET: {DENSENET_RUN}}.get(block, users)
        assert decided_by(path, other) == users, path


def test_rows_decide_their_own_seeds_but_not_by_how_many_they_have() -> None:
    assert decided_by("batch_size", 64) == {MLP_RUN, DENSENET_RUN}
    assert decided_by(f"{ROW}.epochs", 50) == decided_by(f"{ROW}.change", {"mu": 0.08}) == {MLP_RUN}
    assert decided_by(f"{ROW}.seeds", "3-5") == set()
    assert decided_by("experiments.residual-deblurring.mu", 0.2) == set()
    assert decided_by("protocols.authors.held_out", 5000) == set()


def test_a_new_option_at_its_default_decides_nothing() -> None:
    class LaterProtocol(Protocol):
        warm_up: int = 0

    class LaterRun(Run):
        protocol: LaterProtocol

    run = SETTINGS.run(MLP_RUN)
    content = run.model_dump()
    assert LaterRun.model_validate(content).decisive() == run.decisive()
    content["protocol"]["warm_up"] = 3
    assert LaterRun.model_validate(content).decisive()["protocol"]["warm_up"] == 3


def test_neither_names_nor_how_a_number_is_written_decide(tmp_path: Path) -> None:
    before = SETTINGS.run(MLP_RUN).decisive()
    renamed = PUBLISHED["experiments"]["residual-denoising"]
    row = {**PUBLISHED["runs"][MLP_RUN], "experiment": "renamed", "change": {"mu": 0.07}}
    written = {"optimizer.delta": 1, f"{PAPER}.skip_threshold": 1.0}
    path = params(tmp_path, {"experiments.renamed": renamed, "runs.other": row, **written})
    assert load_settings(path).run("other").decisive() == before
    assert json.loads(json.dumps(before)) == before, "it is plain JSON"
