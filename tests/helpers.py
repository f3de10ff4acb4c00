"""Functions that many tests use."""

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bregman_nas.search.job import Job
from bregman_nas.settings import load_settings

PROJECT = Path(__file__).resolve().parents[1]


def changed(content: dict[str, Any], changes: dict[str, Any] | None) -> dict[str, Any]:
    """A copy with other values at some dotted paths; with `...` a key is left out."""
    content = copy.deepcopy(content)
    for path, value in (changes or {}).items():
        *parents, key = path.split(".")
        node = content
        for parent in parents:
            node = node[parent]
        node[key] = value
        if value is ...:
            del node[key]
    return content


def job_in(project: Path, run: str = "paper-autoencoder", seed: int = 0, **how: Any) -> Job:
    """The job of a seed; the run is one of the project's params.yaml."""
    return Job(load_settings(project / "params.yaml").run(run), seed, project, **how)


def wait_until(holds: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until something holds; after some seconds without it the test has failed."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"in {seconds} seconds: never {what}"
        time.sleep(0.001)
