"""The results of the study as tidy frames, read and checked in this one place.

The records are the source. A run of `params.yaml` that has seeds must have a record of each, made
with the settings that stand there now, and its tables must agree with the records. Otherwise
nothing is read.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from bregman_nas.errors import UserError
from bregman_nas.report.frames import Frames, add_answers, frames_of, networks_of
from bregman_nas.search.records import Record, fault_of, read_record, record_path
from bregman_nas.search.results import results_of
from bregman_nas.settings import Run as Planned
from bregman_nas.settings import RunRow, Settings, load_settings

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

PROTOCOLS = ("paper", "authors")
#: What readers are told that the protocols are.
WORDS = {"paper": "text", "authors": "code"}
NETWORKS = ("autoencoder", "residual")
TASKS = ("denoising", "deblurring")
DENSENET = "densenet-fashion"
PIXELS = 784
DIGIT_ROWS = 28
#: The seeds for which the claims and their rules were registered: ten, as in the article.
REGISTERED = range(10)
#: Of results/first_steps.csv, those that are read.
FIRST_STEPS = (
    *("start", "density", "initial_scale", "logits", "first_moment", "seed"),
    *("path", "last_bias", "firing_0", "steps", "outcome"),
)
MEND = "`git restore` brings the committed file back, `dvc repro` makes it anew"


@dataclass(frozen=True)
class Run:
    """A run: its row of params.yaml, and the results of all seeds, with the digests of records."""

    name: str
    row: RunRow
    folder: Path
    frames: Frames
    digests: Mapping[int, str] = field(default_factory=dict)

    def only(self, seeds: Collection[int]) -> "Run":
        """The same run with some of its seeds alone."""
        kept = (frame[frame["seed"].isin([*seeds])] for frame in self.frames)
        return replace(self, frames=Frames(*kept))

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
        """Columns `mse`, `cross_entropy`, `accuracy`, `logits`, indexed by seed, for all seeds."""
        chosen = (self.frames.losses["images"] == images) & (self.frames.losses["answer"] == answer)
        return self.frames.losses[chosen].set_index("seed").sort_index()

    @cached_property
    def seeds(self) -> list[int]:
        """All seeds, ascending."""
        return [int(seed) for seed in self.scores().index]

    @cached_property
    def converged(self) -> list[int]:
        """The seeds whose loss on the test images is finite."""
        losses = self.scores()[["mse", "cross_entropy"]]
        return [int(seed) for seed in losses.index[np.isfinite(losses.to_numpy(float)).any(1)]]

    @property
    def diverged(self) -> int:
        """The number of the other seeds."""
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
        """The number of layers L; for a DenseNet, of convolutions."""
        return int(self.frames.layers["layer"].nunique())

    def rows(self, kind: str = "active", epoch: int | None = None) -> Array:
        """A kind of `layers` after an epoch, by default the last, [converged seeds, L]."""
        frame = self._after(self.frames.layers, epoch)
        chosen = frame[frame["kind"] == kind]
        return chosen.pivot(index="seed", columns="layer", values="rows").to_numpy(float)

    def tau(self, epoch: int | None = None) -> Array:
        """The skips after an epoch, by default the last, [converged seeds, L, L]; NaN for i > l."""
        found = np.full((len(self.converged), self.depth, self.depth), np.nan)
        frame = self._after(self.frames.skips, epoch)
        at = (np.searchsorted(self.converged, frame["seed"]), *frame[["l", "i"]].to_numpy(int).T)
        found[at] = frame["tau"]
        return found

    def _after(self, frame: pd.DataFrame, epoch: int | None) -> pd.DataFrame:
        wanted = frame["epoch"] == (self.last if epoch is None else epoch)
        return frame[wanted & frame["seed"].isin(self.converged)]

    @property
    def output(self) -> Flags:
        """Which rows of the output layer are active, [converged seeds, 784]."""
        found = np.zeros((len(self.converged), PIXELS), dtype=bool)
        frame = self.frames.output[self.frames.output["seed"].isin(self.converged)]
        found[np.searchsorted(self.converged, frame["seed"]), frame["row"]] = True
        return found

    @cached_property
    def norms(self) -> list[Array]:
        """The norms of the kernels of each convolution, [converged seeds, out, in] each."""
        frame = self.frames.kernels[self.frames.kernels["seed"].isin(self.converged)]
        frame = frame.sort_values(["seed", "out", "in"])
        return [
            of["norm"].to_numpy(float).reshape(-1, of["out"].nunique(), of["in"].nunique())
            for _, of in frame.groupby("conv")
        ]

    def picture(self, seed: int) -> Array | None:
        """Digits [3, 28, 8 * 28], grey values from 0 to 255: clean, degraded, restored."""
        path = self.folder / "records" / f"seed-{seed:02d}.png"
        if not path.exists():
            return None
        with readable(path), Image.open(path) as image:
            return np.asarray(image.convert("L"), dtype=float).reshape(3, DIGIT_ROWS, -1)


@dataclass(frozen=True)
class Study:
    """All settings, and the results of the runs and arms that have seeds.

    Attributes:
        frequencies: [784], the share of the training images of MNIST in which each pixel is not
            zero; None if `bregman-nas prepare` has not counted them.
        arms: the frame `networks` of each.
        first_steps: `results/first_steps.csv`; None if it has not been made.
    """

    project: Path
    settings: Settings
    runs: Mapping[str, Run]
    frequencies: Array | None = None
    arms: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    first_steps: pd.DataFrame | None = None

    def run(self, protocol: str, experiment: str) -> Run | None:
        """A protocol's own run of an experiment; None if it has no seeds."""
        wanted = (protocol, experiment, True)
        found = (r for r in self.runs.values() if (r.protocol, r.row.experiment, r.own) == wanted)
        return next(found, None)

    @property
    def restoration(self) -> list[Run]:
        """The protocols' own runs on MNIST: by network, task and protocol."""
        wanted = [(p, f"{n}-{t}") for n in NETWORKS for t in TASKS for p in PROTOCOLS]
        return [run for one in wanted if (run := self.run(*one)) is not None]

    @property
    def perceptrons(self) -> list[Run]:
        """`restoration`, then all other runs of perceptrons."""
        every = {run.name: run for run in (*self.restoration, *self.runs.values())}
        return [run for run in every.values() if run.frames.kernels.empty]

    @property
    def densenets(self) -> list[Run]:
        """The protocols' own DenseNets, then those in which something is changed."""
        found = [run for run in self.runs.values() if not run.frames.kernels.empty]
        return sorted(found, key=lambda run: not run.own)

    def elsewhere(self, run: Run) -> list[Record]:
        """The records of seeds of a run that were searched on another machine as well."""
        records = []
        for path in sorted((run.folder / "elsewhere").glob("seed-*.json")):
            with readable(path):
                record, planned = read_record(path), self.settings.run(run.name)
                if fault := fault_of(record, planned, record["seed"], record["data"]):
                    raise ValueError(fault)
            records.append(record)
        return records

    def only(self, seeds: Collection[int], at_least: int = 1) -> "Study":
        """The same with some of the seeds alone, without the runs that have too few of these."""
        runs = {name: run.only(seeds) for name, run in self.runs.items()}
        enough = {name: run for name, run in runs.items() if len(run.seeds) >= at_least}
        return replace(self, runs=enough)


