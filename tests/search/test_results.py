"""metrics.json, seeds.csv and history.csv, by hand from small records."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bregman_nas.search.results import write_results

RATES = {"learning_rate": 0.001, "held_out_loss": 0.5}
SWITCHED = {"switched_on": [0, 1], "switched_off": [1, 0]}
ANSWERS = {"input_unchanged": 0.25, "mean_image": 0.5, "zero": 1.0}


def mlp(seed: int, loss: float, widths: list[int], skips: bool = False) -> Any:
    tau = {"skips": [[0.5], [-0.25, float(seed)]]} if skips else {}
    both = RATES | SWITCHED | tau
    first = {"epoch": 1, "train_loss": 1.0, "active_rows": [1, 2], "living_rows": [7, 8], **both}
    last = {"epoch": 2, "train_loss": loss, "active_rows": widths, "living_rows": [5, 6], **both}
    return {
        "seed": seed,
        "result": {
            "test_mse": loss / 2,
            "held_out_mse": loss / 4,
            "test_baselines": ANSWERS,
            "held_out_baselines": ANSWERS,
            "active_rows": widths,
            "effective_rows": [w - 1 for w in widths],
            "output_rows": [0, 1],
            **tau,
        },
        "history": [first, last],
    }


DENSENET: Any = {
    "seed": 4,
    "result": {
        "test_accuracy": 0.75,
        "held_out_accuracy": 0.5,
        "test_loss": 1.0,
        "held_out_loss": 2.0,
        "active_kernels": [1, 2, 3, 4],
        "kernel_norms": [[[1.0]]],
    },
    "history": [
        {
            "epoch": 1,
            "learning_rate": 0.5,
            "train_loss": 3.0,
            "active_kernels": [1, 2, 3, 4],
            "active_channels": [5, 6, 7, 8],
            "living_channels": [9, 10, 11, 12],
            "switched_on": [13, 14, 15, 16],
            "switched_off": [0, 0, 0, 17],
        }
    ],
}


def table(path: Path) -> list[dict[str, str]]:
    header, *lines = path.read_text("utf-8").splitlines()
    names = header.split(",")
    return [dict(zip(names, line.split(","), strict=True)) for line in lines]


def strictly(path: Path) -> Any:
    return json.loads(
        path.read_text("utf-8"), parse_constant=lambda constant: pytest.fail(constant)
    )


def test_two_seeds_by_hand(tmp_path: Path) -> None:
    write_results(tmp_path, [mlp(0, 0.25, [10, 20]), mlp(1, 0.75, [14, 20])])
    seeds = table(tmp_path / "seeds.csv")
    assert seeds[1] == {
        "seed": "1",
        "test_mse": "0.375",
        "held_out_mse": "0.1875",
        "train_loss": "0.75",
        "learning_rate": "0.001",
        "width_1": "14",
        "width_2": "20",
        "effective_1": "13",
        "effective_2": "19",
        "living_1": "5",
        "living_2": "6",
        **{f"test_mse_{name}": str(value) for name, value in ANSWERS.items()},
        **{f"held_out_mse_{name}": str(value) for name, value in ANSWERS.items()},
    }
    metrics = strictly(tmp_path / "metrics.json")
    assert metrics["seeds"] == 2
    assert metrics["train_loss"] == {"mean": 0.5, "std": pytest.approx(0.5 / 2**0.5)}
    assert metrics["width_1"] == {"mean": 12.0, "std": pytest.approx(8**0.5)}
    assert metrics["width_2"] == {"mean": 20.0, "std": 0.0}
    assert set(metrics) == {"seeds", "diverged", *seeds[0]} - {"seed"}
    history = table(tmp_path / "history.csv")
    assert [(row["seed"], row["epoch"], row["width_1"], row["living_2"]) for row in history] == [
        ("0", "1", "1", "8"),
        ("0", "2", "10", "6"),
        ("1", "1", "1", "8"),
        ("1", "2", "14", "6"),
    ]
    assert set(history[0]) == {
        *("seed", "epoch", "learning_rate", "train_loss", "held_out_loss"),
        *("width_1", "width_2", "living_1", "living_2"),
        *("switched_on_1", "switched_on_2", "switched_off_1", "switched_off_2"),
    }
    assert (history[0]["switched_on_2"], history[0]["switched_off_2"]) == ("1", "0")


def test_skips_are_named_as_in_the_article(tmp_path: Path) -> None:
    write_results(tmp_path, [mlp(3, 0.25, [10, 20], skips=True)])
    (row,) = table(tmp_path / "seeds.csv")
    skips = {name: value for name, value in row.items() if name.startswith("skip")}
    assert skips == {"skip_0_0": "0.5", "skip_1_0": "-0.25", "skip_1_1": "3.0"}
    assert table(tmp_path / "history.csv")[0].items() >= skips.items()
    one_seed = strictly(tmp_path / "metrics.json")["train_loss"]
    assert one_seed == {"mean": 0.25, "std": None}


def test_a_densenet_by_hand(tmp_path: Path) -> None:
    write_results(tmp_path, [DENSENET])
    (row,) = table(tmp_path / "seeds.csv")
    where = ("first", "1", "2", "last")
    by_layer = {
        f"{name}_{layer}": str(first + n)
        for name, first in (("kernels", 1), ("channels", 5), ("living", 9))
        for n, layer in enumerate(where)
    }
    assert row.items() >= by_layer.items()
    scores = {"test_accuracy", "held_out_accuracy", "test_loss", "held_out_loss", "train_loss"}
    assert set(row) == {"seed", "learning_rate", *scores, *by_layer}
    (line,) = table(tmp_path / "history.csv")
    assert [line[f"switched_on_{layer}"] for layer in where] == ["13", "14", "15", "16"]
    assert (line["kernels_last"], line["switched_off_last"]) == ("4", "17")


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_search_that_diverged_is_counted(tmp_path: Path, broken: float, number: int) -> None:
    others = [mlp(seed, 0.25, [10, 20]) for seed in range(1, number)]
    write_results(tmp_path, [mlp(0, broken, [0, 0]), *others])
    metrics = strictly(tmp_path / "metrics.json")
    assert (metrics["seeds"], metrics["diverged"]) == (number, 1)
    # It does not enter the mean of what is not finite; the others all have the same loss.
    assert metrics["test_mse"]["mean"] == (others[0]["result"]["test_mse"] if others else None)
    assert metrics["test_mse"]["std"] == (0.0 if number == 3 else None)
    assert metrics["width_1"]["mean"] == 10 * (number - 1) / number
    assert table(tmp_path / "seeds.csv")[0]["test_mse"] == str(broken)
    assert len(table(tmp_path / "history.csv")) == 2 * number


def test_without_records_the_files_say_so(tmp_path: Path) -> None:
    write_results(tmp_path, [])
    assert strictly(tmp_path / "metrics.json") == {"seeds": 0, "diverged": 0}
    assert table(tmp_path / "seeds.csv") == table(tmp_path / "history.csv") == []


def test_what_only_newer_records_say_is_empty_for_the_older_ones(tmp_path: Path) -> None:
    newer = DENSENET | {"seed": 5, "result": DENSENET["result"] | {"logits_ever_positive": 8}}
    write_results(tmp_path, [DENSENET, newer])
    rows = pd.read_csv(tmp_path / "seeds.csv")
    assert rows.columns[-1] == "logits_ever_positive"
    assert rows["logits_ever_positive"].isna().tolist() == [True, False]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["logits_ever_positive"]["mean"] == 8
    assert metrics["diverged"] == 0
