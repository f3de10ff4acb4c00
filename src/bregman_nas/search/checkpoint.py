"""Checkpoints that survive being killed, a full disk, and a damaged file."""

import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file as a whole or not at all, also if the process or the machine dies.

    Raises:
        OSError: if the folder cannot be written to or the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed while it wrote this file left behind.

    No other process may be writing the file.
    """
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)


class Checkpoints:
    """The last two checkpoints of one search.

    Each file starts with the SHA-256 of the rest, so that damage is noticed.

    Args:
        folder: where they are kept.
        digest: of all that decides the numbers; a checkpoint with another one is not used.
        tell: is told, in words for the user, why a checkpoint is not used.
    """

    def __init__(self, folder: Path, digest: str, tell: Callable[[str], None]) -> None:
        self.last = self.path(folder)
        self.before = self.path_before(folder)
        self._digest = digest
        self._tell = tell

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
        buffer = io.BytesIO()
        torch.save({"digest": self._digest, "state": state}, buffer)
        content = buffer.getvalue()
        if self.last.exists():
            # A hard link, not a move: at no moment is there no checkpoint.
            spare = self.before.with_name(f".{self.before.name}.link")
            spare.unlink(missing_ok=True)
            os.link(self.last, spare)
            os.replace(spare, self.before)
        write_atomically(self.last, hashlib.sha256(content).digest() + content)

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole and has the right digest, or None."""
        for path in (self.last, self.before):
            if not path.exists():
                continue
            content = path.read_bytes()
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                self._tell(f"{path} is damaged and is not used")
                continue
            found = torch.load(io.BytesIO(content[32:]), weights_only=True)
            if found["digest"] != self._digest:
                self._tell(f"{path} was made by other settings, data or code and is not used")
                continue
            state: dict[str, Any] = found["state"]
            return state
        return None

    def remove(self) -> None:
        """Delete them: the search is finished."""
        for path in (self.last, self.before):
            path.unlink(missing_ok=True)
