"""The bench by hand where it calculates, and on the sample where it measures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    table = write([measured], {"help": 0.25}, project, 0.0).with_suffix(".md").read_text("utf-8")
    assert f"\n{report([measured])}\n\n- `help`: 0.25 s\n" in table


def measured_of(run: str, seed: int, ratio: float = 2.0) -> dict[str, Any]:
    """What `measure` returns, as far as it is written about."""
    stretch = {"epoch": 0, "textbook": 0.04, "compact": 0.02}
    return {
        "run": run,
        "seed": seed,
        "ratio": ratio,
        "ratio_bound": 3.0,
        "seconds": {"textbook": 1200.0, "compact": 600.0},
        "stretches": [stretch, {**stretch, "epoch": 30, "compact": 0.005}],
        "workers": 2,
        "throughput": 1.9,
        "peak_memory_mib": 1000.0,
        "checkpoint_seconds": 0.12,
    }


def test_keeps_what_was_measured_of_other_searches(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    first, other = measured_of("a", 0), measured_of("a", 3)
    write([first, other], {"help": 0.1}, tmp_path, 0.0)
    again = measured_of("a", 0, ratio=4.0)
    path = write([again], {"help": 0.2}, tmp_path, 0.5)
    content = json.loads(path.read_text("utf-8"))
    assert content["runs"] == [again, other]
    assert content["start_up_seconds"] == {"help": 0.2}
    assert content["load_before"] == 0.5
    table = path.with_suffix(".md").read_text("utf-8")
    assert (
        "| a | 0 | 20 min | 10.0 min | 4.0 | 3.0 | 40 \N{RIGHTWARDS ARROW} 20.0 ms "
        "| 40 \N{RIGHTWARDS ARROW} 5.0 ms (after 30) | 2 | 1.90 | 1.05 GB | 0.2% |"
    ) in table

    path.write_text(json.dumps({**content, "host": "another machine"}), "utf-8")
    write([measured_of("b", 0)], {"help": 0.2}, tmp_path, 0.0)
    assert json.loads(path.read_text("utf-8"))["runs"] == [measured_of("b", 0)]
