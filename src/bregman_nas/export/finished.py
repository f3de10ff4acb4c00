"""The networks of finished searches: full in `checkpoints/`, small in `results/networks/`.

`bregman-nas export` makes a folder with all that is needed to use a small one.
"""

import copy
import inspect
import json
import math
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bregman_nas.atomic import write_atomically
from bregman_nas.data.files import Source
from bregman_nas.data.files import load as load_images
from bregman_nas.errors import UserError
from bregman_nas.export import small
from bregman_nas.export.shrink import small_densenet, small_mlp
from bregman_nas.networks import DenseNet, ResidualMLP
from bregman_nas.search.core.densenet import convolutions
from bregman_nas.search.core.searches import Search, searcher
from bregman_nas.search.core.trainer import in_parts
from bregman_nas.search.job import Job, host
from bregman_nas.search.records import Record, active, png, read_record, weights_digest

COMMITTED_BYTES = 3_000_000
BATCHES = (1, 128)


class Finished(NamedTuple):
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


def kept_path(job: Job) -> Path:
    """Where the weights of a small network are committed; its description is beside them."""
    folder = job.project / "results" / "networks" / job.run.name
    return folder / f"seed-{job.seed:02d}.safetensors"


def keep(job: Job, record: Record) -> None:
    """Write a search's small network to where it is committed: description, weights under 3 MB.

    Nothing is done if the network of that record is there already, or the full one is not.
    """
    path = kept_path(job)
    if _kept_description(path, record) or not (search := _search_of(job, record)):
        return
    found = describe(job, record, search)
    if len(weights := found.weights()) < COMMITTED_BYTES:
        write_atomically(path, weights)
    else:
        path.unlink(missing_ok=True)
    write_atomically(path.with_suffix(".json"), found.json())


def find(job: Job) -> Finished:
    """The small network of a finished search: of its full network if there is one, else as kept.

    Raises:
        UserError: if the run is no search, or if there is neither network.
    """
    run, seed, kept = job.run, job.seed, kept_path(job)
    search_it = f"run `bregman-nas search {run.name} --seeds {seed}`"
    if run.method != "search":
        raise UserError(f"{run.name} is an arm; only searches are exported, such as {run.of}")
    if not job.record.exists():
        raise UserError(f"{job.record}: seed {seed} has not been searched; {search_it}")
    record = read_record(job.record)
    if (search := _search_of(job, record)) is not None:
        return describe(job, record, search)
    description = _kept_description(kept, record)
    if description is not None and kept.is_file():
        return Finished(small.load(kept), description | {"collapsed": collapsed(record)})
    raise UserError(
        f"neither {job.network} nor {kept} is the network of {job.record}; move that record away "
        f"and {search_it}"
    )


def describe(job: Job, record: Record, search: Search[nn.Module]) -> Finished:
    """Make the small network, and compare it with the full one on all test images.

    The description has the digest of the `record`, the `architecture`, see `small.build`, the
    `widths` of each layer: `active` rows (channels), `effective` ones, and those of the `small`
    network; `multiply_adds` for one image, and the greatest `difference` of any output.
    """
    result, inputs = record["result"], search.problem.test.inputs
    full = cast("ResidualMLP | DenseNet", search.network)
    if isinstance(full, ResidualMLP):
        architecture, less = small_mlp(full)
        on, effective = result["active_rows"], result["effective_rows"]
        widths = [layer["rows"] for layer in architecture["layers"]]
    else:
        architecture, less = small_densenet(full)
        on, effective = [int(active(c.weight).any(1).sum()) for c in convolutions(full)], None
        sizes = [architecture["layers"].get(str(l), 0) for l in range(len(full.layers))]
        widths = [architecture["first"], *sizes, 1]
    both = {"full": full, "small": less}
    description = {
        "run": job.run.name,
        "seed": job.seed,
        "record": record["digests"]["all"],
        "architecture": architecture,
        "collapsed": collapsed(record),
        "widths": {"active": on, "effective": effective, "small": widths},
        "parameters": {n: sum(p.numel() for p in net.parameters()) for n, net in both.items()},
        "multiply_adds": {name: multiply_adds(net, inputs[0]) for name, net in both.items()},
        "difference": {
            "images": len(inputs),
            "double": difference(full, less, inputs.double()),
            "single": difference(full, less, inputs),
        },
    }
    return Finished(less, description)


def start(job: Job, source: Source) -> Search[nn.Module]:
    """The search of a job, with its network at the start."""
    images = load_images(job.run.experiment.dataset, source, job.project)
    return searcher(job.run, images, job.seed)


