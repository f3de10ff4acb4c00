"""Records: reused only where they still hold, readable, and shared by two processes."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import filelock
import pytest
import torch

from bregman_nas.data import files
from bregman_nas.errors import UserError
from bregman_nas.search import records
from bregman_nas.search import seed as seed_module
from bregman_nas.search.digest import CODE, digests
from bregman_nas.search.job import Job
from bregman_nas.search.records import (
    Record,
    active_groups,
    checksum,
    device_of,
    digest_of,
    fault_of,
    read_record,
    unpack,
    weights_digest,
    whole_digest,
    write_record,
)
from bregman_nas.search.seed import devices, search_seed
from bregman_nas.settings import Run, load_settings
from tests.helpers import job_in, new_project, wait_until

Patch = pytest.MonkeyPatch

RUN = load_settings(Path(__file__).resolve().parents[2] / "params.yaml").run(
    "paper-residual-denoising"
)
DATA = {"images": "d"}
CODES = {"mlp": "c", "lockstep": "l"}
EDITED = "was edited: its numbers do not match its checksum"
RESULT = {"test_mse": 0.25}
HISTORY = [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25}]


def a_record(
    seed: int = 13, digests: dict[str, str] | None = None, made: Run = RUN, **parts: Any
) -> Record:
    """A record of the run that is valid, except for the parts that are given."""
    settings = made.decisive()
    own = {"settings": digest_of(settings), "data": digest_of(DATA), "code": "c"} | (digests or {})
    record: dict[str, Any] = {
        "run": made.name,
        "seed": seed,
        "digests": {"all": whole_digest(own, seed), **own},
        "settings": settings,
        "data": DATA,
        "checksum": checksum(RESULT, HISTORY),
        "result": RESULT,
        "provenance": {"engine": "compact"},
        "history": HISTORY,
    }
    return cast(Record, record | parts)


def messages_of(job: Job) -> list[str]:
    note = json.loads((job.workspace / "progress.json").read_text("utf-8"))
    messages: list[str] = note["messages"]
    return messages


def test_a_record_is_json_with_one_line_for_each_epoch(tmp_path: Path) -> None:
    path = tmp_path / "records" / "seed-13.json"
    write_record(path, a_record())
    text = path.read_text("utf-8")
    assert json.loads(text) == read_record(path) == a_record()
    lines = text.splitlines()
    assert lines[-4:-2] == [
        '  {"epoch": 1, "train_loss": 0.5},',
        '  {"epoch": 2, "train_loss": 0.25}',
    ]
    assert len(lines) == len(a_record()) + len(HISTORY) + 3


STALE: dict[str, list[dict[str, Any]]] = {
    "the settings": [{"digests": {"settings": "t"}}, {"settings": {"mu": 1}}],
    "the data": [{"digests": {"data": "e"}}],
    "the code": [{"digests": {"code": "x"}}],
    "the code for lockstep": [{"digests": {"lockstep": "m"}}],
    "the settings and the code": [{"digests": {"settings": "t", "code": "x"}}],
}
OTHER = "not of seed 13 of paper-residual-denoising"
FAULTS: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"digests": {"lockstep": "l"}}, None),
    ({"digests": {"all": "0"}}, "has digests that do not belong together"),
    *((parts, f"is stale: {w} changed since") for w, changed in STALE.items() for parts in changed),
    ({"seed": 4}, f"is of seed 4 of {RUN.name}, {OTHER}"),
    ({"run": "other"}, f"is of seed 13 of other, {OTHER}"),
    ({"result": {"test_mse": 1e-9}}, EDITED),
    ({"result": {"test_mse": "text"}}, EDITED),
    ({"result": {"test_mse": math.nan}}, EDITED),
    ({"history": HISTORY[:1]}, EDITED),
    ({"checksum": ""}, EDITED),
]


@pytest.mark.parametrize(("parts", "fault"), FAULTS)
def test_a_record_that_does_not_hold_says_why(parts: dict[str, Any], fault: str | None) -> None:
    assert fault_of(a_record(**parts), RUN, 13, DATA, CODES) == fault


def test_code_that_was_accepted_leaves_a_record_as_it_is(monkeypatch: Patch) -> None:
    pairs = (("mlp", "c"), ("mlp", "d"), ("densenet", "e"))
    entries = [{"kind": kind, "code": code} for kind, code in pairs]
    monkeypatch.setattr(records, "accepted", lambda: entries)
    stale = "is stale: the code changed since"
    for now, fault in (("c", None), ("d", None), ("e", stale), ("f", stale)):
        assert fault_of(a_record(), RUN, 13, DATA, {**CODES, "mlp": now}) == fault
    assert fault_of(a_record(), RUN, 13, DATA) is None, "the report asks for no code"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({**a_record(), "seed": "3"}).encode(),
        b"<<<<<<< HEAD\n{}\n",
    ],
)
def test_what_is_no_record_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "seed-03.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"seed-03\.json is not a record: "):
        read_record(path)


def test_active_groups_are_packed_bit_by_bit() -> None:
    layers = torch.nn.Linear(3, 11), torch.nn.Conv2d(2, 3, 3)
    network = torch.nn.Sequential(*layers)
    linear, conv = (layer.weight for layer in layers)
    with torch.no_grad():
        linear.zero_()
        conv.zero_()
        linear[0, 2] = linear[9, 0] = 1.0
        conv[1, 0, 2, 2] = 1.0
    groups = active_groups(network)
    assert groups == {
        "0.weight": {"shape": [11], "active": "8040"},
        "1.weight": {"shape": [3, 2], "active": "20"},
    }
    assert unpack(groups["0.weight"]).nonzero()[0].tolist() == [0, 9]
    assert unpack(groups["1.weight"]).tolist() == [[False, False], [True, False], [False, False]]


def write_for(job: Job) -> Record:
    """Write a small record that is valid, as if the seed had been searched."""
    data = files.sha256(job.run.experiment.dataset, job.run.source, job.project)
    where = {"engine": job.engine, "host": {"device": job.device}}
    record = a_record(job.seed, digests(job.run, job.seed, data), job.run, provenance=where)
    write_record(job.record, record)
    return record


@pytest.fixture
def searches(monkeypatch: Patch) -> list[int]:
    """The seeds that are really searched; instead of the search a small record is written."""
    seeds: list[int] = []

    def instead(group: Any, records: dict[int, Record]) -> None:
        for seed in group:
            seeds.append(seed.job.seed)
            records[seed.job.seed] = write_for(seed.job)

    monkeypatch.setattr(seed_module, "_search", instead)
    return seeds


def test_a_finished_seed_is_not_searched_again_and_needs_no_images(
    project: Path, searches: list[int], monkeypatch: Patch
) -> None:
    first = search_seed(job_in(project))
    monkeypatch.setattr(files, "load", None)
    for engine in ("compact", "textbook"):
        assert search_seed(job_in(project, engine=engine)) == first
    assert devices([job_in(project)]) == {0: device_of(first)}
    assert searches == [0]
    assert messages_of(job_in(project)) == []
    search_seed(job_in(project, seed=1))
    assert searches == [0, 1]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("settings", "seed-00.json is stale: the settings changed since; the seed runs again"),
        ("code", "is stale: the code changed since"),
        ("data", "is stale: the data changed since"),
        ("conflict", "is not a record"),
        ("no result", EDITED),
    ],
)
def test_a_record_that_does_not_hold_is_replaced_by_a_new_search(
    project: Path, searches: list[int], monkeypatch: Patch, fault: str, reason: str
) -> None:
    job = job_in(project)
    search_seed(job)
    if fault == "settings":
        job = replace(job, run=job.run.model_copy(update={"batch_size": 8}))
    elif fault == "code":
        monkeypatch.setitem(CODE, "mlp", "another")
    elif fault == "data":
        others = dict.fromkeys(files.FILES, "0" * 64)
        monkeypatch.setattr(files, "sha256", lambda *_: others)
    else:
        content = json.dumps({**read_record(job.record), "result": {}})
        job.record.write_text("<<<<<<<" if fault == "conflict" else content, "utf-8")
    record = search_seed(job)
    assert read_record(job.record) == record
    assert searches == [0, 0]
    assert reason in messages_of(job)[-1]


def test_a_stale_record_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    write_for(job_in(new_project(tmp_path)))
    job = job_in(new_project(tmp_path, {"batch_size": 8}))
    before = job.record.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "write_record", interrupt)
    with pytest.raises(KeyboardInterrupt):
        search_seed(job)
    assert job.record.read_bytes() == before


def test_a_record_of_a_search_says_what_it_is(project: Path) -> None:
    job = job_in(project)
    record = search_seed(job)
    text = job.record.read_text("utf-8")
    assert json.loads(text) == read_record(job.record) == record
    assert sum(line.startswith('  {"epoch"') for line in text.splitlines()) == 3
    assert (record["run"], record["seed"]) == (job.run.name, 0)
    assert record["settings"] == job.run.decisive()
    assert record["checksum"] == checksum(record["result"], record["history"])
    widths = [int(unpack(group).sum()) for group in record["active_groups"].values()]
    assert widths == record["result"]["active_rows"]
    assert record["network"] == weights_digest(torch.load(job.network, weights_only=True))
    made = record["provenance"]
    assert set(made["versions"]) == {"bregman-nas", "torch", "numpy", "python"}
    assert set(made["host"]) == {"system", "processor", "cores", "device"}
    assert made["seconds"] > 0
    assert job.picture.read_bytes().startswith(b"\x89PNG")
    assert not list(job.workspace.glob("*.ckpt"))
    assert str(project) not in text, "a record has no paths"


def test_the_second_process_on_a_seed_waits_and_takes_the_record_of_the_first(
    project: Path,
    start: Callable[[Job], BaseProcess],
) -> None:
    job = job_in(project)
    lock = filelock.FileLock(job.workspace / "lock")
    job.workspace.mkdir(parents=True)
    with lock:
        second = start(job)
        waits = "another process is searching this seed; waiting for its record"
        wait_until(lambda: (job.workspace / "progress.json").exists(), "the second began")
        wait_until(lambda: messages_of(job) == [waits], "the second said that it waits")
        written = write_for(job)
    second.join(60)
    assert second.exitcode == 0
    note = json.loads((job.workspace / "progress.json").read_text("utf-8"))
    assert "taken from its record" in note["state"]
    assert read_record(job.record) == written
