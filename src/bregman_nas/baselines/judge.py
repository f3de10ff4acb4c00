"""The answers that need no network, judged on the problems of all runs: results/baselines.csv."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from bregman_nas.baselines.trivial import (
    Answer,
    arrays,
    classification_answers,
    mean_squared_error,
    principal_components,
    restoration_answers,
)
from bregman_nas.data.files import ImageSet, load
from bregman_nas.search.core import densenet, mlp
from bregman_nas.search.records import run_folder
from bregman_nas.settings import MLPExperiment, Run, Settings

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
    right. Nothing random is in the classifiers and their images: they have no seed. Returned is the
    path of the file.
    """
    rows: list[Row] = []
    searched = (name for name, row in settings.runs.items() if not (row.change or row.epochs))
    runs = [settings.run(name) for name in searched]
    images = {
        dataset: load(dataset, settings.data.source, project)
        for dataset in {run.experiment.dataset for run in runs}
    }
    #: Runs of restoration; those of a group differ in the network alone.
    groups: dict[object, list[Run]] = {}
    for run in runs:
        x = run.experiment
        if isinstance(x, MLPExperiment):
            key = (x.dataset, x.noise_std, x.blur, run.protocol.held_out)
            groups.setdefault(key, []).append(run)
        elif run.seeds:
            rows += _classification(run, images[x.dataset])
    for group in groups.values():
        for seed in SEEDS:
            if any(seed in run.seeds for run in group):
                rows += _restoration(group, seed, images[group[0].experiment.dataset], project)
    types: Any = {"run": pd.CategoricalDtype(list(settings.runs)), "seed": "Int64"}
    table = pd.DataFrame(rows, columns=COLUMNS).astype({**types, "dimensions": "Int64"})
    path = project / "results" / "baselines.csv"
    path.parent.mkdir(exist_ok=True)
    table.sort_values(["run", "seed"], kind="stable").to_csv(
        path, index=False, float_format="%.6g", lineterminator="\n"
    )
    return path


def _restoration(group: Sequence[Run], seed: int, images: ImageSet, project: Path) -> Iterator[Row]:
    experiment = group[0].experiment
    assert isinstance(experiment, MLPExperiment)
    posed = mlp.problem(group[0], images, seed)
    narrowest = {
        run.name: narrowest_layer(project, run, seed) for run in group if seed in run.seeds
    }
    wanted = {*DIMENSIONS, *(count for count in narrowest.values() if count is not None)}
    answers: dict[Any, Answer] = {
        **restoration_answers(posed, experiment.blur),
        **principal_components(*arrays(posed.train), wanted),
    }
    for part, (name, answer) in product(("test", "held_out"), answers.items()):
        inputs, targets = arrays(getattr(posed, part))
        row: Row = {"seed": seed, "images": part, "answer": name}
        if name in wanted:
            row |= {"answer": "principal_components", "dimensions": name}
        row["mse"] = mean_squared_error(answer(inputs), targets)
        for run, own in narrowest.items():
            if name not in wanted or name in (*DIMENSIONS, own):
                yield {"run": run, **row}


def narrowest_layer(project: Path, run: Run, seed: int) -> int | None:
    """The smallest number of active rows of any layer that a search found; None if unfinished."""
    path = run_folder(project, run.name) / "seeds.csv"
    if not path.exists():
        return None
    table = pd.read_csv(path)
    widths = table[table["seed"] == seed].filter(regex=r"^width_\d+$")
    return None if widths.empty else int(widths.to_numpy().min())


def _classification(run: Run, images: ImageSet) -> Iterator[Row]:
    posed = densenet.problem(run, images)
    answers = classification_answers(posed.train)
    for part in ("test", "held_out"):
        inputs, classes = arrays(getattr(posed, part))
        for name, classify in answers.items():
            right = float((classify(inputs) == classes).mean())
            yield {"run": run.name, "images": part, "answer": name, "accuracy": right}
