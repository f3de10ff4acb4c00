"""The digest of everything that decides the numbers of a seed: settings, data and code.

The code is that of all modules of this package that a search imports, directly or through others.
"""

import ast
import subprocess
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path

from bregman_nas.search.core.searches import SEARCHES
from bregman_nas.search.records import digest_of, whole_digest
from bregman_nas.settings import Run

PACKAGE = Path(__file__).resolve().parents[1]

#: The modules from which the code is followed: by kind of run, and what lockstep adds to it.
ROOTS: Mapping[str, tuple[str, ...]] = {
    **{kind: ("bregman_nas.data.idx", module) for kind, (module, _) in SEARCHES.items()},
    "lockstep": ("bregman_nas.search.core.lockstep",),
}

#: Not followed: what they read is in the digests of settings and data.
NOT_FOLLOWED = {"bregman_nas.data.files", "bregman_nas.errors", "bregman_nas.settings"}


def used_modules(roots: Iterable[str]) -> dict[str, str]:
    """All modules of this package that some import, directly or through others: their `essence`."""
    found: dict[str, str] = {}
    to_do = [*roots]
    while to_do:
        module = to_do.pop()
        ours = module.split(".")[0] == "bregman_nas"
        if ours and module not in {*found, *NOT_FOLLOWED}:
            path = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
            tree = ast.parse(path.read_text("utf-8"))
            found[module] = essence(tree)
            nodes = list(ast.walk(tree))
            to_do += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
            to_do += [x.name for node in nodes if isinstance(node, ast.Import) for x in node.names]
    return found


def essence(tree: ast.Module) -> str:
    """A syntax tree, as text, without comments, docstrings, annotations and raised errors."""
    for one in ast.walk(tree):
        for name in ("annotation", "returns", "type_comment", "type_params"):
            if hasattr(one, name):
                setattr(one, name, None)
        if isinstance(one, ast.Raise):
            one.exc = one.cause = None  # a search that ended did not raise
        if isinstance(one, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(one):
            del one.body[0]
    return repr(_without_empty(tree))


def _without_empty(node: object) -> object:
    """A syntax tree without the fields that are empty, which differ between versions of Python."""
    if isinstance(node, list):
        return [_without_empty(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((k, v) for k, v in ast.iter_fields(node) if v is not None and v != [])
    return type(node).__name__, sorted((name, _without_empty(value)) for name, value in fields)


def _load(roots: Iterable[str]) -> str:
    """The digest of the code that this process will run, even if the files change later."""
    used = used_modules(roots)
    for module in used:
        import_module(module)
    return digest_of(used)


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


def digests(run: Run, seed: int, data: Mapping[str, str], lockstep: bool = False) -> dict[str, str]:
    """The digests of a seed: `settings`, `data`, `code`, in lockstep `lockstep`; `all` of these.

    `data` are the SHA-256 of the files of the data set.
    """
    settings = digest_of(run.decisive())
    parts = {"settings": settings, "data": digest_of(dict(data)), "code": CODE[run.kind]}
    if lockstep:
        parts["lockstep"] = CODE["lockstep"]
    return {**parts, "all": whole_digest(parts, seed)}
