"""Records of finished seeds: committed, and reused only where nothing that matters has changed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bregman_nas.search.checkpoint import write_atomically

Record = dict[str, Any]

_NAMES = {"settings": "the settings", "data": "the data", "code": "the code"}


def run_folder(project: Path, run: str) -> Path:
    """Where the results of a run are."""
    return project / "results" / run


def record_path(project: Path, run: str, seed: int) -> Path:
    """Where the record of a seed is."""
    return run_folder(project, run) / "records" / f"seed-{seed:02d}.json"


def picture_path(project: Path, run: str, seed: int) -> Path:
    """Where the restored images of a seed are: rows clean, degraded, restored."""
    return record_path(project, run, seed).with_suffix(".png")


def write_record(path: Path, record: Record) -> None:
    """Write a record, one line for each epoch of its history, so that it can be read and diffed.

    A loss that is not finite is written as Python's `json` does, as NaN or Infinity.
    """
    history = ",\n".join(f"  {json.dumps(entry)}" for entry in record["history"])
    rest = {name: value for name, value in record.items() if name != "history"}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in rest.items()]
    text = "{\n" + ",\n".join([*lines, f'"history": [\n{history}\n]']) + "\n}\n"
    write_atomically(path, text.encode())


def read_record(path: Path) -> Record:
    """Read a record."""
    record: Record = json.loads(path.read_text("utf-8"))
    return record


def reusable_record(
    path: Path, digests: Mapping[str, str], tell: Callable[[str], None]
) -> Record | None:
    """The record of a finished seed if it still holds, else None, and why is told.

    Args:
        path: of the record.
        digests: what they are now, see `digest.digests`.
        tell: is told, in words for the user, why a record that exists is not used.
    """
    if not path.exists():
        return None
    try:
        record = read_record(path)
        then = dict(record["digests"])
    except (ValueError, KeyError, TypeError):
        tell(f"{path.name} cannot be read as a record; the seed runs again")
        return None
    if then.get("all") == digests["all"]:
        return record
    changed = [name for part, name in _NAMES.items() if then.get(part) != digests[part]]
    reason = " and ".join(changed) or "the seed's number"
    tell(f"{path.name} is stale: {reason} changed since; the seed runs again")
    return None
