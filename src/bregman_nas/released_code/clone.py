"""The released code, read at fixed commits from a clone of its repository.

Run unchanged are the classes, functions and settings that its notebooks define, its optimizer, its
regularizers and its training step. Left out is what the notebooks do with files and GPUs.
"""

import ast
import json
import subprocess
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional

from bregman_nas.errors import UserError
from bregman_nas.settings import Run

CODE = "7bb52c8ce66cbd23c79aab7e4e2bb8b6c77ddde3"  # its newest commit
#: Where its optimizer is taken from. That of 2021 did not correct the first moment.
OPTIMIZERS = {"corrected": CODE, "uncorrected": "d1cadda48e70af07ce54cd98beef68861ace37a4"}
#: The runs that are compared, and the notebook and test case that each corresponds to. At threshold
#: 28 mu no skip can switch on within the steps that are compared, at mu some do.
NOTEBOOKS = {
    "authors-residual-denoising": ("Skip-Encoder", 2),
    "authors-skip-threshold-1": ("Skip-Encoder", 2),
    "authors-autoencoder-denoising": ("Skip-Encoder", 0),
    "authors-densenet-fashion": ("DenseNet", None),
}


class ReleasedCode:
    """The released code, as a clone has it.

    Args:
        clone: of its repository, with all its history.
        first_moment: `corrected`, or `uncorrected` for the optimizer of 2021.

    Raises:
        UserError: if the clone does not have the commits.
    """

    def __init__(self, clone: Path, first_moment: str = "corrected") -> None:
        self.clone = clone
        regularizers = self._module("regularizers.py")
        aux_funs = self._module("models/aux_funs.py")
        models = ModuleType("models")
        models.aux_funs = aux_funs  # type: ignore[attr-defined]
        imported = {"regularizers": regularizers, "models": models, "models.aux_funs": aux_funs}
        optimizers = self._module("optimizers.py", OPTIMIZERS[first_moment], imported)
        self.train_step = self._module("train.py", imported=imported).train_step
        self._known = {"torch": torch, "nn": nn, "F": functional}
        self._known |= {"maf": aux_funs, "op": optimizers, "reg": regularizers}

    def notebook(self, run: Run) -> SimpleNamespace:
        """What the notebook of a run defines.

        Args:
            run: one of `NOTEBOOKS`; the scaling of the images is taken from it, and the threshold
                of the skips where it is the article's, mu.

        Returns:
            Its classes and functions; `conf`, its settings; `model`, its network; `draw`, code that
            draws a start of the network, which `init_weights` then draws again.
        """
        name, case = NOTEBOOKS[run.name]
        cells = json.loads(self.text(f"notebooks/{name}.ipynb"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        nodes = ast.parse(code).body
        names: dict[str, Any] = {**self._known, "test_case": case, "random_seed": None}
        exec(_compiled([node for node in nodes if _is_definition(node)]), names)
        general = {"device": torch.device("cpu"), "loss": functional.cross_entropy}
        conf = names["conf"] = SimpleNamespace(**general | names["conf_args"])
        if case == 2 and run.protocol.skip_threshold == 1:
            conf.lamda_1 = conf.lamda_0
        experiment: Any = run.experiment
        scaling = {"mean": experiment.input_mean, "std": experiment.input_std}
        if experiment.network == "densenet":
            sizes = (experiment.depth, experiment.growth, 10)
            names["model"] = names["DenseNet"](*sizes, im_channels=1, im_size=28, **scaling)
        else:
            names["model"] = names["fully_skip_connected"](conf.model_size, conf.act_fun, **scaling)
        draw = _compiled([node for node in nodes if ast.unparse(node).startswith("maf.")])
        return SimpleNamespace(**names, draw=lambda: exec(draw, names))

    def text(self, path: str, commit: str = CODE) -> str:
        """A file of its repository."""
        return self.git("show", f"{commit}:{path}")

    def git(self, *command: str) -> str:
        """What a command of git prints in the clone."""
        try:
            return git(self.clone, *command)
        except (subprocess.CalledProcessError, OSError) as error:
            raise UserError(
                f"{self.clone} is no clone of the released code with all its history; "
                "`git clone https://github.com/TimRoith/BregmanLearning` makes one"
            ) from error

    def _module(
        self, path: str, commit: str = CODE, imported: dict[str, ModuleType] | None = None
    ) -> ModuleType:
        module = ModuleType(Path(path).stem)
        with patch.dict("sys.modules", imported or {}):
            exec(compile(self.text(path, commit), path, "exec"), vars(module))
        return module


def _is_definition(node: ast.stmt) -> bool:
    """Classes, functions, `conf_args`, and what depends on `test_case`."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test).startswith("test_case")
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "conf_args"
    return isinstance(node, ast.ClassDef | ast.FunctionDef)


def _compiled(nodes: list[ast.stmt]) -> CodeType:
    return compile(ast.Module(nodes, []), "notebook", "exec")


def git(folder: Path, *command: str) -> str:
    """What a command of git prints in a folder."""
    done = subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout
