"""The released code of the article run beside ours: from the same start, on the same batches.

None of it is in this repository: it is read at fixed commits from a clone of its own. Run unchanged
are the classes, functions and settings that its notebooks define, its optimizer, its regularizers
and its training step. Left out is what the notebooks do with files and GPUs.
"""

import ast
import json
import subprocess
from datetime import date
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, random_split

from bregman_nas.atomic import write_atomically
from bregman_nas.data.degradation import Examples
from bregman_nas.data.files import ImageSet, load
from bregman_nas.errors import UserError
from bregman_nas.randomness import generator
from bregman_nas.report.render import render
from bregman_nas.search.core import densenet, mlp
from bregman_nas.search.digest import COMMIT
from bregman_nas.search.first_steps import IMAGES, look, outcome
from bregman_nas.search.records import active, run_folder
from bregman_nas.settings import Run, Settings

CODE = "7bb52c8ce66cbd23c79aab7e4e2bb8b6c77ddde3"  # its newest commit
#: Where its optimizer is taken from. That of 2021 did not correct the first moment.
OPTIMIZERS = {"corrected": CODE, "uncorrected": "d1cadda48e70af07ce54cd98beef68861ace37a4"}
CASE_0, DENSENET = "authors-autoencoder-denoising", "authors-densenet-fashion"
#: The runs that are compared, and the notebook and test case that each corresponds to. At threshold
#: 28 mu no skip can switch on within the steps that are compared, at mu some do.
NOTEBOOKS = {
    "authors-residual-denoising": ("Skip-Encoder", 2),
    "authors-skip-threshold-1": ("Skip-Encoder", 2),
    CASE_0: ("Skip-Encoder", 0),
    DENSENET: ("DenseNet", None),
}
#: How statements of a notebook begin that define something, also by its test case.
DEFINITIONS = ("class ", "def ", "conf_args = ", "if test_case")
STEPS = 200
SEED = 12  # of the steps that are compared: with it the DenseNet grows early
BATCH_SIZE = 8  # of the steps that are compared: convolutions in double precision are slow
OWN_SEEDS = range(2, 16)  # of its own starts; 2 is its notebook's
#: What the authors' own run printed after its first epoch.
PUBLISHED = Path("data/authors-first-epoch.json")


def run_beside(clone: Path, settings: Settings, project: Path) -> Path:
    """Run everything; returns the path of `results/released-code.json`, beside which a table lies.

    Raises:
        UserError: if `clone` is no clone of the released code, or the images cannot be had.
    """
    torch.set_num_threads(1)
    runs = {name: settings.run(name) for name in NOTEBOOKS}
    images = {name: load(run.experiment.dataset, run.source, project) for name, run in runs.items()}
    released, compared, own_starts = {}, [], []
    for moment, commit in OPTIMIZERS.items():
        code = ReleasedCode(clone, moment)
        dated = code.git("show", "--no-patch", "--format=%cs", commit).strip()
        released[moment] = {"optimizer": commit, "date": dated}
        for name, run in runs.items():
            protocol = run.protocol.model_copy(update={"first_moment": moment})
            changed = run.model_copy(update={"protocol": protocol})
            compared += compare(code, changed, images[name])
            print(*compared[-2:], sep="\n", flush=True)
    code = ReleasedCode(clone)
    for seed in OWN_SEEDS:
        own_starts.append(own_start(code, runs[DENSENET], images[DENSENET], seed))
        print(own_starts[-1], flush=True)
    made = {"commit": COMMIT["commit"], "date": date.today().isoformat()}
    result = {
        **{"code": CODE, "released": released, "made": made, "steps": STEPS},
        **{"batch_size": BATCH_SIZE, "compared": compared, "own_starts": own_starts},
        "first_epoch": first_epoch(project),
    }
    path = project / "results" / "released-code.json"
    write_atomically(path, f"{json.dumps(result, indent=2)}\n".encode())
    write_atomically(path.with_suffix(".md"), render("released-code.md.j2", **result).encode())
    return path


