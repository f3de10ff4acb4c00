"""Settings and helpers of all tests."""

import json
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from bregman_nas.data.files import ImageSet, load
from bregman_nas.search.job import Job
from bregman_nas.search.seed import search_seed
from tests.helpers import PROJECT, changed

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
  paper-threshold:
    {protocol: paper, experiment: residual, change: {skip_threshold: 0.5}, epochs: 2, seeds: 1}
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


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny tensors: starting threads would take a hundred times longer than the work itself."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    """MNIST of the sample: 2,000 training and 500 test images."""
    return load("mnist", "sample", PROJECT)


@pytest.fixture(scope="session")
def clothes() -> ImageSet:
    """Likewise Fashion-MNIST."""
    return load("fashion-mnist", "sample", PROJECT)


@pytest.fixture
def new_project(tmp_path: Path) -> Callable[..., Path]:
    """Makes folders with a tiny study on the sample; values at dotted paths can be changed."""
    study = YAML(typ="safe", pure=True).load(PARAMS)

    def make(name: str = "project", changes: dict[str, Any] | None = None) -> Path:
        project = tmp_path / name
        (project / "data").mkdir(parents=True, exist_ok=True)
        if not (project / "data" / "sample").exists():
            (project / "data" / "sample").symlink_to(PROJECT / "data" / "sample")
        content = json.dumps(changed(study, changes))  # JSON is YAML
        (project / "params.yaml").write_text(content, "utf-8")
        return project

    return make


@pytest.fixture
def project(new_project: Callable[..., Path]) -> Path:
    return new_project()


@pytest.fixture
def start() -> Iterator[Callable[[Job], BaseProcess]]:
    """Starts searches in processes of their own; what still runs after the test is killed."""
    context = multiprocessing.get_context("forkserver")
    # Imported once, in the server, so that each process begins in no time. Torch imports the last
    # when its first optimizer is made.
    context.set_forkserver_preload(
        ["bregman_nas.search.seed", "bregman_nas.search.core.mlp", "torch._dynamo"]
    )
    processes: list[BaseProcess] = []

    def begin(job: Job) -> BaseProcess:
        process = context.Process(target=search_seed, args=(job,))
        process.start()
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.join()
