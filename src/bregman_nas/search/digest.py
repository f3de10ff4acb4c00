"""The digest of everything that decides the numbers of a seed: settings, data and code.

The code is followed from the search of a network through every definition of this package that it
uses, in whatever module. What a search does not use is not in its digest.
"""

import ast
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from bregman_nas.search.kinds import SEARCHES
from bregman_nas.search.records import digest_of, whole_digest
from bregman_nas.settings import Run

PACKAGE = Path(__file__).resolve().parents[1]

#: A module and one of its definitions: functions, classes, constants.
Definition = tuple[str, str]

_CORE = "bregman_nas.search.core"
_SHARED = (
    ("bregman_nas.data.idx", "parse"),
    (f"{_CORE}.searches", "searcher"),
    (f"{_CORE}.loop", "train"),
    (f"{_CORE}.schedule", "LearningRate"),
)

#: Where following the code begins, by kind of run.
ROOTS: Mapping[str, tuple[Definition, ...]] = {
    kind: (*_SHARED, search) for kind, search in SEARCHES.items()
}

#: The code of seeds in lockstep, and of no others.
LOCKSTEP_ROOTS = ((f"{_CORE}.lockstep", "train"),)

#: Not followed: what they read is in the digests of settings and data, or among the roots.
NOT_FOLLOWED = (
    "bregman_nas.data.files",
    "bregman_nas.errors",
    "bregman_nas.search.kinds",
    "bregman_nas.settings",
)


def read_source(module: str) -> str | None:
    """The source of a module of this package; None if there is no such module."""
    path = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return path.read_text("utf-8") if path.exists() else None


def used_definitions(
    roots: Iterable[Definition], read: Callable[[str], str | None] = read_source
) -> dict[Definition, str]:
    """Every definition that some definitions use, directly or through others.

    Args:
        roots: where to begin.
        read: gives the source of a module, None where there is none.

    Returns:
        For each definition what it computes, as text: its syntax tree without comments, docstrings,
        annotations and raised errors, and what each imported name in it stands for.

    Raises:
        LookupError: if a definition does not exist, or a module of the package is imported as a
            whole, whose use cannot be followed.
    """
    modules: dict[str, _Module] = {}
    found: dict[Definition, str] = {}
    to_do = list(roots)
    while to_do:
        module, name = definition = to_do.pop()
        if definition in found:
            continue
        if module not in modules:
            modules[module] = _Module(module, read)
            # Statements outside of definitions act when the module is imported.
            to_do += [(module, "")]
        found[definition], used = modules[module].describe(name)
        to_do += used
    return found


class _Module:
    """The definitions and imports of one module."""

    def __init__(self, name: str, read: Callable[[str], str | None]) -> None:
        source = read(name)
        if source is None:
            raise LookupError(f"there is no module {name}")
        self.name, self._read = name, read
        self.definitions: dict[str, list[ast.AST]] = {"": []}
        self.imports: dict[str, tuple[str, str]] = {}
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = (node.module or "", alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports[alias.asname or alias.name.split(".")[0]] = (alias.name, "")
        for node in tree.body:
            for name in _names(node):
                self.definitions.setdefault(name, []).append(node)

    def describe(self, name: str) -> tuple[str, list[Definition]]:
        """What a definition computes, and the definitions of the package that it uses."""
        if name not in self.definitions:
            raise LookupError(f"{self.name} defines no {name}")
        nodes = self.definitions[name]
        used, imported = [], {}
        for reference in sorted({r for node in nodes for r in _references(node)}):
            if reference in self.imports:
                module, original = self.imports[reference]
                imported[reference] = original if self._is_ours(module) else f"{module}.{original}"
                if self._is_ours(module) and module not in NOT_FOLLOWED:
                    if not original or self._read(f"{module}.{original}") is not None:
                        raise LookupError(
                            f"{self.name} imports a whole module as {reference}, whose use cannot "
                            "be followed; import the names that are used"
                        )
                    used.append((module, original))
            elif reference in self.definitions and reference != name:
                used.append((self.name, reference))
        return repr(([_essence(node) for node in nodes], sorted(imported.items()))), used

    @staticmethod
    def _is_ours(module: str) -> bool:
        return module.split(".")[0] == "bregman_nas"


def _names(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines; [""] for one that only acts."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [x.id for t in targets for x in ast.walk(t) if isinstance(x, ast.Name)] or [""]
    if isinstance(node, (ast.Import, ast.ImportFrom)) or _is_docstring(node):
        return []
    return [""]


_ANNOTATIONS = {"annotation", "returns", "type_comment", "type_params"}


def _is_docstring(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _fields(node: ast.AST) -> dict[str, Any]:
    """The fields of a node that can change a number."""
    fields = {k: v for k, v in ast.iter_fields(node) if k not in _ANNOTATIONS}
    if isinstance(node, ast.Raise):
        fields = {}  # a search that ended did not raise
    body = fields.get("body")
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and body and _is_docstring(body[0]):
        fields["body"] = body[1:]
    # Fields that are empty differ between versions of Python, and say nothing.
    return {name: value for name, value in fields.items() if value not in (None, [])}


def _references(node: object) -> Iterator[str]:
    """The names that a node reads."""
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, ast.AST):
        if isinstance(node, ast.Name):
            yield node.id
        yield from _references(list(_fields(node).values()))


def _essence(node: object) -> object:
    if isinstance(node, list):
        return [_essence(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    said = {name: _essence(value) for name, value in _fields(node).items()}
    return type(node).__name__, sorted(said.items())


def code_digest(
    roots: Iterable[Definition], read: Callable[[str], str | None] = read_source
) -> str:
    """SHA-256 of all code that some definitions use, in whatever modules it is."""
    used = used_definitions(roots, read)
    return digest_of(sorted((name, text) for (_, name), text in used.items()))


def _load(roots: Iterable[Definition]) -> str:
    """The digest of the code that this process will run, whatever becomes of the files later."""
    digest = code_digest(roots)
    for module in {module for module, _ in used_definitions(roots)}:
        import_module(module)
    return digest


def _git(*arguments: str) -> str | None:
    """What git says in the folder of the package; None outside a repository."""
    command = ["git", "-C", str(PACKAGE), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


#: The digest of the code of each kind; the commit, and whether the package differs from it.
CODE = {kind: _load(roots) for kind, roots in ROOTS.items()}
LOCKSTEP = code_digest(LOCKSTEP_ROOTS)
COMMIT = {"commit": _git("rev-parse", "HEAD"), "modified": bool(_git("status", "--porcelain", "."))}


def code_of(run: Run) -> dict[str, str]:
    """The digests of the code that searches a run: `code`, and `lockstep` of what that adds."""
    return {"code": CODE[run.kind], "lockstep": LOCKSTEP}


def digests(
    run: Run, seed: int, data: Mapping[str, str], *, lockstep: bool = False
) -> dict[str, str]:
    """The digest of a seed and of its parts.

    Args:
        run: its settings.
        seed: its number.
        data: SHA-256 of each file of the data set.
        lockstep: whether the seed is to be searched in lockstep.

    Returns:
        `settings`, `data` and `code`, which tell what changed where the digest differs; in
        lockstep also `lockstep`, of the code for it alone; and `all`, which covers them and the
        seed.
    """
    parts = {"settings": digest_of(run.decisive()), "data": digest_of(dict(data)), **code_of(run)}
    if not lockstep:
        del parts["lockstep"]
    return {**parts, "all": whole_digest(parts, seed)}
