"""The bench by hand where it calculates, and on the sample where it measures."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bregman_nas import bench_lockstep
from bregman_nas.bench import as_markdown, measure, measure_runs, whole
from bregman_nas.search.seed import Job, search_seed

JobIn = Callable[..., Job]
PROJECT = Path(__file__).resolve().parents[1]


def test_steps_between_two_moments_lie_on_a_line_and_stay_after_the_last() -> None:
    stretches = [{"epoch": 0, "compact": 3.0}, {"epoch": 2, "compact": 1.0}]
    # In the middles of epochs 1 to 4: 2.5, 1.5, 1, 1.
    assert whole(stretches, "compact", 4) == pytest.approx(6.0)


@pytest.mark.parametrize("run", ["paper-autoencoder", "authors-densenet"])
def test_measures_early_moments_and_the_finished_network(
    job_in: JobIn, project: Path, run: str
) -> None:
    job = job_in(project, run)
    result = search_seed(job)["result"]
    measured = measure(job.run, project, last_trained=1, seed=0)
    assert [stretch["epoch"] for stretch in measured["stretches"]] == [0, 1, 3]
    active = sum(result["active_rows" if "active_rows" in result else "active_kernels"])
    assert measured["stretches"][-1]["active"] == active
    assert measured["ratio"] == measured["seconds"]["textbook"] / measured["seconds"]["compact"]


def test_keeps_what_was_measured_of_other_searches(
    job_in: JobIn, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = {"epoch": 0, "compact": 0.005, "textbook": 0.04}
    seconds = {"compact": 60.0, "textbook": 240.0}

    def measured(run: object, _: object, __: object, seed: int) -> dict[str, object]:
        name = run.name  # type: ignore[attr-defined]
        return {"run": name, "seed": seed, "seconds": seconds, "ratio": 4.0, "stretches": [step]}

    monkeypatch.setattr("bregman_nas.bench.measure", measured)
    run = job_in(project).run
    for seed in (3, 0):
        path = measure_runs([run], project, 0, seed)
    content = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert [one["seed"] for one in content["runs"]] == [0, 3]
    line = "| 4 min | 1.0 min | 4.0 | 40, 5.0 ms | 40, 5.0 ms (after 0 epochs) |"
    assert path.read_text("utf-8").count(line) == 2


def test_the_committed_table_is_of_the_committed_numbers() -> None:
    path = PROJECT / "results" / "bench.json"
    content = json.loads(path.read_text("utf-8"))
    assert path.with_suffix(".md").read_text("utf-8") == as_markdown(content)


@pytest.mark.parametrize("run", ["paper-autoencoder", "authors-densenet"])
def test_lockstep_is_measured(project: Path, job_in: JobIn, run: str) -> None:
    one = bench_lockstep.measure(job_in(project, run).run, project, "cpu", seeds=2)
    assert one["ratio"] == 2 * one["alone"] / one["step"] > 0
