"""Records: reused only where they still hold, readable, and shared by two processes."""

import json
import math
from collections import defaultdict
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import filelock
import pytest
import torch

from bregman_nas.data import files
from bregman_nas.errors import UserError
from bregman_nas.search import accepted
from bregman_nas.search import seed as seed_module
from bregman_nas.search.digest import digests
from bregman_nas.search.job import Job
from bregman_nas.search.outcome import active_groups, weights_digest
from bregman_nas.search.records import (
    Record,
    checksum,
    device_of,
    digest_of,
    fault_of,
    read_record,
    reusable_record,
    unpack,
    whole_digest,
    write_record,
)
from bregman_nas.search.seed import devices, search_seed
from bregman_nas.settings import load_settings

JobIn = Callable[..., Job]
Start = Callable[[Job], BaseProcess]
NewProject = Callable[..., Path]
WaitUntil = Callable[..., None]

RUN = load_settings(Path(__file__).resolve().parents[2] / "params.yaml").run(
    "paper-residual-denoising"
)
DATA = {"images": "d"}
CODE = {"code": "c", "lockstep": "l"}
EDITED = "was edited: its numbers do not match its checksum"
RESULT = {"test_mse": 0.25}
HISTORY = [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25}]


def a_record(seed: int = 3, lockstep: str | None = None, **parts: Any) -> Record:
    """A record of the run that is valid, except for the parts that are given."""
    digests_then = {
        "settings": digest_of(RUN.decisive()),
        "data": digest_of(DATA),
        "code": "c",
        **({} if lockstep is None else {"lockstep": lockstep}),
        **parts.pop("digests", {}),
    }
    digests_then["all"] = whole_digest(digests_then, seed)
    record: Any = {
        "run": RUN.name,
        "seed": seed,
        "digests": digests_then,
        "settings": RUN.decisive(),
        "data": DATA,
        "checksum": checksum(RESULT, HISTORY),
        "result": RESULT,
        "history": HISTORY,
        "provenance": {"engine": "compact"},
        **parts,
    }
    return cast(Record, record)


