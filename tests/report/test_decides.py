"""What decides the architecture: variances taken apart, threshold x scale, questions, pictures."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from bregman_nas.report import cells, questions, variance
from bregman_nas.report.data import PIXELS, Run, Study
from bregman_nas.report.figures import FIGURES
from bregman_nas.report.output_map import outputs
from bregman_nas.report.tables import render_all
from bregman_nas.report.text import quoted

LAYERS = 6
OWN = [f"{p}-{n}-{t}" for p in ("paper", "authors") for n in ("autoencoder", "residual")
       for t in ("denoising", "deblurring")]  # fmt: skip
MakeRun = Callable[..., Run]
MakeStudy = Callable[..., Study]


def seeds(base: int, count: int = 3, spread: int = 10, **more: Any) -> list[dict[str, Any]]:
    """Networks whose widths are near a number, the third layer the narrowest."""
    return [
        {"active": [base + spread * k - (50 if l == 2 else 0) for l in range(LAYERS)], **more}
        for k in range(count)
    ]


def row(change: Mapping[str, Any], experiment: str = "residual-denoising") -> dict[str, Any]:
    return {"protocol": "paper", "experiment": experiment, "change": dict(change)}


def test_variances_of_one_factor_by_hand() -> None:
    # Means 1 and 5 about 3: 4. Within: 2 in each cell. 4 - (2 - 1) 2 / (2 seeds x 2 cells) = 3.5.
    values = np.array([[0.0, 2.0], [4.0, 6.0]])
    found = variance.components(values, 1)
    assert found == pytest.approx([3.5, 0, 2])
    assert variance.shares(found) == pytest.approx([3.5 / 5.5, 0, 2 / 5.5])


def test_variances_of_two_factors_by_hand() -> None:
    # Cells 0, 2 / 4, 14, mean 5. Rows 1, 9: 16. Columns 2, 8: 9. All cells: (25 + 9 + 1 + 81) / 4
    # = 29, of which 29 - 25 = 4 are together. Within 8; 8 / (2 seeds x 4 cells) = 1 is subtracted.
    cells = np.array([[0.0, 2.0], [4.0, 14.0]])
    values = np.stack([cells - 2, cells + 2], axis=-1)
    assert variance.components(values, 2) == pytest.approx([15, 8, 3, 8])
    assert variance.components(np.stack([values, values]), 2)[1] == pytest.approx([15, 8, 3, 8])


def test_the_estimates_are_right_on_average() -> None:
    """Of many made-up designs; the true variances are 1, 0, 0 and 4."""
    random = np.random.default_rng(0)
    setting = np.array([-1.0, 1.0])[:, None, None]
    values = setting + random.normal(0, 2, size=(20_000, 2, 2, 5))
    within = values.var(-1, ddof=1).mean((1, 2))
    plain = (values.mean((2, 3)) - values.mean((1, 2, 3))[:, None]) ** 2
    assert (plain.mean(1) - within / 20).mean() == pytest.approx(1, abs=0.02)
    found = variance.components(values, 2).mean(0)
    assert found[[0, 3]] == pytest.approx([1, 4], abs=0.05)
    assert found[[1, 2]].max() < 0.15  # above 0, for the negative estimates count as 0


def test_nothing_varies_and_resamples_keep_the_variance() -> None:
    assert np.isnan(variance.shares(variance.components(np.ones((2, 3)), 1))).all()
    values = np.array([[1.0, 2.0, 6.0]])
    samples = variance.resampled(values)
    # Of the samples the population's variance is that of the sample, n - 1: 14 / 2.
    assert samples.shape == (10_000, 1, 3)
    assert samples.var() == pytest.approx(7, rel=0.05)
    assert samples.mean() == pytest.approx(3, abs=0.05)


def shares(study: Study, name: str) -> dict[tuple[str, str], Any]:
    """A column of the variances taken apart by measure and component, of the designs by task."""
    rows = variance.taken_apart(study).to_dict("records")
    return {
        (row["measure"], row["component"]): row[name]
        for row in rows
        if row["design"] in ("residual autoencoders", "residual autoencoders, denoising")
    }


def test_all_of_the_variance_is_the_setting_or_the_seed(make_study: MakeStudy) -> None:
    runs = {name: seeds(300 if name.startswith("paper") else 500, spread=0) for name in OWN}
    study, rows = make_study(runs), "number of active rows"
    found = {name: shares(study, name) for name in ("share", "low", "high")}
    components = ("setting", "task", "together", "seed")
    assert [found["share"][rows, one] for one in components] == [1, 0, 0, 0]
    assert (found["low"][rows, "setting"], found["high"][rows, "setting"]) == (1, 1)
    assert math.isnan(found["share"]["place of the narrowest layer", "seed"])
    study = make_study({name: seeds(300) for name in OWN})
    assert shares(study, "share")["width of layer 1", "seed"] == 1


def test_designs_take_the_seeds_of_all_cells(make_study: MakeStudy) -> None:
    runs = {name: seeds(300, 5 if name.startswith("paper") else 4) for name in OWN}
    runs["authors-residual-denoising"][1]["mse"] = math.nan
    both, autoencoders, residual, crossed = variance.designs(make_study(runs))
    assert (both.seeds, residual.seeds) == ([0, 2, 3], [0, 2, 3])
    assert autoencoders.seeds == [0, 1, 2, 3]
    assert crossed.factors == {"threshold": ("1", "28"), "scale": ("5", "10")}
    assert crossed.seeds == []  # three cells are not run
    assert both.widths().shape == (8 * 3, LAYERS)


@pytest.fixture
def changed(make_run: MakeRun, make_study: MakeStudy) -> Study:
    """Some of everything: cells, interventions, a longer run, another delta, fresh seeds."""
    fresh = [{**one, "seed": 10 + k, "mse": 0.02} for k, one in enumerate(seeds(300))]
    runs: dict[str, Any] = {
        "paper-residual-denoising": [*seeds(300, history={1: {"active_rows": [9] * 6}}), *fresh],
        "residual-denoising-threshold-28": make_run(
            seeds(200), "threshold", 100, row({"skip_threshold": 28})
        ),
        "residual-denoising-scale-5": make_run(seeds(310), "scale", 100, row({"initial_scale": 5})),
        "residual-denoising-threshold-28-scale-5": make_run(
            seeds(110), "both", 100, row({"skip_threshold": 28, "initial_scale": 5})
        ),
        "residual-denoising-leaky": make_run(
            seeds(700, living=[784] * 6), "leaky", 100, row({"relu_slope": 0.01})
        ),
        "residual-deblurring-delta-2": make_run(
            seeds(300, 1), "delta", 100, row({"delta": 2.0}, "residual-deblurring")
        ),
        "paper-residual-deblurring": seeds(310),
        "autoencoder-deblurring-300-epochs": make_run(
            [{**one, "history": {100: {"active_rows": [100] * 6}}} for one in seeds(300)],
            "long",
            300,
            {"protocol": "paper", "experiment": "autoencoder-deblurring", "epochs": 300},
        ),
    }
    own = ("paper-residual-denoising", "paper-residual-deblurring")
    runs |= {name: make_run(runs[name], name, 100) for name in own}
    runs = {name: replace(run, name=name) for name, run in runs.items()}
    return make_study(runs, frequencies=np.arange(PIXELS) / PIXELS)


def answers(study: Study) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render_all(study)["questions.json"])
    return found


def test_cells_and_their_variance(changed: Study) -> None:
    found = {(c.network, c.threshold, c.scale): c for c in cells.cells(changed)}
    assert {key for key, cell in found.items() if cell.run} == {
        ("residual", threshold, scale) for threshold in (1, 28) for scale in (5, 10)
    }
    assert found["residual", 28, 5].numbers["narrowest"].mean == pytest.approx(70)
    assert found["residual", 28, 5].planned == 10
    assert found["autoencoder", None, 2].numbers == {}
    # 300, 310 / 200, 110, mean 230: threshold 75^2, scale 20^2, together 25^2; the seed 10^2.
    error = 100 / 12
    expected = {
        "threshold": 5625 - error,
        "scale": 400 - error,
        "together": 625 - error,
        "seed": 100,
    }
    variances = shares(changed, "variance")
    assert {one: variances["width of layer 1", one] for one in expected} == pytest.approx(expected)
    text = render_all(changed)["variance.md"]
    assert "Threshold: 1, 28. Scale: 5, 10. 3 seeds in each cell." in text
    assert "| residual | 28 | 5 | 3 of 10 | 0.10000 (0.00000) | 70 (10) | 3.0 (0.0) |" in text
    assert text.count("Not run with 3 seeds in each cell.") == 3


def test_each_question_has_sentences_with_their_numbers(changed: Study) -> None:
    found = answers(changed)
    told = {one["run"]: one for question in found.values() for one in question["answers"]}
    assert told["residual-denoising-leaky"]["sentence"] == (
        f"In residual denoising under {quoted('paper')}, with relu_slope 0.01, after 100 epochs, "
        "the number of active rows is 2400 higher (+2400 to +2400); that of living rows is 2894 "
        "higher (+2745 to +3043); the loss is the same (+0.00000 to +0.00000) (3 pairs)."
    )
    numbers = told["residual-denoising-threshold-28"]["numbers"]
    assert numbers["coding_width"] == pytest.approx({"value": -100, "low": -100, "high": -100})
    assert "(1 pair)." in told["residual-deblurring-delta-2"]["sentence"]
    assert told["residual-deblurring-delta-2"]["numbers"]["rows_on"]["low"] is None
    first, last = found["finished"]["answers"]
    assert "from epoch 100 to 300, " in first["sentence"]
    # Rows 6 * 300 - 50, 60 more in each seed, less 600.
    assert first["numbers"]["rows_on"]["value"] == pytest.approx(1750 + 60 - 600)
    assert "from epoch 200 to 300, " in last["sentence"]
    assert last["numbers"]["rows_on"]["value"] == 0
    fresh = found["fresh-seeds"]["answers"][0]
    assert (
        "the mean loss of 3 fresh seeds is 0.2000, that of the registered ones 0.1000"
        in (fresh["sentence"])
    )
    assert "by the revised rules" in found["fresh-seeds"]["answers"][-1]["sentence"]


def test_what_is_planned_and_not_computed(changed: Study, make_study: MakeStudy) -> None:
    rows = changed.settings.runs.items()
    planned = {n: r.planned for n, r in rows if r.planned and "mu" not in r.change}
    told = [one for question in answers(make_study({})).values() for one in question["missing"]]
    assert {one["run"]: one["planned"] for one in told} == planned
    text = render_all(make_study({}))["questions.md"]
    assert text.count("No results yet.") == 7
    assert "residual-denoising-scale-1 (0 of 5 seeds)" in text
    empty = questions.ask(make_study({}), variance.taken_apart(make_study({})), [])
    assert not any(question["answers"] for question in empty)


def test_the_output_map(make_study: MakeStudy) -> None:
    # Two seeds whose active rows are those of the most frequent pixels, and one that diverged.
    runs = {
        "paper-autoencoder-denoising": [
            {"output": [*range(400, PIXELS)]},
            {"output": [*range(300, PIXELS)]},
            {"mse": math.nan},
        ]
    }
    study = make_study(runs, frequencies=np.maximum(np.arange(PIXELS) - 299, 0) / PIXELS)
    ((run, found),) = outputs(study)
    assert (run.name, found["area"].nan_seeds) == ("paper-autoencoder-denoising", 1)
    assert found["area"].finite.tolist() == [1, 1]
    assert found["jaccard"].finite.tolist() == pytest.approx([384 / 484, 1])
    assert (
        "| paper-autoencoder-denoising | 2 | 434.0 (70.7) | 1.0000"
        in (render_all(study)["widths.md"])
    )
    figure = FIGURES[12](study)
    ink, picture, *_ = (axes.images[0] for axes in figure.axes if axes.images)
    assert np.asarray(ink.get_array()).ravel()[-1] == pytest.approx(484 / PIXELS)
    shown = np.asarray(picture.get_array()).ravel()
    assert shown[[299, 300, 399, 400]].tolist() == [0, 0.5, 0.5, 1]
    assert list(outputs(make_study(runs))) == []


def bars(study: Study) -> Sequence[str]:
    figure = FIGURES[11](study)
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def test_the_figure_of_the_variance(changed: Study, make_study: MakeStudy) -> None:
    found = bars(changed)
    assert found.count("not run") == 0  # the other designs have no panel
    assert "Residual autoencoders, denoising\n(3 seeds in each cell)" in found
    assert "scale" in found
    assert bars(make_study({})).count("not run") == 1
