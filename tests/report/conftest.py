"""Two studies in files, which no test may change."""

import math
from itertools import product

import pytest

from bregman_nas.report.data import NETWORKS, PROTOCOLS, TASKS, Study, read_study
from tests.report.studies import densenets, restoration, write_project


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """All runs, two seeds each."""
    names = [f"{p}-{n}-{t}" for p, n, t in product(PROTOCOLS, NETWORKS, TASKS)]
    runs = {name: restoration(name, [0.007, 0.009]) for name in names}
    runs["authors-densenet-fashion"] = densenets([0.9, 0.92])
    return read_study(write_project(tmp_path_factory.mktemp("complete"), runs))


@pytest.fixture(scope="session")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two runs of one seed, one with a diverged seed, one all diverged, the others not made."""
    losses = {
        "paper-autoencoder-denoising": [0.008],
        "paper-residual-denoising": [math.nan, 0.001, 0.003],
        "authors-residual-deblurring": [math.nan],
    }
    runs = {name: restoration(name, of) for name, of in losses.items()}
    runs["authors-densenet-fashion"] = densenets([0.9])
    return read_study(write_project(tmp_path_factory.mktemp("partial"), runs))
