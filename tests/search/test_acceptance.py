"""Code that was accepted: the trajectories pass every path, and this code gives them."""

from itertools import pairwise
from typing import Any

import pytest

from bregman_nas.errors import UserError
from bregman_nas.search.acceptance import CASES, case_run, check_equal, golden, trajectory
from bregman_nas.search.digest import CODE
from bregman_nas.search.records import accepted
from bregman_nas.settings import load_settings
from tests.helpers import PROJECT


def history(case: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = golden()[case]["history"]
    return found


@pytest.mark.parametrize("case", golden())
def test_this_code_gives_the_committed_trajectories(case: str) -> None:
    check_equal(case, trajectory(case, PROJECT), golden()[case])


@pytest.mark.parametrize("textbook", [name for name in golden() if name.endswith(", textbook")])
def test_the_fast_and_the_textbook_trajectories_are_the_same(textbook: str) -> None:
    fast, readable = golden()[textbook.removesuffix(", textbook")], golden()[textbook]
    check_equal(textbook, {**fast, "sizes": []}, {**readable, "sizes": []})


def test_every_case_has_its_trajectory() -> None:
    assert {case_run(case).name for case in golden()} == set(load_settings(CASES).names)


def test_the_trajectories_pass_compaction_columns_that_come_back_and_the_schedule() -> None:
    for network in ("plain", "residual", "densenet"):
        sizes = golden()[network]["sizes"]
        assert sizes[-1] < golden()[f"{network}, textbook"]["sizes"][-1]
    residual = golden()["residual"]["sizes"]
    assert any(after > before for before, after in pairwise(residual))
    for case in ("residual, other options", "densenet, other options", "residual, random"):
        rates = [entry["learning_rate"] for entry in history(case)]
        assert rates[-1] < rates[0]
    for case in golden():
        if "lockstep" not in case and case_run(case).method == "search":
            assert any(sum(entry["switched_on"]) for entry in history(case)), case


def test_the_trajectories_of_arms_pass_skips_pruning_and_rows_that_go() -> None:
    for network in ("plain", "residual"):
        found = sum(history(network)[-1]["active_rows"])
        for method in ("proximal Adam", "pruned"):
            last = history(f"{network}, {method}")[-1]
            assert 0 < sum(last["active_rows"]) < 3 * 784
            assert method != "pruned" or sum(last["active_rows"]) == found
    for case in golden():
        if case.startswith("residual") and case_run(case).method != "search":
            assert all(tau for row in history(case)[-1]["skips"] for tau in row), case


def test_the_code_that_runs_is_accepted() -> None:
    known = {(entry["kind"], entry["code"]) for entry in accepted()}
    assert CODE.items() <= known, "run `bregman-nas accept`"


def test_all_that_was_accepted_has_its_evidence() -> None:
    for entry in accepted():
        again = "trajectories" in entry and bool(entry.get("seeds")) != bool(entry.get("no_seeds"))
        assert entry.get("records") or again, entry
        assert min(len(entry["code"]), len(entry["commit"]), len(entry["reason"])) > 10, entry


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (1.0, 1.0 + 2e-9),
        ([1, 2], [1]),
        ({"a": 1}, {"b": 1}),
        ({"a": {"shape": [2], "active": "80"}}, {"a": {"shape": [2], "active": "40"}}),
        (1, 2),
    ],
)
def test_rounding_is_no_difference_and_all_else_is(found: object, expected: object) -> None:
    check_equal("", found, found)
    with pytest.raises(UserError, match="other numbers"):
        check_equal("", found, expected)
    check_equal("", {"a": [1.0, 0.0]}, {"a": [1.0 + 1e-10, 1e-12]})
