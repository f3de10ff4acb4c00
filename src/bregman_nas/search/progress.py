"""The progress of each seed: written by the workers, shown by the command."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import progress as rich_progress
from rich.console import Console

from bregman_nas.atomic import write_atomically

FILE = "progress.json"  # in a seed's workspace


class Progress:
    """Writes the progress of one seed to a file in its workspace, which the command reads.

    A file, because workers may run in other processes and on other machines.
    """

    def __init__(self, folder: Path, run: str, seed: int, epochs: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / FILE
        self._note: dict[str, Any] = {"name": f"{run} seed {seed}", "epochs": epochs, "epoch": 0}
        self._note |= {"state": "begins", "done": False, "messages": []}

    def tell(self, message: str) -> None:
        """Show the user a message, once."""
        if message not in self._note["messages"]:
            self._note["messages"].append(message)
            self._write()

    def epoch(self, entry: dict[str, Any], end: str = "") -> None:
        """Note the end of an epoch, given its entry in the history, or how the search has ended."""
        unit = "neurons" if "active_rows" in entry else "kernels"
        active = sum(entry.get("active_rows") or entry.get("active_kernels") or [])
        at = f"epoch {entry['epoch']}/{self._note['epochs']}"
        state = f"{at}  loss {entry['train_loss']:.3g}  {active} active {unit}"
        state += f"  {end}" if end else ""
        self._note |= {"epoch": entry["epoch"], "state": state, "done": bool(end)}
        self._write()

    def _write(self) -> None:
        # At once, as another process that waits for the same seed may write too.
        write_atomically(self._path, json.dumps(self._note).encode())


@contextmanager
def shown(folders: Sequence[Path], seconds: float = 1.0) -> Iterator[None]:
    """Show the progress of seeds, given their workspaces, while the body runs.

    On a terminal as a bar for each, elsewhere as a plain line for each epoch. `seconds` are between
    two looks at their files.
    """
    for folder in folders:
        (folder / FILE).unlink(missing_ok=True)
    console, left = Console(stderr=True), rich_progress.TimeRemainingColumn()
    bars = rich_progress.Progress(
        "{task.description}",
        rich_progress.BarColumn(),
        "{task.fields[state]}",
        left,
        console=console,
        refresh_per_second=2,
        speed_estimate_period=1e6,  # seconds; an epoch may take an hour
        disable=not console.is_terminal,
    )
    tasks: dict[Path, rich_progress.Task] = {}

    def look() -> None:
        for folder in folders:
            try:
                note = json.loads((folder / FILE).read_text("utf-8"))
            except (OSError, ValueError):
                continue  # not begun
            if folder not in tasks:
                number = bars.add_task(note["name"], total=note["epochs"], state="begins", told=0)
                tasks[folder] = bars.tasks[number]
            task, state, messages = tasks[folder], note["state"], note["messages"]
            lines, is_new = messages[task.fields["told"] :], state != task.fields["state"]
            bars.update(task.id, completed=note["epoch"], state=state, told=len(messages))
            if bars.disable and is_new:
                lines.append(state + ("" if note["done"] else f"  {left.render(task)} left"))
            for line in lines:  # no markup: brackets may be in paths
                text = f"{note['name']}: {line}"
                console.print(text, markup=False, highlight=False, soft_wrap=True)

    stop = threading.Event()

    def keep_looking() -> None:
        while not stop.wait(seconds):
            look()

    thread = threading.Thread(target=keep_looking, daemon=True)
    with bars:
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            look()
