"""The released code run beside ours: from the same start, on the same batches."""

import datetime
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, random_split

from bregman_nas.atomic import write_atomically
from bregman_nas.data.files import ImageSet, load
from bregman_nas.randomness import generator
from bregman_nas.released_code.clone import CODE, NOTEBOOKS, OPTIMIZERS, ReleasedCode, git
from bregman_nas.search.core import densenet, mlp
from bregman_nas.search.core.textbook import TextbookTrainer, adabreg
from bregman_nas.search.first_steps import DEAD, GROWS, IMAGES, UNDECIDED, look, outcome
from bregman_nas.search.records import run_folder
from bregman_nas.settings import Run, Settings

DENSENET = "authors-densenet-fashion"
STEPS = 200
SEED = 12  # of the steps that are compared: with it the DenseNet grows early
#: Images in a batch of the steps that are compared: convolutions in double precision are slow.
BATCH_SIZE = 8
OWN_SEEDS = range(2, 16)  # of its own starts; 2 is its notebook's
#: What the authors' own run printed after its first epoch.
PUBLISHED = Path("data/authors-first-epoch.json")
CASE_0 = "authors-autoencoder-denoising"


@dataclass
class Differences:
    """The greatest absolute differences of two networks at any step so far.

    Attributes:
        weight: of linear layers and convolutions.
        bias: of both.
        skip: tau; None for networks without.
        groups: how many rows, kernels and skips were zero in one network alone.
    """

    weight: float = 0.0
    bias: float = 0.0
    skip: float | None = None
    groups: int = 0

    @torch.no_grad()
    def update(self, ours: nn.Module, theirs: nn.Module) -> None:
        """Compare both as they are now. A network of ours without skips has them at zero."""
        differ = 0
        for one, other in zip(layers(ours), layers(theirs), strict=True):
            self.weight = max(self.weight, _distance(one.weight, other.weight))
            differ += int((active(one) != active(other)).sum())
            if one.bias is not None:
                self.bias = max(self.bias, _distance(one.bias, other.bias))
        blocks: list[Any] = [module for module in theirs.modules() if hasattr(module, "skips")]
        for l, block in enumerate(blocks):
            tau, skips = block.skips, getattr(ours, "skips", None)
            own = torch.zeros_like(tau) if skips is None else skips[l, : l + 1]
            self.skip = max(self.skip or 0.0, _distance(own, tau))
            differ += int(((own != 0) != (tau != 0)).sum())
        self.groups = max(self.groups, differ)


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def layers(net: nn.Module) -> list[Any]:
    """Linear layers and convolutions, from input to output."""
    return [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def active(layer: nn.Linear | nn.Conv2d) -> Tensor:
    """Boolean, which rows [out] or kernels [out, in] are not zero."""
    nonzero = layer.weight != 0
    return nonzero.any(1) if isinstance(layer, nn.Linear) else nonzero.flatten(2).any(2)


def compare(
    code: ReleasedCode, run: Run, images: ImageSet, steps: int = STEPS
) -> list[dict[str, Any]]:
    """Train the released network beside ours, by the textbook and the compact trainer.

    Args:
        code: with the run's first moment.
        run: one of `NOTEBOOKS`.
        images: of its data set.
        steps: how many, of the first epoch at most.

    Returns:
        For each of our trainers `Differences`, and how many rows or kernels were active in the
        released network at the start and at the end.
    """
    space: Any = densenet if run.experiment.network == "densenet" else mlp
    train = space.problem(run, images, *((SEED,) if space is mlp else ())).train
    loss = functional.cross_entropy if space is densenet else functional.mse_loss
    nets = {name: space.network(run, SEED).double() for name in ("textbook", "compact")}
    groups = space.parameter_groups(run, nets["textbook"])
    textbook = TextbookTrainer(nets["textbook"], adabreg(run, groups), loss)
    compact = space.compact_trainer(run, nets["compact"])
    notebook = code.notebook(run)
    model = notebook.model.double()
    with torch.no_grad():
        for one, other in zip(layers(nets["textbook"]), layers(model), strict=True):
            other.weight.copy_(one.weight)
            if one.bias is not None:
                other.bias.copy_(one.bias)
    optimizer, _ = notebook.init_opt(notebook.conf, model)
    at_the_start = sum(int(active(layer).sum()) for layer in layers(model))
    found = {name: Differences() for name in nets}
    order = torch.randperm(len(train), generator=generator(SEED, "order", 0))
    batches = order.split(BATCH_SIZE)[:steps]
    for batch in batches:
        inputs, targets = train.inputs[batch].double(), train.targets[batch]
        targets = targets.double() if space is mlp else targets
        code.train_step(notebook.conf, model, optimizer, [(inputs, targets)], verbosity=0)
        for trainer in (textbook, compact):
            whole = [torch.arange(len(batch))]
            trainer.train_batches(inputs, targets, whole, run.optimizer.learning_rate)
        compact.write_to(nets["compact"])
        for name, differences in found.items():
            differences.update(nets[name], model)
    return [
        {
            "run": run.name,
            "first_moment": run.protocol.first_moment,
            "trainer": name,
            "steps": len(batches),
            "active_at_the_start": at_the_start,
            "active_at_the_end": sum(int(active(layer).sum()) for layer in layers(model)),
            **asdict(differences),
        }
        for name, differences in found.items()
    ]


def own_start(
    code: ReleasedCode, run: Run, images: ImageSet, seed: int, steps: int = STEPS
) -> dict[str, Any]:
    """The first steps of the released DenseNet from its own start.

    All random numbers are drawn as its notebook draws them: network, start, order of the images.
    """
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
    batches = (batch for _, batch in zip(range(steps), loader, strict=False))
    code.train_step(conf, model, optimizer, batches, verbosity=0)
    after = look(model, model.fc.linear, looked_at)
    return {"seed": seed, "outcome": outcome(before, after), **after}


def first_epoch(project: Path) -> dict[str, Any]:
    """The authors' own run after its first epoch, and our seeds after theirs.

    Returns:
        `published`, the file `PUBLISHED`; `seeds`, for each of ours, and `theirs`: the `loss`,
        summed over the batches, and the active `rows` of each layer.
    """
    published = json.loads((project / PUBLISHED).read_text("utf-8"))
    history = pd.read_csv(run_folder(project, CASE_0) / "history.csv")
    ours = history[history["epoch"] == 1].sort_values("seed")
    widths = [f"width_{l}" for l in range(1, len(published["active_share"]) + 1)]
    return {
        "published": published,
        "theirs": {
            "loss": published["summed_train_loss"],
            "rows": [round(share * published["width"]) for share in published["active_share"]],
        },
        "seeds": [
            {
                "seed": int(row["seed"]),
                "loss": row["train_loss"] * published["batches"],
                "rows": row[widths].astype(int).tolist(),
            }
            for _, row in ours.iterrows()
        ],
    }


def run_beside(clone: Path, settings: Settings, project: Path) -> Path:
    """Run everything; returns the path of `results/released-code.json`, beside which a table lies.

    Raises:
        UserError: if `clone` is no clone of the released code, or the images cannot be had.
    """
    torch.set_num_threads(1)
    runs = {name: settings.run(name) for name in NOTEBOOKS}
    images = {
        run.experiment.dataset: load(run.experiment.dataset, run.source, project)
        for run in runs.values()
    }
    released, compared = {}, []
    for moment, commit in OPTIMIZERS.items():
        code = ReleasedCode(clone, moment)
        date = code.git("show", "--no-patch", "--format=%cs", commit).strip()
        released[moment] = {"optimizer": commit, "date": date}
        for run in runs.values():
            protocol = run.protocol.model_copy(update={"first_moment": moment})
            changed = run.model_copy(update={"protocol": protocol})
            compared += compare(code, changed, images[run.experiment.dataset])
            print(*compared[-2:], sep="\n", flush=True)
    code, run, own_starts = ReleasedCode(clone), runs[DENSENET], []
    for seed in OWN_SEEDS:
        own_starts.append(own_start(code, run, images[run.experiment.dataset], seed))
        print(own_starts[-1], flush=True)
    result = {
        "code": CODE,
        "released": released,
        "made": {
            "commit": git(project, "rev-parse", "HEAD").strip(),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        },
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "compared": compared,
        "own_starts": own_starts,
        "first_epoch": first_epoch(project),
    }
    path = project / "results" / "released-code.json"
    write_atomically(path, f"{json.dumps(result, indent=2)}\n".encode())
    write_atomically(path.with_suffix(".md"), in_words(result).encode())
    return path


def in_words(result: dict[str, Any]) -> str:
    """The result as three tables in Markdown."""
    optimizers = {
        moment: f"`{commit['optimizer'][:7]}` ({commit['date']})"
        for moment, commit in result["released"].items()
    }
    lines = [
        f"The released code (`{result['code'][:7]}`) beside ours: the same start, the same batches "
        f"of {result['batch_size']} images, double precision. Greatest absolute difference at any "
        "step:",
        "",
        "| run | optimizer | ours | steps | active groups, start to end | weights | biases | skips "
        "| groups that differ in being active |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["compared"]:
        greatest = " | ".join(_power(row[kind]) for kind in ("weight", "bias", "skip"))
        lines.append(
            f"| {row['run']} | {optimizers[row['first_moment']]} | {row['trainer']} "
            f"| {row['steps']} | {row['active_at_the_start']} to {row['active_at_the_end']} "
            f"| {greatest} | {row['groups']} |"
        )
    fates = Counter(start["outcome"] for start in result["own_starts"])
    lines += [
        "",
        f"The released DenseNet from its own starts, after {result['steps']} steps of "
        f"{fates.total()} seeds: {fates[GROWS]} grow, {fates[DEAD]} are dead, {fates[UNDECIDED]} "
        "are undecided.",
    ]
    epoch = result["first_epoch"]
    published = epoch["published"]
    lines += [
        "",
        f"The authors' own run of case {published['test_case']} after its first epoch "
        f"(`{published['file']}` at `{published['commit'][:7]}`, seed {published['random_seed']}, "
        f"first moment {published['first_moment']}), and the seeds of {CASE_0}:",
        "",
        "| | summed training loss | active rows of each layer |",
        "|---|---|---|",
        _epoch("published", epoch["theirs"]),
        *(_epoch(f"seed {of_seed['seed']}", of_seed) for of_seed in epoch["seeds"]),
    ]
    return "\n".join(lines) + "\n"


def _power(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.1e}" if value else "0"


def _epoch(name: str, values: dict[str, Any]) -> str:
    return f"| {name} | {values['loss']:.2f} | {', '.join(map(str, values['rows']))} |"
