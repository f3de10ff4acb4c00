"""The progress of each seed: plain lines, or bars on a terminal."""

import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bregman_nas.search import progress
from bregman_nas.search.progress import FILE, Progress, shown

LOOK = 0.01


def entry(epoch: int, **more: Any) -> dict[str, Any]:
    return {"epoch": epoch, "train_loss": 1 / epoch, "active_rows": [100, 10 * epoch], **more}


def look() -> None:
    """Wait until `shown`, which looks every `LOOK` seconds, has seen everything."""
    time.sleep(20 * LOOK)


def test_plain_lines_show_each_epoch_and_message_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "never begun"]
    Progress(folders[2], "of", 2, 3).epoch(entry(3), "done")  # an earlier command
    with shown(folders, LOOK):
        first, second = (Progress(f, "paper-x", seed, 3) for seed, f in enumerate(folders[:2]))
        first.tell("continues in epoch 1")
        look()
        first.tell("one")
        first.tell("in /data[/old]")  # no markup
        first.tell("one")
        for epoch in (1, 2, 3):
            first.epoch(entry(epoch))
            look()
        first.epoch(entry(3), "done")
        of_densenet = {"epoch": 3, "train_loss": 2.3, "active_kernels": [1, 2, 3]}
        second.epoch(of_densenet, "taken from its record")
    out, err = capfd.readouterr()
    assert out == ""
    lines = re.sub(r"0:00:\d\d", "0:00:00", err).splitlines()
    assert [line for line in lines if "seed 0" in line] == [
        "paper-x seed 0: continues in epoch 1",
        "paper-x seed 0: one",
        "paper-x seed 0: in /data[/old]",
        "paper-x seed 0: epoch 1/3  loss 1  110 active neurons  -:--:-- left",
        "paper-x seed 0: epoch 2/3  loss 0.5  120 active neurons  0:00:00 left",
        "paper-x seed 0: epoch 3/3  loss 0.333  130 active neurons  0:00:00 left",
        "paper-x seed 0: epoch 3/3  loss 0.333  130 active neurons  done",
    ]
    assert [line for line in lines if "seed 0" not in line] == [
        "paper-x seed 1: epoch 3/3  loss 2.3  6 active kernels  taken from its record"
    ]


def test_an_error_passes_and_the_last_state_is_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt), shown([tmp_path], 60.0):  # noqa: PT012
        Progress(tmp_path, "paper-x", 0, 3).epoch(entry(2, train_loss=float("nan")))
        raise KeyboardInterrupt
    assert "epoch 2/3  loss nan" in capfd.readouterr().err


def test_on_a_terminal_there_is_a_bar_for_each_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=140, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    monkeypatch.setenv("TERM", "xterm")
    folders = [tmp_path / name for name in "abc"]
    with shown(folders, LOOK):
        Progress(folders[0], "paper-x", 0, 100).epoch(entry(10))
        Progress(folders[1], "paper-x", 1, 100).epoch(entry(100), "taken from its record")
        Progress(folders[2], "paper-x", 2, 100).tell("in /data[/old] another process works")
        look()
    shown_at_last = " ".join(screen.getvalue().rpartition("\x1b[2K")[2].split())
    for seed, state in enumerate(
        (
            "epoch 10/100 loss 0.1 200 active neurons -:--:--",
            "epoch 100/100 loss 0.01 1100 active neurons taken from its record",
            "begins",
        )
    ):
        assert f"paper-x seed {seed}" in shown_at_last
        assert state in shown_at_last
    said = "paper-x seed 2: in /data[/old] another process works"
    assert screen.getvalue().count(said) == 1
    assert capfd.readouterr().err == ""


WRITE_ON_AND_ON = """
import sys
from pathlib import Path
from bregman_nas.search.progress import Progress
for _ in range(200):
    Progress(Path(sys.argv[1]), "paper-x", 0, 100).tell("still here")
"""


def test_two_processes_can_write_the_progress_of_one_seed(tmp_path: Path) -> None:
    """The second waits for the first, and says so in the same file, at the same time."""
    command = [sys.executable, "-c", WRITE_ON_AND_ON, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    note = json.loads((tmp_path / FILE).read_text("utf-8"))
    assert note["messages"] == ["still here"]
