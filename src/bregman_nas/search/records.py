"""Records of finished seeds: committed, and reused only where nothing that matters has changed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bregman_nas.search.checkpoint import write_atomically

Record = dict[str, Any]

_NAMES = {
    "settings": "the settings",
    "data": "the data",
    "code": "the code",
    "lockstep": "the code for lockstep",
}


class MixedDevicesError(Exception):
    """Seeds of one run were searched on different devices, in words for the user."""


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
    path: Path, digests: Callable[..., Mapping[str, str]], tell: Callable[[str], None]
) -> Record | None:
    """The record of a finished seed if it still holds, else None, and why is told.

    Args:
        path: of the record.
        digests: gives what they are now; called with `lockstep`, which is whether the record is
            of a seed in lockstep, see `digest.digests`.
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
    now = digests(lockstep="lockstep" in then)
    if then.get("all") == now["all"]:
        if all(record.get(part) for part in ("result", "history", "provenance")):
            return record
        tell(f"{path.name} is not whole; the seed runs again")
        return None
    changed = [_NAMES[part] for part in now if part != "all" and then.get(part) != now[part]]
    reason = " and ".join(changed) or "the seed's number"
    tell(f"{path.name} is stale: {reason} changed since; the seed runs again")
    return None


def device_of(record: Record) -> str:
    """What the seed was searched on, such as `cpu`, or a GPU's name."""
    return str(record["provenance"]["host"]["device"])


def check_one_device(run: str, devices: Mapping[int, str]) -> None:
    """Records that one run puts together must come from one device: their numbers differ.

    Args:
        run: its name.
        devices: what each seed was, or is to be, searched on.

    Raises:
        MixedDevicesError: if there is more than one; it names the seeds of each.
    """
    seeds: dict[str, list[str]] = {}
    for seed, device in devices.items():
        seeds.setdefault(device, []).append(str(seed))
    if len(seeds) > 1:
        each = "; ".join(f"on {device}: {', '.join(numbers)}" for device, numbers in seeds.items())
        raise MixedDevicesError(
            f"the seeds of {run} would come from different devices ({each}), and one run's results "
            "are never put together from several; search all on one (--device), or delete the "
            f"records of the others in results/{run}/records and search those again"
        )
