"""The digest of code: changed by what could change a number, and by nothing else."""

import ast
from pathlib import Path

import pytest

from bregman_nas.search.digest import LOCKSTEP, PACKAGE, SOURCES, code_digest

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


def changed(old: str, new: str) -> str:
    assert old in CODE
    code = CODE.replace(old, new)
    ast.parse(code)
    return code


@pytest.mark.parametrize(("old", "new"), NO_CHANGE.values(), ids=NO_CHANGE)
def test_what_cannot_change_a_number_leaves_the_digest(old: str, new: str) -> None:
    assert code_digest(changed(old, new)) == code_digest(CODE)


@pytest.mark.parametrize(("old", "new"), CHANGE.values(), ids=CHANGE)
def test_what_could_change_a_number_changes_the_digest(old: str, new: str) -> None:
    assert code_digest(changed(old, new)) != code_digest(CODE)


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
    assert code_digest(a) != code_digest(b)


# Reached by the imports of a search, yet without influence on its numbers, or covered otherwise.
DECIDE_NOTHING = {
    "settings.py": "what it read is in the digest of the settings",
    "data/files.py": "what it read is in the digest of the data: SHA-256 of every file",
}

ENTRANCES = {
    "mlp": ("search/mlp.py", "search/loop.py"),
    "densenet": ("search/densenet.py", "search/loop.py"),
}


def imported(source: str) -> set[str]:
    """The modules of the package that a module names in its imports, wherever they stand."""
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / source).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: a relative import"
            # `from package import module` names a module too.
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    paths = {Path(*name.split(".")[1:]) for name in names if name.startswith("bregman_nas.")}
    files = {f"{path.as_posix()}.py" for path in paths}
    packages = {f"{path.as_posix()}/__init__.py" for path in paths}
    return {name for name in files | packages if (PACKAGE / name).exists()}


def reached(entrances: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    to_do = set(entrances)
    while to_do:
        found |= to_do
        to_do = {name for source in to_do for name in imported(source)} - found
    return found


@pytest.mark.parametrize("network", SOURCES)
def test_every_module_that_a_search_imports_is_in_its_digest(network: str) -> None:
    everything = reached(ENTRANCES[network])
    assert everything - set(DECIDE_NOTHING) == set(SOURCES[network])
    assert set(DECIDE_NOTHING) <= everything
    assert len(SOURCES[network]) == len(set(SOURCES[network]))


def test_lockstep_adds_one_module_to_what_decides_the_numbers() -> None:
    covered = {LOCKSTEP, *DECIDE_NOTHING, *SOURCES["mlp"], *SOURCES["densenet"]}
    # Of `seed.py` it takes the function that makes one seed's search, and nothing that computes.
    assert imported(LOCKSTEP) - covered == {"search/seed.py"}
