"""Records of finished seeds: committed, and reused only if nothing that matters has changed."""

import hashlib
import io
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired

import numpy as np
import pydantic
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import TypedDict  # pydantic needs this one below 3.12

from bregman_nas.atomic import write_atomically
from bregman_nas.errors import UserError
from bregman_nas.settings import Run

if TYPE_CHECKING:  # the report, which unpacks alone, does not wait for torch
    from torch import Tensor, nn

#: The versions of the code that give the same numbers, each with the evidence for it.
ACCEPTED = Path(__file__).with_name("accepted.json")

Digests = Mapping[str, str]


class Group(TypedDict):
    """Which groups of a weight are active.

    `shape` of the groups, [rows] or [out, in], and `active`, one bit a group in the order of
    memory, the first the highest of its byte, in hexadecimal.
    """

    shape: list[int]
    active: str


class Record(TypedDict):
    """All that is kept of a finished seed; `docs/results.md` explains each part."""

    run: str
    seed: int
    digests: dict[str, str]
    settings: dict[str, Any]
    data: dict[str, str]
    checksum: str
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


def digest_of(value: Any) -> str:
    """SHA-256 of a value, as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def whole_digest(parts: Digests, seed: int) -> str:
    """The digest of a seed, from the digests of its settings, data and code."""
    return digest_of({**{k: v for k, v in parts.items() if k != "all"}, "seed": seed})


def checksum(result: Mapping[str, Any], history: list[dict[str, Any]]) -> str:
    """SHA-256 of a seed's numbers, whatever the layout of their file."""
    return digest_of({"result": result, "history": history})


@cache
def accepted() -> list[dict[str, Any]]:
    """What was accepted, oldest first: the `code` of a `kind`, which is `Run.kind` or `lockstep`.

    The evidence of each: it came first and made so many `records`, or it gives the committed
    `trajectories` (their digest) and the records of `seeds` that were searched again, bit for bit
    as far as they went; `no_seeds` says why there are none.
    """
    entries: list[dict[str, Any]] = json.loads(ACCEPTED.read_text("utf-8"))
    return entries


def are_equivalent(kind: str, then: str | None, now: str) -> bool:
    """Whether two versions of the code of a kind are the same, or were both accepted."""
    known = {entry["code"] for entry in accepted() if entry["kind"] == kind}
    return then == now or known.issuperset((then, now))


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
    except ValueError as error:  # of pydantic, or of the text's encoding
        first = " ".join(line.strip() for line in str(error).splitlines()[:3])
        raise UserError(f"{path} is not a record: {first}") from error


def fault_of(
    record: Record, run: Run, seed: int, data: Digests, code: Digests | None = None
) -> str | None:
    """Why a record is not that of a seed, to follow its name in a sentence; None if it is.

    `data` are the SHA-256 of the files of the data set, `code` the digests of the code that runs,
    see `digest.CODE`; without these any code will do.
    """
    if (record["run"], record["seed"]) != (run.name, seed):
        return f"is of seed {record['seed']} of {record['run']}, not of seed {seed} of {run.name}"
    then, settings = record["digests"], run.decisive()
    if then.get("all") != whole_digest(then, seed):
        return "has digests that do not belong together"
    written = record["settings"], then.get("settings")
    same = {"the settings": written == (settings, digest_of(settings))}
    same["the data"] = then.get("data") == digest_of(dict(data))
    if code is not None:
        same["the code"] = are_equivalent(run.kind, then.get("code"), code[run.kind])
        if "lockstep" in then:
            equal = are_equivalent("lockstep", then["lockstep"], code["lockstep"])
            same["the code for lockstep"] = equal
    if changed := [part for part, is_same in same.items() if not is_same]:
        return f"is stale: {' and '.join(changed)} changed since"
    if record["checksum"] != checksum(record["result"], record["history"]):
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


def active(weight: "Tensor") -> "Tensor":
    """Boolean, which rows [out] of a matrix, or kernels [out, in] of a convolution, are not 0."""
    inside = min(weight.ndim - 1, 2)
    return (weight != 0).flatten(inside).any(inside)


def active_groups(network: "nn.Module") -> dict[str, Group]:
    """Which rows of each weight matrix, and kernels of each convolution, are not zero, by name."""
    groups: dict[str, Group] = {}
    for name, weight in network.named_parameters():
        if name.endswith("weight") and weight.ndim >= 2:
            bits = np.packbits(active(weight).cpu().numpy()).tobytes().hex()
            groups[name] = {"shape": list(active(weight).shape), "active": bits}
    return groups


def unpack(group: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The boolean array that `active_groups` packed."""
    bits = np.frombuffer(bytes.fromhex(group["active"]), dtype=np.uint8)
    count = int(np.prod(group["shape"]))
    return np.unpackbits(bits, count=count).astype(bool).reshape(group["shape"])


def png(picture: "Tensor") -> bytes:
    """Grey values, uint8 [height, width], as a PNG."""
    file = io.BytesIO()
    Image.fromarray(picture.numpy()).save(file, format="png", optimize=True)
    return file.getvalue()


def weights_digest(weights: Mapping[str, "Tensor"]) -> str:
    """SHA-256 of a network's parameters and buffers: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, x in sorted(weights.items()):
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}\n".encode())
        digest.update(x.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
