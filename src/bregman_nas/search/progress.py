"""How far each seed is: written by the workers, shown by the command."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text


class Progress:
    """What one worker notes about its seed, in a file that the command reads.

    A file, because workers may run in other processes and on other machines.

    Args:
        folder: where the file is.
        run: name of the run.
        seed: number of the seed.
        epochs: how many there will be.
    """

    def __init__(self, folder: Path, run: str, seed: int, epochs: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = progress_path(folder)
        self._epochs = epochs
        self._start_epoch: int | None = None
        self._start = time.monotonic()
        self._note = {"run": run, "seed": seed, "epochs": epochs, "epoch": 0, "messages": []}

    def tell(self, message: str) -> None:
        """A message for the user, once."""
        if message in self._messages():
            return
        self._note["messages"] = [*self._messages(), message]
        self._write()

    def epoch(self, entry: dict[str, Any], seconds: float) -> None:
        """The end of an epoch: its entry in the history, and the seconds since the start."""
        if self._start_epoch is None:
            # The first epoch seen here may have begun in an earlier process.
            self._start_epoch, self._start = entry["epoch"], time.monotonic()
        made = entry["epoch"] - self._start_epoch
        per_epoch = (time.monotonic() - self._start) / made if made else seconds / entry["epoch"]
        self._note |= _numbers(entry)
        self._note["seconds_left"] = per_epoch * (self._epochs - entry["epoch"])
        self._write()

    def finish(self, entry: dict[str, Any], *, reused: bool) -> None:
        """The end of the search, or a record that still holds."""
        self._note |= {**_numbers(entry), "seconds_left": 0, "done": True, "reused": reused}
        self._write()

    def _messages(self) -> list[str]:
        messages: list[str] = self._note["messages"]  # type: ignore[assignment]
        return messages

    def _write(self) -> None:
        # Not flushed to the disk: what a power cut may lose here is of no use afterwards. Another
        # process that waits for the same seed may write too.
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(self._note), encoding="utf-8")
        temporary.replace(self._path)


def progress_path(folder: Path) -> Path:
    """The file in a seed's workspace."""
    return folder / "progress.json"


def _numbers(entry: dict[str, Any]) -> dict[str, Any]:
    active = entry.get("active_rows") or entry.get("active_kernels") or []
    unit = "neurons" if "active_rows" in entry else "kernels"
    return {
        "epoch": entry["epoch"],
        "loss": entry["train_loss"],
        "active": sum(active),
        "unit": unit,
    }


@contextmanager
def shown(folders: Sequence[Path], seconds: float = 1.0) -> Iterator[None]:
    """Show the progress of several seeds while the body runs.

    A table that is kept up to date on a terminal; elsewhere one plain line for each epoch.

    Args:
        folders: the seeds' workspaces.
        seconds: time between two looks at them.
    """
    for folder in folders:
        progress_path(folder).unlink(missing_ok=True)
    console = Console(stderr=True)
    if console.is_terminal:
        with (
            Live(console=console, auto_refresh=False) as live,
            _polling(folders, seconds, lambda notes: live.update(_table(notes), refresh=True)),
        ):
            yield
    else:
        with _polling(folders, seconds, _Lines().show):
            yield


@contextmanager
def _polling(
    folders: Sequence[Path], seconds: float, show: Callable[[list[dict[str, Any]]], None]
) -> Iterator[None]:
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(seconds):
            show(list(_notes(folders)))

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        show(list(_notes(folders)))


def _notes(folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for folder in folders:
        try:
            yield json.loads(progress_path(folder).read_text("utf-8"))
        except (OSError, ValueError):
            continue  # not begun


class _Lines:
    """Plain lines: each epoch and each message once."""

    def __init__(self) -> None:
        self._epoch: dict[int, tuple[int, bool]] = {}
        self._messages: dict[int, int] = {}

    def show(self, notes: list[dict[str, Any]]) -> None:
        for note in notes:
            seed = note["seed"]
            name = f"{note['run']} seed {seed}"
            for message in note["messages"][self._messages.get(seed, 0) :]:
                print(f"{name}: {message}", file=sys.stderr, flush=True)
            self._messages[seed] = len(note["messages"])
            state = (note["epoch"], note.get("done", False))
            if note["epoch"] and state != self._epoch.get(seed):
                print(f"{name}: {_line(note)}", file=sys.stderr, flush=True)
            self._epoch[seed] = state


def _line(note: dict[str, Any]) -> str:
    text = (
        f"epoch {note['epoch']}/{note['epochs']}  loss {note['loss']:.3g}  "
        f"{note['active']} active {note['unit']}"
    )
    return f"{text}  {_ending(note)}"


def _ending(note: dict[str, Any]) -> str:
    if note.get("done"):
        return "taken from its record" if note["reused"] else "done"
    seconds = round(note.get("seconds_left", 0))
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"


def _table(notes: list[dict[str, Any]]) -> Table:
    table = Table(title=notes[0]["run"] if notes else None)
    for name in ("seed", "epoch", "loss", "active", ""):
        table.add_column(name, justify="right")
    for note in notes:
        if note["epoch"]:
            numbers = [
                f"{note['epoch']}/{note['epochs']}",
                f"{note['loss']:.3g}",
                f"{note['active']} {note['unit']}",
                _ending(note),
            ]
        else:
            numbers = ["", "", "", "begins"]
        table.add_row(str(note["seed"]), *numbers)
        for message in note["messages"]:
            table.add_row("", "", "", "", Text(message))  # not markup: brackets may be in paths
    return table
