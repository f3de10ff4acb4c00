"""A tiny study, and functions that many tests use."""

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bregman_nas.search.job import Job
from bregman_nas.settings import load_settings

PROJECT = Path(__file__).resolve().parents[1]


# The schedule halves the learning rate after each epoch whose loss is not a tenth of the lowest.
PARAMS = """
data: {source: sample}
optimizer: {learning_rate: 0.001, betas: [0.9, 0.999], eps: 1.0e-8, delta: 1.0}
batch_size: 16
protocols:
  paper: &paper
    skip_threshold: 1
    schedule: {kind: constant}
    initial_scale: 1/sqrt(density)
    first_moment: corrected
    held_out: 30000
    noise: once
    logits: linear
  authors:
    <<: *paper
    schedule: {kind: plateau, factor: 0.5, patience: 0, threshold: 0.9}
    initial_scale: 5
    noise: every-epoch
    logits: relu
experiments:
  autoencoder: &mlp
    network: mlp
    dataset: mnist
    skips: false
    mu: 0.07
    density: 0.05
    depth: 2
    noise_std: 0.05
    blur: null
    input_mean: 0.1307
    input_std: 0.3081
    epochs: 3
  residual:
    <<: *mlp
    skips: true
    blur: {size: 3, std: 1.0}
  densenet:
    network: densenet
    dataset: fashion-mnist
    mu: 0.05
    density: 0.5
    depth: 1
    growth: 2
    input_mean: 0.5
    input_std: 0.5
    epochs: 3
runs:
  paper-autoencoder: {protocol: paper, experiment: autoencoder, seeds: 2}
  authors-residual: {protocol: authors, experiment: residual, seeds: 1}
  authors-densenet: {protocol: authors, experiment: densenet, seeds: 1}
  authors-constant:
    protocol: authors
    experiment: residual
    change: {schedule: {kind: constant}}
    epochs: 2
    seeds: 1
first_steps:
  steps: 5
  starts:
    authors: {of: authors-densenet, seeds: 2}
    dense: {of: authors-densenet, change: {density: 1.0}, seeds: 1}
"""
STUDY = YAML(typ="safe", pure=True).load(PARAMS)


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


def new_project(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """Make the tiny study on the sample; values at dotted paths can be changed."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    if not (folder / "data" / "sample").exists():
        (folder / "data" / "sample").symlink_to(PROJECT / "data" / "sample")
    content = json.dumps(changed(STUDY, changes))  # JSON is YAML
    (folder / "params.yaml").write_text(content, "utf-8")
    return folder


def job_in(project: Path, run: str = "paper-autoencoder", seed: int = 0, **how: Any) -> Job:
    """The job of a seed; the run is one of the project's params.yaml."""
    return Job(load_settings(project / "params.yaml").run(run), seed, project, **how)


def wait_until(holds: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until something holds; after some seconds without it the test has failed."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"in {seconds} seconds: never {what}"
        time.sleep(0.001)