def experiment_words(experiment: str) -> str:
    """Such as `plain denoising`."""
    return experiment.replace("autoencoder", "plain").replace("-", " ")


@contextmanager
def readable(path: Path, mend: str = MEND) -> Iterator[None]:
    """Report any fault of a file as a `UserError` that names the file and says what to do."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}; {mend}") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} cannot be used: {error}; {mend}") from error


def read_study(project: Path) -> Study:
    """Read all results and check them against the records and params.yaml.

    Raises:
        UserError: if a result is missing, unreadable, or made with other settings; it names each
            such run and says what to do.
    """
    settings = load_settings(project / "params.yaml")
    runs: dict[str, Run] = {}
    arms: dict[str, pd.DataFrame] = {}
    problems = []
    for name in settings.names:
        planned, folder = settings.run(name), project / "results" / "runs" / name
        if not planned.seeds or planned.of not in {None, *runs}:
            continue
        try:
            records = _read_records(project, planned, runs)
            with readable(folder / "records"):
                if planned.of is not None:
                    arms[name] = networks_of(records)
                    continue
                digests = {record["seed"]: record["digests"]["all"] for record in records}
                runs[name] = Run(name, settings.runs[name], folder, frames_of(records), digests)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    shares = first_steps = None
    if (path := project / "results" / "baselines.csv").exists():
        with readable(path, "`bregman-nas baselines` makes it anew"):
            numbers = dict.fromkeys(["seed", "dimensions", "mse", "accuracy"], float)
            for of, lines in pd.read_csv(path).astype(numbers).groupby("run"):
                if (run := runs.get(str(of))) is not None:
                    frames = add_answers(run.frames, run.network, lines)
                    runs[run.name] = replace(run, frames=frames)
    if (path := project / "data" / "pixels.csv").exists():
        with readable(path):
            table = pd.read_csv(path).query("dataset == 'mnist'").sort_values(["row", "column"])
            shares = table["share"].to_numpy(float).reshape(PIXELS)
    if (path := project / "results" / "first_steps.csv").exists():
        with readable(path):
            first_steps = pd.read_csv(path)[list(FIRST_STEPS)]
    return Study(project, settings, runs, shares, arms, first_steps)


def _read_records(project: Path, planned: Planned, runs: Mapping[str, Run]) -> list[Record]:
    """The records of all seeds of a run or an arm, if they and its tables belong together."""
    records = []
    for seed in planned.seeds:
        path = record_path(project, planned.name, seed)
        with readable(path):
            record = read_record(path)
        then, now = (pd.json_normalize(x).loc[0] for x in (record["settings"], planned.decisive()))
        for key in dict.fromkeys([*then.index, *now.index]):
            if then.get(key) != now.get(key):
                raise UserError(
                    f"{planned.name}: its results were made with {key} = {then.get(key)}, and "
                    f"params.yaml says {now.get(key)}; `dvc repro` makes them anew, or change "
                    f"params.yaml back (found in {path})"
                )
        # Data and code decide whether a seed is searched again, not what is shown.
        fault = fault_of(record, planned, seed, record["data"])
        found = runs[planned.of].digests.get(seed) if planned.of else None
        if fault is None and record["data"].get("found") != found:
            fault = f"was not trained on what seed {seed} of {planned.of} found"
        if fault is not None:
            raise UserError(f"{path} {fault}; {MEND}")
        records.append(record)
    for file, text in results_of(records).items():
        with readable(path := project / "results" / "runs" / planned.name / file):
            if path.read_bytes() != text.encode():
                raise ValueError("it does not agree with the records")
    return records
