"""The whole pipeline on the committed sample, in a copy: the study itself stays untouched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bregman_nas.errors import UserError
from bregman_nas.settings import load_settings

_COPIED = (
    *("data/sample", "docs/choices.md", "paper", "results/released-code.json", "src"),
    *(".dvc/config", ".dvc/plots", ".dvcignore", "dvc.yaml", "params.yaml"),
)
_EPOCHS = {"mlp": 20, "densenet": 1}
_SEEDS = {"mlp": 2, "densenet": 1}
_BATCH_SIZE = 32
# Of the runs that change a choice, and of the arms, the first few.
_CHANGED = {"epochs": 5, "seeds": 1}
_FEW = 2


def demonstrate(project: Path) -> None:
    """Run all stages on the sample, print Tables 1 and 2, and say where the figures are.

    Args:
        project: the repository; the copy is its folder `build/demo`, made anew.

    Raises:
        UserError: if this is not the repository, or the pipeline fails; what it printed says why.
    """
    load_settings(project / "params.yaml")
    copy = project / "build" / "demo"
    shutil.rmtree(copy, ignore_errors=True)
    for name in _COPIED:
        source, target = project / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    # The copy is no repository of its own, and must not be taken for a part of this one.
    (copy / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    _shrink(copy / "params.yaml")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "dvc", "repro"]
    if subprocess.run(command, cwd=copy, env={**os.environ, "PATH": path}).returncode:
        raise UserError(f"the pipeline failed in {copy}; see above")
    for name in ("table1.md", "table2.md"):
        print((copy / "results" / name).read_text("utf-8").split("\n## ")[0])
    print("These numbers come from a few small searches on 2,000 images: they demonstrate the")
    print("pipeline and are no results. The figures:")
    print(*(f"  {figure}" for figure in sorted((copy / "figures").glob("*.png"))), sep="\n")


def _shrink(params: Path) -> None:
    """Change params.yaml to what takes a few minutes; all else is kept."""
    yaml = YAML()
    content: Any = yaml.load(params.read_text("utf-8"))
    content["data"]["source"] = "sample"
    content["batch_size"] = _BATCH_SIZE
    for experiment in content["experiments"].values():
        experiment["epochs"] = _EPOCHS[experiment["network"]]
    runs, arms = content["runs"], content["arms"]
    counted = [name for name, row in runs.items() if row["seeds"]]
    plain = [name for name in counted if not {"change", "epochs"} & runs[name].keys()]
    changed = [name for name in counted if "change" in runs[name]][:_FEW]
    compared = [name for name, arm in arms.items() if arm["of"] in {*plain, *changed}][:_FEW]
    for name in plain:
        runs[name]["seeds"] = _SEEDS[content["experiments"][runs[name]["experiment"]]["network"]]
    content["runs"] = {name: runs[name] for name in plain}
    content["runs"] |= {name: {**runs[name], **_CHANGED} for name in changed}
    content["arms"] = {name: {**arms[name], "seeds": 1} for name in compared}
    for start in content["first_steps"]["starts"].values():
        start["seeds"] = 1
    with params.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
