"""How many DenseNets grow in their first steps, by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from bregman_nas.report import facts
from bregman_nas.report.facts import by_beginning, by_settings
from bregman_nas.report.figures import FIGURES
from tests.report.studies import make_study

ROW = {"start": "authors", "density": 0.03, "initial_scale": "5", "logits": "relu"}
ROW |= {"first_moment": "corrected", "seed": 0, "path": 1, "last_bias": 0.1, "firing_0": 0.5}
ROW |= {"steps": 200, "outcome": "grows"}


def table(**columns: list[Any]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    return pd.DataFrame({**{name: [value] * count for name, value in ROW.items()}, **columns})


def test_groups_by_settings_and_by_what_networks_began_with() -> None:
    frame = table(density=[0.03, 0.3, 0.03], logits=["relu", "relu", "linear"])
    names = [share["name"] for share in by_settings(frame)]
    assert names == ["density 3%", "density 30%", "density 3%, linear logits"]
    frame = table(
        path=[0, 0, 0, 1, 1],
        last_bias=[0.1, -0.1, 0.1, 0.1, -0.1],
        firing_0=[0.2, 0.2, 0.0, 0.2, 0.0],
    )
    assert {share["name"]: share["seeds"] for share in by_beginning(frame)} == {
        "active path": 2,
        "no path, last ReLU passes nothing": 1,
        "no path, last bias negative": 1,
        "no path, last bias positive": 1,
    }


def test_first_steps_in_the_report_and_its_figure() -> None:
    def texts(axes: Axes) -> list[str]:
        return [text.get_text() for text in axes.texts]

    (empty,) = FIGURES["first-steps"](make_study({})).axes
    assert texts(empty) == ["first steps of the DenseNet: not made"]
    first_steps = table(
        start=["authors", "authors", "authors", "denser"],
        density=[0.03, 0.03, 0.03, 0.1],
        outcome=["dead", "grows", "undecided", "dead"],
    )
    study = make_study({}, first_steps=first_steps)
    found = facts.facts(study)["first_steps"]
    assert found["searched"] == {"grow": 0, "live": 0, "both": 0}, "none was searched"
    own, denser = found["settings"]
    # Of 1 in 3 the upper end is p with (1 - p)^3 + 3 p (1 - p)^2 = 0.025.
    assert own == {"name": "density 3%", "seeds": 3, "grow": 1, "dead": 1, "paths": 3} | {
        "low": pytest.approx(0.0084, abs=1e-4),
        "high": pytest.approx(0.9057, abs=1e-4),
    }
    assert denser["name"] == "density 10%"
    settings, beginning = FIGURES["first-steps"](study).axes
    assert texts(settings) == ["1 of 3, 1 undecided", "0 of 1"]
    assert texts(beginning) == ["1 of 3, 1 undecided"], "of the own start alone"
    points = [line for line in settings.lines if line.get_marker() == "o"]
    ends = [np.asarray(point.get_xydata()).ravel().tolist() for point in points]
    assert ends == [[pytest.approx(1 / 3), 0], [0, 1]]
