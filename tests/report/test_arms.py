"""What the networks found are measured against: read, put into tables, drawn."""

import math
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bregman_nas.baselines.architectures import Architecture
from bregman_nas.errors import UserError
from bregman_nas.report import table1, table2
from bregman_nas.report.data import Study, read_study
from bregman_nas.report.figures import FIGURES
from bregman_nas.report.frames import add_answers
from bregman_nas.report.tables import render_all
from bregman_nas.search.records import read_record
from tests.report.studies import make_run, make_study, texts, write_project

RUN = "paper-autoencoder-deblurring"
FOUND, UNIFORM = f"{RUN}-found", f"{RUN}-uniform"
RESIDUAL = "paper-residual-deblurring"


def arm(mse: Sequence[float], dead: Sequence[int] = ()) -> pd.DataFrame:
    networks = pd.DataFrame({"seed": range(len(mse)), "mse": mse})
    networks["train_mse"], networks["best_held_out_mse"] = networks["mse"] / 2, networks["mse"]
    networks["best_epoch"], networks["narrowest"] = (
        90,
        [300 - 50 * seed for seed in range(len(mse))],
    )
    networks["effective"] = 0.5
    networks["parameters"] = 1000 * (networks["seed"] + 1)
    return networks.assign(dead=networks["seed"].isin(dead))


def with_arms(runs: Mapping[str, Any], **mse: Sequence[float]) -> Study:
    """A study with runs, and arms of `RUN` by their method."""
    return make_study(runs, arms={f"{RUN}-{method}": arm(of) for method, of in mse.items()})


def test_arms_are_read_like_runs(tmp_path: Path) -> None:
    trained = [{"parameters": 7, "mse": 0.02}, {"parameters": 9, "mse": 0.03, "dead": True}]
    study = read_study(write_project(tmp_path / "study", {RUN: [{}, {}], FOUND: trained}))
    assert list(study.arms) == [FOUND]
    read = study.arms[FOUND].drop(columns=["train_mse", "best_held_out_mse", "best_epoch"])
    assert read.to_numpy().tolist() == [[0, 0.02, 200, 1, 7, False], [1, 0.03, 200, 1, 9, True]]
    records = (study.project / "results" / "runs" / FOUND / "records").glob("seed-*.json")
    histories = [read_record(path)["history"] for path in sorted(records)]
    assert study.arms[FOUND]["train_mse"].tolist() == [h[-1]["train_loss"] for h in histories]
    best = [min(h, key=lambda entry: entry["held_out_loss"]) for h in histories]
    assert study.arms[FOUND]["best_epoch"].tolist() == [entry["epoch"] for entry in best]
    (study.project / "results" / "runs" / FOUND / "seeds.csv").write_text("seed\n", "utf-8")
    with pytest.raises(UserError, match=f"{FOUND}/seeds.csv cannot be used: it does not agree"):
        read_study(study.project)
    of_another = {"parameters": 7, "found": "another"}
    with pytest.raises(UserError, match=f"{FOUND}/.* was not trained on what seed 0 of {RUN}"):
        read_study(write_project(tmp_path / "other", {RUN: [{}], FOUND: [of_another]}))


def test_parameters_are_counted_as_those_of_architectures_if_the_record_has_them() -> None:
    numbers = np.random.default_rng(0)
    for name in ("paper-residual-denoising", "paper-autoencoder-denoising"):
        rows = numbers.random((6, 20)) < 0.4
        on = np.tril(numbers.random((6, 6)) < 0.5)
        groups = {
            f"layers.{l}.weight": {"shape": [20], "active": np.packbits(of).tobytes().hex()}
            for l, of in enumerate(rows)
        }
        seed: dict[str, Any] = {"groups": groups, "active": rows.sum(1).tolist()}
        if "residual" in name:
            seed["tau"] = {(l, i): 0.5 for l in range(6) for i in range(l + 1) if on[l, i]}
        found = make_run([seed], name).frames.networks
        skips = torch.tensor(on) if "residual" in name else None
        made = Architecture(torch.tensor(rows), skips)
        assert found["parameters"].tolist() == [made.parameters()]

    early = make_run([{"mse": 0.02}, {"mse": 0.03}]).frames.networks  # the answer 0 has 0.03
    assert early["parameters"].isna().all()
    assert early["dead"].tolist() == [False, True]


