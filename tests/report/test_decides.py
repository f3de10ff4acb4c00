"""What decides the architecture: variances taken apart, threshold x scale, questions, pictures."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from bregman_nas.report import cells, variance
from bregman_nas.report.data import PIXELS, Run, Study
from bregman_nas.report.figures import FIGURES
from bregman_nas.report.measures import outputs
from bregman_nas.report.tables import render_all
from tests.report.studies import LAYERS, make_run, make_study, texts

OWN = [f"{p}-{n}-{t}" for p in ("paper", "authors") for n in ("autoencoder", "residual")
       for t in ("denoising", "deblurring")]  # fmt: skip


def seeds(base: int, count: int = 3, spread: int = 10, **more: Any) -> list[dict[str, Any]]:
    """Networks whose widths are near a number, the third layer the narrowest."""
    return [
        {"active": [base + spread * k - (50 if l == 2 else 0) for l in range(LAYERS)], **more}
        for k in range(count)
    ]


# Of one factor: means 1 and 5 about 3: 4. Within: 2 in each cell. 4 - (2 - 1) 2 / (2 seeds x 2
# cells) = 3.5. Of two: cells 0, 2 / 4, 14, mean 5. Rows 1, 9: 16. Columns 2, 8: 9. All cells: (25 +
# 9 + 1 + 81) / 4 = 29, of which 29 - 25 = 4 are interaction. Within 8; 8 / (2 seeds x 4 cells) = 1
# is subtracted.
CELLS = np.array([[0.0, 2.0], [4.0, 14.0]])
BY_HAND = [
    (np.array([[0.0, 2.0], [4.0, 6.0]]), [3.5, 0, 2]),
    (np.stack([CELLS - 2, CELLS + 2], axis=-1), [15, 8, 3, 8]),
    (np.ones((2, 3)), [0, 0, 0]),
]


@pytest.mark.parametrize(("values", "expected"), BY_HAND)
def test_variances_by_hand(values: np.ndarray, expected: Sequence[float]) -> None:
    factors = values.ndim - 1
    assert variance.components(values, factors) == pytest.approx(expected)
    stacked = variance.components(np.stack([values, values]), factors)
    assert stacked[1] == pytest.approx(expected)


def test_resamples_keep_the_variance() -> None:
    samples = variance.resampled(np.array([[1.0, 2.0, 6.0]]))
    # Of the samples the population's variance is that of the sample, n - 1: 14 / 2.
    assert samples.shape == (10_000, 1, 3)
    assert [samples.mean(), samples.var()] == pytest.approx([3, 7], rel=0.05)


def shares(study: Study, name: str) -> dict[tuple[str, str], Any]:
    """A column of the variances taken apart by measure and component, of the designs by task."""
    found = variance.taken_apart(study).set_index("design")
    found = found[found.index.str.startswith("residual autoencoders")]
    return dict(found.set_index(["measure", "component"])[name])


def test_designs_take_the_seeds_of_all_cells() -> None:
    runs = {name: seeds(300, 5 if name.startswith("paper") else 4) for name in OWN}
    runs["authors-residual-denoising"][1]["mse"] = math.nan
    both, autoencoders, residual, crossed = variance.designs(make_study(runs))
    assert (both.seeds, residual.seeds) == ([0, 2, 3], [0, 2, 3])
    assert autoencoders.seeds == [0, 1, 2, 3]
    assert crossed.factors == {"threshold": ("1", "28"), "scale": ("5", "10")}
    assert crossed.seeds == []  # three cells are not run
    assert both.numbers()["width of layer 1"].shape == (2, 2, 2, 3)


@pytest.fixture(scope="module")
def changed() -> Study:
    """Some of everything: cells, interventions, a longer run, another delta, fresh seeds."""

    def run(
        name: str, of_seeds: list[Any], change: Mapping[str, Any], task: str = "denoising"
    ) -> Run:
        row = {"protocol": "paper", "experiment": f"residual-{task}", "change": dict(change)}
        return make_run(of_seeds, name, 100, row)

    fresh = [{**one, "seed": 10 + k, "mse": 0.02} for k, one in enumerate(seeds(300))]
    own = [*seeds(300, history={1: {"active_rows": [9] * 6}}), *fresh]
    long = [{**one, "history": {100: {"active_rows": [100] * 6}}} for one in seeds(300)]
    row = {"protocol": "paper", "experiment": "autoencoder-deblurring", "epochs": 300}
    threshold, scale = {"skip_threshold": 28}, {"initial_scale": 5}
    runs = [
        run("paper-residual-denoising", own, {}),
        run("residual-denoising-threshold-28", seeds(200), threshold),
        run("residual-denoising-scale-5", seeds(310), scale),
        run("residual-denoising-threshold-28-scale-5", seeds(110), threshold | scale),
        run("residual-denoising-leaky", seeds(700, living=[784] * 6), {"relu_slope": 0.01}),
        run("residual-deblurring-delta-2", seeds(300, 1), {"delta": 2.0}, "deblurring"),
        run("paper-residual-deblurring", seeds(310), {}, "deblurring"),
        make_run(long, "autoencoder-deblurring-300-epochs", 300, row),
    ]
    found = {one.name: one for one in runs}
    return make_study(found, frequencies=np.arange(PIXELS) / PIXELS)


@pytest.fixture(scope="module")
def tables(changed: Study) -> dict[str, str]:
    return render_all(changed)


def test_cells_and_their_variance(changed: Study, tables: dict[str, str]) -> None:
    found = {(c.network, c.threshold, c.scale): c for c in cells.cells(changed)}
    assert {key for key, cell in found.items() if cell.run} == {
        ("residual", threshold, scale) for threshold in (1, 28) for scale in (5, 10)
    }
    assert found["residual", 28, 5].numbers["narrowest"].mean == pytest.approx(70)
    assert found["residual", 28, 5].planned == 10
    assert found["autoencoder", None, 2].numbers["narrowest"].seeds == 0
    # 300, 310 / 200, 110, mean 230: threshold 75^2, scale 20^2, interaction 25^2; the seed 10^2.
    error = 100 / 12
    expected = {"threshold": 5625 - error, "scale": 400 - error, "interaction": 625 - error}
    variances = shares(changed, "variance")
    found_variances = {one: variances["width of layer 1", one] for one in (*expected, "seed")}
    assert found_variances == pytest.approx(expected | {"seed": 100})
    assert math.isnan(shares(changed, "share")["place of the narrowest layer", "seed"])
    assert json.loads(tables["metrics.json"])["paper"]["residual-denoising-leaky"]["seeds"] == 3
    assert tables["variance.md"].count("Not run with 3 seeds in each cell.") == 3


def test_answers_have_the_numbers_of_their_sentences(tables: dict[str, str]) -> None:
    found = json.loads(tables["questions.json"])
    told = {one["run"]: one for question in found.values() for one in question["answers"]}
    numbers = told["residual-denoising-threshold-28"]["numbers"]
    assert numbers["coding_width"] == pytest.approx({"value": -100, "low": -100, "high": -100})
    assert told["residual-deblurring-delta-2"]["seeds"] == 1
    assert told["residual-deblurring-delta-2"]["numbers"]["rows_on"]["low"] is None
    first, last = found["finished"]["answers"]
    assert first["start"].endswith("from epoch 100 to 300")
    # Rows 6 * 300 - 50, 60 more in each seed, less 600.
    assert first["numbers"]["rows_on"]["value"] == pytest.approx(1750 + 60 - 600)
    assert last["start"].endswith("from epoch 200 to 300")
    assert last["numbers"]["rows_on"]["value"] == 0
    fresh = found["fresh-seeds"]["answers"]
    assert fresh[0]["numbers"]["ten_mse"]["value"] == pytest.approx(0.2 - 0.1)


def test_a_seed_on_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study({"paper-residual-denoising": seeds(300)})  # 10 rows apart, and 20
    there = {"seed": 1, "result": {"active_rows": [313, 307, 263, 313, 307, 0]}}
    monkeypatch.setattr(Study, "elsewhere", lambda *_: [there, {**there, "seed": 7}])
    (answer,) = json.loads(render_all(study)["questions.json"])["elsewhere"]["answers"]
    assert answer["numbers"]["machines"]["value"] == pytest.approx(3)
    assert answer["numbers"]["seeds"]["value"] == pytest.approx(10)
    said = "differs by 3 rows per hidden layer (1 seed); two seeds differ by 10."
    assert answer["sentence"].endswith(said)


def test_the_output_map() -> None:
    # Two seeds whose active rows are those of the most frequent pixels, and one that diverged.
    actives = [{"output": [*range(400, PIXELS)]}, {"output": [*range(300, PIXELS)]}]
    runs = {"paper-autoencoder-denoising": [*actives, {"mse": math.nan}]}
    study = make_study(runs, frequencies=np.maximum(np.arange(PIXELS) - 299, 0) / PIXELS)
    ((run, found),) = outputs(study)
    assert (run.name, found["area"].nan_seeds) == ("paper-autoencoder-denoising", 1)
    assert found["area"].finite.tolist() == [1, 1]
    assert found["jaccard"].finite.tolist() == pytest.approx([384 / 484, 1])
    line = "| paper-autoencoder-denoising | 2 | 434.0 (70.7) | 1.0000"
    assert line in render_all(study)["widths.md"]
    figure = FIGURES["output-rows"](study)
    ink, picture, *_ = (axes.images[0] for axes in figure.axes if axes.images)
    assert np.asarray(ink.get_array()).ravel()[-1] == pytest.approx(484 / PIXELS)
    shown = np.asarray(picture.get_array()).ravel()
    assert shown[[299, 300, 399, 400]].tolist() == [0, 0.5, 0.5, 1]
    assert list(outputs(make_study(runs))) == []


def test_the_figure_of_the_variance(changed: Study) -> None:
    found = texts(FIGURES["variance"](changed))
    assert "not run" not in found  # the other designs have no panel
    assert {"Residual autoencoders,\ndenoising\n(3 seeds in each cell)", "scale"} <= {*found}
    assert "not run" in texts(FIGURES["variance"](make_study({})))
