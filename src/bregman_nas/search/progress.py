"""How far each seed is: written by the workers, shown by the command."""

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import progress as rich_progress
from rich.console import Console


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

    A bar for each on a terminal; elsewhere one plain line for each epoch.

    Args:
        folders: the seeds' workspaces.
        seconds: time between two looks at them.
    """
    for folder in folders:
        progress_path(folder).unlink(missing_ok=True)
    display = _Display(folders, Console(stderr=True))
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(seconds):
            display.look()

    thread = threading.Thread(target=poll, daemon=True)
    with display.bars:
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            display.look()


class _Display:
    """What the command shows of the notes: each epoch and each message once."""

    def __init__(self, folders: Sequence[Path], console: Console) -> None:
        columns = ("{task.description}", rich_progress.BarColumn(), "{task.fields[state]}")
        self.bars = rich_progress.Progress(
            *columns, console=console, refresh_per_second=2, disable=not console.is_terminal
        )
        self._folders = folders
        self._seen: dict[Path, dict[str, Any]] = {}
        self._bars: dict[Path, rich_progress.TaskID] = {}

    def look(self) -> None:
        for folder in self._folders:
            try:
                note = json.loads(progress_path(folder).read_text("utf-8"))
            except (OSError, ValueError):
                continue  # not begun
            name, state = f"{note['run']} seed {note['seed']}", _state(note)
            seen = self._seen.get(folder, {"messages": []})
            for message in note["messages"][len(seen["messages"]) :]:
                self._say(f"{name}: {message}")
            if not self.bars.disable:
                if folder not in self._bars:
                    self._bars[folder] = self.bars.add_task(name, total=note["epochs"], state="")
                self.bars.update(self._bars[folder], completed=note["epoch"], state=state)
            elif note["epoch"] and not all(note.get(k) == seen.get(k) for k in ("epoch", "done")):
                self._say(f"{name}: {state}")
            self._seen[folder] = note

    def _say(self, line: str) -> None:
        # No markup: brackets may be in paths.
        self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _state(note: dict[str, Any]) -> str:
    if not note["epoch"]:
        return "begins"
    if note.get("done"):
        ending = "taken from its record" if note["reused"] else "done"
    else:
        seconds = round(note["seconds_left"])
        ending = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"
    return (
        f"epoch {note['epoch']}/{note['epochs']}  loss {note['loss']:.3g}  "
        f"{note['active']} active {note['unit']}  {ending}"
    )
