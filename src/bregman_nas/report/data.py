"""The results of the study, read and checked in this one place.

The records are the source. A run of `params.yaml` that has seeds must have them all, made with the
settings that stand there now, and its tables must be what the records say; else nothing is read.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from bregman_nas.errors import UserError
from bregman_nas.report.first_steps import COLUMNS
from bregman_nas.report.frames import Frames, add_answers, frames_of, networks_of, skip_names
from bregman_nas.report.records import (
    MEND,
    ArmRecord,
    Manifest,
    Pixels,
    Record,
    SmallNetwork,
    read,
    read_table,
)
from bregman_nas.search.records import fault_of
from bregman_nas.search.results import results_of
from bregman_nas.settings import ArmRow, RunRow, Settings, load_settings

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

PROTOCOLS = ("paper", "authors")
NETWORKS = ("autoencoder", "residual")
TASKS = ("denoising", "deblurring")
DENSENET = "densenet-fashion"
PIXELS = 784
DIGIT_ROWS = 28
#: The seeds for which the claims and their rules were registered: ten, as in the article.
REGISTERED = range(10)
MOST_PROBLEMS = 5  # told at once

Kept = TypeVar("Kept", Record, ArmRecord)


@dataclass(frozen=True)
class Run:
    """A run of params.yaml and its results.

    Attributes:
        name: its key in params.yaml.
        row: what stands there.
        folder: of its results.
        frames: what its seeds say.
        digests: of the record of each seed.
    """

    name: str
    row: RunRow
    folder: Path
    frames: Frames
    digests: Mapping[int, str] = field(default_factory=dict)

    def only(self, seeds: Collection[int]) -> "Run":
        """The same run with some of its seeds alone."""
        frames = {
            name: frame if frame.empty else frame[frame["seed"].isin(list(seeds))]
            for name, frame in vars(self.frames).items()
        }
        return replace(self, frames=Frames(**frames))

    @property
    def protocol(self) -> str:
        """One of `PROTOCOLS`."""
        return self.row.protocol

    @property
    def network(self) -> str:
        """`autoencoder`, `residual` or `densenet`."""
        return self.row.experiment.partition("-")[0]

    @property
    def task(self) -> str:
        """One of `TASKS`, or the DenseNet's data set."""
        return self.row.experiment.partition("-")[2]

    @property
    def own(self) -> bool:
        """Whether it is a protocol's own search, in which nothing is changed."""
        return not self.row.change and self.row.epochs is None

    def scores(self, images: str = "test", answer: str = "network") -> pd.DataFrame:
        """Columns `mse`, `cross_entropy`, `accuracy`; the index is the seed, all of them."""
        chosen = (self.frames.losses["images"] == images) & (self.frames.losses["answer"] == answer)
        return self.frames.losses[chosen].set_index("seed").sort_index()

    @cached_property
    def seeds(self) -> list[int]:
        """All seeds, ascending."""
        return [int(seed) for seed in self.scores().index]

    @cached_property
    def converged(self) -> list[int]:
        """The seeds whose loss on the test images is finite."""
        losses = self.scores()[["mse", "cross_entropy"]].to_numpy(float)
        return [
            seed for seed, loss in zip(self.seeds, losses, strict=True) if np.isfinite(loss).any()
        ]

    @property
    def diverged(self) -> int:
        """How many seeds are not among them."""
        return len(self.seeds) - len(self.converged)

    def score(self, name: str) -> Array:
        """A column of `scores` on the test images, [converged seeds]."""
        return self.scores().loc[self.converged, name].to_numpy(float)

    @cached_property
    def last(self) -> int:
        """The last epoch."""
        return int(self.frames.epochs["epoch"].max())

    @cached_property
    def depth(self) -> int:
        """The number of layers L; of a DenseNet, its convolutions."""
        return int(self.frames.layers["layer"].nunique())

    def rows(self, kind: str = "active", epoch: int | None = None) -> Array:
        """Of a kind of `layers` after an epoch, by default the last, [converged seeds, L]."""
        frame = self._after(self.frames.layers, epoch)
        chosen = frame[frame["kind"] == kind]
        return chosen.pivot(index="seed", columns="layer", values="rows").to_numpy(float)

    def tau(self, epoch: int | None = None) -> Array:
        """The skips after an epoch, by default the last, [converged seeds, L, L]; NaN for i > l."""
        found = np.full((len(self.converged), self.depth, self.depth), np.nan)
        frame = self._after(self.frames.skips, epoch).sort_values(["seed", "l", "i"])
        if len(frame):
            pairs = skip_names(self.depth)
            values = frame["tau"].to_numpy(float).reshape(-1, len(pairs))
            for (l, i), of_seeds in zip(pairs, values.T, strict=True):
                found[:, l, i] = of_seeds
        return found

    @property
    def output(self) -> Flags:
        """Which rows of the output layer are active, [converged seeds, 784]."""
        found = np.zeros((len(self.converged), PIXELS), dtype=bool)
        for flags, seed in zip(found, self.converged, strict=True):
            flags[self.frames.output.loc[self.frames.output["seed"] == seed, "row"]] = True
        return found

    @cached_property
    def norms(self) -> list[Array]:
        """The norms of the kernels of each convolution, [converged seeds, out, in] each."""
        frame = self.frames.kernels[self.frames.kernels["seed"].isin(self.converged)]
        return [
            of_conv.sort_values(["seed", "out", "in"])["norm"]
            .to_numpy(float)
            .reshape(len(self.converged), of_conv["out"].nunique(), of_conv["in"].nunique())
            for _, of_conv in frame.groupby("conv")
        ]

    def picture(self, seed: int) -> Array | None:
        """Digits [3, 28, 8 * 28], grey values from 0 to 255: clean, degraded, restored."""
        path = self.folder / "records" / f"seed-{seed:02d}.png"
        if not path.exists():
            return None
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("L"), dtype=float)
            return pixels.reshape(3, DIGIT_ROWS, -1)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is no picture of three rows of digits; {MEND}") from error

    def _after(self, frame: pd.DataFrame, epoch: int | None) -> pd.DataFrame:
        if frame.empty:
            return frame
        wanted = frame["epoch"] == (self.last if epoch is None else epoch)
        return frame[wanted & frame["seed"].isin(self.converged)]


