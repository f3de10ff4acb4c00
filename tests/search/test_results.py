"""metrics.json, seeds.csv and history.csv, by hand from small records.

Those of skips, DenseNets and older records are in results/: see `test_committed.py`.
"""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from bregman_nas.search.results import write_results

BOTH = {"learning_rate": 0.1, "held_out_loss": 0.5, "switched_on": [0, 1], "switched_off": [1, 0]}
ANSWERS = {"input_unchanged": 0.25, "mean_image": 0.5, "zero": 1.0}


def mlp(seed: int, loss: float, widths: list[int]) -> Any:
    first = {"epoch": 1, "train_loss": 1.0, "active_rows": [1, 2], "living_rows": [7, 8], **BOTH}
    last = {"epoch": 2, "train_loss": loss, "active_rows": widths, "living_rows": [5, 6], **BOTH}
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
        },
        "history": [first, last],
    }


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def strictly(path: Path) -> Any:
    text = path.read_text("utf-8")
    return json.loads(text, parse_constant=lambda constant: pytest.fail(constant))


def test_two_seeds_by_hand(tmp_path: Path) -> None:
    write_results(tmp_path, [mlp(0, 0.25, [10, 20]), mlp(1, 0.75, [14, 20])])
    seeds = table(tmp_path / "seeds.csv")
    assert seeds[1] == {
        "seed": "1",
        "test_mse": "0.375",
        "held_out_mse": "0.1875",
        "train_loss": "0.75",
        "learning_rate": "0.1",
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
