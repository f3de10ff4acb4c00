"""Code that was accepted: the trajectories pass every path, and this code gives them."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pydantic
import pytest

from bregman_nas.search import acceptance, accepted
from bregman_nas.search.acceptance import CASES, differences, golden
from bregman_nas.search.digest import CODE, LOCKSTEP

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


TEXTBOOK = [name for name in CASES if name.endswith(", textbook")]


@pytest.mark.parametrize("case", CASES)
def test_this_code_gives_the_committed_trajectories(case: str) -> None:
    acceptance.check_trajectory(case, PROJECT)


@pytest.mark.parametrize("textbook", TEXTBOOK)
def test_the_fast_and_the_textbook_trajectories_are_the_same(textbook: str) -> None:
    fast, readable = golden()[textbook.removesuffix(", textbook")], golden()[textbook]
    assert differences({**fast, "sizes": None}, {**readable, "sizes": None}) == []


def test_the_trajectories_pass_compaction_columns_that_come_back_and_the_schedule() -> None:
    for network in ("plain", "residual", "densenet"):
        sizes = golden()[network]["sizes"]
        assert sizes[-1] < golden()[f"{network}, textbook"]["sizes"][-1]
    residual = golden()["residual"]["sizes"]
    assert any(after > before for before, after in pairwise(residual))
    for case in ("residual, other options", "densenet, other options", "residual, random"):
        rates = [entry["learning_rate"] for entry in history(case)]
        assert rates[-1] < rates[0]
    for case, (_, engine, changes) in CASES.items():
        if engine != "lockstep" and "method" not in changes:
            assert any(sum(entry["switched_on"]) for entry in history(case)), case


def test_the_trajectories_of_arms_pass_skips_pruning_and_rows_that_go() -> None:
    for network in ("plain", "residual"):
        found = sum(history(network)[-1]["active_rows"])
        for method in ("proximal Adam", "pruned"):
            last = history(f"{network}, {method}")[-1]
            assert 0 < sum(last["active_rows"]) < 3 * 784
            assert method != "pruned" or sum(last["active_rows"]) == found
    for case, (network, _, changes) in CASES.items():
        if network == "residual" and "method" in changes:
            assert all(tau for row in history(case)[-1]["skips"] for tau in row), case


def test_the_code_that_runs_is_accepted() -> None:
    for kind, code in {**CODE, "lockstep": LOCKSTEP}.items():
        assert accepted.are_equivalent(kind, code, None), f"run `bregman-nas accept` ({kind})"


@pytest.mark.parametrize(
    "change",
    [
        {"evidence": None},
        {"evidence": {"trajectories": "2" * 64, "seeds": []}},
        {"evidence": {**ENTRY["evidence"], "no_seeds": "none, but there are"}},  # type: ignore[dict-item]
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