def _search_of(job: Job, record: Record) -> Search[nn.Module] | None:
    """With the network in the workspace, if there is one and it is that of the record."""
    if not job.network.is_file():
        return None
    weights = torch.load(job.network, weights_only=True, map_location="cpu")
    if weights_digest(weights) != record.get("network"):  # early records do not have its digest
        return None
    search = start(job, job.run.source)
    search.network.load_state_dict(weights)
    return search


def _kept_description(path: Path, record: Record) -> dict[str, Any] | None:
    """The committed description of a small network, if it is that of the record."""
    beside = path.with_suffix(".json")
    description = json.loads(beside.read_text("utf-8")) if beside.exists() else {"record": None}
    return description if description["record"] == record["digests"]["all"] else None


def export(job: Job, out: Path) -> str:
    """Write the small network of a finished search to the folder `out`, made if needed.

    The folder gets `network.safetensors`, `network.py` (which loads it), `network.onnx`,
    `architecture.json`, `latency.json` and, of a network that restores images, `restored.png`:
    the first test images of the committed sample clean, degraded and restored. Returned is a table
    in Markdown of what the network saves on this machine.
    """
    found = find(job)
    sample = start(job, "sample")
    inputs = sample.problem.test.inputs[:8]
    # How long the full one takes does not depend on its weights.
    times = {
        name: {str(batch): seconds(net, inputs[0], batch) for batch in BATCHES}
        for name, net in (("full", sample.network), ("small", found.net))
    }
    latency = {"host": host("cpu"), "threads": 1, "seconds": times}
    how: Any = {"input_names": ["images"], "output_names": ["outputs"], "verbose": False}
    how["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)  # of any size
    program: Any = torch.onnx.export(found.net, (inputs,), **how)
    files = {
        "network.safetensors": found.weights(),
        "network.py": inspect.getsource(small).encode(),
        "architecture.json": found.json(),
        "network.onnx": program.model_proto.SerializeToString(),
        "latency.json": f"{json.dumps(latency, indent=2)}\n".encode(),
    }
    if (picture := sample.picture(found.net)) is not None:
        files["restored.png"] = png(picture)
    for name, content in files.items():
        write_atomically(out / name, content)
    return table(found.description, times)


def seconds(net: nn.Module, image: Tensor, batch: int) -> float:
    """The median time of one batch."""
    from torch.utils.benchmark import Timer  # not earlier: it looks for compilers, and complains

    images = image.expand(batch, *image.shape).contiguous()
    with torch.inference_mode():
        timer = Timer("net(images)", globals={"net": net, "images": images})  # on one thread
        return float(timer.blocked_autorange(min_run_time=0.5).median)


def table(description: dict[str, Any], times: dict[str, dict[str, float]]) -> str:
    """What a small network saves, by its description and its times, one line a quantity."""
    rows = [
        ("parameters", description["parameters"], ","),
        ("multiply-adds", description["multiply_adds"], ","),
    ]
    for batch in BATCHES:
        milliseconds = {name: 1e3 * of[str(batch)] for name, of in times.items()}
        rows.append((f"ms, batch of {batch}", milliseconds, ".3f"))
    text = "| | full | small | ratio |\n|---|---|---|---|\n"
    for name, of, form in rows:
        ratio = of["full"] / (of["small"] or 1)
        text += f"| {name} | {of['full']:{form}} | {of['small']:{form}} | {ratio:.1f} |\n"
    text += (
        "\nThe two differ by at most {double:.1e} on {images:,} test images in double precision, "
        "{single:.1e} in single."
    ).format(**description["difference"])
    if description["collapsed"]:
        text += "\n\nThe search collapsed: this network gives all images the same answer."
    return text


def collapsed(record: Record) -> bool:
    """Whether a classifier gives all images the same answer, and is small for that reason."""
    result = record["result"]
    accuracy, loss = result.get("test_accuracy", math.inf), result.get("test_loss", math.nan)
    return math.isfinite(loss) and accuracy <= 0.1  # chance


@torch.no_grad()
def multiply_adds(net: nn.Module, image: Tensor) -> int:
    """Those of matrix products and convolutions for one image, products with zero included."""
    with FlopCounterMode(display=False) as counter:
        net(image[None])
    return int(counter.get_total_flops()) // 2


@torch.no_grad()
def difference(full: nn.Module, small: nn.Module, images: Tensor) -> float:
    """The greatest difference of any output, in the type of the images; NaN equals NaN."""
    networks = [copy.deepcopy(net).to(images.dtype) for net in (full, small)]
    a, b = (in_parts(net, images, 500) for net in networks)
    alike = (a == b) | (a.isnan() & b.isnan())
    return float(torch.where(alike, 0, (a - b).abs()).amax())
