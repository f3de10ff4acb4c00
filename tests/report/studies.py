"""Studies made by hand: params.yaml, records, and the tables that belong to them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from ruamel.yaml import YAML

from bregman_nas.report.data import Run, Study
from bregman_nas.report.frames import frames_of
from bregman_nas.search.records import (
    checksum,
    digest_of,
    read_record,
    record_path,
    run_folder,
    whole_digest,
    write_record,
)
from bregman_nas.search.results import write_results
from bregman_nas.settings import RunRow, load_settings
from tests.helpers import PROJECT

SETTINGS = load_settings(PROJECT / "params.yaml")
DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
LAYERS = 6
EPOCHS = 4
GROWTH = 2
SHAPE = [400, 300, 200, 300, 400, 500]
BASELINES = ("input_unchanged", "mean_image", "zero")
Seed = Mapping[str, Any]


def record(
    name: str,
    number: int,
    seed: Seed,
    settings: Mapping[str, Any],
    data: Mapping[str, str] | None = None,
) -> Any:
    """A record as a search or an arm writes it.

    `seed` has what is other than the default: of a perceptron `mse`, `active`, `living`,
    `effective`, `output`, `tau` (by (l, i), None for no skips at all); of a DenseNet `norms`,
    `accuracy`, `loss`. `history` has for each epoch what is other than in the last; `seed` is
    another number; `groups` are its active groups. Of an arm: `mse`, `parameters`, `dead`, and
    `found`, the digest of the search.
    """
    loss = seed.get("mse", 0.01)
    active = list(seed.get("active", SHAPE))
    names = ("active_rows", "living_rows")
    if "norms" in seed:
        active = [int((np.asarray(norms) > 0).sum()) for norms in seed["norms"]]
        names, loss = ("active_kernels", "living_channels"), seed.get("loss", 0.3)
        result = {"kernel_norms": seed["norms"]}
        for images in ("test", "held_out"):
            result |= {f"{images}_accuracy": seed.get("accuracy", 0.9), f"{images}_loss": loss}
    elif "parameters" in seed:
        names = ("active_rows", "firing_rows")
        result = {"test_mse": loss, "dead": seed.get("dead", False)}
        result |= {"parameters": seed["parameters"], "effective_rows": active}
    else:
        result = {"test_mse": loss, "held_out_mse": seed.get("held_out", 2 * loss)}
        for images, value in (("test", 0.01), ("held_out", 0.02)):
            baselines = {name: k * value for k, name in enumerate(BASELINES, start=1)}
            result[f"{images}_baselines"] = baselines | seed.get("baselines", {})
        result["output_rows"] = seed.get("output", [])
        result["effective_rows"] = seed.get("effective", [5 * l + 5 for l in range(len(active))])
    entry = {
        **{"learning_rate": 0.001, "train_loss": loss, "held_out_accuracy": 0.9},
        "held_out_loss": result.get("held_out_mse", loss),
        **{"active_channels": active, names[0]: active},
        names[1]: list(seed.get("living", active)),
        **{name: [0] * len(active) for name in ("switched_on", "switched_off")},
    }
    tau = seed.get("tau", {} if "residual" in name else None)
    if tau is not None:
        entry["skips"] = [[tau.get((l, i), 0.0) for i in range(l + 1)] for l in range(len(active))]
        result["skips"] = entry["skips"]
    result[names[0]] = active
    epochs = range(1, settings["experiment"]["epochs"] + 1)
    history = [{"epoch": e, **entry, **seed.get("history", {}).get(e, {})} for e in epochs]
    data = dict(data or {})
    digests = {"settings": digest_of(settings), "data": digest_of(data), "code": "made by hand"}
    host = {"processor": "made up", "device": "cpu"}
    return {
        **{"run": name, "seed": number, "settings": dict(settings), "data": data},
        "digests": {**digests, "all": whole_digest(digests, number)},
        **({"active_groups": seed["groups"]} if "groups" in seed else {}),
        **{"checksum": checksum(result, history), "result": result, "history": history},
        "provenance": {"seconds": 60.0, "host": host, "versions": {"torch": "2"}},
    }


def make_run(
    seeds: Sequence[Seed],
    name: str = "paper-residual-denoising",
    epochs: int | None = None,
    row: Mapping[str, Any] | None = None,
) -> Run:
    """A run that is in no file, from its seeds; as many epochs as their histories have."""
    last = max((epoch for seed in seeds for epoch in seed.get("history", ())), default=1)
    settings = {"experiment": {"epochs": epochs or last}}
    records = [
        record(name, seed.get("seed", number), seed, settings) for number, seed in enumerate(seeds)
    ]
    protocol, _, experiment = name.partition("-")
    row = {"protocol": protocol, "experiment": experiment, "seeds": len(seeds), **(row or {})}
    return Run(name, RunRow.model_validate(row), Path(), frames_of(records))


def make_study(runs: Mapping[str, Any], **more: Any) -> Study:
    """A study that is in no file, from the seeds of its runs, by name, or from runs."""
    made = {n: run if isinstance(run, Run) else make_run(run, n) for n, run in runs.items()}
    return replace(Study(Path(), SETTINGS, made), **more)


def texts(figure: Figure) -> dict[str, float]:
    """The texts of a figure, and the size of their letters."""
    found = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    return {text.get_text(): float(text.get_fontsize()) for text in found if text.get_text()}


def write_project(folder: Path, runs: Mapping[str, Sequence[Seed]]) -> Path:
    """Make a repository with the runs whose seeds are given, by name, and no others."""
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text("utf-8"))
    for experiment in content["experiments"].values():
        experiment["epochs"] = EPOCHS
    for name, row in [*content["runs"].items(), *content["arms"].items()]:
        row["seeds"] = len(runs.get(name, []))
    (folder / "results").mkdir(parents=True)
    (folder / "params.yaml").write_text(json.dumps(content), "utf-8")  # JSON is YAML
    settings = load_settings(folder / "params.yaml")
    for name, seeds in runs.items():
        run, records = settings.run(name), []
        for k, seed in enumerate(seeds):
            data = {}
            if run.of is not None:
                found = read_record(record_path(folder, run.of, k))["digests"]["all"]
                data["found"] = seed.get("found", found)
            records.append(record(name, k, seed, run.decisive(), data))
            path = record_path(folder, name, k)
            write_record(path, records[-1])
            if run.experiment.network == "mlp":
                grey = np.arange(84 * 224, dtype=np.uint32).reshape(84, 224) % 256
                Image.fromarray(grey.astype(np.uint8)).save(path.with_suffix(".png"))
        write_results(run_folder(folder, name), records)
    return folder


def restoration(name: str, losses: Sequence[float]) -> list[dict[str, Any]]:
    """Layer l has 10 l + seed + epoch active rows; tau(l, i) is on from epoch l + 1 on."""

    def at(number: int, epoch: int) -> dict[str, Any]:
        active = [10 * l + number + epoch for l in range(1, LAYERS + 1)]
        sizes = [0.1 * (number + 1) if epoch > l else 0.0 for l in range(LAYERS)]
        skips = [[(-1) ** i * size for i in range(l + 1)] for l, size in enumerate(sizes)]
        return {"active_rows": active} | ({"skips": skips} if "residual" in name else {})

    found = []
    for number, mse in enumerate(losses):
        last, history = at(number, EPOCHS), {e: at(number, e) for e in range(1, EPOCHS)}
        tau = {(l, i): x for l, row in enumerate(last.get("skips", [])) for i, x in enumerate(row)}
        one = {"mse": mse, "active": last["active_rows"], "living": [660] * LAYERS}
        found.append(one | {"history": history} | ({"tau": tau} if tau else {}))
    return found


def norms(number: int) -> list[np.ndarray]:
    """They count up from 0 in reading order, times the number of the seed and one."""
    shapes = [(GROWTH, 1), (GROWTH, GROWTH), (GROWTH, 2 * GROWTH), (1, 3 * GROWTH)]
    return [np.arange(math.prod(shape)).reshape(shape) * (number + 1.0) for shape in shapes]


def densenets(accuracies: Sequence[float]) -> list[dict[str, Any]]:
    return [
        {"accuracy": accuracy, "norms": [matrix.tolist() for matrix in norms(number)]}
        for number, accuracy in enumerate(accuracies)
    ]