def answers(run: str, **of_answer: float) -> pd.DataFrame:
    """Lines of baselines.csv for seed 0; `pca_<n>` are n principal components."""
    lines = []
    for name, mse in of_answer.items():
        answer, _, count = name.partition("pca_")
        lines.append((answer or "principal_components", float(count or math.nan), mse))
    table = pd.DataFrame(lines, columns=["answer", "dimensions", "mse"])
    return table.assign(run=run, seed=0.0, images="test", accuracy=math.nan)


def test_answers_join_the_losses_of_their_run() -> None:
    run = make_run([{}, {}], RUN)  # the narrowest layer has 200 rows
    table = answers(RUN, zero=0.03, lookup_table=0.2, pca_50=0.3, pca_200=0.4)
    losses = add_answers(run.frames, "autoencoder", table).losses
    new = losses[len(run.frames.losses) :]
    assert dict(zip(new["answer"], new["mse"], strict=True)) == {
        "lookup_table": 0.2,
        "principal_components_50": 0.3,
        "principal_components_200": 0.4,
        "principal_components_autoencoder": 0.4,
    }
    with pytest.raises(ValueError, match="other images or noise"):
        add_answers(run.frames, "autoencoder", answers(RUN, zero=0.0301))


def test_table_1_puts_the_best_answer_first(tmp_path: Path) -> None:
    dense = {"norms": [[[1]], [[1]], [[1, 1]]], "accuracy": 0.8}
    project = write_project(tmp_path, {RUN: [{"mse": 0.015}], "authors-densenet-fashion": [dense]})
    of_dense = {"run": "authors-densenet-fashion", "images": "test", "answer": "ridge"}
    tables = [answers(RUN, lookup_table=0.02, wiener_relu=0.012), pd.DataFrame([of_dense])]
    table = pd.concat(tables).assign(accuracy=[math.nan, math.nan, 0.81])
    path = project / "results" / "baselines.csv"
    table.to_csv(path, index=False)
    rows = table1.rows(read_study(project))
    shown = table1.shown(rows)
    # Of the records: input unchanged 0.01, mean image 0.02, zero 0.03.
    best = ["input_unchanged", "wiener_relu", "autoencoder", "lookup_table"]
    assert list(shown["deblurring"])[:4] == best
    assert list(shown["denoising"]) == ["autoencoder", "residual"]  # nothing fitted, nothing run
    assert list(shown["fashion"]) == ["ridge", "densenet"]
    path.write_text("run,seed\n", "utf-8")
    with pytest.raises(UserError, match=r"baselines.csv cannot be used.*`bregman-nas baselines`"):
        read_study(project)


def test_some_computed() -> None:
    """Logarithms of found / uniform: -0.3 and -0.1, so that the interval is wide."""
    searched = [{"mse": 0.01}, {"mse": 0.01}, {"mse": 0.5}]
    found = [0.01 * math.exp(-0.3), 0.01 * math.exp(-0.1)]
    study = with_arms({RUN: searched}, found=found, uniform=[0.01, 0.01])
    group = next(group for group in table2.groups(study) if group.of == RUN)
    own = group.lines[0].numbers()
    assert (own["seeds"], own["ten_mse_mean"]) == (2, pytest.approx(0.1)), "no arm for seed 2"
    first, second, third = group.comparisons
    assert [first[name] for name in ("first", "second", "pairs")] == ["found", "uniform", 2]
    assert first["ratio"] == pytest.approx(math.exp(-0.2))
    # exp(-0.2 -+ 1.2706): between 77.0% lower and 191.7% higher.
    assert first["words"] == "undecided: between 77.0% lower and 191.7% higher"
    assert (second["first"], second["second"]) == ("search", "found")
    assert third["verdict"] == "equivalent"  # search and uniform are the same to the last bit
    said = (
        "none of 1 experiment, lose in none, are equivalent (within 5%) in none and undecided in 1"
    )
    told = render_all(study)["table2.md"]
    assert f"{said}, before any correction for the number of tests; 3 not compared yet.**" in told


