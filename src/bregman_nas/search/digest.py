"""The digest of everything that decides the numbers of a seed."""

import ast
import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bregman_nas.settings import Run

PACKAGE = Path(__file__).resolve().parents[1]

_SHARED = (
    "randomness.py",
    "data/degradation.py",
    "bregman/regularizers.py",
    "bregman/optimizers.py",
    "bregman/initialization.py",
    "search/momentum.py",
    "search/schedule.py",
    "search/loop.py",
    "search/start.py",
    "search/textbook.py",
    "search/variable.py",
)

#: The modules that decide the numbers, by the network searched. What reads files (`settings`,
#: `data.files`) is not among them: what it read is in the digest itself.
SOURCES: Mapping[str, tuple[str, ...]] = {
    "mlp": (*_SHARED, "networks/residual_mlp.py", "search/mlp.py", "search/compact_mlp.py"),
    "densenet": (
        *_SHARED,
        "networks/densenet.py",
        "search/densenet.py",
        "search/compact_densenet.py",
    ),
}

#: What decides the numbers of seeds in lockstep, and of no others.
LOCKSTEP = "search/lockstep.py"


def code_digest(source: str) -> str:
    """SHA-256 of what a module computes: its syntax tree, less what cannot change a number.

    Left out are comments, layout, docstrings, annotations of types, and what is raised: a search
    that ended did not raise. The version of Python does not enter either.
    """
    return hashlib.sha256(repr(_essence(ast.parse(source))).encode()).hexdigest()


_ANNOTATIONS = {"annotation", "returns", "type_comment", "type_params"}


def _essence(node: object) -> object:
    if isinstance(node, list):
        return [_essence(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {k: v for k, v in ast.iter_fields(node) if k not in _ANNOTATIONS}
    if isinstance(node, ast.Raise):
        fields = {}
    body = fields.get("body")
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and isinstance(body, list):
        first = body[0] if body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            fields["body"] = body[1:]
    # Fields that are empty differ between versions of Python, and say nothing.
    said = {name: _essence(value) for name, value in fields.items() if value not in (None, [])}
    return type(node).__name__, sorted(said.items())


# Read once, when the process starts: that is the code that it will run, whatever comes later.
_CODE = {
    source: code_digest((PACKAGE / source).read_text("utf-8"))
    for sources in (*SOURCES.values(), (LOCKSTEP,))
    for source in sources
}


def _git(*arguments: str) -> str | None:
    """What git says in the folder of the package; None outside a repository."""
    command = ["git", "-C", str(PACKAGE), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


#: The commit of the running code, and whether the package differs from it; None outside git.
CODE = {
    "commit": _git("rev-parse", "HEAD"),
    "modified": bool(_git("status", "--porcelain", ".")),
}


def digests(
    run: Run, seed: int, data: Mapping[str, str], *, lockstep: bool = False
) -> dict[str, str]:
    """The digest of a seed and of its parts.

    Args:
        run: its settings.
        seed: its number.
        data: SHA-256 of each file of the data set.
        lockstep: whether the seed was, or is to be, searched in lockstep.

    Returns:
        `settings`, `data` and `code`, which tell what changed where the digest differs; in
        lockstep also `lockstep`, of the code for it alone; and `all`, which covers them and the
        seed.
    """
    sources = SOURCES[run.experiment.network]
    parts = {
        "settings": _digest(run.decisive()),
        "data": _digest(dict(data)),
        "code": _digest({source: _CODE[source] for source in sources}),
    }
    if lockstep:
        parts["lockstep"] = _CODE[LOCKSTEP]
    return {**parts, "all": _digest({**parts, "seed": seed})}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
