"""params.yaml: what is accepted, and what a user is told about a mistake."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bregman_nas.settings import (
    DenseNetExperiment,
    MLPExperiment,
    Plateau,
    Settings,
    SettingsError,
    load_settings,
)

PARAMS = Path(__file__).parents[1] / "params.yaml"
RESIDUAL = "experiments.residual-denoising"
DENSENET = "experiments.densenet-fashion"
PAPER = "protocols.paper"
MLP_RUN, DENSENET_RUN = "paper-residual-denoising", "paper-densenet-fashion"


class Removed:
    """In the place of a value: the key is taken away."""


@pytest.fixture(scope="session")
def published() -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(PARAMS.read_text("utf-8"))
    return content


@pytest.fixture
def params(tmp_path: Path, published: dict[str, Any]) -> Callable[[dict[str, Any]], Path]:
    """Writes a copy of params.yaml in which the values at some dotted paths differ."""

    def write(changes: dict[str, Any]) -> Path:
        content = copy.deepcopy(published)
        for path, value in changes.items():
            *parents, key = path.split(".")
            node = content
            for parent in parents:
                node = node[parent]
            if value is Removed:
                del node[key]
            else:
                node[key] = value
        file = tmp_path / "params.yaml"
        with file.open("w", encoding="utf-8") as stream:
            YAML(typ="safe", pure=True).dump(content, stream)
        return file

    return write


Params = Callable[[dict[str, Any]], Path]


def complaint(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    return str(caught.value)


def test_the_published_settings_load() -> None:
    settings = load_settings(PARAMS)
    assert settings.optimizer.betas == (0.9, 0.999)
    assert settings.optimizer.eps == 1e-8
    assert set(settings.protocols) == {"paper", "authors"}
    assert settings.protocols["paper"].initial_scale == "1/sqrt(density)"
    assert settings.protocols["authors"].initial_scale == 5.0
    assert isinstance(settings.protocols["authors"].schedule, Plateau)
    residual = settings.experiments["residual-denoising"]
    assert isinstance(residual, MLPExperiment)
    assert (residual.mu, residual.skips, residual.blur) == (0.07, True, None)
    assert isinstance(settings.experiments["densenet-fashion"], DenseNetExperiment)


def test_an_unchanged_copy_is_the_same(params: Params) -> None:
    assert load_settings(params({})) == load_settings(PARAMS)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{RESIDUAL}.mu", 0),
        (f"{RESIDUAL}.density", 1),
        (f"{RESIDUAL}.blur", {"size": 27, "std": 0.5}),
        (f"{RESIDUAL}.noise_std", 0),
        (f"{PAPER}.initial_scale", 0.1),
        (f"{PAPER}.held_out", 59_999),
        (f"{PAPER}.schedule", {"kind": "plateau", "patience": 0}),
        (f"{PAPER}.noise", "every-epoch"),
        (f"{PAPER}.first_moment", "uncorrected"),
        ("data.source", "sample"),
    ],
)
def test_a_possible_value_is_accepted(params: Params, path: str, value: object) -> None:
    load_settings(params({path: value}))


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        (f"{RESIDUAL}.mu", -1, "greater than or equal to 0"),
        (f"{RESIDUAL}.mu", "a lot", "number"),
        (f"{RESIDUAL}.mu", None, "number"),
        (f"{RESIDUAL}.mu", float("nan"), "finite number"),
        (f"{RESIDUAL}.mu", float("inf"), "finite number"),
        (f"{RESIDUAL}.mu", [0.07], "number"),
        (f"{RESIDUAL}.density", 0, "greater than 0"),
        (f"{RESIDUAL}.density", 1.5, "less than or equal to 1"),
        (f"{RESIDUAL}.depth", 0, "greater than or equal to 1"),
        (f"{RESIDUAL}.epochs", 0, "greater than or equal to 1"),
        (f"{RESIDUAL}.epochs", 2.5, "integer"),
        (f"{RESIDUAL}.epochs", "100", "integer"),
        (f"seeds.{MLP_RUN}", -3, "greater than or equal to 0"),
        (f"seeds.{MLP_RUN}", 1.5, "integer"),
        (f"{RESIDUAL}.mu", True, "number"),
        (f"{RESIDUAL}.skips", "on", "boolean"),
        (f"{RESIDUAL}.noise_std", -0.05, "greater than or equal to 0"),
        (f"{RESIDUAL}.input_std", 0, "greater than 0"),
        (f"{RESIDUAL}.input_mean", float("nan"), "finite number"),
        (f"{RESIDUAL}.dataset", "cifar", "'mnist' or 'fashion-mnist'"),
        (f"{RESIDUAL}.skips", "maybe", "boolean"),
        (f"{DENSENET}.growth", 0, "greater than or equal to 1"),
        (f"{PAPER}.held_out", 0, "greater than or equal to 1"),
        (f"{PAPER}.held_out", 60_000, "less than or equal to 59999"),
        (f"{PAPER}.skip_threshold", -1, "greater than or equal to 0"),
        (f"{PAPER}.noise", "never", "'once' or 'every-epoch'"),
        (f"{PAPER}.first_moment", "half", "'corrected' or 'uncorrected'"),
        (f"{PAPER}.logits", "softmax", "'linear' or 'relu'"),
        ("optimizer.learning_rate", 0, "greater than 0"),
        ("optimizer.eps", -1e-8, "greater than 0"),
        ("optimizer.delta", 0.0, "greater than 0"),
        ("data.source", "web", "'full' or 'sample'"),
        ("batch_size", 0, "greater than or equal to 1"),
    ],
)
def test_an_impossible_value_is_named_with_what_is_allowed(
    params: Params, path: str, value: object, allowed: str
) -> None:
    file = params({path: value})
    first, line = complaint(file).splitlines()
    assert str(file) in first
    assert line.startswith(f"  {path} = {value!r}: must be ")
    assert allowed in line


@pytest.mark.parametrize(
    ("path", "value", "where", "wrong"),
    [
        ("optimizer.betas", [0.9, 1.0], "optimizer.betas.1", "1.0"),
        ("optimizer.betas", [0.9], "optimizer.betas.1", "missing"),
        ("optimizer.betas", [0.9, 0.9, 0.9], "optimizer.betas", "[0.9, 0.9, 0.9]"),
        (f"{RESIDUAL}.blur", {"size": 8, "std": 5.0}, f"{RESIDUAL}.blur.size", "8: must be odd"),
        (f"{RESIDUAL}.blur", {"size": 29, "std": 5.0}, f"{RESIDUAL}.blur.size", "29"),
        (f"{RESIDUAL}.blur", {"size": 9, "std": 0}, f"{RESIDUAL}.blur.std", "0"),
        (f"{RESIDUAL}.blur", {"size": 9}, f"{RESIDUAL}.blur.std", "missing"),
        (f"{PAPER}.initial_scale", "huge", f"{PAPER}.initial_scale", "'huge'"),
        (f"{PAPER}.initial_scale", 0, f"{PAPER}.initial_scale", "'1/sqrt(density)'"),
        (f"{PAPER}.initial_scale", float("nan"), f"{PAPER}.initial_scale", "nan"),
    ],
)
def test_a_mistake_inside_a_value_is_named(
    params: Params, path: str, value: object, where: str, wrong: str
) -> None:
    message = complaint(params({path: value}))
    assert any(f"  {where}" in line and wrong in line for line in message.splitlines())


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {f"{PAPER}.schedule": {"kind": "cosine"}},
            f"{PAPER}.schedule.kind = 'cosine': must be 'constant' or 'plateau'",
        ),
        ({f"{PAPER}.schedule": {"factor": 0.5}}, f"{PAPER}.schedule.kind: is missing"),
        (
            {f"{PAPER}.schedule": {"kind": "plateau", "factor": 2}},
            f"{PAPER}.schedule.factor = 2: must be less than 1",
        ),
        (
            {f"{PAPER}.schedule": {"kind": "constant", "factor": 0.5}},
            f"{PAPER}.schedule.factor: there is no such key; remove it or correct it",
        ),
        (
            {f"{RESIDUAL}.network": "rnn"},
            f"{RESIDUAL}.network = 'rnn': must be 'mlp' or 'densenet'",
        ),
        (
            {"optimizer.betas": [0.9, 0.9, 1.0]},
            "optimizer.betas = [0.9, 0.9, 1.0]: must be a list of two numbers",
        ),
        (
            {f"{PAPER}.initial_scale": "huge"},
            f"{PAPER}.initial_scale = 'huge': must be a valid number or '1/sqrt(density)'",
        ),
    ],
)
def test_one_line_names_the_key_itself_and_what_is_allowed(
    params: Params, changes: dict[str, Any], line: str
) -> None:
    assert complaint(params(changes)).splitlines()[1:] == [f"  {line}"]


@pytest.mark.parametrize(
    "path",
    ["batchsize", f"{RESIDUAL}.sigma", f"{RESIDUAL}.growth", f"{DENSENET}.skips", f"{PAPER}.mu"],
)
def test_an_unknown_key_is_refused(params: Params, path: str) -> None:
    assert f"  {path}: there is no such key" in complaint(params({path: 1}))


@pytest.mark.parametrize(
    "path",
    ["data", "batch_size", "optimizer.eps", f"{RESIDUAL}.mu", f"{RESIDUAL}.blur", f"{PAPER}.noise"],
)
def test_a_missing_key_is_named(params: Params, path: str) -> None:
    assert f"  {path}: is missing" in complaint(params({path: Removed}))


def test_all_mistakes_are_listed(params: Params) -> None:
    message = complaint(
        params(
            {
                f"{RESIDUAL}.mu": -1,
                f"{DENSENET}.epochs": 0,
                f"{PAPER}.noise": "never",
                "batch_size": Removed,
                "bath_size": 128,
            }
        )
    )
    lines = message.splitlines()[1:]
    assert sorted(line.split()[0].rstrip(":") for line in lines) == sorted(
        [f"{RESIDUAL}.mu", f"{DENSENET}.epochs", f"{PAPER}.noise", "batch_size", "bath_size"]
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: [1,\n", "is not valid YAML"),
        ("data: {source: full\nbatch_size: 1\n", "is not valid YAML"),
        ("data: \x00\n", "is not valid YAML"),
        ("batch_size: 1\nbatch_size: 2\n", "duplicate key"),
        ("", "must be"),
        ("# only a comment\n", "must be"),
        ("- data\n- optimizer\n", "must be"),
        ("hello\n", "must be"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text, encoding="utf-8")
    message = complaint(file)
    assert str(file) in message
    assert says in message


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(b"data: \xff\n")
    assert f"{file} is not valid YAML" in complaint(file)


def test_broken_yaml_is_located(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("batch_size: 1\n\tdata: 2\n", encoding="utf-8")
    assert "line 2" in complaint(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    message = complaint(tmp_path / "nowhere.yaml")
    assert "nowhere.yaml cannot be read: No such file or directory" in message
    assert f"is {tmp_path} the top of the repository?" in message


def test_a_run_is_a_protocol_and_an_experiment() -> None:
    settings = load_settings(PARAMS)
    for name, seeds in settings.seeds.items():
        run = settings.run(name)
        protocol, experiment = name.split("-", 1)
        assert (run.name, run.seeds) == (name, seeds)
        assert run.protocol == settings.protocols[protocol]
        assert run.experiment == settings.experiments[experiment]
        assert (run.optimizer, run.batch_size) == (settings.optimizer, settings.batch_size)
        assert run.source == settings.data.source


def test_a_run_without_seeds_yet_is_a_run(params: Params) -> None:
    assert load_settings(params({f"seeds.{MLP_RUN}": 0})).run(MLP_RUN).seeds == 0


def test_seeds_of_no_run_are_refused(params: Params) -> None:
    message = complaint(params({"seeds.ours-residual-denoising": 1}))
    assert "seeds.ours-residual-denoising: no such run" in message
    assert MLP_RUN in message


def test_a_protocol_may_begin_like_another(published: dict[str, Any]) -> None:
    content = copy.deepcopy(published)
    content["protocols"]["paper-relu"] = {**content["protocols"]["paper"], "logits": "relu"}
    content["seeds"] = {"paper-relu-densenet-fashion": 1, DENSENET_RUN: 2}
    settings = Settings.model_validate(content)
    assert settings.run("paper-relu-densenet-fashion").protocol.logits == "relu"
    assert settings.run(DENSENET_RUN).protocol.logits == "linear"


@pytest.mark.parametrize(
    "name",
    [
        "residual-denoising",
        "paper",
        "paper-",
        "paper_residual-denoising",
        "us-densenet",
        "",
        "paper-plateau",
        "ablation/",
        "ablation/paper-residual-denoising",
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(name: str) -> None:
    settings = load_settings(PARAMS)
    with pytest.raises(SettingsError) as caught:
        settings.run(name)
    message = str(caught.value)
    assert f"there is no run {name!r}" in message
    for known in settings.runs:
        assert known in message


def test_a_run_that_is_not_under_seeds_is_not_known(params: Params) -> None:
    settings = load_settings(params({f"seeds.{MLP_RUN}": Removed}))
    with pytest.raises(SettingsError, match=f"there is no run '{MLP_RUN}'"):
        settings.run(MLP_RUN)


VARIANT = "ablation.variants.paper-plateau"
THRESHOLD = "ablation.variants.paper-skip-threshold-28"


def test_a_variant_is_a_run_of_its_protocol_but_for_one_choice() -> None:
    settings = load_settings(PARAMS)
    run = settings.run("ablation/paper-skip-threshold-28")
    base = settings.run(MLP_RUN)
    assert (run.name, run.seeds) == ("ablation/paper-skip-threshold-28", settings.ablation.seeds)
    assert run.protocol.skip_threshold == 28.0
    assert run.protocol == base.protocol.model_copy(update={"skip_threshold": 28.0})
    assert run.experiment == base.experiment.model_copy(update={"epochs": settings.ablation.epochs})
    assert (run.optimizer, run.batch_size, run.source) == (
        base.optimizer,
        base.batch_size,
        base.source,
    )


@pytest.mark.parametrize(
    ("variant", "choice", "protocol"),
    [
        ("paper-skip-threshold-28", "skip_threshold", "authors"),
        ("paper-initial-scale-5", "initial_scale", "authors"),
        ("paper-plateau", "schedule", "authors"),
        ("authors-skip-threshold-1", "skip_threshold", "paper"),
        ("authors-initial-scale-by-density", "initial_scale", "paper"),
        ("authors-constant", "schedule", "paper"),
    ],
)
def test_a_published_variant_takes_its_choice_from_the_other_protocol(
    variant: str, choice: str, protocol: str
) -> None:
    settings = load_settings(PARAMS)
    found = settings.run(f"ablation/{variant}").protocol
    assert getattr(found, choice) == getattr(settings.protocols[protocol], choice)


def test_a_variant_decides_as_its_protocol_would_with_that_value(params: Params) -> None:
    file = params({"ablation.epochs": 100, f"{PAPER}.skip_threshold": 28})
    assert decisive(file, "ablation/paper-skip-threshold-28") == decisive(file, MLP_RUN)


def test_a_variant_is_decided_by_nothing_that_others_change(params: Params) -> None:
    name = "ablation/paper-plateau"
    before = decisive(PARAMS, name)
    others: dict[str, object] = {
        f"{THRESHOLD}.change": {"skip_threshold": 5},
        "ablation.seeds": 7,
        f"{RESIDUAL}.epochs": 200,
        "protocols.authors.initial_scale": 2,
    }
    assert decisive(params(others), name) == before
    assert (
        decisive(params({f"{VARIANT}.change": {"schedule": {"kind": "constant"}}}), name) != before
    )
    assert decisive(params({"ablation.epochs": 51}), name) != before


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            f"{THRESHOLD}.change",
            {"skip_threshold": -1},
            f"{THRESHOLD}.change.skip_threshold = -1: must be greater than or equal to 0",
        ),
        (
            f"{THRESHOLD}.change",
            {"skip_treshold": 1},
            f"{THRESHOLD}.change.skip_treshold: there is no such key; remove it or correct it",
        ),
        (
            f"{VARIANT}.change",
            {"schedule": {"kind": "cosine"}},
            f"{VARIANT}.change.schedule.kind = 'cosine': must be 'constant' or 'plateau'",
        ),
        (
            f"{VARIANT}.change",
            {},
            f"{VARIANT}.change = {{}}: must be one choice of a protocol, such as {{schedule: ...}}",
        ),
        (f"{VARIANT}.base", "ours", f"{VARIANT}.base = 'ours': must be authors or paper"),
        (f"{VARIANT}.base", Removed, f"{VARIANT}.base: is missing"),
        (f"{VARIANT}.seeds", 3, f"{VARIANT}.seeds: there is no such key; remove it or correct it"),
        ("ablation.epochs", 0, "ablation.epochs = 0: must be greater than or equal to 1"),
        ("ablation.seeds", -1, "ablation.seeds = -1: must be greater than or equal to 0"),
        ("ablation", Removed, "ablation: is missing"),
    ],
)
def test_a_mistake_in_the_ablation_is_named(
    params: Params, path: str, value: object, line: str
) -> None:
    assert complaint(params({path: value})).splitlines()[1:] == [f"  {line}"]


def test_a_variant_changes_no_two_choices(params: Params) -> None:
    both = {"skip_threshold": 28, "initial_scale": 5}
    assert "must be one choice of a protocol" in complaint(params({f"{VARIANT}.change": both}))


def test_the_ablation_is_of_a_perceptron(params: Params) -> None:
    message = complaint(params({"ablation.experiment": "densenet-fashion"}))
    assert "ablation.experiment = 'densenet-fashion': must be an experiment with" in message
    assert "residual-denoising" in message


@pytest.mark.parametrize("name", ["a/b", "..", "Upper", "a_b", "a--b", "-a", ""])
def test_a_variant_has_a_name_that_can_be_a_folder(params: Params, name: str) -> None:
    variant = {"base": "paper", "change": {"noise": "every-epoch"}}
    message = complaint(params({"ablation.variants": {name: variant}}))
    assert (
        f"must have names of small letters, digits and single hyphens, unlike {name!r}" in message
    )


def decisive(path: Path, name: str) -> dict[str, Any]:
    return load_settings(path).run(name).decisive()


OF_EVERY_RUN: dict[str, object] = {
    "data.source": "sample",
    "optimizer.learning_rate": 0.01,
    "optimizer.betas": [0.9, 0.99],
    "optimizer.eps": 1e-6,
    "optimizer.delta": 2.0,
    "batch_size": 64,
    f"{PAPER}.schedule": {"kind": "plateau"},
    f"{PAPER}.initial_scale": 5,
    f"{PAPER}.first_moment": "uncorrected",
    f"{PAPER}.held_out": 3000,
}
OF_THE_MLP: dict[str, object] = {
    f"{PAPER}.skip_threshold": 28,
    f"{PAPER}.noise": "every-epoch",
    f"{RESIDUAL}.dataset": "fashion-mnist",
    f"{RESIDUAL}.skips": False,
    f"{RESIDUAL}.mu": 0.08,
    f"{RESIDUAL}.density": 0.02,
    f"{RESIDUAL}.depth": 5,
    f"{RESIDUAL}.noise_std": 0.1,
    f"{RESIDUAL}.blur": {"size": 9, "std": 5.0},
    f"{RESIDUAL}.input_mean": 0.0,
    f"{RESIDUAL}.input_std": 1.0,
    f"{RESIDUAL}.epochs": 50,
}
OF_THE_DENSENET: dict[str, object] = {
    f"{PAPER}.logits": "relu",
    f"{DENSENET}.dataset": "mnist",
    f"{DENSENET}.mu": 0.06,
    f"{DENSENET}.density": 0.04,
    f"{DENSENET}.depth": 4,
    f"{DENSENET}.growth": 6,
    f"{DENSENET}.input_mean": 0.0,
    f"{DENSENET}.input_std": 1.0,
    f"{DENSENET}.epochs": 50,
}
OF_NEITHER: dict[str, object] = {
    f"seeds.{MLP_RUN}": 3,
    f"seeds.{DENSENET_RUN}": 5,
    "experiments.residual-deblurring.mu": 0.2,
    "protocols.authors.held_out": 5000,
}


@pytest.mark.parametrize(
    ("path", "value"), (OF_EVERY_RUN | OF_THE_MLP | OF_THE_DENSENET | OF_NEITHER).items()
)
def test_what_decides_a_seed_changes_with_what_matters_and_with_nothing_else(
    params: Params, path: str, value: object
) -> None:
    listed: dict[str, object] = {f"seeds.{MLP_RUN}": 1, f"seeds.{DENSENET_RUN}": 1}
    before = load_settings(params(listed))
    after = load_settings(params({**listed, path: value}))
    mlp_changed, densenet_changed = (
        before.run(name).decisive() != after.run(name).decisive()
        for name in (MLP_RUN, DENSENET_RUN)
    )
    assert mlp_changed == (path in OF_EVERY_RUN | OF_THE_MLP)
    assert densenet_changed == (path in OF_EVERY_RUN | OF_THE_DENSENET)


def test_every_key_of_a_run_was_put_to_that_test(published: dict[str, Any]) -> None:
    tried = set(OF_EVERY_RUN | OF_THE_MLP | OF_THE_DENSENET | OF_NEITHER)
    for block in ("data", "optimizer", PAPER, RESIDUAL, DENSENET):
        node = published
        for key in block.split("."):
            node = node[key]
        keys = {f"{block}.{key}" for key in node} - {f"{block}.network"}
        assert keys <= tried


def test_how_a_number_is_written_decides_nothing(params: Params) -> None:
    file = params({"optimizer.delta": 1, f"{RESIDUAL}.input_std": 1})
    other = params({"optimizer.delta": 1.0, f"{RESIDUAL}.input_std": 1.0})
    assert decisive(file, MLP_RUN) == decisive(other, MLP_RUN)


def test_a_renamed_experiment_keeps_what_decides(params: Params, published: dict[str, Any]) -> None:
    renamed = published["experiments"]["residual-denoising"]
    file = params({"experiments.renamed": renamed, "seeds.paper-renamed": 1})
    assert decisive(file, "paper-renamed") == decisive(PARAMS, MLP_RUN)


def test_what_decides_is_plain_json() -> None:
    content = decisive(PARAMS, MLP_RUN)
    assert json.loads(json.dumps(content)) == content


@pytest.mark.parametrize("key", ["? [1, 2]\n: 3", "~: 3", "7: 3", "experiments: {true: 3}"])
def test_keys_that_are_not_words_are_named(tmp_path: Path, key: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(f"{key}\n", "utf-8")
    named = {"? [1": "(1, 2)", "~: 3": "None", "7: 3": "7"}.get(key[:4], "experiments.True")
    with pytest.raises(SettingsError, match=f"keys that are not words: {re.escape(named)}$"):
        load_settings(file)


@pytest.mark.parametrize("block", ["protocols", "experiments"])
def test_names_of_runs_are_fit_for_folders(
    params: Params, published: dict[str, Any], block: str
) -> None:
    renamed = dict.fromkeys(["../x"], next(iter(published[block].values())))
    with pytest.raises(SettingsError, match=f"{block} = .*unlike '../x'"):
        load_settings(params({block: {**published[block], **renamed}}))