@pytest.mark.parametrize(
    ("ratios", "told"),
    [
        ([0.80, 0.82, 0.81], "found better: 16.5% to 21.5% lower"),
        ([1.20, 1.22, 1.21], "uniform better: 18.5% to 23.5% higher"),
        ([0.98, 0.98, 0.98], "equivalent: 2.0% to 2.0% lower: significant, but too"),
        ([0.5], "undecided: 1 pair of seeds, no interval"),
    ],
)
def test_verdicts_in_words(ratios: list[float], told: str) -> None:
    found, uniform = [0.01 * ratio for ratio in ratios], [0.01] * len(ratios)
    study = with_arms({RUN: [{}] * 3}, found=found, uniform=uniform)
    group = next(group for group in table2.groups(study) if group.of == RUN)
    assert group.comparisons[0]["words"].startswith(told)


def test_narrowness_is_a_rank_correlation_of_ratios() -> None:
    study = with_arms({RUN: [{}] * 4}, found=[0.01, 0.02, 0.04, 0.03], uniform=[0.01] * 4)
    study.arms[UNIFORM]["narrowest"] = 300
    group = next(group for group in table2.groups(study) if group.of == RUN)
    assert group.narrowness is not None
    # The ranks of the errors are 1, 2, 4, 3, those of the widths 4, 3, 2, 1: 1 - 6 * 18 / 60.
    assert group.narrowness["rho"] == pytest.approx(-0.8)
    assert "a rank correlation (Spearman) of \N{MINUS SIGN}0.80" in render_all(study)["table2.md"]
    assert [line.bottleneck for line in group.lines if line.method == "found"] == [
        {"seed": 3, "rows": 150, "ten_mse": pytest.approx(0.3)}
    ]
    study.arms[FOUND]["narrowest"] = 300
    assert group.narrowness is None, "all the same"


def test_dead_and_diverged_networks_are_counted() -> None:
    study = with_arms({RUN: [{}] * 3}, found=[0.01, math.nan, 0.01])
    dead = arm([0.03, 0.01, 0.01], dead=[0])
    study = make_study(study.runs, arms={**study.arms, UNIFORM: dead})
    tables = render_all(study)
    told = tables["table2.md"]
    assert "| 3, 1 NaN | 0 | 0.1000 (0.0000) | 0.0500 | 0.1000 | 90 | 250 | 50% | 2,000 |" in told
    assert (
        "| uniform | 3 | 1 | 0.1667 (0.1155) | 0.0833 | 0.1667 | 90 | 250 | 50% | 2,000 |" in told
    )
    assert "; 1 pair diverged |" in tables["table2.md"]
    lines = pd.read_csv(StringIO(tables["table2.csv"])).set_index("name")
    assert (lines.loc[UNIFORM, "dead"], lines.loc[FOUND, "nan_seeds"]) == (1, 1)


def test_the_arms_are_drawn_as_far_as_they_are_there() -> None:
    study = with_arms({RUN: [{}] * 3}, found=[0.01, math.nan, 0.01], dense=[0.005])
    panels = FIGURES["losses"](study).axes
    names = [label.get_text() for label in panels[0].get_yticklabels()]
    made = [name.partition(", ")[2] for name in names if name.startswith("text, ")]
    assert made == ["searched", "found, trained anew", "dense"]


def test_error_against_parameters_joins_the_mu_of_a_method() -> None:
    arms = {f"{RESIDUAL}-proximal-adam-0-0{k}": arm([0.01, 0.02]) for k in (1, 3)}
    figure = FIGURES["parameters"](make_study({RESIDUAL: [{}]}, arms=arms))
    (panel,) = figure.axes
    (line,) = (line for line in panel.get_lines() if line.get_label() == "proximal Adam")
    # Geometric means, in millions of 1000 and 2000, and in the unit of Table 1 of 0.1 and 0.2.
    mean = [math.sqrt(2) / 1000, math.sqrt(0.02)]
    np.testing.assert_allclose(np.asarray(line.get_xydata()), np.array([mean, mean]))
    assert "AdaBreg, searched" not in texts(figure)  # its parameters are not known
