"""The networks of finished searches: full in `checkpoints/`, small in `results/networks/`."""

import copy
import json
import math
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bregman_nas.atomic import write_atomically
from bregman_nas.data.degradation import restoration_inputs
from bregman_nas.data.files import ImageSet
from bregman_nas.data.files import load as load_images
from bregman_nas.errors import UserError
from bregman_nas.export.densenet import small_densenet
from bregman_nas.export.mlp import small_mlp
from bregman_nas.export.small import load
from bregman_nas.networks import DenseNet, ResidualMLP
from bregman_nas.search.core import densenet, mlp
from bregman_nas.search.job import Job
from bregman_nas.search.outcome import weights_digest
from bregman_nas.search.records import Record, read_record, record_path
from bregman_nas.settings import MLPExperiment, Run

COMMITTED_BYTES = 3_000_000
CHANCE = 0.1  # of ten classes
PART = 500


@dataclass(frozen=True)
class Finished:
    """The small network of a finished search, and its description, see `describe`."""

    net: nn.Module
    description: dict[str, Any]

    def weights(self) -> bytes:
        """The file that `small.load` reads."""
        # One entry alone: the order of several would change from one time to the next.
        architecture = json.dumps(self.description["architecture"])
        return save(self.net.state_dict(), {"architecture": architecture})

    def json(self) -> bytes:
        """The description, one line for each of its parts."""
        parts = [f"{json.dumps(key)}: {json.dumps(part)}" for key, part in self.description.items()]
        return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def kept_path(project: Path, run: str, seed: int) -> Path:
    """Where the weights of a small network are committed; its description is beside them."""
    return project / "results" / "networks" / run / f"seed-{seed:02d}.safetensors"


def keep(job: Job, record: Record) -> None:
    """Write a search's small network to where it is committed: description, weights under 3 MB.

    Nothing is done if the network of that record is there already, or the full one is not.
    """
    path = kept_path(job.project, job.run.name, job.seed)
    if _kept_description(path, record) is not None:
        return
    full = _full_network(job, record)
    if full is None:
        return
    found = describe(job, record, full)
    weights = found.weights()
    if len(weights) < COMMITTED_BYTES:
        write_atomically(path, weights)
    else:
        path.unlink(missing_ok=True)
    write_atomically(path.with_suffix(".json"), found.json())


def find(job: Job) -> Finished:
    """The small network of a finished search: of its full network if there is one, else as kept.

    Raises:
        UserError: if there is neither, or the images to compare the two on cannot be had.
    """
    name, seed = job.run.name, job.seed
    path = record_path(job.project, name, seed)
    search = f"bregman-nas search {name} --seeds {seed}"
    if not path.exists():
        raise UserError(f"{path} is not there: seed {seed} has not been searched; run `{search}`")
    record = read_record(path)
    full = _full_network(job, record)
    if full is not None:
        return describe(job, record, full)
    kept = kept_path(job.project, name, seed)
    description = _kept_description(kept, record)
    if description is not None and kept.is_file():
        return Finished(load(kept), description | {"collapsed": collapsed(record)})
    minutes = record["provenance"]["seconds"] / 60
    raise UserError(
        f"neither {job.network} nor {kept} is the network of {path}; move that record away and "
        f"run `{search}`, which took {minutes:.0f} minutes"
    )


