"""dvc.yaml against the code: each stage depends on what decides its numbers, and on no more."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bregman_nas.search.digest import LOCKSTEP, SOURCES
from bregman_nas.settings import Settings, load_settings

PROJECT = Path(__file__).resolve().parents[1]
STAGES = {"search-mnist": "mlp", "search-fashion": "densenet"}
SEARCHES = {**STAGES, "search-ablation": "mlp"}


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    content = YAML(typ="safe", pure=True).load((PROJECT / "dvc.yaml").read_text("utf-8"))
    found: dict[str, Any] = content
    return found


@pytest.fixture(scope="module")
def stages(pipeline: dict[str, Any]) -> dict[str, Any]:
    return {name: stage.get("do", stage) for name, stage in pipeline["stages"].items()}


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(PROJECT / "params.yaml")


def runs(stage: dict[str, Any]) -> list[tuple[str, str]]:
    matrix = stage["matrix"]
    return [(p, e) for p in matrix["protocol"] for e in matrix["experiment"]]


@pytest.mark.parametrize(("stage", "network"), SEARCHES.items())
def test_a_search_depends_on_the_modules_of_its_digest(
    stages: dict[str, Any], stage: str, network: str
) -> None:
    modules = {f"src/bregman_nas/{source}" for source in (*SOURCES[network], LOCKSTEP)}
    others = {"data/manifest.json", "src/bregman_nas/search/results.py"}
    assert sorted(stages[stage]["deps"]) == sorted(modules | others)


def test_the_search_stages_are_the_runs_that_have_seeds(
    stages: dict[str, Any], settings: Settings
) -> None:
    names = [f"{p}-{e}" for stage in STAGES for p, e in runs(stages[stage])]
    assert sorted(names) == sorted(settings.seeds)


def test_the_first_steps_are_those_of_the_searches_with_the_densenet(
    stages: dict[str, Any],
) -> None:
    stage, search = stages["first-steps"], stages["search-fashion"]
    assert stage["matrix"] == search["matrix"]
    modules = {f"src/bregman_nas/{source}" for source in SOURCES["densenet"]}
    own = {"data/manifest.json", "src/bregman_nas/search/first_steps.py"}
    assert sorted(stage["deps"]) == sorted(modules | own)
    assert stage["params"] == [*search["params"], "first_steps"]
    for protocol, experiment in runs(stage):
        made = f"results/{protocol}-{experiment}/first_steps.csv"
        assert all(made in stages[name]["deps"] for name in ("figures", "paper"))


@pytest.mark.parametrize(("stage", "network"), STAGES.items())
def test_each_search_is_of_the_network_of_its_stage(
    stages: dict[str, Any], settings: Settings, stage: str, network: str
) -> None:
    for _, experiment in runs(stages[stage]):
        assert settings.experiments[experiment].network == network


@pytest.mark.parametrize("stage", STAGES)
def test_a_search_depends_on_the_settings_of_its_own_run(
    stages: dict[str, Any], stage: str
) -> None:
    own = ["protocols.{p}", "experiments.{e}", "seeds.{p}-{e}"]
    expected = {"data", "optimizer", "batch_size", *own}
    short = {"${item.protocol}": "{p}", "${item.experiment}": "{e}"}
    found = set()
    for name in stages[stage]["params"]:
        for long, letter in short.items():
            name = name.replace(long, letter)
        found.add(name)
    assert found == expected


def test_a_variant_depends_on_its_own_settings(stages: dict[str, Any]) -> None:
    assert set(stages["search-ablation"]["params"]) == {
        "data",
        "optimizer",
        "batch_size",
        "protocols.${item.base}",
        "experiments.${ablation.experiment}",
        "ablation.experiment",
        "ablation.epochs",
        "ablation.seeds",
        "ablation.variants.${key}",
    }


def test_the_ablation_is_compared_with_the_runs_of_its_protocols(
    stages: dict[str, Any], settings: Settings
) -> None:
    ablation = settings.ablation
    for base in {variant.base for variant in ablation.variants.values()}:
        assert f"{base}-{ablation.experiment}" in settings.seeds
        assert f"results/{base}-${{ablation.experiment}}/history.csv" in stages["ablation"]["deps"]


def test_each_stage_of_the_ablation_names_its_own_results(stages: dict[str, Any]) -> None:
    stage = stages["search-ablation"]
    assert stage["cmd"] == "bregman-nas search ablation/${key}"
    declared = {path for kind in ("metrics", "plots") for entry in stage[kind] for path in entry}
    names = ("metrics.json", "seeds.csv", "history.csv")
    assert declared == {f"results/ablation/${{key}}/{name}" for name in names}
    assert "results/ablation" in stages["ablation"]["deps"]


def test_what_is_in_git_is_kept_out_of_the_cache(stages: dict[str, Any]) -> None:
    for name, stage in stages.items():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):
                assert isinstance(entry, dict), f"{name}: {entry} would go to DVC's cache"
                ((path, options),) = entry.items()
                assert options["cache"] is False, f"{name}: {path}"


def test_every_file_that_a_stage_depends_on_is_there(stages: dict[str, Any]) -> None:
    made = {"data/manifest.json"}
    for stage in stages.values():
        for path in stage.get("deps", []):
            assert (
                "${" in path
                or path in made
                or path.startswith("results/")
                or (PROJECT / path).exists()
            ), path


@pytest.mark.parametrize("name", ["aggregate", "figures", "paper"])
def test_what_is_shown_depends_on_all_runs(
    stages: dict[str, Any], settings: Settings, name: str
) -> None:
    files = {f"results/{run}/{kind}.csv" for run in settings.seeds for kind in ("seeds", "history")}
    assert files <= set(stages[name]["deps"])


def test_the_article_depends_on_the_figures_and_tables(stages: dict[str, Any]) -> None:
    text = (PROJECT / "paper" / "study.typ").read_text("utf-8")
    figures = {f"figures/figure{number}.pdf" for number in re.findall(r"#drawn\((\d+)", text)}
    assert figures <= {path for entry in stages["figures"]["outs"] for path in entry}
    assert {*figures, "results/claims.json", "results/table1.json"} <= set(stages["paper"]["deps"])


def test_learning_curves_are_of_all_runs(pipeline: dict[str, Any], settings: Settings) -> None:
    (plot,) = (entry for entry in pipeline["plots"] if "Learning curves" in entry)
    files = [f"results/{run}/history.csv" for run in settings.seeds]
    assert sorted(plot["Learning curves"]["y"]) == sorted(files)


def test_templates_of_plots_are_built_in_or_in_the_repository(pipeline: dict[str, Any]) -> None:
    entries = [
        *pipeline["plots"],
        *(p for s in pipeline["stages"].values() for p in s.get("plots", [])),
    ]
    templates = {options.get("template") for entry in entries for options in entry.values()}
    ours = {path.stem for path in (PROJECT / ".dvc" / "plots").glob("*.json")}
    assert ours <= templates <= {*ours, "scatter", None}
