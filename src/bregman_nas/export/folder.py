"""`bregman-nas export`: a folder with all that is needed to use a small network."""

import importlib.util
import inspect
import io
import json
import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from bregman_nas.atomic import write_atomically
from bregman_nas.data.files import load as load_images
from bregman_nas.errors import UserError
from bregman_nas.export import small
from bregman_nas.export.finished import find, network_inputs, start
from bregman_nas.search.job import Job, host

PICTURED = 8
BATCHES = (1, 128)


def export(job: Job, out: Path) -> str:
    """Write the small network of a finished search to the folder `out`, made if needed.

    The folder gets `network.safetensors`, `network.py` (which loads it), `network.onnx`,
    `architecture.json`, `latency.json` and, of a network that restores images, `restored.png`:
    the first test images of the committed sample clean, degraded and restored.

    Returns:
        A table in Markdown of what the network saves on this machine.

    Raises:
        UserError: if there is no such network, or a package is missing.
    """
    if importlib.util.find_spec("onnxscript") is None:
        raise UserError(
            "ONNX files need packages that are not installed: "
            'run `pip install -c constraints.txt -e ".[export]"`'
        )
    found = find(job)
    images = load_images(job.run.experiment.dataset, "sample", job.project)
    inputs = network_inputs(job.run, images, job.seed)[:PICTURED]
    write_atomically(out / "network.safetensors", found.weights())
    write_atomically(out / "network.py", inspect.getsource(small).encode())
    write_atomically(out / "architecture.json", found.json())
    write_atomically(out / "network.onnx", as_onnx(found.net, inputs))
    if job.run.experiment.network == "mlp":
        clean = images.test_images[:PICTURED].flatten(1) / 255
        write_atomically(out / "restored.png", picture(found.net, clean, inputs))
    # How long the full one takes does not depend on its weights.
    times = {
        name: {str(batch): seconds(net, inputs[0], batch) for batch in BATCHES}
        for name, net in (("full", start(job.run, job.seed)), ("small", found.net))
    }
    content = {"host": host("cpu"), "threads": 1, "seconds": times}
    write_atomically(out / "latency.json", f"{json.dumps(content, indent=2)}\n".encode())
    return table(found.description, times)


def as_onnx(net: nn.Module, images: Tensor) -> bytes:
    """The network as an ONNX model from `images` to `outputs`, for batches of any size."""
    program = torch.onnx.export(
        net,
        (images,),
        input_names=["images"],
        output_names=["outputs"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model: bytes = program.model_proto.SerializeToString()
    return model


@torch.no_grad()
def picture(net: nn.Module, clean: Tensor, degraded: Tensor) -> bytes:
    """A PNG with three rows of square images: clean, degraded, restored; each [n, pixels]."""
    rows = torch.stack([clean, degraded, net(degraded)])
    side = math.isqrt(rows.shape[-1])
    grid = rows.reshape(3, -1, side, side).permute(0, 2, 1, 3).reshape(3 * side, -1)
    buffer = io.BytesIO()
    pixels = grid.clamp(0, 1).mul(255).round().to(torch.uint8)
    Image.fromarray(pixels.numpy()).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def seconds(net: nn.Module, image: Tensor, batch: int) -> float:
    """The median time of one batch on one thread of this machine."""
    from torch.utils.benchmark import Timer  # not earlier: it looks for compilers, and complains

    images = image.expand(batch, *image.shape).contiguous()
    with torch.inference_mode():
        timer = Timer("net(images)", globals={"net": net, "images": images}, num_threads=1)
        return float(timer.blocked_autorange(min_run_time=0.5).median)


def table(description: dict[str, Any], times: dict[str, dict[str, float]]) -> str:
    """What a small network saves, by its description and its times, one line a quantity."""
    lines = ["| | full | small | ratio |", "|---|---|---|---|"]
    for name, key in (("parameters", "parameters"), ("multiply-adds", "multiply_adds")):
        full, less = description[key]["full"], description[key]["small"]
        lines.append(f"| {name} | {full:,} | {less:,} | {full / max(less, 1):.1f} |")
    for batch in BATCHES:
        full, less = (1e3 * times[name][str(batch)] for name in ("full", "small"))
        lines.append(f"| ms, batch of {batch} | {full:.3f} | {less:.3f} | {full / less:.1f} |")
    compared = description["difference"]
    lines += [
        "",
        f"The two differ by at most {compared['double']:.1e} on {compared['images']:,} test images "
        f"in double precision, {compared['single']:.1e} in single.",
    ]
    if description["collapsed"]:
        lines += ["", "The search collapsed: this network gives all images the same answer."]
    return "\n".join(lines)