def describe(job: Job, record: Record, full: ResidualMLP | DenseNet) -> Finished:
    """Make the small network, and compare it with the full one on all test images.

    The description has `run`, `seed`, and `record`, the digest of the record; `architecture`, see
    `small.build`; whether the search `collapsed`; `widths` of each layer, in `active` rows
    (channels), `effective` ones, and those of the `small` network; `parameters`, and
    `multiply_adds` for one image, `full` and `small`; the greatest `difference` of any output on
    the `images` of the test set, in double and in single precision.
    """
    run, result = job.run, record["result"]
    images = load_images(run.experiment.dataset, run.source, job.project)
    inputs = network_inputs(run, images, job.seed)
    if isinstance(full, ResidualMLP):
        architecture, small = small_mlp(full)
        active, effective = result["active_rows"], result["effective_rows"]
        widths = [layer["rows"] for layer in architecture["layers"]]
    else:
        architecture, small = small_densenet(full)
        active, effective = [int(k.any(1).sum()) for k in densenet.active_kernels(full)], None
        sizes = [architecture["layers"].get(str(l)) for l in range(len(full.layers))]
        widths = [architecture["first"], *(size["channels"] if size else 0 for size in sizes), 1]
    both = {"full": full, "small": small}
    return Finished(
        small,
        {
            "run": run.name,
            "seed": job.seed,
            "record": record["digests"]["all"],
            "architecture": architecture,
            "collapsed": collapsed(record),
            "widths": {"active": active, "effective": effective, "small": widths},
            "parameters": {n: sum(p.numel() for p in net.parameters()) for n, net in both.items()},
            "multiply_adds": {name: multiply_adds(net, inputs[0]) for name, net in both.items()},
            "difference": {
                "images": len(inputs),
                "double": difference(full, small, inputs.double()),
                "single": difference(full, small, inputs),
            },
        },
    )


def collapsed(record: Record) -> bool:
    """Whether a classifier gives all images the same answer, and is small for that reason."""
    result = record["result"]
    accuracy, loss = result.get("test_accuracy", math.inf), result.get("test_loss", math.nan)
    return math.isfinite(loss) and accuracy <= CHANCE


@torch.no_grad()
def multiply_adds(net: nn.Module, image: Tensor) -> int:
    """Those of matrix products and convolutions for one image, products with zero included.

    What is done entry by entry is not counted: standardisation, ReLU, skips.
    """
    with FlopCounterMode(display=False) as counter:
        net(image[None])
    return int(counter.get_total_flops()) // 2


@torch.no_grad()
def difference(full: nn.Module, small: nn.Module, images: Tensor) -> float:
    """The greatest absolute difference of any output, computed in the type of the images.

    Outputs that are equal, infinite or not a number in both networks do not differ.
    """
    greatest = torch.zeros((), dtype=images.dtype)
    networks = [copy.deepcopy(net).to(images.dtype) for net in (full, small)]
    for part in images.split(PART):
        a, b = (net(part) for net in networks)
        alike = (a == b) | (a.isnan() & b.isnan())
        greatest = torch.maximum(greatest, torch.where(alike, 0, (a - b).abs()).amax())
    return float(greatest)


def start(run: Run, seed: int) -> ResidualMLP | DenseNet:
    """The full network of a run, with the weights that it starts with."""
    mlp_is_searched = isinstance(run.experiment, MLPExperiment)
    return mlp.network(run, seed) if mlp_is_searched else densenet.network(run, seed)


def network_inputs(run: Run, images: ImageSet, seed: int) -> Tensor:
    """The images of the test file as the network sees them."""
    experiment = run.experiment
    if not isinstance(experiment, MLPExperiment):
        return (images.test_images / 255)[:, None]
    noise_std, blurring = experiment.noise_std, mlp.blurring(experiment)
    return restoration_inputs(
        images.test_images, "test", noise_std=noise_std, blurring=blurring, seed=seed
    )


def _full_network(job: Job, record: Record) -> ResidualMLP | DenseNet | None:
    """The network in the workspace, if there is one and it is that of the record."""
    if not job.network.is_file():
        return None
    net = start(job.run, job.seed)
    try:
        weights = torch.load(job.network, weights_only=True, map_location="cpu")
        net.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError, EOFError, pickle.UnpicklingError):
        return None  # damaged, or of settings that have changed since
    # Early records do not have its digest.
    return net if weights_digest(weights) == record.get("network") else None


def _kept_description(path: Path, record: Record) -> dict[str, Any] | None:
    """The committed description of a small network, if it is that of the record."""
    beside = path.with_suffix(".json")
    if not beside.exists():
        return None
    description: dict[str, Any] = json.loads(beside.read_text("utf-8"))
    return description if description["record"] == record["digests"]["all"] else None
