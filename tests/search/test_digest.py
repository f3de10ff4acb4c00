"""The digest of code: changed by what could change a number, and by nothing else."""

import ast
from pathlib import Path

import pytest

from bregman_nas.search.digest import NOT_FOLLOWED, ROOTS, digests, essence, used_modules
from tests.helpers import job_in

CODE = '''
"""A module."""

import math
from dataclasses import dataclass

LIMIT = 3


@dataclass(frozen=True)
class Step:
    """A step."""

    size: float
    name: str = "plain"

    def __call__(self, x: float, *, twice: bool = False) -> float:
        """Make it."""
        if x < 0:
            raise ValueError(f"x must not be negative, got {x}")
        y = math.sqrt(x) * self.size  # the size
        total: float = y + LIMIT
        return 2 * total if twice else total
'''

NO_CHANGE = {
    "comment": ("  # the size", ""),
    "docstring of the module": ('"""A module."""\n', ""),
    "docstring of a class": ('"""A step."""', '"""One step."""'),
    "docstring of a function": ('        """Make it."""\n', ""),
    "line breaks": ("math.sqrt(x) * self.size", "(\n            math.sqrt(x)\n * self.size)"),
    "annotation of an argument": ("x: float", "x"),
    "annotation of a result": (" -> float:", ":"),
    "annotation of a variable": ("total: float", "total: int"),
    "message": ("x must not be negative, got", "x is negative:"),
    "kind of error": ("raise ValueError(", "raise TypeError("),
}
CHANGE = {
    "type of a constant": ("LIMIT = 3", "LIMIT = 3.0"),
    "condition of an error": ("if x < 0", "if x > 0"),
    "default of an argument": ("twice: bool = False", "twice: bool = True"),
    "no default of an argument": ("twice: bool = False", "twice: bool"),
    "default of a field": ('"plain"', '"fancy"'),
    "no default of a field": (' = "plain"', ""),
    "keyword of a decorator": ("frozen=True", "frozen=False"),
    "no decorator": ("@dataclass(frozen=True)\n", ""),
    "import": ("import math\n", "import cmath as math\n"),
    "no star": ("x: float, *, twice", "x: float, twice"),
    "order of statements": ("LIMIT = 3\n", "LIMIT = 3\nLIMIT = 2\n"),
    "field": ("    size: float\n", "    length: float\n"),
    "base": ("class Step:", "class Step(float):"),
}


def of(code: str) -> str:
    return essence(ast.parse(code))


@pytest.mark.parametrize("change", [*NO_CHANGE, *CHANGE])
def test_only_what_could_change_a_number_changes_the_digest(change: str) -> None:
    old, new = {**NO_CHANGE, **CHANGE}[change]
    assert old in CODE
    assert (of(CODE.replace(old, new)) != of(CODE)) == (change in CHANGE)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("x = None", "x = 0"),
        ("x = []", "x = None"),
        ("x = 1", "x = True"),
        ("x = 0", "x = False"),
        ("x = 0.0", "x = -0.0"),
        ("x = f(None)", "x = f()"),
        ("def f(a=None): return a", "def f(a): return a"),
        ("x = y[1:]", "x = y[:1]"),
        ("async def f(): return 1", "async def f(): return 2"),
    ],
)
def test_values_that_are_alike_are_told_apart(a: str, b: str) -> None:
    assert of(a) != of(b)


def test_the_networks_share_the_method_and_leave_out_what_is_of_the_other() -> None:
    mlp, densenet, lockstep = (
        used_modules(ROOTS[kind]).keys() for kind in ("mlp", "densenet", "lockstep")
    )
    core = "bregman_nas.search.core"
    method = {
        *(f"bregman_nas.bregman.{name}" for name in ("optimizers", "regularizers")),
        *("bregman_nas.data.degradation", "bregman_nas.data.idx", "bregman_nas.randomness"),
        *(f"{core}.{name}" for name in ("searches", "textbook", "trainer")),
    }
    assert method <= mlp & densenet
    assert mlp - densenet == {f"{core}.mlp", f"{core}.compact_mlp"}
    assert densenet - mlp == {f"{core}.densenet", f"{core}.compact_densenet"}
    assert f"{core}.lockstep" in lockstep
    assert not NOT_FOLLOWED & {*mlp, *densenet, *lockstep}


def test_a_digest_is_of_one_seed_and_of_the_data(project: Path) -> None:
    run = job_in(project).run
    same, lockstep = (digests(run, 0, {"a": "b"}, lockstep=batch) for batch in (False, True))
    seed, data = digests(run, 1, {"a": "b"}), digests(run, 0, {"a": "c"})
    assert same == digests(run, 0, {"a": "b"})
    assert len({one["all"] for one in (same, seed, data, lockstep)}) == 4
    assert lockstep["code"] == same["code"]
