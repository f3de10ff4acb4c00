"""What became of DenseNets in their first steps: decided by hand-made tables."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from bregman_nas.report import figure8
from bregman_nas.report.first_steps import DEAD_AT_THE_START, DIED, GREW, UNDECIDED, Start, starts
from bregman_nas.report.paper.densenet import densenet
from bregman_nas.report.read import ResultsError, Run, read_run
from bregman_nas.report.style import COLOURS

NAME = "authors-densenet-fashion"
Steps = tuple[Sequence[float], Sequence[int], Sequence[float]]  # firing, active, furthest
DEAD: Steps = ([0, 0, 0, 0], [7, 7, 7, 7], [0, 0, 0, 0])
DIES: Steps = ([0.5, 0, 0.1, 0], [7, 7, 7, 7], [0, 0.3, 0.6, 0.5])
GROWS: Steps = ([0.5, 0.1, 0.1, 0.9], [7, 7, 8, 9], [0, 0.5, 0.2, 0.9])
GROWS_AND_DIES: Steps = ([0.5, 0.1, 0.1, 0], [7, 7, 8, 8], [0, 0.9, 0.2, 0.2])
OPEN: Steps = ([0.5, 0.1, 0.1, 0.1], [7, 7, 6, 7], [0, 0.1, 0.2, 0.3])


def write(project: Path, relu: Sequence[Steps], linear: Sequence[Steps] = ()) -> Run:
    folder = project / "results" / NAME
    folder.mkdir(parents=True, exist_ok=True)
    accuracies = [0.1 if not steps[0][-1] else 0.9 for steps in relu]
    seeds = {"seed": range(len(relu)), "test_loss": np.log(10), "test_accuracy": accuracies}
    pd.DataFrame(seeds).to_csv(folder / "seeds.csv", index=False)
    tables = [
        {"seed": seed, "relu_logits": int(logits is relu), "step": range(4), "firing": firing}
        | {"varying": 0.0, "active": active, "furthest": furthest}
        for logits in (relu, linear)
        for seed, (firing, active, furthest) in enumerate(logits)
    ]
    pd.concat(map(pd.DataFrame, tables)).to_csv(folder / "first_steps.csv", index=False)
    (folder / "records").mkdir(exist_ok=True)
    record = json.dumps({"result": {"kernel_norms": [[[1]], [[1]], [[1, 1]]]}})
    for seed in range(len(relu)):
        (folder / "records" / f"seed-{seed:02d}.json").write_text(record, "utf-8")
    run = read_run(project, "authors", "densenet-fashion")
    assert run is not None
    return run


def told(start: Start) -> tuple[str, int | None, int | None, float]:
    return start.fate, start.died, start.grew, start.furthest


def test_fates_by_hand(tmp_path: Path) -> None:
    run = write(tmp_path, [DEAD, DIES, GROWS, GROWS_AND_DIES, OPEN])
    (found,) = starts(run).values()
    assert [told(start) for start in found] == [
        (DEAD_AT_THE_START, 0, None, 0),
        (DIED, 3, None, 0.6),  # it did not fire after the first step, but came back
        (GREW, None, 2, 0.5),  # what is furthest then is another kernel
        (GREW, 3, 2, 0.9),
        (UNDECIDED, None, None, 0.3),
    ]


def test_the_protocols_own_logits_come_first(tmp_path: Path) -> None:
    run = write(tmp_path, [DIES, GROWS], [DEAD, OPEN])
    assert list(starts(run)) == [True, False]
    assert [start.fate for start in starts(run)[False]] == [DEAD_AT_THE_START, UNDECIDED]
    assert [start.seed for start in starts(run)[False]] == [0, 1]


def test_what_the_article_says(tmp_path: Path) -> None:
    run = write(tmp_path, [DEAD, DIES, GROWS, DIES], [DEAD, DEAD, DEAD, OPEN])
    start = densenet(run)["start"]
    assert (start["steps"], start["relu"], start["same"]) == ("3", True, True)
    assert start["own"] == {
        "seeds": "4",
        "varying": None,
        "dead_at_the_start": {"n": "1", "one": True},
        "died": {"n": "2", "one": False},
        "grew": {"n": "1", "one": True},
        "undecided": None,
        "dead": {"n": "3", "one": False},
        "died_by": "3",
        "died_at": "60.0%",
        "grew_by": "2",
    }
    assert start["other"]["dead_at_the_start"] == {"n": "3", "one": False}
    assert start["other"]["died"] is None

    # A network that grows and dies is collapsed in the end, but not in this way.
    found = densenet(write(tmp_path, [DEAD, GROWS_AND_DIES]))
    assert found["collapsed"] == "2"
    assert not found["start"]["same"]
    assert found["start"]["other"] is None


def test_first_steps_that_were_not_looked_at(tmp_path: Path) -> None:
    run = write(tmp_path, [DEAD])
    (run.folder / "first_steps.csv").unlink()
    assert starts(run) == {}
    assert densenet(run)["start"] is None
    assert words(figure8.draw(tmp_path)) == {"first steps of the DenseNet: not looked at"}


def test_first_steps_of_another_number_of_seeds_say_nothing(tmp_path: Path) -> None:
    run = write(tmp_path, [DEAD, DIES])
    assert densenet(run)["start"] is not None
    table = pd.read_csv(run.folder / "first_steps.csv")
    table[table["seed"] == 0].to_csv(run.folder / "first_steps.csv", index=False)
    assert densenet(run)["start"] is None


def test_a_table_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    run = write(tmp_path, [DEAD])
    (run.folder / "first_steps.csv").write_text("seed,step\n0,0\n", "utf-8")
    with pytest.raises(ResultsError, match=r"first_steps\.csv cannot be used: it has no column"):
        starts(run)


def words(figure: Figure) -> set[str]:
    found = {text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)}
    return found - {""}


def test_the_figure(tmp_path: Path) -> None:
    write(tmp_path, [DEAD, DIES, GROWS, DEAD], [OPEN, OPEN, OPEN, OPEN])
    figure = figure8.draw(tmp_path)
    assert {"2 dead at the start, 1 die, 1 grow", "4 undecided", "0, 3", "1", "2"} <= words(figure)
    firing, furthest, *_ = figure.axes
    (grows,) = (line for line in furthest.lines if line.get_marker() == "o")
    assert np.asarray(grows.get_xydata()).tolist() == [[0, 0], [1, 0.5], [2, 1]]
    assert grows.get_color() == COLOURS["authors"]
    dead = [line for line in firing.lines if line.get_marker() == "x"]
    assert [len(np.asarray(line.get_xydata())) for line in dead] == [1, 4, 1]
    assert {line.get_color() for line in dead} == {figure8.DEAD}