@dataclass(frozen=True)
class Arm:
    """An arm of params.yaml and its results.

    Attributes:
        row: what stands there.
        networks: as of `frames`.
    """

    row: ArmRow
    networks: pd.DataFrame


@dataclass(frozen=True)
class Study:
    """All that there is.

    Attributes:
        project: the repository.
        settings: its params.yaml.
        runs: those that have seeds, by name, in the order of params.yaml.
        pixels: of MNIST; None if they have not been counted.
        frequencies: [784], the share of the training images of MNIST in which each pixel is not
            zero; None if they have not been counted.
        arms: those that have seeds, as `runs`.
    """

    project: Path
    settings: Settings
    runs: Mapping[str, Run]
    pixels: Pixels | None = None
    frequencies: Array | None = None
    arms: Mapping[str, Arm] = field(default_factory=dict)

    def run(self, protocol: str, experiment: str) -> Run | None:
        """A protocol's own run of an experiment; None if it has no seeds."""
        wanted = (protocol, experiment, True)
        found = (r for r in self.runs.values() if (r.protocol, r.row.experiment, r.own) == wanted)
        return next(found, None)

    @cached_property
    def first_steps(self) -> pd.DataFrame | None:
        """`results/first_steps.csv`; None if it has not been made."""
        path = self.project / "results" / "first_steps.csv"
        if not path.is_file():
            return None
        try:
            return pd.read_csv(path)[list(COLUMNS)]
        except (ValueError, KeyError, OSError) as error:
            raise UserError(f"{path} cannot be used: {error}; {MEND}") from error

    @property
    def restoration(self) -> list[Run]:
        """The protocols' own runs on MNIST: by network, task and protocol."""
        wanted = [(p, f"{n}-{t}") for n in NETWORKS for t in TASKS for p in PROTOCOLS]
        return [run for one in wanted if (run := self.run(*one)) is not None]

    @property
    def perceptrons(self) -> list[Run]:
        """`restoration`, then the runs on MNIST in which something is changed."""
        changed = (run for run in self.runs.values() if not run.own and run.frames.kernels.empty)
        return [*self.restoration, *changed]

    def only(self, seeds: Collection[int], at_least: int = 1) -> "Study":
        """The same with some of the seeds alone; runs that have too few of these are left out."""
        runs = {name: run.only(seeds) for name, run in self.runs.items()}
        enough = {name: run for name, run in runs.items() if len(run.seeds) >= at_least}
        return replace(self, runs=enough)


def read_study(project: Path) -> Study:
    """Read all results and check them against the records and params.yaml.

    Args:
        project: the repository.

    Raises:
        UserError: if a result is missing, cannot be used, or is of other settings; each such run is
            named, with what to do.
    """
    settings = load_settings(project / "params.yaml")
    runs: dict[str, Run] = {}
    arms: dict[str, Arm] = {}
    problems = []
    for name in settings.names:
        folder = project / "results" / "runs" / name
        try:
            if not settings.run(name).seeds:
                continue
            if name in settings.runs:
                runs[name] = _read_run(folder, settings)
            elif settings.arms[name].of in runs:
                arms[name] = _read_arm(folder, settings, runs)
        except UserError as error:
            problems.append(str(error))
    if problems:
        more = len(problems) - MOST_PROBLEMS
        rest = [f"... and {more} other runs"] if more > 0 else []
        raise UserError("\n".join(problems[:MOST_PROBLEMS] + rest))
    answers = project / "results" / "baselines.csv"
    if answers.exists():
        runs = _with_answers(answers, runs)
    manifest, pixels = project / "data" / "manifest.json", project / "data" / "pixels.csv"
    counted = read(manifest, Manifest).datasets.mnist.pixels if manifest.exists() else None
    shares = None
    if pixels.exists():
        table = read_table(pixels, ["row", "column", "share"], dataset="mnist")
        shares = table.sort_values(["row", "column"])["share"].to_numpy(float)
        if len(shares) != PIXELS:
            raise UserError(f"{pixels} has not {PIXELS} pixels of mnist; {MEND}")
    return Study(project, settings, runs, counted, shares, arms)


