"""The digest of code: changed by what could change a number, and by nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bregman_nas.search.digest import (
    NOT_FOLLOWED,
    ROOTS,
    code_digest,
    digests,
    used_definitions,
)
from bregman_nas.search.job import Job

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
    "blank lines": ("\n\n\n", "\n\n\n\n"),
    "line breaks": ("math.sqrt(x) * self.size", "(\n            math.sqrt(x)\n * self.size)"),
    "quotes": ('"plain"', "'plain'"),
    "annotation of an argument": ("x: float", "x"),
    "annotation of a result": (" -> float:", ":"),
    "annotation of a variable": ("total: float", "total: int"),
    "message": ("x must not be negative, got", "x is negative:"),
    "kind of error": ("raise ValueError(", "raise TypeError("),
}
CHANGE = {
    "constant": ("LIMIT = 3", "LIMIT = 4"),
    "type of a constant": ("LIMIT = 3", "LIMIT = 3.0"),
    "operator": ("math.sqrt(x) *", "math.sqrt(x) /"),
    "order": ("y + LIMIT", "LIMIT + y"),
    "comparison": ("x < 0", "x <= 0"),
    "condition of an error": ("if x < 0", "if x > 0"),
    "name": ("math.sqrt", "math.exp"),
    "default of an argument": ("twice: bool = False", "twice: bool = True"),
    "no default of an argument": ("twice: bool = False", "twice: bool"),
    "default of a field": ('"plain"', '"fancy"'),
    "no default of a field": (' = "plain"', ""),
    "keyword of a decorator": ("frozen=True", "frozen=False"),
    "no decorator": ("@dataclass(frozen=True)\n", ""),
    "import": ("import math\n", "import cmath as math\n"),
    "branches": ("2 * total if twice else total", "total if twice else 2 * total"),
    "a statement less": ("        total: float = y + LIMIT\n", "        total = y\n"),
    "a statement more": ("        total: float", "        y = y\n        total: float"),
    "no star": ("x: float, *, twice", "x: float, twice"),
    "order of statements": ("LIMIT = 3\n", "LIMIT = 3\nLIMIT = 2\n"),
    "field": ("    size: float\n", "    length: float\n"),
    "base": ("class Step:", "class Step(float):"),
}


def digest_of(code: str) -> str:
    """Of the class in a module, and of all that it uses there."""
    return code_digest([("bregman_nas.steps", "Step")], {"bregman_nas.steps": code}.get)


@pytest.mark.parametrize("change", [*NO_CHANGE, *CHANGE])
def test_only_what_could_change_a_number_changes_the_digest(change: str) -> None:
    old, new = {**NO_CHANGE, **CHANGE}[change]
    assert old in CODE
    assert (digest_of(CODE.replace(old, new)) != digest_of(CODE)) == (change in CHANGE)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("x = None", "x = 0"),
        ("x = []", "x = None"),
        ("x = [[]]", "x = [[], []]"),
        ("x = 1", "x = True"),
        ("x = 0", "x = False"),
        ("x = 0.0", "x = -0.0"),
        ("x = f(None)", "x = f()"),
        ("def f(a=None): return a", "def f(a): return a"),
        ("x = y[1:]", "x = y[:1]"),
        ("x = 1e-8", "x = 1e-7"),
        ("x = f(*a)", "x = f(**a)"),
        ("async def f(): return 1", "async def f(): return 2"),
        ("x = 'a'", "x = b'a'"),
    ],
)
def test_values_that_are_alike_are_told_apart(a: str, b: str) -> None:
    first, second = (f"class Step:\n    def step(self, y, a):\n        {x}\n" for x in (a, b))
    assert digest_of(first) != digest_of(second)


MODULES = {
    "bregman_nas.search": """
from bregman_nas.blur import blur as soften
from bregman_nas.search.job import Job

class Search:
    def __init__(self, run: Run) -> None:
        self.size = SIZE
    def degrade(self, x):
        return soften(x)

SIZE = 3
""",
    "bregman_nas.blur": """
from math import exp

def blur(x):
    return helper(x) + exp(1)

