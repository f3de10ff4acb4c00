"""The whole pipeline on the committed sample, in a copy: the study itself stays untouched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_COPIED = (
    "data/sample",
    "docs/choices.md",
    "paper",
    "src",
    ".dvc/config",
    ".dvc/plots",
    ".dvcignore",
    "dvc.yaml",
    "params.yaml",
)
_EPOCHS = {"mlp": 20, "densenet": 1}
_SEEDS = {"mlp": 2, "densenet": 1}
_BATCH_SIZE = 32
# Each variant costs the start of a process beside its search.
_ABLATION = {"epochs": 5, "seeds": 1}
_VARIANTS = 2


def demonstrate(project: Path) -> None:
    """Run all stages on the sample, print Table 1, and say where the figures are.

    Args:
        project: the repository; the copy is its folder `build/demo`, made anew.

    Raises:
        OSError: if the pipeline fails; what it printed says why.
    """
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
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"}
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=copy, env=environment, check=False
    )
    if status.returncode:
        raise OSError(f"the pipeline failed in {copy}; see above")
    print((copy / "results" / "table1.md").read_text("utf-8").split("\n## ")[0])
    print("These numbers come from a few small searches on 2,000 images: they demonstrate the")
    print("pipeline and are no results. The figures:")
    for figure in sorted((copy / "figures").glob("*.png")):
        print(f"  {figure}")


def _shrink(params: Path) -> None:
    """Change params.yaml to what takes a few minutes, comments and all else kept."""
    yaml = YAML()
    content: Any = yaml.load(params.read_text("utf-8"))
    content["data"]["source"] = "sample"
    content["batch_size"] = _BATCH_SIZE
    for experiment in content["experiments"].values():
        experiment["epochs"] = _EPOCHS[experiment["network"]]
    for run in content["seeds"]:
        network = next(
            e["network"] for name, e in content["experiments"].items() if run.endswith(f"-{name}")
        )
        content["seeds"][run] = _SEEDS[network]
    ablation = content["ablation"]
    ablation |= _ABLATION
    ablation["variants"] = dict(list(ablation["variants"].items())[:_VARIANTS])
    with params.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