def strictly(text: str) -> Any:
    """JSON as the standard has it, without Python's NaN and Infinity."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def messages_of(job: Job) -> list[str]:
    note = json.loads((job.workspace / "progress.json").read_text("utf-8"))
    messages: list[str] = note["messages"]
    return messages


def test_a_record_is_json_with_one_line_for_each_epoch(tmp_path: Path) -> None:
    path = tmp_path / "records" / "seed-03.json"
    write_record(path, a_record())
    text = path.read_text("utf-8")
    assert strictly(text) == a_record()
    assert read_record(path) == a_record()
    lines = text.splitlines()
    assert '  {"epoch": 1, "train_loss": 0.5},' in lines
    assert '  {"epoch": 2, "train_loss": 0.25}' in lines
    assert len(lines) == len(a_record()) + len(HISTORY) + 3
    assert text.endswith("}\n")


def test_a_record_that_holds_has_no_fault() -> None:
    assert fault_of(a_record(), RUN, 3, DATA, CODE) is None
    assert fault_of(a_record(lockstep="l"), RUN, 3, DATA, CODE) is None
    assert fault_of(a_record(run=f"ablation/{RUN.name}"), RUN, 3, DATA, CODE) is None


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (a_record(digests={"settings": "t"}), "is stale: the settings changed since"),
        (a_record(settings={"mu": 1}), "is stale: the settings changed since"),
        (a_record(digests={"data": "e"}), "is stale: the data changed since"),
        (a_record(digests={"code": "x"}), "is stale: the code changed since"),
        (a_record(lockstep="m"), "is stale: the code for lockstep changed since"),
        (
            a_record(digests={"settings": "t", "code": "x"}),
            "is stale: the settings and the code changed since",
        ),
        (
            a_record(seed=4),
            f"is of seed 4 of {RUN.name}, not of seed 3 of {RUN.name}",
        ),
        (a_record(run="other"), f"is of seed 3 of other, not of seed 3 of {RUN.name}"),
        (a_record(result={"test_mse": 1e-9}), EDITED),
        (a_record(history=HISTORY[:1]), EDITED),
        (a_record(result={"test_mse": "text"}), EDITED),
        (a_record(result={"test_mse": math.nan}), EDITED),
        (a_record(checksum=""), "has no checksum"),
    ],
)
def test_a_record_that_does_not_hold_says_why(tmp_path: Path, record: Record, fault: str) -> None:
    path = tmp_path / "seed-03.json"
    write_record(path, record)
    told: list[str] = []
    assert reusable_record(path, RUN, 3, DATA, CODE, told.append) is None
    assert told == [f"seed-03.json {fault}; the seed runs again"]


def test_digests_that_do_not_belong_together_are_a_fault() -> None:
    record = a_record()
    record["digests"]["all"] = "0"
    assert fault_of(record, RUN, 3, DATA, CODE) == "has digests that do not belong together"


def test_code_that_was_accepted_leaves_a_record_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"mlp": [SimpleNamespace(code="c"), SimpleNamespace(code="d")], "densenet": []}
    monkeypatch.setattr(accepted, "entries", lambda: entries)
    stale = "is stale: the code changed since"
    for now, fault in (("c", None), ("d", None), ("e", stale), ("f", stale)):
        assert fault_of(a_record(), RUN, 3, DATA, {**CODE, "code": now}) == fault
    # The report asks for any accepted code.
    assert fault_of(a_record(), RUN, 3, DATA) is None
    assert fault_of(a_record(digests={"code": "x"}), RUN, 3, DATA) == stale


def test_a_record_that_holds_is_used_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "seed-03.json"
    told: list[str] = []
    assert reusable_record(path, RUN, 3, DATA, CODE, told.append) is None
    write_record(path, a_record())
    assert reusable_record(path, RUN, 3, DATA, CODE, told.append) == a_record()
    assert told == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"digests": "a"}',
        json.dumps({**a_record(), "seed": "3"}).encode(),
        json.dumps({**a_record(), "history": {}}).encode(),
        b"<<<<<<< HEAD\n{}\n",
    ],
)
def test_what_is_no_record_is_told_and_not_used(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "seed-03.json"
    path.write_bytes(content)
    told: list[str] = []
    assert reusable_record(path, RUN, 3, DATA, CODE, told.append) is None
    assert len(told) == 1
    assert told[0].startswith(f"{path} is not a record: ")
    assert told[0].endswith("; the seed runs again")
    with pytest.raises(UserError, match="is not a record"):
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
    history = [{"epoch": 1, "train_loss": 0.5, "active_rows": [1, 2]}]
    data = files.sha256(job.run.experiment.dataset, job.run.source, job.project)
    record: Record = {
        "run": job.run.name,
        "seed": job.seed,
        "digests": digests(job.run, job.seed, data),
        "settings": job.run.decisive(),
        "data": {},
        "checksum": checksum(RESULT, history),
        "result": RESULT,
        "history": history,
        "provenance": {"engine": job.engine, "host": {"device": job.device}},
    }
    write_record(job.record, record)
    return record


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds that are really searched; instead of the search a small record is written."""
    seeds: list[int] = []

    def instead(group: Any, records: dict[int, Record]) -> None:
        for seed in group:
            seeds.append(seed.job.seed)
            records[seed.job.seed] = write_for(seed.job)

    monkeypatch.setattr(seed_module, "_search", instead)
    return seeds


def test_a_finished_seed_is_not_searched_again(
    project: Path, job_in: JobIn, searches: list[int]
) -> None:
    first = search_seed(job_in(project))
    assert search_seed(job_in(project)) == first
    assert searches == [0]
    assert messages_of(job_in(project)) == []
    search_seed(job_in(project, seed=1))
    assert searches == [0, 1]


