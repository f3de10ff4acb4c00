"""Settings and fixtures of all tests."""

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from bregman_nas.data.files import ImageSet, load
from bregman_nas.search.job import Job
from bregman_nas.search.seed import search_seed
from tests.helpers import PROJECT, new_project


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
def project(tmp_path: Path) -> Path:
    return new_project(tmp_path / "project")


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
