"""The results that the claims are decided by."""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bregman_nas.report.read import DENSENET, NETWORKS, TASKS, Array, Run, depth, read_run
from bregman_nas.report.statistics import Summary, summarize

LAYERS = 6  # L of the article's perceptrons, which the claims are about

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Results:
    """All results of one protocol.

    Attributes:
        runs: by experiment; what has not been run is absent.
        pixels: counted on the training images of MNIST: `nonzero_share`, the share of all pixel
            values that are not zero, and how many of the 784 pixels are not zero in at least one
            image (`ever_nonzero`), in 0.1% of them (`nonzero_in_one_per_thousand`), in 1%
            (`nonzero_in_one_per_hundred`). None if they have not been counted.
        frequencies: [784], the share of the training images of MNIST in which each pixel is not
            zero; None if they have not been counted.
        interventions: perceptrons whose rows were kept from dying, by words that say how, network
            and task included.
    """

    runs: Mapping[str, Run]
    pixels: Mapping[str, float] | None = None
    frequencies: Array | None = None
    interventions: Mapping[str, Run] = field(default_factory=dict)

    def restoration(self, network: str, task: str) -> Run | None:
        """The run of a network on a task, or None; also if it has another depth than `LAYERS`."""
        run = self.runs.get(f"{network}-{task}")
        return None if run is None or depth(run.seeds) != LAYERS else run

    @property
    def densenet(self) -> Run | None:
        """The run of the DenseNet, or None."""
        return self.runs.get(DENSENET)

    def of_seeds(self, seeds: Collection[int], at_least: int = 1) -> "Results":
        """The same with some seeds of the runs alone; a run with too few of them is absent.

        Args:
            seeds: those that stay. Interventions keep all of theirs.
            at_least: how many of them a run must have.
        """
        chosen = {
            name: run.only(run.seeds["seed"].isin(seeds).to_numpy(bool))
            for name, run in self.runs.items()
        }
        enough = {name: run for name, run in chosen.items() if len(run.seeds) >= at_least}
        return replace(self, runs=enough)


def read_results(project: Path, protocol: str) -> Results:
    """Read what there is of a protocol.

    Args:
        project: the repository.
        protocol: one of `read.PROTOCOLS`.
    """
    experiments = [f"{network}-{task}" for network in NETWORKS for task in TASKS]
    found = {name: read_run(project, protocol, name) for name in [*experiments, DENSENET]}
    runs = {name: run for name, run in found.items() if run is not None}
    return Results(runs, _read_pixels(project / "data" / "manifest.json"))


def diverged(run: Run | None) -> int:
    """How many seeds of a run diverged."""
    return 0 if run is None else len(run.seeds) - len(run.converged)


def summary(run: Run | None, number: Callable[[Run], Array]) -> Summary | None:
    """One number per seed, summarized; None if not run.

    Args:
        run: the run.
        number: from the run [converged seeds], called only if there are any.
    """
    if run is None:
        return None
    values = [] if run.converged.empty else number(run).tolist()
    return summarize([*values, *[math.nan] * diverged(run)])


def seeds_that(run: Run | None, hold: Callable[[Run], Flags]) -> list[bool] | None:
    """Whether something holds, for each converged seed; None if not run.

    Args:
        run: the run.
        hold: from the run [converged seeds], called only if there are any.
    """
    if run is None:
        return None
    flags: list[bool] = [] if run.converged.empty else hold(run).tolist()
    return flags


def _read_pixels(manifest: Path) -> Mapping[str, float] | None:
    if not manifest.exists():
        return None
    content = json.loads(manifest.read_text("utf-8"))
    pixels: Mapping[str, float] | None = (
        content.get("datasets", {}).get("mnist", {}).get("pixels", None)
    )
    return pixels
