"""Records of finished seeds: committed, and reused only if nothing that matters has changed."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import (
    Any,
    NotRequired,  # pydantic needs this one below 3.12
)

import numpy as np
import pydantic
from numpy.typing import NDArray
from typing_extensions import TypedDict

from bregman_nas.atomic import read_text, write_atomically
from bregman_nas.errors import UserError
from bregman_nas.search.accepted import are_equivalent
from bregman_nas.settings import Run


class Group(TypedDict):
    """Which groups of a weight are active; see `outcome.active_groups`."""

    shape: list[int]
    active: str


class Record(TypedDict):
    """All that is kept of a finished seed; `docs/results.md` explains each part."""

    run: str
    seed: int
    digests: dict[str, str]
    settings: dict[str, Any]
    data: dict[str, str]
    checksum: NotRequired[str]
    result: dict[str, Any]
    active_groups: NotRequired[dict[str, Group]]
    network: NotRequired[str]
    provenance: dict[str, Any]
    history: list[dict[str, Any]]


_RECORD = pydantic.TypeAdapter(Record)


def run_folder(project: Path, run: str) -> Path:
    """The folder of a run's results."""
    return project / "results" / "runs" / run


def record_path(project: Path, run: str, seed: int) -> Path:
    """The record of a seed."""
    return run_folder(project, run) / "records" / f"seed-{seed:02d}.json"


def picture_path(project: Path, run: str, seed: int) -> Path:
    """The sample images of a seed, in rows: clean, degraded, restored."""
    return record_path(project, run, seed).with_suffix(".png")


def unpack(group: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The boolean array that `outcome.active_groups` packed."""
    shape = tuple(group["shape"])
    bits = np.frombuffer(bytes.fromhex(group["active"]), dtype=np.uint8)
    return np.unpackbits(bits, count=int(np.prod(shape))).astype(bool).reshape(shape)


def digest_of(value: Any) -> str:
    """SHA-256 of a value, as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def whole_digest(parts: Mapping[str, str], seed: int) -> str:
    """The digest of a seed, from the digests of its settings, data and code."""
    return digest_of({**{k: v for k, v in parts.items() if k != "all"}, "seed": seed})


def checksum(result: Mapping[str, Any], history: list[dict[str, Any]]) -> str:
    """SHA-256 of a seed's numbers, whatever the layout of their file."""
    return digest_of({"result": result, "history": history})


@cache
def _checksums() -> Mapping[str, str]:
    """Of the records that were made before records had one, by the digest of the seed."""
    path = resources.files("bregman_nas.search").joinpath("checksums.json")
    sums: dict[str, str] = json.loads(path.read_text("utf-8"))
    return sums


def write_record(path: Path, record: Record) -> None:
    """Write a record with one line for each epoch, so that it can be read and diffed.

    A loss that is not finite is written as Python's `json` does, as NaN or Infinity.
    """
    history = ",\n".join(f"  {json.dumps(entry)}" for entry in record["history"])
    rest = {name: value for name, value in record.items() if name != "history"}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in rest.items()]
    text = "{\n" + ",\n".join([*lines, f'"history": [\n{history}\n]']) + "\n}\n"
    write_atomically(path, text.encode())


def read_record(path: Path) -> Record:
    """Read a record; a `UserError` says why it cannot be read."""
    try:
        record: Record = _RECORD.validate_python(json.loads(read_text(path)), strict=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise UserError(f"{path} is not a record: {where}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a record: {error}") from error
    return record


def fault_of(
    record: Record,
    run: Run,
    seed: int,
    data: Mapping[str, str],
    code: Mapping[str, str] | None = None,
) -> str | None:
    """Why a record is not valid, to follow its name in a sentence; None if it is.

    Args:
        record: as it was read.
        run: the run that it should be of.
        seed: the seed that it should be of.
        data: SHA-256 of each file of the data set.
        code: digests of the code that runs: `code` and, for seeds in lockstep, `lockstep`. By
            default any accepted code is valid.
    """
    # Early records of the runs that change one choice have their old folder in the name.
    name = record["run"].removeprefix("ablation/")
    if (name, record["seed"]) != (run.name, seed):
        return f"is of seed {record['seed']} of {name}, not of seed {seed} of {run.name}"
    then = record["digests"]
    if then.get("all") != whole_digest(then, seed):
        return "has digests that do not belong together"
    settings = run.decisive()
    changed = []
    if then.get("settings") != digest_of(settings) or record["settings"] != settings:
        changed.append("the settings")
    if then.get("data") != digest_of(dict(data)):
        changed.append("the data")
    for part, name in (("code", "the code"), ("lockstep", "the code for lockstep")):
        kind, now = run.kind if part == "code" else part, None if code is None else code.get(part)
        if (part in then or part == "code") and not are_equivalent(kind, then.get(part), now):
            changed.append(name)
    if changed:
        return f"is stale: {' and '.join(changed)} changed since"
    expected = record.get("checksum") or _checksums().get(then["all"])
    if expected is None:
        return "has no checksum"
    if expected != checksum(record["result"], record["history"]):
        return "was edited: its numbers do not match its checksum"
    return None


def reusable_record(
    path: Path,
    run: Run,
    seed: int,
    data: Mapping[str, str],
    code: Mapping[str, str],
    tell: Callable[[str], None],
) -> Record | None:
    """The record of a finished seed if it is still valid, else None.

    Args:
        path: of the record.
        run: see `fault_of`, as for `seed`, `data` and `code`.
        seed: see there.
        data: see there.
        code: see there.
        tell: is told, in words for the user, why a record that exists is not used.
    """
    if not path.exists():
        return None
    try:
        record = read_record(path)
    except UserError as error:
        tell(f"{error}; the seed runs again")
        return None
    fault = fault_of(record, run, seed, data, code)
    if fault is not None:
        tell(f"{path.name} {fault}; the seed runs again")
        return None
    return record


def device_of(record: Record) -> str:
    """The device that the seed was searched on: `cpu`, or a GPU's name."""
    return str(record["provenance"]["host"]["device"])


def check_one_device(run: str, devices: Mapping[int, str]) -> None:
    """Require all seeds of a run to come from one device, because numbers differ between them.

    Args:
        run: its name.
        devices: the device that each seed was, or will be, searched on.

    Raises:
        UserError: if there is more than one; it names the seeds of each.
    """
    seeds: dict[str, list[str]] = {}
    for seed, device in devices.items():
        seeds.setdefault(device, []).append(str(seed))
    if len(seeds) > 1:
        each = "; ".join(f"on {device}: {', '.join(numbers)}" for device, numbers in seeds.items())
        raise UserError(
            f"the seeds of {run} would come from different devices ({each}), but one run's results "
            "must come from one; search all seeds on one (--device), or delete the records of the "
            f"others in results/runs/{run}/records and search those again"
        )
