"""The measurement of seeds in lockstep: its parts by hand, and a tiny one as a whole."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bregman_nas import bench_lockstep, cli
from bregman_nas.bench_lockstep import copy_bandwidth, measure, traffic_bytes
from bregman_nas.search.seed import Job

JobIn = Callable[..., Job]


@pytest.fixture(autouse=True)
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_lockstep, "COPIED_BYTES", 2**20)


def test_memory_traffic_by_hand() -> None:
    network = torch.nn.Linear(3, 2)  # 8 numbers of 4 bytes
    assert traffic_bytes(network, seeds=10) == 8 * 4 * 10 * 10
    assert traffic_bytes(network.double(), seeds=1) == 8 * 8 * 10


def test_a_copy_is_neither_for_nothing_nor_forever() -> None:
    assert 1e8 < copy_bandwidth("cpu") < 1e13


@pytest.mark.parametrize("run", ["paper-autoencoder", "authors-densenet"])
def test_a_measurement_on_the_cpu(project: Path, job_in: JobIn, run: str) -> None:
    one = measure(job_in(project, run).run, project, "cpu", seeds=2)
    assert (one["seeds"], one["epochs"], one["steps_per_epoch"]) == (2, 3, 63)
    assert one["steps_measured"] == 4
    assert one["seconds"] > 3 * 63 * one["seconds_per_step"]
    assert one["ratio"] == 2 * one["seconds_per_step_alone"] / one["seconds_per_step"]
    floor = one["traffic_bytes_per_step"] / one["copy_bytes_per_second"]
    assert one["floor_share"] == pytest.approx(floor / one["seconds_per_step"])
    assert one["peak_memory_mib"] > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="what is said where there is no GPU")
def test_without_a_gpu_the_command_says_so_and_measures_the_cpu(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["--project", str(project), "bench", "authors-densenet", "--lockstep"]) == 0
    out = capsys.readouterr().out
    assert "There is no CUDA device: lockstep is measured on the CPU" in out
    assert "| authors-densenet | 10 x 3 |" in out
    content = json.loads((project / "build" / "bench-lockstep.json").read_text("utf-8"))
    assert content["host"]["device"] == "cpu"
    assert [one["run"] for one in content["runs"]] == ["authors-densenet"]
