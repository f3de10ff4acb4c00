"""dvc.yaml against the code: each stage depends on what decides its numbers, and on no more."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bregman_nas.demo import _shrink
from bregman_nas.report.figures import FIGURES
from bregman_nas.search.digest import ROOTS, used_modules
from bregman_nas.settings import load_settings
from tests.helpers import PROJECT

SEARCHES = {"search": ("mlp", "densenet"), "first-steps": ("densenet",)}
SETTINGS = load_settings(PROJECT / "params.yaml")
PIPELINE: dict[str, Any] = YAML(typ="safe", pure=True).load(PROJECT / "dvc.yaml")
# The runs that change nothing.
OWN = [name for name, row in SETTINGS.runs.items() if row.seeds and not (row.change or row.epochs)]
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE["stages"].items()}


@pytest.mark.parametrize("stage", SEARCHES)
def test_a_search_depends_on_all_code_of_its_digest(stage: str) -> None:
    roots = [root for network in SEARCHES[stage] for root in ROOTS[network]]
    if stage == "search":
        roots += ROOTS["lockstep"]
    modules = used_modules(roots).keys() - {"bregman_nas.data.idx"}  # of `prepare`, before
    files = {Path("src", *module.split(".")).with_suffix(".py") for module in modules}
    deps = {Path(dep) for dep in STAGES[stage]["deps"]}
    assert [file for file in files if not deps & {file, *file.parents}] == []
    assert Path("data/manifest.json") in deps


def test_every_run_is_a_search_that_depends_on_its_own_settings() -> None:
    assert PIPELINE["stages"]["search"]["foreach"] == "${runs}"
    search = STAGES["search"]
    own = {"protocols.${item.protocol}", "experiments.${item.experiment}", "runs.${key}"}
    assert set(search["params"]) == {"data", "optimizer", "batch_size", *own}
    made = {path for kind in ("metrics", "outs") for entry in search[kind] for path in entry}
    names = ("metrics.json", "seeds.csv", "history.csv")
    assert made == {f"results/runs/${{key}}/{name}" for name in names}


def test_outputs_are_kept_out_of_the_cache_and_dependencies_are_there_or_are_made() -> None:
    kinds = ("outs", "metrics", "plots")
    entries = [x for stage in STAGES.values() for kind in kinds for x in stage.get(kind, [])]
    assert [x for x in entries if isinstance(x, str)] == [], "they would go to DVC's cache"
    made = {path: options for entry in entries for path, options in entry.items()}
    assert all(options["cache"] is False for options in made.values())
    for name, stage in STAGES.items():
        for path in stage["deps"]:
            path = path.replace("${item.of}", "${key}")  # an arm depends on its run
            assert path in made or (PROJECT / path).exists(), f"{name}: {path}"


@pytest.mark.parametrize("name", ["aggregate", "figures", "page", "paper"])
def test_what_is_shown_depends_on_all_runs(name: str) -> None:
    assert {"results/runs", "results"} & set(STAGES[name]["deps"])


def test_learning_curves_are_of_the_runs_that_change_nothing() -> None:
    (plot,) = (entry for entry in PIPELINE["plots"] if "Learning curves" in entry)
    files = [f"results/runs/{name}/history.csv" for name in OWN]
    assert sorted(plot["Learning curves"]["y"]) == sorted(files)


def test_the_demo_is_the_study_in_small(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text((PROJECT / "params.yaml").read_text("utf-8"), "utf-8")
    _shrink(params)
    demo = load_settings(params)
    assert {*OWN} <= demo.runs.keys()
    assert 0 < len(demo.runs.keys() - {*OWN}) < 5
    assert demo.arms
    runs = [demo.run(name) for name in demo.names]
    assert all(0 < len(run.seeds) <= 2 and run.source == "sample" for run in runs)
    assert sum(len(run.seeds) * run.experiment.epochs for run in runs) < 500


def test_plots_use_the_templates_of_the_repository_and_show_all_figures() -> None:
    stages = PIPELINE["stages"].values()
    entries = [*PIPELINE["plots"], *(plot for stage in stages for plot in stage.get("plots", []))]
    drawn = [options for entry in entries if isinstance(entry, dict) for options in entry.values()]
    ours = {path.stem for path in (PROJECT / ".dvc" / "plots").glob("*.json")}
    assert {options["template"] for options in drawn} == ours
    pictures = [entry for entry in entries if isinstance(entry, str)]
    assert pictures == [f"figures/{name}.png" for name in FIGURES]