def helper(x):
    return 2 * x

def erode(x):
    return x - 1
""",
    "bregman_nas.settings": "class Run: pass",
}
SEARCH = [("bregman_nas.search", "Search")]


def with_change(module: str, old: str, new: str) -> dict[str, str]:
    assert old in MODULES[module]
    return {**MODULES, module: MODULES[module].replace(old, new)}


def test_definitions_are_followed_through_modules_and_other_names() -> None:
    search, blur = "bregman_nas.search", "bregman_nas.blur"
    used = {(search, ""), (search, "SIZE"), (search, "Search"), (blur, ""), (blur, "blur")}
    assert set(used_definitions(SEARCH, MODULES.get)) == {*used, (blur, "helper")}


@pytest.mark.parametrize(
    ("module", "old", "new", "used"),
    [
        ("search", "SIZE = 3", "SIZE = 4", True),
        ("blur", "2 * x", "3 * x", True),
        ("blur", "import exp", "import cos as exp", True),
        ("search", "import blur as soften", "import erode as soften", True),
        ("blur", "def erode", "blur(0)\n\ndef erode", True),
        ("blur", "x - 1", "x - 2", False),
        ("blur", "def erode", "def dilate(x):\n    return x + 1\n\ndef erode", False),
        ("settings", "pass", "option = 1", False),
    ],
)
def test_only_what_is_used_changes_the_digest(module: str, old: str, new: str, used: bool) -> None:
    changed = with_change(f"bregman_nas.{module}", old, new)
    assert (code_digest(SEARCH, changed.get) != code_digest(SEARCH, MODULES.get)) == used


def test_a_move_to_another_module_leaves_the_digest() -> None:
    moved = with_change("bregman_nas.search", "bregman_nas.blur", "bregman_nas.soft")
    moved["bregman_nas.soft"] = MODULES["bregman_nas.blur"]
    assert code_digest(SEARCH, moved.get) == code_digest(SEARCH, MODULES.get)


def test_what_cannot_be_followed_is_refused() -> None:
    whole = with_change("bregman_nas.search", "from bregman_nas.blur", "from bregman_nas")
    with pytest.raises(LookupError, match="imports the whole module"):
        code_digest(SEARCH, whole.get)
    with pytest.raises(LookupError, match="defines no Other"):
        code_digest([("bregman_nas.search", "Other")], MODULES.get)


def used(kind: str) -> set[str]:
    return {f"{module}.{name}" for module, name in used_definitions(ROOTS[kind])}


def test_the_networks_share_the_method_and_leave_out_what_is_of_the_other() -> None:
    mlp, densenet = used("mlp"), used("densenet")
    method = {
        "bregman_nas.bregman.optimizers.fused_adam_",
        "bregman_nas.bregman.regularizers.GroupLasso",
        "bregman_nas.data.degradation.split",
        "bregman_nas.data.idx.parse",
        "bregman_nas.randomness.generator",
        "bregman_nas.search.core.loop.train",
        "bregman_nas.search.core.momentum.dead_rows",
        "bregman_nas.search.core.schedule.LearningRate",
        "bregman_nas.search.core.searches.searcher",
    }
    assert method <= mlp & densenet
    assert "bregman_nas.data.degradation.blur" in mlp - densenet
    assert "bregman_nas.search.core.compact_mlp.CompactResidual" in mlp - densenet
    assert "bregman_nas.search.core.compact_densenet.CompactDenseNet" in densenet - mlp
    assert not any(name.startswith(NOT_FOLLOWED) for kind in ROOTS for name in used(kind))


def test_a_digest_is_of_one_seed_and_of_the_data(project: Path, job_in: Callable[..., Job]) -> None:
    run = job_in(project).run
    same, lockstep = (digests(run, 0, {"a": "b"}, lockstep=batch) for batch in (False, True))
    seed, data = digests(run, 1, {"a": "b"}), digests(run, 0, {"a": "c"})
    assert same == digests(run, 0, {"a": "b"})
    assert len({one["all"] for one in (same, seed, data, lockstep)}) == 4
    assert lockstep["code"] == same["code"]