def small_networks(study: Study) -> Iterator[tuple[SmallNetwork, Path]]:
    """The descriptions of small networks, but those of a search that was replaced since."""
    for path in sorted((study.project / "results" / "networks").glob("*/seed-*.json")):
        about = read(path, SmallNetwork)
        run = study.runs.get(about.run)
        if run is not None and run.digests.get(about.seed) == about.record:
            yield about, path


def why_empty(run: Run | None) -> str | None:
    """The reason why a run has nothing to show; None if it has."""
    if run is None:
        return "not run"
    return None if run.converged else "all seeds diverged"


def _read_run(folder: Path, settings: Settings) -> Run:
    """Read a run from its records."""
    name = folder.name
    records = _read_records(folder, settings, Record)
    digests = {record.seed: record.digests.all for record in records}
    try:
        return Run(name, settings.runs[name], folder, frames_of(name, records), digests)
    except ValueError as error:  # numbers do not fit into one frame
        raise UserError(f"{name}: its records are of different networks; {MEND}") from error


def _read_arm(folder: Path, settings: Settings, runs: Mapping[str, Run]) -> Arm:
    """Read an arm from its records, which must be of what the present searches found."""
    row = settings.arms[folder.name]
    records = _read_records(folder, settings, ArmRecord)
    for record in records:
        if record.data.get("found") != runs[row.of].digests.get(record.seed):
            raise UserError(
                f"{folder.name}: seed {record.seed} is not of a seed of {row.of} as it stands in "
                f"params.yaml and in its records; {MEND}"
            )
    return Arm(row, networks_of(records))


def _read_records(folder: Path, settings: Settings, model: type[Kept]) -> list[Kept]:
    """The records of all seeds of a run or an arm, if they and its tables belong together."""
    name = folder.name
    expected = settings.run(name)
    raw, records = [], []
    for seed in expected.seeds:
        path = folder / "records" / f"seed-{seed:02d}.json"
        record = read(path, model)
        for key, then, now in _differences(record.settings, expected.decisive()):
            raise UserError(
                f"{name}: its results are of {key} = {then}, and params.yaml says {now}; "
                f"`dvc repro` makes them anew, or change params.yaml back (found in {path})"
            )
        content = json.loads(path.read_text("utf-8"))
        # What decides that a seed is searched again is not asked: the code that made it may be old.
        fault = fault_of(content, expected, seed, content["data"], content["digests"])
        if fault is None and len(record.history) != expected.experiment.epochs:
            fault = f"has {len(record.history)} epochs"
        if fault is not None:
            raise UserError(f"{path} {fault}; {MEND}")
        records.append(record)
        raw.append(content)
    for file, text in results_of(raw).items():
        path = folder / file
        if not path.is_file():
            raise UserError(f"{name}: {path} is missing; {MEND}")
        if path.read_bytes() != text.encode():
            raise UserError(f"{name}: {path} is not what the records say; {MEND}")
    return records


def _with_answers(path: Path, runs: Mapping[str, Run]) -> dict[str, Run]:
    """The runs with the answers that need no network, of results/baselines.csv."""
    numbers = ["seed", "dimensions", "mse", "accuracy"]
    try:
        table = pd.read_csv(path).astype(dict.fromkeys(numbers, float))
        lines = dict(iter(table.groupby("run")))
        return {
            name: replace(run, frames=add_answers(run.frames, run.network, lines[name]))
            if name in lines
            else run
            for name, run in runs.items()
        }
    except (ValueError, KeyError, OSError) as error:
        raise UserError(
            f"{path} cannot be used: {error}; `bregman-nas baselines` makes it anew"
        ) from error


def _differences(then: object, now: object, key: str = "") -> Iterator[tuple[str, object, object]]:
    if isinstance(then, dict) and isinstance(now, dict):
        for name in [*then, *(name for name in now if name not in then)]:
            below = f"{key}.{name}" if key else str(name)
            yield from _differences(then.get(name), now.get(name), below)
    elif then != now:
        yield key, then, now
