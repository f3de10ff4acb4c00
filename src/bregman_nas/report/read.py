"""The results of the runs, read from `results/<protocol>-<experiment>/`.

A run that has not been made has no `seeds.csv`, or one without seeds, and is None here. Columns
that are not named in this module are ignored, so that later ones do no harm.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]

PROTOCOLS = ("paper", "authors")
NETWORKS = ("autoencoder", "residual")
TASKS = ("denoising", "deblurring")
DENSENET = "densenet-fashion"
PIXELS = 784
DIGIT_ROWS = 28


class ResultsError(Exception):
    """A file of results that cannot be used, in words for the user."""


@dataclass(frozen=True)
class Run:
    """The results of one run.

    Attributes:
        folder: `results/<protocol>-<experiment>`.
        seeds: `seeds.csv`, one row for each seed, ascending. Restoration: `seed`, `test_mse`,
            `held_out_mse` and the same with `_input_unchanged`, `_mean_image`, `_zero` (all mean
            squared errors per pixel), `width_l`, `effective_l`, `living_l` (rows of layer l, from
            1), and for residual runs `skip_l_i`. Classification: `seed`, `test_loss`,
            `test_accuracy` (a share).
    """

    folder: Path
    seeds: pd.DataFrame

    @cached_property
    def converged(self) -> pd.DataFrame:
        """The rows of `seeds` whose loss on the test images is finite."""
        loss = "test_mse" if "test_mse" in self.seeds else "test_loss"
        found: pd.DataFrame = self.seeds[np.isfinite(self.seeds[loss].to_numpy(float))]
        return found

    def only(self, wanted: NDArray[np.bool_]) -> "Run":
        """The same run with some of its seeds alone.

        Args:
            wanted: [seeds].
        """
        return Run(self.folder, self.seeds[wanted].reset_index(drop=True))

    @property
    def seeds_in_words(self) -> str:
        """How many seeds a figure shows, and how many it leaves out because they diverged."""
        shown, diverged = len(self.converged), len(self.seeds) - len(self.converged)
        words = f"{shown} seed" if shown == 1 else f"{shown} seeds"
        return f"{words} + {diverged} diverged" if diverged else words

    @cached_property
    def history(self) -> pd.DataFrame:
        """`history.csv` of the converged seeds: one row for each seed and epoch, from 1.

        Columns `seed`, `epoch`, `width_l`, `living_l` and, for residual runs, `skip_l_i`.
        """
        history = read_table(self.folder / "history.csv", "seed", "epoch")
        return history[history["seed"].isin(self.converged["seed"])]

    def picture(self, seed: int) -> Array | None:
        """Digits [3, 28, 8 * 28], grey values from 0 to 255: clean, degraded, restored."""
        path = self.folder / "records" / f"seed-{seed:02d}.png"
        if not path.exists():
            return None
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"), dtype=float)
        return pixels.reshape(3, DIGIT_ROWS, -1)

    @cached_property
    def kernel_norms(self) -> list[Array]:
        """Frobenius norms of the kernels of each convolution, [seeds, out, in], converged seeds.

        From input to output: the first convolution, the layers of the dense block, the last
        convolution.
        """
        of_seeds = []
        for seed in self.converged["seed"]:
            text = (self.folder / "records" / f"seed-{seed:02d}.json").read_text("utf-8")
            of_seeds.append(json.loads(text)["result"]["kernel_norms"])
        return [np.array(matrices, dtype=float) for matrices in zip(*of_seeds, strict=True)]


def read_run(project: Path, protocol: str, experiment: str) -> Run | None:
    """Read a run, or None if it has not been made.

    Args:
        project: the repository.
        protocol: one of `PROTOCOLS`.
        experiment: `<network>-<task>` or `DENSENET`.
    """
    folder = project / "results" / f"{protocol}-{experiment}"
    if not (folder / "seeds.csv").exists():
        return None
    loss = "test_loss" if experiment == DENSENET else "test_mse"
    seeds = read_table(folder / "seeds.csv", "seed", loss).sort_values("seed", ignore_index=True)
    return None if seeds.empty else Run(folder, seeds)


def read_table(path: Path, *columns: str) -> pd.DataFrame:
    """Read a table of numbers.

    Args:
        path: a CSV file.
        columns: that it must have, if it has any row.

    Raises:
        ResultsError: if it is no such table.
    """
    try:
        table = pd.read_csv(path)
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise _unusable(path, str(error)) from error
    if not table.empty:
        for column in columns:
            if column not in table:
                raise _unusable(path, f"it has no column {column!r}")
        words = table.select_dtypes(exclude="number").columns
        if len(words):
            raise _unusable(path, f"the column {words[0]!r} has values that are not numbers")
    return table


def _unusable(path: Path, reason: str) -> ResultsError:
    return ResultsError(
        f"{path} cannot be used: {reason}; `git restore` brings the committed file back, "
        f"`bregman-nas search {path.parent.relative_to(_results(path))}` writes it again from the "
        "records"
    )


def _results(path: Path) -> Path:
    """The folder of all results, in which the folders of the runs are, some deeper than others."""
    return next((folder for folder in path.parents if folder.name == "results"), path.parents[1])


def why_empty(run: Run | None) -> str | None:
    """What stands where a run has nothing to show; None if it has."""
    if run is None:
        return "not run"
    return "all seeds diverged" if run.converged.empty else None


def depth(frame: pd.DataFrame) -> int:
    """The number of layers L, from the columns `width_1` to `width_L`."""
    return sum(name.startswith("width_") for name in frame.columns)


def rows_by_layer(frame: pd.DataFrame, kind: str) -> Array:
    """The columns `<kind>_1` to `<kind>_L`, [rows of the frame, L].

    Args:
        frame: of `seeds.csv` or `history.csv`.
        kind: `width`, `living` or (seeds only) `effective`.
    """
    layers = range(1, depth(frame) + 1)
    return frame[[f"{kind}_{layer}" for layer in layers]].to_numpy(float)


def skip_names(layers: int) -> list[tuple[int, int]]:
    """All (l, i) of tau(l, i), which leads from x(i) to x(l + 1), i <= l; (2.5)."""
    return [(l, i) for l in range(layers) for i in range(l + 1)]


def skips(frame: pd.DataFrame) -> Array:
    """The columns `skip_l_i` as [rows of the frame, L, L], NaN for i > l, where there is none."""
    layers = depth(frame)
    tau = np.full((len(frame), layers, layers), np.nan)
    for l, i in skip_names(layers):
        tau[:, l, i] = frame[f"skip_{l}_{i}"]
    return tau