def test_a_record_that_holds_needs_no_images(
    project: Path, job_in: JobIn, searches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = search_seed(job_in(project))
    monkeypatch.setattr(files, "load", None)
    assert search_seed(job_in(project)) == first
    assert devices([job_in(project)]) == {0: device_of(first)}
    assert searches == [0]


@pytest.mark.parametrize(
    ("path", "value", "decides"),
    [
        ("experiments.autoencoder.mu", 0.08, True),
        ("protocols.paper.initial_scale", 5, True),
        ("optimizer.delta", 2.0, True),
        ("experiments.residual.mu", 0.08, False),
        ("protocols.paper.logits", "relu", False),  # of the DenseNet
        ("runs.paper-autoencoder.seeds", 9, False),
    ],
)
def test_other_settings_make_a_record_stale_if_they_decide_its_numbers(
    new_project: NewProject,
    job_in: JobIn,
    searches: list[int],
    path: str,
    value: object,
    decides: bool,
) -> None:
    search_seed(job_in(new_project()))
    job = job_in(new_project(changes={path: value}))
    search_seed(job)
    assert searches == [0, 0] if decides else [0]
    reason = "seed-00.json is stale: the settings changed since; the seed runs again"
    assert messages_of(job) == ([reason] if decides else [])


def test_other_code_makes_a_record_stale(
    project: Path, job_in: JobIn, searches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_in(project)
    search_seed(job)
    monkeypatch.setattr("bregman_nas.search.digest.CODE", defaultdict(lambda: "another"))
    search_seed(job)
    assert searches == [0, 0]
    assert messages_of(job)[0].startswith("seed-00.json is stale: the code changed since")


def test_other_data_make_a_record_stale(
    project: Path, job_in: JobIn, searches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_in(project)
    search_seed(job)

    sha256 = files.sha256

    def of_other_images(*which: Any) -> dict[str, str]:
        return {**sha256(*which), "train-images-idx3-ubyte": "0" * 64}

    monkeypatch.setattr(files, "sha256", of_other_images)
    search_seed(job)
    assert searches == [0, 0]
    assert messages_of(job)[0].startswith("seed-00.json is stale: the data changed since")


def test_a_record_holds_whatever_engine_made_it(
    job_in: JobIn, project: Path, searches: list[int]
) -> None:
    record = search_seed(job_in(project))
    assert searches == [0]
    assert search_seed(job_in(project, engine="textbook", device="cpu")) == record
    assert searches == [0]


def test_a_digest_is_of_one_seed_and_of_the_data(job_in: JobIn, project: Path) -> None:
    run = job_in(project).run
    same, seed, data, lockstep = (
        digests(run, 0, {"a": "b"}),
        digests(run, 1, {"a": "b"}),
        digests(run, 0, {"a": "c"}),
        digests(run, 0, {"a": "b"}, lockstep=True),
    )
    assert same == digests(run, 0, {"a": "b"})
    assert len({one["all"] for one in (same, seed, data, lockstep)}) == 4
    assert lockstep["code"] == same["code"]


@pytest.mark.parametrize("damage", ["conflict", "no result", "no history"])
def test_an_unreadable_record_is_replaced_by_a_new_search(
    project: Path, job_in: JobIn, searches: list[int], damage: str
) -> None:
    job = job_in(project)
    path = job.record
    if damage == "conflict":
        path.parent.mkdir(parents=True)
        path.write_text("<<<<<<< HEAD\n", "utf-8")
    else:
        search_seed(job)
        searches.clear()
        content = json.loads(path.read_text("utf-8"))
        empty: object = {} if damage == "no result" else []
        path.write_text(json.dumps({**content, damage.removeprefix("no "): empty}), "utf-8")
    record = search_seed(job)
    assert read_record(path) == record
    assert searches == [0]
    reason = "is not a record" if damage == "conflict" else "was edited"
    assert reason in messages_of(job)[-1]


def test_a_stale_record_stays_until_the_new_one_is_whole(
    new_project: NewProject, job_in: JobIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = job_in(new_project())
    search_seed(old)
    path = old.record
    before = path.read_bytes()
    job = job_in(new_project(changes={"batch_size": 8}))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bregman_nas.search.seed.write_record", interrupt)
        with pytest.raises(KeyboardInterrupt):
            search_seed(job)
    assert path.read_bytes() == before
    record = search_seed(job)
    assert read_record(path) == record


def test_a_record_of_a_search_says_what_it_is(project: Path, job_in: JobIn) -> None:
    job = job_in(project)
    record = search_seed(job)
    text = job.record.read_text("utf-8")
    assert strictly(text) == read_record(job.record)
    assert sum(line.startswith('  {"epoch"') for line in text.splitlines()) == 3
    assert (record["run"], record["seed"]) == (job.run.name, 0)
    assert record["settings"] == job.run.decisive()
    assert record["checksum"] == checksum(record["result"], record["history"])
    widths = [int(unpack(group).sum()) for group in record["active_groups"].values()]
    assert widths == record["result"]["active_rows"]
    network = torch.load(job.network, weights_only=True)
    assert record["network"] == weights_digest(network)
    assert set(record["provenance"]["versions"]) == {"bregman-nas", "torch", "numpy", "python"}
    assert set(record["provenance"]["host"]) == {"system", "processor", "cores", "device"}
    assert record["provenance"]["seconds"] > 0
    assert job.picture.read_bytes().startswith(b"\x89PNG")
    assert not list(job.workspace.glob("*.ckpt"))
    assert str(project) not in text, "a record has no paths"


def test_the_second_process_on_a_seed_waits_and_takes_the_record_of_the_first(
    new_project: NewProject, job_in: JobIn, start: Start, wait_until: WaitUntil
) -> None:
    job = job_in(new_project(changes={"experiments.autoencoder.epochs": 8}))
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
    assert (note["done"], note["reused"]) == (True, True)
    assert read_record(job.record) == written
