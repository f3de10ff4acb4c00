"""Checkpoints that survive a killed process, a full disk, and a damaged file."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from bregman_nas.atomic import write_atomically

_SIZE = hashlib.sha256().digest_size


def to_bytes(value: Any) -> bytes:
    """What `torch.save` writes; with a file it may turn an `OSError` into another error."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class Checkpoints:
    """The last two checkpoints of one seed, in a folder.

    A file is the SHA-256 of the rest, by which damage is noticed; that of the key; and the state as
    `torch.save` writes it. The key is everything that decides the state: digest, engine, device.
    `tell` is told, in words for the user, why a checkpoint is not used. Tensors that were not on
    the CPU are loaded to `device`.
    """

    def __init__(
        self, folder: Path, key: str, tell: Callable[[str], None], device: str = "cpu"
    ) -> None:
        self.last, self.before = folder / "last.ckpt", folder / "before.ckpt"
        # Another version of torch may round differently, and a record names one.
        self._key = hashlib.sha256(f"{key} torch {torch.__version__}".encode()).digest()
        self._tell, self._device = tell, device

    def save(self, state: dict[str, Any]) -> None:
        """Write a new checkpoint; the last one becomes the one before.

        Raises:
            OSError: if it cannot be written; the last one is kept, as the one before.
        """
        content = self._key + to_bytes(state)
        if isinstance(self._read(self.last), dict):  # else it must not replace a good one
            os.replace(self.last, self.before)
        write_atomically(self.last, hashlib.sha256(content).digest() + content)

    def states(self) -> Iterator[dict[str, Any]]:
        """The states that are whole and have the right key, newest first."""
        for path in (self.last, self.before):
            state = self._read(path)
            if isinstance(state, dict):
                yield state
            elif path.exists():
                self._tell(f"{path} {state} and is not used")

    def remove(self) -> None:
        """Delete them once the search has finished."""
        for path in (self.last, self.before):
            path.unlink(missing_ok=True)

    def _read(self, path: Path) -> dict[str, Any] | str:
        """The saved state, or what is wrong with the file."""
        if not path.exists():
            return "is not there"
        content = path.read_bytes()
        if hashlib.sha256(memoryview(content)[_SIZE:]).digest() != content[:_SIZE]:
            return "is damaged"
        if content[_SIZE : 2 * _SIZE] != self._key:
            return "was made with other settings, data, code, engine, device or version of torch"
        file = io.BytesIO(content[2 * _SIZE :])
        state: dict[str, Any] = torch.load(file, map_location=self._restored, weights_only=True)
        return state

    def _restored(self, storage: Any, location: str) -> Any:
        # To this search's device, whatever number the device had where it was saved.
        where = location if location == "cpu" else self._device
        return torch.serialization.default_restore_location(storage, where)
