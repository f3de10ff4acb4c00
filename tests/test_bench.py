"""The bench by hand where it calculates, and on the sample where it measures."""

import json
from pathlib import Path

import pytest

from bregman_nas.bench import measure, measure_lockstep, measure_runs, whole_search
from bregman_nas.report.render import render
from bregman_nas.search.seed import search_seed
from tests.helpers import PROJECT, job_in


def test_steps_are_interpolated_between_moments_and_constant_after_the_last() -> None:
    # In the middles of epochs 1 to 4: 2.5, 1.5, 1, 1.
    assert whole_search({0: [3.0], 2: [1.0]}, 4) == pytest.approx([6.0])


@pytest.mark.parametrize("run", ["paper-autoencoder", "authors-densenet"])
def test_early_moments_the_finished_network_and_lockstep_are_measured(
    project: Path, run: str
) -> None:
    job = job_in(project, run)
    search_seed(job)
    measured = measure(job.run, project, last_trained=1, seed=0)
    assert min(measured["seconds"][engine] for engine in ("compact", "textbook")) > 0
    assert min(measure_lockstep(job.run, project, "cpu", seeds=2)) > 0


def test_keeps_what_was_measured_of_other_searches(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"compact": 60.0, "textbook": 240.0}

    def measured(run: object, _: object, __: object, seed: int) -> dict[str, object]:
        return {"run": run.name, "seed": seed, "seconds": seconds}  # type: ignore[attr-defined]

    monkeypatch.setattr("bregman_nas.bench.measure", measured)
    run = job_in(project).run
    for seed in (3, 0):
        path = measure_runs([run], project, 0, seed)
    content = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert [one["seed"] for one in content["runs"]] == [0, 3]
    assert path.read_text("utf-8").count("| 4 | 1.0 | 4.0 |") == 2


def test_the_committed_table_is_of_the_committed_numbers() -> None:
    path = PROJECT / "results" / "bench.json"
    content = json.loads(path.read_text("utf-8"))
    assert path.with_suffix(".md").read_text("utf-8") == render("bench.md.j2", **content)
