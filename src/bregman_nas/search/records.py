"""Records of finished seeds: committed, and reused only where nothing that matters has changed."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
    return project / "results" / "runs" / run


def record_path(project: Path, run: str, seed: int) -> Path:
    """Where the record of a seed is."""
    return run_folder(project, run) / "records" / f"seed-{seed:02d}.json"


def picture_path(project: Path, run: str, seed: int) -> Path:
    """Where the restored images of a seed are: rows clean, degraded, restored."""
    return record_path(project, run, seed).with_suffix(".png")


@torch.no_grad()
def active_groups(network: nn.Module) -> dict[str, dict[str, Any]]:
    """Which rows of each weight matrix, and kernels of each convolution, are not zero.

    Args:
        network: any module.

    Returns:
        For each weight, by name: `shape` of the groups, [rows] or [out, in], and `active`, one bit
        a group in the order of memory, the first the highest of its byte, in hexadecimal.
    """
    groups = {}
    for name, weight in network.named_parameters():
        if name.endswith("weight") and weight.ndim >= 2:
            inside = 1 if weight.ndim == 2 else 2
            active = (weight != 0).flatten(inside).any(inside)
            bits = np.packbits(active.cpu().numpy()).tobytes().hex()
            groups[name] = {"shape": list(active.shape), "active": bits}
    return groups


def unpack(group: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The boolean array that `active_groups` packed."""
    shape = tuple(group["shape"])
    bits = np.frombuffer(bytes.fromhex(group["active"]), dtype=np.uint8)
    return np.unpackbits(bits, count=int(np.prod(shape))).astype(bool).reshape(shape)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of a network's parameters and buffers: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, x in sorted(weights.items()):
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}\n".encode())
        digest.update(x.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def checksum(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record's result and history: of the numbers, however they are laid out."""
    content = {part: record[part] for part in ("result", "history")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
