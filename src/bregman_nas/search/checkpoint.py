"""Checkpoints that survive being killed, a full disk, and a damaged file."""

import hashlib
import io
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from bregman_nas.atomic import replace

_SIZE = hashlib.sha256().digest_size


def save_atomically(path: Path, value: Any) -> None:
    """Replace a file by what `torch.save` writes of a value; see `write_atomically`."""
    replace(path, lambda file: _save(value, file.write))


class _Stream:
    """What `torch.save` writes to: passes each piece on, so that there is no second copy.

    Torch calls `write` from C++, where an exception would come out as another or end the process.
    It is kept, and raised afterwards.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self.error: BaseException | None = None

    def write(self, piece: bytes) -> int:
        if self.error is None:
            try:
                self._write(piece)
            except BaseException as error:  # also an interruption
                self.error = error
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back here."""


def _save(value: Any, write: Callable[[bytes], object]) -> None:
    stream = _Stream(write)
    torch.save(value, stream)  # type: ignore[arg-type]  # of a file it needs no more
    if stream.error is not None:
        raise stream.error


class Checkpoints:
    """The last two checkpoints of one search.

    A file is the SHA-256 of the rest, so that damage is noticed; that of the key; and what
    `torch.save` writes of the state.

    Args:
        folder: where they are kept.
        key: all that decides what the state is: digest, engine, device; a checkpoint with another
            one is not used.
        tell: is told, in words for the user, why a checkpoint is not used.
        device: where tensors are loaded to that were not on the CPU.
    """

    def __init__(
        self, folder: Path, key: str, tell: Callable[[str], None], device: str = "cpu"
    ) -> None:
        self.last = self.path(folder)
        self.before = self.path_before(folder)
        # Another version of torch may round differently, and a record names one.
        self._key = hashlib.sha256(f"{key} torch {torch.__version__}".encode()).digest()
        self._tell = tell
        self._device = device
        # Whether the last one can be used; None: not known.
        self._last_is_good: bool | None = None

    @staticmethod
    def path(folder: Path) -> Path:
        """Where the last one is."""
        return folder / "last.ckpt"

    @staticmethod
    def path_before(folder: Path) -> Path:
        """Where the one before it is."""
        return folder / "before.ckpt"

    def save(self, state: dict[str, Any]) -> None:
        """Write a new checkpoint; the last one becomes the one before.

        Raises:
            OSError: if it cannot be written; the older ones are left as they were.
        """
        if self._last_is_good is None:
            self._last_is_good = self._fault(self.last) is None
        # A last one that cannot be used must not push out the one before it.
        if self._last_is_good:
            # A hard link, not a move: at no moment is there no checkpoint.
            spare = self.before.with_name(f".{self.before.name}.link")
            spare.unlink(missing_ok=True)
            try:
                os.link(self.last, spare)
            except OSError:  # not every file system has them
                shutil.copy2(self.last, spare)
            os.replace(spare, self.before)
        replace(self.last, lambda file: self._write(state, file))
        self._last_is_good = True

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole and has the right key, or None."""
        for path in (self.last, self.before):
            fault = self._fault(path)
            if path == self.last:
                self._last_is_good = fault is None
            if fault is None:
                try:
                    state = torch.load(
                        io.BytesIO(path.read_bytes()[2 * _SIZE :]),
                        map_location=self._restored,
                        weights_only=True,
                    )
                except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
                    state = None  # its checksum is right, so that somebody made it
                if isinstance(state, dict):
                    return state
                fault = "is damaged"
                if path == self.last:
                    self._last_is_good = False
            if fault:
                self._tell(f"{path} {fault} and is not used")
        return None

    def _fault(self, path: Path) -> str | None:
        """Why a file cannot be used, in words for the user, "" if there is none; None: it can."""
        if not path.exists():
            return ""
        if not path.is_file():  # a pipe would never end
            return "is no file"
        with path.open("rb") as file:
            digest, key = file.read(_SIZE), file.read(_SIZE)
            found = hashlib.sha256(key)
            while piece := file.read(2**20):
                found.update(piece)
        if found.digest() != digest:
            return "is damaged"
        if key != self._key:
            return "was made with other settings, data, code, engine, device or version of torch"
        return None

    def _restored(self, storage: Any, location: str) -> Any:
        # To this search's device, whatever number the device had where it was saved.
        where = location if location == "cpu" else self._device
        return torch.serialization.default_restore_location(storage, where)

    def _write(self, state: dict[str, Any], file: BinaryIO) -> None:
        digest = hashlib.sha256(self._key)

        def write(piece: bytes) -> None:
            digest.update(piece)
            file.write(piece)

        file.write(bytes(_SIZE) + self._key)
        _save(state, write)
        file.seek(0)
        file.write(digest.digest())

    def remove(self) -> None:
        """Delete them: the search is finished."""
        for path in (self.last, self.before):
            path.unlink(missing_ok=True)
