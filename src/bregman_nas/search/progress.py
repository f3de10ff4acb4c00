"""The progress of each seed: written by the workers, shown by the command."""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import progress as rich_progress
from rich.console import Console


class Progress:
    """Writes the progress of one seed to a file that the command reads.

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
        self._messages: list[str] = []
        self._note = {
            "name": f"{run} seed {seed}",
            "epochs": epochs,
            "epoch": 0,
            "state": "begins",
            "done": False,
            "messages": self._messages,
        }

    def tell(self, message: str) -> None:
        """Show the user a message, once."""
        if message not in self._messages:
            self._messages.append(message)
            self._write()

    def epoch(self, entry: dict[str, Any]) -> None:
        """Note the end of an epoch, given its entry in the history."""
        self._note |= {"epoch": entry["epoch"], "state": self._state(entry)}
        self._write()

    def finish(self, entry: dict[str, Any], *, reused: bool) -> None:
        """Note the end of the search, or a record that is still valid."""
        state = f"{self._state(entry)}  {'taken from its record' if reused else 'done'}"
        self._note |= {"epoch": entry["epoch"], "state": state, "done": True, "reused": reused}
        self._write()

    def _state(self, entry: dict[str, Any]) -> str:
        unit = "neurons" if "active_rows" in entry else "kernels"
        active = sum(entry.get("active_rows") or entry.get("active_kernels") or [])
        at = f"epoch {entry['epoch']}/{self._note['epochs']}"
        return f"{at}  loss {entry['train_loss']:.3g}  {active} active {unit}"

    def _write(self) -> None:
        # Not flushed to the disk: after a power cut it is of no use. Another process that waits for
        # the same seed may write too.
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(self._note), encoding="utf-8")
        temporary.replace(self._path)


def progress_path(folder: Path) -> Path:
    """The file in a seed's workspace."""
    return folder / "progress.json"


@contextmanager
def shown(folders: Sequence[Path], seconds: float = 1.0) -> Iterator[None]:
    """Show the progress of several seeds while the body runs.

    On a terminal as a bar for each, elsewhere as a plain line for each epoch.

    Args:
        folders: the seeds' workspaces.
        seconds: time between two looks at them.
    """
    for folder in folders:
        progress_path(folder).unlink(missing_ok=True)
    display = _Display(Console(stderr=True))
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(seconds):
            display.look(folders)

    thread = threading.Thread(target=poll, daemon=True)
    with display.bars:
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            display.look(folders)


class _Display:
    """Shows each epoch and each message once."""

    def __init__(self, console: Console) -> None:
        self._left = rich_progress.TimeRemainingColumn()
        columns = ("{task.description}", rich_progress.BarColumn(), "{task.fields[state]}")
        self.bars = rich_progress.Progress(
            *columns,
            self._left,
            console=console,
            refresh_per_second=2,
            speed_estimate_period=1e6,  # seconds; an epoch may take an hour
            disable=not console.is_terminal,
        )
        self._tasks: dict[Path, rich_progress.TaskID] = {}
        self._seen: dict[Path, dict[str, Any]] = {}

    def look(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            try:
                note = json.loads(progress_path(folder).read_text("utf-8"))
            except (OSError, ValueError):
                continue  # not begun
            name, done, state = note["name"], note["epoch"], note["state"]
            if folder not in self._tasks:
                self._tasks[folder] = self.bars.add_task(
                    name, total=note["epochs"], completed=done, state=state
                )
            self.bars.update(self._tasks[folder], completed=done, state=state)
            seen = self._seen.get(folder, {"messages": [], "epoch": 0})
            for message in note["messages"][len(seen["messages"]) :]:
                self._say(f"{name}: {message}")
            if self.bars.disable and done and seen.get("state") != state:
                left = self._left.render(self.bars.tasks[self._tasks[folder]])
                self._say(f"{name}: {state}" + ("" if note["done"] else f"  {left} left"))
            self._seen[folder] = note

    def _say(self, line: str) -> None:
        # No markup: brackets may be in paths.
        self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
