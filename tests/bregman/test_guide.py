"""The guide and the examples run, and need nothing of the study."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bregman_nas
from tests.helpers import PROJECT

STUDY = "pydantic ruamel safetensors joblib filelock rich PIL dvc pandas scipy matplotlib typst"
# As if only the wheel's own dependencies were installed, and the study were not there.
ALONE = f"""
import sys
for name in {STUDY.split()!r}:
    sys.modules[name] = None
for part in ("search", "data", "networks", "export", "report", "settings"):
    sys.modules["bregman_nas." + part] = None
"""


def run(*arguments: str | Path, folder: Path) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_names_of_the_method_need_nothing_of_the_study(tmp_path: Path) -> None:
    names = ", ".join(bregman_nas.__all__)
    run("-c", f"{ALONE}\nfrom bregman_nas import {names}", folder=tmp_path)
    with pytest.raises(AttributeError, match="has no attribute 'AdaBregg'"):
        _ = bregman_nas.AdaBregg


def test_the_blocks_of_the_guide_run_one_after_the_other(tmp_path: Path) -> None:
    guide = (PROJECT / "docs" / "own-network.md").read_text("utf-8")
    first, *others = re.findall(r"^```python\n(.*?)^```", guide, flags=re.M | re.S)
    counts = re.findall(r": (\d+) of 64", run("-c", ALONE + first, folder=tmp_path))
    # Seven start on.
    assert all(7 < int(count) < 64 for count in counts), counts
    assert len(counts) == 2
    run("-c", "\n".join([ALONE, first, *others]), folder=tmp_path)
    assert (tmp_path / "small.pt").exists()


@pytest.mark.parametrize("example", ["perceptron", "convolutions", "transformer"])
def test_in_an_example_mu_decides_how_many_groups_switch_on(example: str, tmp_path: Path) -> None:
    printed = run(PROJECT / "examples" / f"{example}.py", folder=tmp_path)
    header, _, dense, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines()
    )
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert float(dense[header.index("accuracy")].rstrip("%")) > 50
    switched = [int(row["switched on"]) for row in found if row[""].startswith("AdaBreg")]
    assert len(switched) == 3
    assert switched == sorted(set(switched), reverse=True), "more at a smaller mu"
    assert switched[-1] > 0
    for row in found:
        assert row["accuracy"] == row["its accuracy"]
        assert float(row["differs (double)"]) <= 1e-10
        assert float(row["differs (single)"]) <= 1e-5
        assert float(row["small"].replace(",", "")) < float(row["parameters"].replace(",", ""))


def test_the_choice_of_mu_can_be_seen(tmp_path: Path) -> None:
    printed = run(PROJECT / "examples" / "choose_mu.py", folder=tmp_path)
    on = [int(line.split("|")[2]) for line in printed.splitlines()[2:]]
    assert on == sorted(on, reverse=True)
    assert on[0] > 2 * on[-1]
