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

Definition = tuple[str, str]  # a module, and a function, class or constant in it
Read = Callable[[str], str | None]  # gives the source of a module; None if there is none

_CORE = "bregman_nas.search.core"
_SHARED = (
    ("bregman_nas.data.idx", "parse"),
    (f"{_CORE}.searches", "searcher"),
    (f"{_CORE}.loop", "train"),
    (f"{_CORE}.schedule", "LearningRate"),
)

#: The definitions from which the code is followed: by kind of run, and what lockstep adds to it.
ROOTS: Mapping[str, tuple[Definition, ...]] = {
    **{kind: (*_SHARED, search) for kind, search in SEARCHES.items()},
    "lockstep": ((f"{_CORE}.lockstep", "LockstepSearch"), (f"{_CORE}.lockstep", "train")),
}

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
    roots: Iterable[Definition], read: Read = read_source
) -> dict[Definition, str]:
    """All definitions that some definitions use, directly or through others.

    Of each, as text: its syntax tree without comments, docstrings, annotations and raised errors,
    and what each imported name in it stands for.

    Raises:
        LookupError: if a definition does not exist, or if a whole module of the package is
            imported, whose use cannot be followed.
    """
    modules: dict[str, tuple[dict[str, list[ast.stmt]], dict[str, Definition]]] = {}
    found: dict[Definition, str] = {}
    to_do = list(roots)
    while to_do:
        module, name = definition = to_do.pop()
        if definition in found:
            continue
        if module not in modules:
            modules[module] = _parsed(module, read)
            to_do.append((module, ""))  # the statements that run when the module is imported
        definitions, imports = modules[module]
        if name not in definitions:
            raise LookupError(f"{module} defines no {name}")
        nodes, imported = definitions[name], {}
        names = {x.id for node in nodes for x in ast.walk(node) if isinstance(x, ast.Name)}
        for used in sorted(names):
            if used in imports:
                source, original = imports[used]
                ours = source.split(".")[0] == "bregman_nas"
                imported[used] = original if ours else f"{source}.{original}"
                if not ours or source in NOT_FOLLOWED:
                    continue
                if not original or read(f"{source}.{original}") is not None:
                    raise LookupError(
                        f"{module} imports the whole module {used}, whose use cannot be followed; "
                        "import the names that are used"
                    )
                to_do.append((source, original))
            elif used in definitions:
                to_do.append((module, used))
        found[definition] = repr(([_essence(node) for node in nodes], sorted(imported.items())))
    return found


def _parsed(module: str, read: Read) -> tuple[dict[str, list[ast.stmt]], dict[str, Definition]]:
    """The statements that define each name of a module, and what each imported name stands for."""
    source = read(module)
    if source is None:
        raise LookupError(f"there is no module {module}")
    definitions: dict[str, list[ast.stmt]] = {"": []}
    imports: dict[str, Definition] = {}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module_of = node.module or ""
            imports |= {x.asname or x.name: (module_of, x.name) for x in node.names}
        elif isinstance(node, ast.Import):
            imports |= {x.asname or x.name.split(".")[0]: (x.name, "") for x in node.names}
        _strip(node)
    for statement in tree.body:
        for name in _names(statement):
            definitions.setdefault(name, []).append(statement)
    return definitions, imports


def _names(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines; [""] if it only acts."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [x.id for t in targets for x in ast.walk(t) if isinstance(x, ast.Name)] or [""]
    return [] if isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node) else [""]


def _is_docstring(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _strip(node: ast.AST) -> None:
    """Remove what cannot change a number: annotations, docstrings and errors."""
    for name in ("annotation", "returns", "type_comment", "type_params"):
        if hasattr(node, name):
            setattr(node, name, None)
    if isinstance(node, ast.Raise):
        node.exc = node.cause = None  # a search that ended did not raise
    if isinstance(node, ast.ClassDef | ast.FunctionDef) and _is_docstring(node.body[0]):
        del node.body[0]


def _essence(node: object) -> object:
    """A syntax tree without the fields that are empty, which differ between versions of Python."""
    if isinstance(node, list):
        return [_essence(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((k, v) for k, v in ast.iter_fields(node) if v is not None and v != [])
    return type(node).__name__, sorted((name, _essence(value)) for name, value in fields)


def code_digest(roots: Iterable[Definition], read: Read = read_source) -> str:
    """SHA-256 of all code that some definitions use, whatever modules it is in."""
    used = used_definitions(roots, read)
    return digest_of(sorted((name, text) for (_, name), text in used.items()))


def _load(roots: Iterable[Definition]) -> str:
    """The digest of the code that this process will run, even if the files change later."""
    digest = code_digest(roots)
    for module, _ in used_definitions(roots):
        import_module(module)
    return digest


def _git(*arguments: str) -> str | None:
    """What git prints in the folder of the package; None outside a repository."""
    command = ["git", "-C", str(PACKAGE), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


#: The digest of the code of each kind, and of what lockstep adds to it; the commit, and whether the
#: package differs from it.
CODE = {kind: _load(roots) for kind, roots in ROOTS.items()}
COMMIT = {"commit": _git("rev-parse", "HEAD"), "modified": bool(_git("status", "--porcelain", "."))}


def digests(
    run: Run, seed: int, data: Mapping[str, str], *, lockstep: bool = False
) -> dict[str, str]:
    """The digests of a seed: `settings`, `data`, `code`, in lockstep `lockstep`; `all` of these.

    `data` are the SHA-256 of the files of the data set.
    """
    settings = digest_of(run.decisive())
    parts = {"settings": settings, "data": digest_of(dict(data)), "code": CODE[run.kind]}
    if lockstep:
        parts["lockstep"] = CODE["lockstep"]
    return {**parts, "all": whole_digest(parts, seed)}
