"""The bench by hand where it calculates, and on the sample where it measures."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bregman_nas.bench import Stretch, _whole, measure, report, write
from bregman_nas.search.seed import Job, search_seed


def test_steps_between_two_moments_lie_on_a_line_and_stay_after_the_last() -> None:
    stretches = [Stretch(0, 3.0, 8.0, 2.0, 1), Stretch(2, 1.0, 8.0, 0.5, 1)]
    # In the middles of epochs 1 to 4: 2.5, 1.5, 1, 1.
    assert _whole(stretches, "compact", 4) == pytest.approx(6.0)
    assert _whole(stretches, "products", 4) == pytest.approx(1.625 + 0.875 + 0.5 + 0.5)
    assert _whole(stretches, "textbook", 4) == pytest.approx(32.0)


@pytest.mark.parametrize("run", ["paper-autoencoder", "authors-densenet"])
def test_measures_early_and_late_moments(
    job_in: Callable[..., Job], project: Path, run: str
) -> None:
    job = job_in(project, run)
    without = measure(job.run, project, last_trained=1)
    assert [stretch["epoch"] for stretch in without["stretches"]] == [0, 1]

    record = search_seed(job)
    measured = measure(job.run, project, last_trained=1)

    assert [stretch["epoch"] for stretch in measured["stretches"]] == [0, 1, 3]
    result = record["result"]
    active = sum(result["active_rows" if "active_rows" in result else "active_kernels"])
    assert measured["stretches"][-1]["active"] == active
    assert 0 < measured["seconds"]["products"] < measured["seconds"]["compact"]
    assert measured["throughput"] > 0
    assert 0 < measured["checkpoint_seconds"] < 60
    assert not list((project / "checkpoints").glob("tmp*"))
    assert f"| {run} | 0 |" in report([measured])


def test_keeps_what_was_measured_of_other_searches(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    write(
        [{"run": "a", "seed": 0, "ratio": 1.0}, {"run": "a", "seed": 3}],
        {"help": 0.1},
        tmp_path,
        0.0,
    )
    path = write([{"run": "a", "seed": 0, "ratio": 2.0}], {"help": 0.2}, tmp_path, 0.5)
    content = json.loads(path.read_text("utf-8"))
    assert content["runs"] == [{"run": "a", "seed": 0, "ratio": 2.0}, {"run": "a", "seed": 3}]
    assert content["start_up_seconds"] == {"help": 0.2}
    assert content["load_before"] == 0.5

    path.write_text(json.dumps({**content, "host": "another machine"}), "utf-8")
    write([{"run": "b", "seed": 0}], {"help": 0.2}, tmp_path, 0.0)
    assert json.loads(path.read_text("utf-8"))["runs"] == [{"run": "b", "seed": 0}]