class ReleasedCode:
    """The released code, as a clone has it; `first_moment` is a key of `OPTIMIZERS`.

    Raises:
        UserError: if the clone does not have the commits.
    """

    def __init__(self, clone: Path, first_moment: str = "corrected") -> None:
        self.clone = clone
        regularizers, aux_funs = map(self._module, ("regularizers.py", "models/aux_funs.py"))
        models: Any = SimpleNamespace(aux_funs=aux_funs)
        imported = {"regularizers": regularizers, "models": models, "models.aux_funs": aux_funs}
        optimizers = self._module("optimizers.py", OPTIMIZERS[first_moment], imported)
        self.train_step = self._module("train.py", imported=imported).train_step
        self._known = {"torch": torch, "nn": nn, "F": functional}
        self._known |= {"maf": aux_funs, "op": optimizers, "reg": regularizers}

    def notebook(self, run: Run) -> SimpleNamespace:
        """The names that the notebook of a run defines: classes, functions, and a few others.

        These are `conf`, its settings; `model`, its network; `draw`, which draws a start of the
        network, which `init_weights` then draws again. From the run come the scaling of the images,
        and the threshold of the skips where it is the article's, mu.
        """
        name, case = NOTEBOOKS[run.name]
        cells = json.loads(self.git("show", f"{CODE}:notebooks/{name}.ipynb"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        parts = [ast.unparse(node) for node in ast.parse(code).body]
        names: dict[str, Any] = {**self._known, "test_case": case, "random_seed": None}
        exec("\n".join(part for part in parts if part.startswith(DEFINITIONS)), names)
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
        draw = "\n".join(part for part in parts if part.startswith("maf."))
        return SimpleNamespace(**names, draw=lambda: exec(draw, names))

    def git(self, *command: str) -> str:
        """What a command of git prints in the clone."""
        how: Any = {"check": True, "capture_output": True, "text": True}
        try:
            return str(subprocess.run(["git", *command], cwd=self.clone, **how).stdout)
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
            exec(compile(self.git("show", f"{commit}:{path}"), path, "exec"), vars(module))
        return module


def compare(code: ReleasedCode, run: Run, images: ImageSet) -> list[dict[str, Any]]:
    """Train the released network, with the run's first moment, beside ours, by both trainers.

    Returns:
        For the textbook and the compact trainer the greatest `differences` at any step, and how
        many rows or kernels were active in the released network at the start and at the end.
    """
    space: Any = densenet if run.experiment.network == "densenet" else mlp
    train = space.problem(run, images, *((SEED,) if space is mlp else ())).train
    nets = {name: space.network(run, SEED).double() for name in ("textbook", "compact")}
    trainers = {name: space.trainer_of(run, net, name) for name, net in nets.items()}
    notebook = code.notebook(run)
    model = notebook.model.double()
    for ours, theirs in zip(layers(nets["textbook"]), layers(model), strict=True):
        theirs.load_state_dict(ours.state_dict(), strict=False)  # some of ours have no bias
    optimizer, _ = notebook.init_opt(notebook.conf, model)
    weights = [layer.weight for layer in layers(model)]
    before = sum(int(active(weight).sum()) for weight in weights)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in nets}
    order = torch.randperm(len(train), generator=generator(SEED, "order", 0))
    for batch in order.split(BATCH_SIZE)[:STEPS]:
        inputs, targets = train.inputs[batch].double(), train.targets[batch]
        targets = targets.double() if space is mlp else targets
        code.train_step(notebook.conf, model, optimizer, [(inputs, targets)], verbosity=0)
        for name, trainer in trainers.items():
            whole = [torch.arange(len(batch))]
            trainer.train_batches(Examples(inputs, targets), whole, run.optimizer.learning_rate)
            nets[name].load_state_dict(trainer.full_parameters())
            found[name].append(differences(nets[name], model))
    after = sum(int(active(weight).sum()) for weight in weights)
    about: dict[str, Any] = {"run": run.name, "first_moment": run.protocol.first_moment}
    ends = {"active_at_the_start": before, "active_at_the_end": after}
    return [
        {**about, "trainer": name, "steps": len(every), **ends}
        | {kind: max((one[kind] for one in every), key=lambda size: size or 0) for kind in every[0]}
        for name, every in found.items()
    ]


@torch.no_grad()
def differences(ours: Any, theirs: nn.Module) -> dict[str, Any]:
    """The greatest absolute differences of two networks.

    Returns:
        `weight` and `bias` of linear layers and convolutions; `skip`, of tau, None for networks
        without (if ours alone is without, its are zero); `groups`, how many rows, kernels and skips
        are zero in one network alone.
    """
    pairs = list(zip(layers(ours), layers(theirs), strict=True))
    biases = [(one.bias, other.bias) for one, other in pairs if one.bias is not None]
    taus: list[Any] = [module.skips for module in theirs.modules() if hasattr(module, "skips")]
    own = getattr(ours, "skips", None)
    skips = [(0 * tau if own is None else own[l, : l + 1], tau) for l, tau in enumerate(taus)]
    groups = [(active(one.weight), active(other.weight)) for one, other in pairs]
    groups += [(one != 0, other != 0) for one, other in skips]
    return {
        "weight": max(_distance(one.weight, other.weight) for one, other in pairs),
        "bias": max((_distance(*pair) for pair in biases), default=0.0),
        "skip": max((_distance(*pair) for pair in skips), default=None),
        "groups": sum(int((one != other).sum()) for one, other in groups),
    }


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def layers(net: nn.Module) -> list[Any]:
    """Linear layers and convolutions, from input to output."""
    return [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def own_start(code: ReleasedCode, run: Run, images: ImageSet, seed: int) -> dict[str, Any]:
    """The first steps of the released DenseNet, with all random numbers drawn as it draws them."""
    whole = TensorDataset((images.train_images / 255)[:, None], images.train_labels)
    torch.manual_seed(seed)
    notebook = code.notebook(run)
    conf, model = notebook.conf, notebook.model
    parts = (conf.train_split, 1 - conf.train_split)
    train, _ = random_split(whole, parts, torch.Generator().manual_seed(42))
    notebook.draw()
    notebook.init_weights(conf, model)
    optimizer, _ = notebook.init_opt(conf, model)
    looked_at = whole[:IMAGES][0]
    before = look(model, model.fc.linear, looked_at)
    loader = DataLoader(train, run.batch_size, shuffle=True)
    batches = (batch for _, batch in zip(range(STEPS), loader, strict=False))
    code.train_step(conf, model, optimizer, batches, verbosity=0)
    after = look(model, model.fc.linear, looked_at)
    return {"seed": seed, "outcome": outcome(before, after), **after}


def first_epoch(project: Path) -> dict[str, Any]:
    """The loss and active rows of the authors' run, and of our seeds, after the first epoch.

    Besides, the file `PUBLISHED`. The `loss` is summed over the batches; `rows` are of each layer.
    """
    published = json.loads((project / PUBLISHED).read_text("utf-8"))
    rows = [round(share * published["width"]) for share in published["active_share"]]
    history = pd.read_csv(run_folder(project, CASE_0) / "history.csv").query("epoch == 1")
    history = history.sort_values("seed")
    history["loss"] = history["train_loss"] * published["batches"]
    widths = history[[f"width_{l + 1}" for l in range(len(rows))]]
    history["rows"] = widths.astype(int).to_numpy().tolist()
    return {
        "published": published,
        "theirs": {"loss": published["summed_train_loss"], "rows": rows},
        "seeds": history[["seed", "loss", "rows"]].to_dict("records"),
    }
