"""What the small networks of `bregman-nas export` save: `results/networks.csv` and `.md`."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from bregman_nas.report.claims.densenet import CHANCE
from bregman_nas.report.claims.table import COLLAPSED_MARK

COLUMNS = [
    "run",
    "seed",
    "parameters_full",
    "parameters_small",
    "multiply_adds_full",
    "multiply_adds_small",
    "images",
    "difference_double",
    "difference_single",
    "weights_committed",
    "collapsed",
]

NOTES = """\
One finished search of each run, in full and in its small form: without the neurons (channels) whose
output does not depend on the input, their constants folded into the next bias, and without those
that nothing reads. *Parameters* are all trainable numbers of the module, *multiply-adds* those of
the matrix products and convolutions for one image. *Difference* is the greatest of any output on
any test image between full and small network: with the weights as they are (single precision), the
arithmetic in double, which shows that they are the same function; and all in single, where either
has rounding errors of its own. The weights are committed under `results/networks/` where they take
less than 3 MB.
"""
COLLAPSED = (
    f"{COLLAPSED_MARK}: collapsed to one answer for all images; that it can be small says nothing."
)
HEADER = (
    "| Run | Seed | Parameters | small | Multiply-adds | small | Ratio "
    "| Difference, double | single | Images | Weights committed |"
)


def read(project: Path) -> list[dict[str, Any]]:
    """One row for each small network that is described, ordered by run and seed.

    A description of a search that has been replaced by another since is left out.
    """
    rows = []
    for path in sorted((project / "results" / "networks").glob("*/seed-*.json")):
        about = json.loads(path.read_text("utf-8"))
        record = project / "results" / about["run"] / "records" / path.name
        if not record.exists():
            continue
        searched = json.loads(record.read_text("utf-8"))
        if searched["digests"]["all"] != about["record"]:
            continue
        compared = about["difference"]
        rows.append(
            {
                "run": about["run"],
                "seed": about["seed"],
                "parameters_full": about["parameters"]["full"],
                "parameters_small": about["parameters"]["small"],
                "multiply_adds_full": about["multiply_adds"]["full"],
                "multiply_adds_small": about["multiply_adds"]["small"],
                "images": compared["images"],
                "difference_double": compared["double"],
                "difference_single": compared["single"],
                "weights_committed": int(path.with_suffix(".safetensors").exists()),
                "collapsed": int(_collapsed(searched["result"])),
            }
        )
    return rows


def _collapsed(result: dict[str, Any]) -> bool:
    """As `claims.densenet.collapsed`, of one record: a diverged network is none that collapsed."""
    accuracy, loss = result.get("test_accuracy", math.inf), result.get("test_loss", math.nan)
    return math.isfinite(loss) and accuracy <= CHANCE


def as_csv(rows: list[dict[str, Any]]) -> str:
    """One line for each network."""
    return pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False, lineterminator="\n")


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The same for readers."""
    lines = ["# The networks found, in their small form", "", NOTES]
    lines += [HEADER, "|---" * (HEADER.count("|") - 1) + "|"] if rows else ["None yet."]
    for row in rows:
        full, small = row["multiply_adds_full"], row["multiply_adds_small"]
        cells = [
            f"{row['run']} {COLLAPSED_MARK}" if row["collapsed"] else row["run"],
            row["seed"],
            f"{row['parameters_full']:,}",
            f"{row['parameters_small']:,}",
            f"{full:,}",
            f"{small:,}",
            f"{full / small:.1f}" if small else "\N{EN DASH}",
            f"{row['difference_double']:.1e}",
            f"{row['difference_single']:.1e}",
            f"{row['images']:,}",
            "yes" if row["weights_committed"] else "no",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    if any(row["collapsed"] for row in rows):
        lines += ["", COLLAPSED]
    return "\n".join([*lines, ""])
