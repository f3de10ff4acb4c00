"""The digest of everything that decides the numbers of a seed: settings, data and code.

The code is followed from the search of a network through every definition of this package that it
uses, in whatever module. What a search does not use is not in its digest.
"""

import ast
import subprocess
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path

from bregman_nas.search.kinds import SEARCHES
from bregman_nas.search.records import digest_of, whole_digest
from bregman_nas.settings import Run

PACKAGE = Path(__file__).resolve().parents[1]

#: A module and the name of a function, class or constant in it.
Definition = tuple[str, str]

_CORE = "bregman_nas.search.core"
_SHARED = (
    ("bregman_nas.data.idx", "parse"),
    (f"{_CORE}.searches", "searcher"),
    (f"{_CORE}.loop", "train"),
    (f"{_CORE}.schedule", "LearningRate"),
)

#: The definitions from which the code is followed, by kind of run.
ROOTS: Mapping[str, tuple[Definition, ...]] = {
    kind: (*_SHARED, search) for kind, search in SEARCHES.items()
}

#: The code of seeds in lockstep, and of no others.
LOCKSTEP_ROOTS = ((f"{_CORE}.lockstep", "LockstepSearch"), (f"{_CORE}.lockstep", "train"))

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
    """All definitions that some definitions use, directly or through others.

    Args:
        roots: the definitions to begin with.
        read: returns the source of a module, None if there is none.

    Returns:
        For each definition, as text, its syntax tree without comments, docstrings, annotations and
        raised errors, and what each imported name in it stands for.

    Raises:
        LookupError: if a definition does not exist, or if a whole module of the package is
            imported, whose use cannot be followed.
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
            # Statements outside of definitions run when the module is imported.
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
        self.definitions: dict[str, list[ast.stmt]] = {"": []}
        self.imports: dict[str, tuple[str, str]] = {}
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = (node.module or "", alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports[alias.asname or alias.name.split(".")[0]] = (alias.name, "")
            _strip(node)
        for statement in tree.body:
            for name in _names(statement):
                self.definitions.setdefault(name, []).append(statement)

    def describe(self, name: str) -> tuple[str, list[Definition]]:
        """What a definition computes, and the definitions of the package that it uses."""
        if name not in self.definitions:
            raise LookupError(f"{self.name} defines no {name}")
        nodes = self.definitions[name]
        read = {x.id for node in nodes for x in ast.walk(node) if isinstance(x, ast.Name)}
        used, imported = [], {}
        for reference in sorted(read):
            if reference in self.imports:
                module, original = self.imports[reference]
                ours = module.split(".")[0] == "bregman_nas"
                imported[reference] = original if ours else f"{module}.{original}"
                if ours and module not in NOT_FOLLOWED:
                    if not original or self._read(f"{module}.{original}") is not None:
                        raise LookupError(
                            f"{self.name} imports the whole module {reference}, whose use cannot "
                            "be followed; import the names that are used"
                        )
                    used.append((module, original))
            elif reference in self.definitions and reference != name:
                used.append((self.name, reference))
        return repr(([_essence(node) for node in nodes], sorted(imported.items()))), used


def _names(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines; [""] if it only acts."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [x.id for t in targets for x in ast.walk(t) if isinstance(x, ast.Name)] or [""]
    if isinstance(node, (ast.Import, ast.ImportFrom)) or _is_docstring(node):
        return []
    return [""]


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _strip(node: ast.AST) -> None:
    """Remove what cannot change a number: annotations, docstrings and errors."""
    for name in ("annotation", "returns", "type_comment", "type_params"):
        if hasattr(node, name):
            setattr(node, name, None)
    if isinstance(node, ast.Raise):
        node.exc = node.cause = None  # a search that ended did not raise
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and _is_docstring(node.body[0]):
        del node.body[0]


def _essence(node: object) -> object:
    if isinstance(node, list):
        return [_essence(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    # Fields that are empty differ between versions of Python, and say nothing.
    fields = ((k, v) for k, v in ast.iter_fields(node) if v is not None and v != [])
    return type(node).__name__, sorted((name, _essence(value)) for name, value in fields)


def code_digest(
    roots: Iterable[Definition], read: Callable[[str], str | None] = read_source
) -> str:
    """SHA-256 of all code that some definitions use, whatever modules it is in."""
    used = used_definitions(roots, read)
    return digest_of(sorted((name, text) for (_, name), text in used.items()))


def _load(roots: Iterable[Definition]) -> str:
    """The digest of the code that this process will run, even if the files change later."""
    digest = code_digest(roots)
    for module in {module for module, _ in used_definitions(roots)}:
        import_module(module)
    return digest


def _git(*arguments: str) -> str | None:
    """What git prints in the folder of the package; None outside a repository."""
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
    """The digests of the code that searches a run: `code`, and `lockstep` for what that adds."""
    return {"code": CODE[run.kind], "lockstep": LOCKSTEP}


def digests(
    run: Run, seed: int, data: Mapping[str, str], *, lockstep: bool = False
) -> dict[str, str]:
    """The digest of a seed and of its parts, which tell what has changed if it differs.

    Args:
        run: its settings.
        seed: its number.
        data: SHA-256 of each file of the data set.
        lockstep: whether the seed is searched in lockstep.

    Returns:
        `settings`, `data`, `code` and, in lockstep, `lockstep`; and `all`, which covers them and
        the seed.
    """
    parts = {"settings": digest_of(run.decisive()), "data": digest_of(dict(data)), **code_of(run)}
    if not lockstep:
        del parts["lockstep"]
    return {**parts, "all": whole_digest(parts, seed)}
