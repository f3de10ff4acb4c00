"""The answers that need no network, judged on the problems of all runs: results/baselines.csv."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from bregman_nas.baselines.trivial import (
    Array,
    arrays,
    classification_answers,
    mean_squared_error,
    principal_components,
    restoration_answers,
)
from bregman_nas.data.degradation import Problem, classification_problem
from bregman_nas.data.files import ImageSet, load
from bregman_nas.search.core.mlp import blurring, problem
from bregman_nas.search.records import run_folder
from bregman_nas.settings import MLPExperiment, Run, RunRow, Settings

#: Numbers of principal components beside that of the run's narrowest layer.
DIMENSIONS = (50, 100)

#: They hardly depend on the seed, so that the ten of Table 1 are enough.
SEEDS = range(10)

COLUMNS = ["run", "seed", "images", "answer", "dimensions", "mse", "accuracy"]

Row = dict[str, str | int | float]


def write_baselines(project: Path, settings: Settings) -> Path:
    """Fit and judge the answers for every search that changes nothing; write results/baselines.csv.

    One line for each run, seed of `SEEDS`, set of images and answer. `dimensions` counts principal
    components, `mse` the mean squared error per pixel, `accuracy` the share of images classified
    right. Nothing random is in the classifiers and their images: they have no seed.

    Args:
        project: the repository, with the finished runs' seeds.csv.
        settings: of the study.

    Returns:
        The path of the file.
    """
    runs = [settings.run(name) for name, row in settings.runs.items() if _is_whole(row)]
    images = {
        dataset: load(dataset, settings.data.source, project)
        for dataset in sorted({run.experiment.dataset for run in runs})
    }
    rows: list[Row] = []
    for run in runs:
        if run.experiment.network == "densenet" and run.seeds:
            rows += _classification(run, images[run.experiment.dataset])
    for group in _same_problem(runs):
        for seed in sorted({seed for run in group for seed in run.seeds if seed in SEEDS}):
            rows += _restoration(group, seed, images[group[0].experiment.dataset], project)
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"seed": "Int64", "dimensions": "Int64"})
    names = list(settings.runs)
    table = table.sort_values(
        ["run", "seed"], key=lambda x: x.map(names.index) if x.name == "run" else x, kind="stable"
    )
    path = project / "results" / "baselines.csv"
    path.parent.mkdir(exist_ok=True)
    table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    return path


def _is_whole(row: RunRow) -> bool:
    """Whether a run is a search to the end with nothing changed."""
    return not row.change and row.epochs is None


def _same_problem(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of restoration, grouped: those of a group differ in the network alone."""
    groups: dict[object, list[Run]] = {}
    for run in runs:
        x = run.experiment
        if isinstance(x, MLPExperiment):
            key = (x.dataset, x.noise_std, blurring(x), run.protocol.held_out)
            groups.setdefault(key, []).append(run)
    return list(groups.values())


def _restoration(group: Sequence[Run], seed: int, images: ImageSet, project: Path) -> Iterator[Row]:
    experiment = group[0].experiment
    assert isinstance(experiment, MLPExperiment)
    posed = problem(group[0], images, seed)
    narrowest = {
        run.name: narrowest_layer(project, run, seed) for run in group if seed in run.seeds
    }
    wanted = {*DIMENSIONS, *(count for count in narrowest.values() if count is not None)}
    answers = restoration_answers(posed, blurring(experiment))
    components = principal_components(*arrays(posed.train), wanted)
    named = {f"principal_components/{count}": answer for count, answer in components.items()}
    for part, (inputs, targets) in _judged(posed):
        errors = {
            name: mean_squared_error(answer(inputs), targets)
            for name, answer in (answers | named).items()
        }
        for run, own in narrowest.items():
            for name, error in errors.items():
                answer, _, count = name.partition("/")
                row: Row = {"run": run, "seed": seed, "images": part, "answer": answer}
                if count:
                    row["dimensions"] = int(count)
                if not count or int(count) in (*DIMENSIONS, own):
                    yield row | {"mse": error}


def narrowest_layer(project: Path, run: Run, seed: int) -> int | None:
    """The smallest number of active rows of any layer that a search found; None if unfinished."""
    path = run_folder(project, run.name) / "seeds.csv"
    if not path.exists():
        return None
    table = pd.read_csv(path)
    widths = table[table["seed"] == seed].filter(regex=r"^width_\d+$")
    return None if widths.empty else int(widths.to_numpy().min())


def _classification(run: Run, images: ImageSet) -> Iterator[Row]:
    posed = classification_problem(images, held_out=run.protocol.held_out)
    answers = classification_answers(posed.train)
    for part, (inputs, classes) in _judged(posed):
        for name, classify in answers.items():
            right = float((classify(inputs) == classes).mean())
            yield {"run": run.name, "images": part, "answer": name, "accuracy": right}


def _judged(posed: Problem) -> Iterator[tuple[str, tuple[Array, Array]]]:
    yield "test", arrays(posed.test)
    yield "held_out", arrays(posed.held_out)
