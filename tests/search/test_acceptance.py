"""Code that was accepted: the trajectories pass every path, and this code gives them."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pydantic
import pytest

from bregman_nas.search import acceptance, accepted
from bregman_nas.search.acceptance import CASES, differences, golden
from bregman_nas.search.digest import CODE

PROJECT = Path(__file__).resolve().parents[2]
ENTRY = {
    "code": "0" * 64,
    "commit": "1" * 40,
    "date": "2026-11-25",
    "reason": "a local variable has another name",
    "evidence": {
        "trajectories": "2" * 64,
        "seeds": [{"run": "paper", "seed": 0, "epochs": 3, "record": "3" * 64}],
    },
}


def history(case: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = golden()[case]["history"]
    return found


@pytest.mark.parametrize("case", CASES, ids=[name for name, *_ in CASES])
def test_this_code_gives_the_committed_trajectories(
    case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "CASES", (case,))
    found = json.loads(json.dumps(acceptance.trajectories(PROJECT)))
    assert differences(found, {case[0]: golden()[case[0]]}) == []


@pytest.mark.parametrize(
    "network", ["plain", "residual", "residual, leaky", "residual, frozen", "densenet"]
)
def test_the_fast_and_the_textbook_trajectories_are_the_same(network: str) -> None:
    fast, textbook = golden()[network], golden()[f"{network}, textbook"]
    assert differences({**fast, "sizes": None}, {**textbook, "sizes": None}) == []


def test_the_trajectories_pass_compaction_columns_that_come_back_and_the_schedule() -> None:
    for network in ("plain", "residual", "densenet"):
        sizes = golden()[network]["sizes"]
        assert sizes[-1] < golden()[f"{network}, textbook"]["sizes"][-1]
    residual = golden()["residual"]["sizes"]
    assert any(after > before for before, after in pairwise(residual))
    for network in ("residual", "densenet"):
        rates = [entry["learning_rate"] for entry in history(f"{network}, other options")]
        assert rates[-1] < rates[0]
    for name, *_ in CASES:
        if "lockstep" not in name and "densenet" not in name:  # whose kernels stay off so long
            assert any(sum(entry["switched_on"]) for entry in history(name)), name


def test_the_code_that_runs_is_accepted() -> None:
    for network in ("mlp", "densenet"):
        code = CODE[network]
        assert accepted.are_equivalent(network, code, None), f"run `bregman-nas accept` ({network})"


@pytest.mark.parametrize(
    "change",
    [
        {"evidence": None},
        {"evidence": {"trajectories": "2" * 64, "seeds": []}},
        {"evidence": {"seeds": ENTRY["evidence"]["seeds"]}},  # type: ignore[index]
        {"evidence": {"records": 0}},
        {"reason": ""},
        {"code": "abc"},
        {"commit": "HEAD"},
    ],
)
def test_an_entry_without_its_evidence_is_refused(change: dict[str, Any]) -> None:
    accepted.parse(json.dumps({"mlp": [ENTRY]}))
    with pytest.raises(pydantic.ValidationError):
        accepted.parse(json.dumps({"mlp": [{**ENTRY, **change}]}))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (1.0, 1.0 + 2e-9),
        ([1, 2], [1]),
        ({"a": 1}, {"b": 1}),
        ({"a": [1.0, {"b": "80"}]}, {"a": [1.0, {"b": "40"}]}),
        (1, 2),
    ],
)
def test_differences_are_found(found: object, expected: object) -> None:
    assert len(differences(found, expected)) == 1
    assert differences(found, found) == []


def test_rounding_is_no_difference() -> None:
    assert differences({"a": [1.0, 0.0]}, {"a": [1.0 + 1e-10, 1e-12]}) == []
