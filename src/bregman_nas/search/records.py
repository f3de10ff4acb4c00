"""Records of finished seeds: committed, and reused only if nothing that matters has changed."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import (
    Any,
    NotRequired,  # pydantic needs this one below 3.12
)

import numpy as np
import pydantic
from numpy.typing import NDArray
from typing_extensions import TypedDict

from bregman_nas.atomic import write_atomically
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
def _old_checksums() -> dict[str, list[str]]:
    """Of the seeds of each run, from 0, whose records were made before records had one."""
    path = Path(__file__).with_name("checksums.json")
    sums: dict[str, list[str]] = json.loads(path.read_text("utf-8"))
    return sums


def write_record(path: Path, record: Record) -> None:
    """Write a record with one line for each epoch, so that it can be read and diffed.

    A loss that is not finite is written as Python's `json` does, as NaN or Infinity.
    """
    parts = {name: json.dumps(part) for name, part in record.items()}
    epochs = ",\n".join(f"  {json.dumps(entry)}" for entry in record["history"])
    parts["history"] = f"[\n{epochs}\n]"
    lines = ",\n".join(f"{json.dumps(name)}: {part}" for name, part in parts.items())
    write_atomically(path, f"{{\n{lines}\n}}\n".encode())


def read_record(path: Path) -> Record:
    """Read a record; a `UserError` says why it cannot be read."""
    try:
        return _RECORD.validate_json(path.read_text("utf-8"), strict=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # of pydantic, or of the text's encoding
        first = " ".join(line.strip() for line in str(error).splitlines()[:3])
        raise UserError(f"{path} is not a record: {first}") from error


def fault_of(
    record: Record,
    run: Run,
    seed: int,
    data: Mapping[str, str],
    code: Mapping[str, str] | None = None,
) -> str | None:
    """Why a record is not that of a seed, to follow its name in a sentence; None if it is.

    `data` are the SHA-256 of the files of the data set, `code` the digests of the code that runs,
    see `digest.CODE`. By default any accepted code is valid.
    """
    # Early records of the runs that change one choice have their old folder in the name.
    name = record["run"].removeprefix("ablation/")
    if (name, record["seed"]) != (run.name, seed):
        return f"is of seed {record['seed']} of {name}, not of seed {seed} of {run.name}"
    then, now, settings = record["digests"], code or {}, run.decisive()
    if then.get("all") != whole_digest(then, seed):
        return "has digests that do not belong together"
    same = {
        "the settings": (record["settings"], then.get("settings"))
        == (settings, digest_of(settings)),
        "the data": then.get("data") == digest_of(dict(data)),
        "the code": are_equivalent(run.kind, then.get("code"), now.get(run.kind)),
    }
    if "lockstep" in then:
        equal = are_equivalent("lockstep", then["lockstep"], now.get("lockstep"))
        same["the code for lockstep"] = equal
    if changed := [part for part, is_same in same.items() if not is_same]:
        return f"is stale: {' and '.join(changed)} changed since"
    old = dict(enumerate(_old_checksums().get(name, [])))
    expected = record.get("checksum") or old.get(seed)
    if expected is None:
        return "has no checksum"
    if expected != checksum(record["result"], record["history"]):
        return "was edited: its numbers do not match its checksum"
    return None


def device_of(record: Record) -> str:
    """The device that the seed was searched on: `cpu`, or a GPU's name."""
    return str(record["provenance"]["host"]["device"])


def check_one_device(run: str, devices: Mapping[int, str]) -> None:
    """Raise a `UserError` if the seeds of a run are of different devices: their numbers differ."""
    seeds: dict[str, list[str]] = {}
    for seed, device in devices.items():
        seeds.setdefault(f"on {device}", []).append(str(seed))
    if len(seeds) > 1:
        each = "; ".join(f"{where}: {', '.join(numbers)}" for where, numbers in seeds.items())
        raise UserError(
            f"the seeds of {run} would come from different devices ({each}), but one run's results "
            "must come from one; search all seeds on one (--device), or delete the records of the "
            f"others in results/runs/{run}/records and search those again"
        )
