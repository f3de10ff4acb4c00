"""The digest of code: changed by what could change a number, and by nothing else."""

import ast
from collections.abc import Mapping

import pytest

from bregman_nas.search.digest import (
    LOCKSTEP_ROOTS,
    NOT_FOLLOWED,
    ROOTS,
    code_digest,
    read_source,
    used_definitions,
)

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
    "comment": ("# the size", "# something else"),
    "no comment": ("  # the size", ""),
    "docstring of the module": ('"""A module."""', '"""The module."""'),
    "no docstring of the module": ('"""A module."""\n', ""),
    "docstring of a class": ('"""A step."""', '"""One step."""'),
    "docstring of a function": (
        '"""Make it."""',
        '"""Make it.\n\n        Returns: y.\n        """',
    ),
    "no docstring of a function": ('        """Make it."""\n', ""),
    "blank lines": ("\n\n\n", "\n\n\n\n"),
    "line breaks": ("math.sqrt(x) * self.size", "(\n            math.sqrt(x)\n * self.size)"),
    "quotes": ('"plain"', "'plain'"),
    "annotation of an argument": ("x: float", "x: int"),
    "no annotation of an argument": ("x: float", "x"),
    "annotation of a result": ("-> float", "-> int"),
    "no annotation of a result": (" -> float:", ":"),
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


def changed(old: str, new: str) -> str:
    assert old in CODE
    code = CODE.replace(old, new)
    ast.parse(code)
    return code


@pytest.mark.parametrize(("old", "new"), NO_CHANGE.values(), ids=NO_CHANGE)
def test_what_cannot_change_a_number_leaves_the_digest(old: str, new: str) -> None:
    assert digest_of(changed(old, new)) == digest_of(CODE)


@pytest.mark.parametrize(("old", "new"), CHANGE.values(), ids=CHANGE)
def test_what_could_change_a_number_changes_the_digest(old: str, new: str) -> None:
    assert digest_of(changed(old, new)) != digest_of(CODE)


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
from bregman_nas.settings import Run

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


def with_change(module: str, old: str, new: str) -> Mapping[str, str]:
    assert old in MODULES[module]
    return {**MODULES, module: MODULES[module].replace(old, new)}


def test_definitions_are_followed_through_modules_and_other_names() -> None:
    assert set(used_definitions(SEARCH, MODULES.get)) == {
        ("bregman_nas.search", ""),
        ("bregman_nas.search", "SIZE"),
        ("bregman_nas.search", "Search"),
        ("bregman_nas.blur", ""),
        ("bregman_nas.blur", "blur"),
        ("bregman_nas.blur", "helper"),
    }


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("bregman_nas.search", "SIZE = 3", "SIZE = 4"),
        ("bregman_nas.blur", "2 * x", "3 * x"),
        ("bregman_nas.blur", "import exp", "import cos as exp"),
        ("bregman_nas.search", "import blur as soften", "import erode as soften"),
        ("bregman_nas.blur", "def erode", "blur(0)\n\ndef erode"),
    ],
)
def test_a_change_of_what_is_used_changes_the_digest(module: str, old: str, new: str) -> None:
    changed_modules = with_change(module, old, new)
    assert code_digest(SEARCH, changed_modules.get) != code_digest(SEARCH, MODULES.get)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("bregman_nas.blur", "x - 1", "x - 2"),
        ("bregman_nas.blur", "def erode", "def dilate(x):\n    return x + 1\n\ndef erode"),
        ("bregman_nas.settings", "pass", "option = 1"),
    ],
)
def test_a_change_of_what_is_not_used_leaves_the_digest(module: str, old: str, new: str) -> None:
    changed_modules = with_change(module, old, new)
    assert code_digest(SEARCH, changed_modules.get) == code_digest(SEARCH, MODULES.get)


def test_a_move_to_another_module_leaves_the_digest() -> None:
    moved = with_change("bregman_nas.search", "bregman_nas.blur", "bregman_nas.soft")
    moved = {**moved, "bregman_nas.soft": MODULES["bregman_nas.blur"]}
    assert code_digest(SEARCH, moved.get) == code_digest(SEARCH, MODULES.get)


def test_a_module_imported_as_a_whole_is_refused() -> None:
    whole = with_change(
        "bregman_nas.search", "from bregman_nas.blur import blur", "from bregman_nas import blur"
    )
    with pytest.raises(LookupError, match="imports the whole module"):
        code_digest(SEARCH, whole.get)


def test_a_definition_that_is_not_there_is_refused() -> None:
    with pytest.raises(LookupError, match="defines no Other"):
        code_digest([("bregman_nas.search", "Other")], MODULES.get)


def used(network: str) -> set[str]:
    return {f"{module}.{name}" for module, name in used_definitions(ROOTS[network])}


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


def test_a_function_beside_the_blur_is_not_in_the_digest() -> None:
    module = "bregman_nas.data.degradation"

    def read(name: str) -> str | None:
        source = read_source(name)
        return f"{source}\n\ndef erode(x):\n    return x - 1\n" if name == module else source

    for roots in (*ROOTS.values(), LOCKSTEP_ROOTS):
        assert code_digest(roots, read) == code_digest(roots)


def test_what_reads_files_and_settings_is_not_followed() -> None:
    for network in ROOTS:
        assert not any(name.startswith(NOT_FOLLOWED) for name in used(network))
