"""Studies made by hand: params.yaml, records, and the tables that belong to them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from ruamel.yaml import YAML

from bregman_nas.report.data import Run, Study
from bregman_nas.report.frames import frames_of
from bregman_nas.search.records import checksum, digest_of, whole_digest
from bregman_nas.search.results import results_of
from bregman_nas.settings import RunRow, Settings, load_settings

PROJECT = Path(__file__).resolve().parents[2]
LAYERS = 6
EPOCHS = 4
SHAPE = [400, 300, 200, 300, 400, 500]
BASELINES = ("input_unchanged", "mean_image", "zero")
Seed = Mapping[str, Any]
MakeRun = Callable[..., Run]
MakeStudy = Callable[..., Study]
MakeProject = Callable[[Mapping[str, Sequence[Seed]]], Path]


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


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """Makes a run that is in no file, from its seeds; as many epochs as their histories have."""

    def make(
        seeds: Sequence[Seed],
        name: str = "paper-residual-denoising",
        epochs: int | None = None,
        row: Mapping[str, Any] | None = None,
    ) -> Run:
        last = max((epoch for seed in seeds for epoch in seed.get("history", ())), default=1)
        settings = {"experiment": {"epochs": epochs or last}}
        records = [
            record(name, seed.get("seed", number), seed, settings)
            for number, seed in enumerate(seeds)
        ]
        protocol, _, experiment = name.partition("-")
        row = {"protocol": protocol, "experiment": experiment, "seeds": len(seeds), **(row or {})}
        return Run(name, RunRow.model_validate(row), Path(), frames_of(records))

    return make


@pytest.fixture(scope="session")
def make_study(make_run: MakeRun) -> MakeStudy:
    """Makes a study that is in no file, from the seeds of its runs, by name, or from runs."""
    settings = load_settings(PROJECT / "params.yaml")

    def make(runs: Mapping[str, Any], **more: Any) -> Study:
        made = {
            name: run if isinstance(run, Run) else make_run(run, name) for name, run in runs.items()
        }
        return Study(Path(), settings, made, **more)

    return make


@pytest.fixture(scope="session")
def texts() -> Callable[[Figure], dict[str, float]]:
    """Finds the texts of a figure, and the size of their letters."""

    def of(figure: Figure) -> dict[str, float]:
        found = [text for text in figure.findobj(Text) if isinstance(text, Text)]
        return {text.get_text(): float(text.get_fontsize()) for text in found if text.get_text()}

    return of


def write_run(project: Path, settings: Settings, name: str, seeds: Sequence[Seed]) -> None:
    """Write the records of a run, and the tables of them."""
    run = settings.run(name)
    folder = project / "results" / "runs" / name
    (folder / "records").mkdir(parents=True, exist_ok=True)
    records = []
    for k, seed in enumerate(seeds):
        data = {}
        if run.of is not None:
            searched = folder.parent / run.of / "records" / f"seed-{k:02d}.json"
            there = json.loads(searched.read_text("utf-8"))["digests"]["all"]
            data["found"] = seed.get("found", there)
        records.append(record(name, k, seed, run.decisive(), data))
    for made in records:
        path = folder / "records" / f"seed-{made['seed']:02d}.json"
        path.write_text(json.dumps(made), "utf-8")
        if run.experiment.network == "mlp":
            grey = np.arange(84 * 224, dtype=np.uint32).reshape(84, 224) % 256
            Image.fromarray(grey.astype(np.uint8)).save(path.with_suffix(".png"))
    for file, text in results_of(records).items():
        (folder / file).write_bytes(text.encode())


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> MakeProject:
    """Makes a repository with the runs whose seeds are given, by name, and no others."""
    return lambda runs: write_project(tmp_path_factory.mktemp("study"), runs)


def write_project(folder: Path, runs: Mapping[str, Sequence[Seed]]) -> Path:
    """Write params.yaml and the results of runs."""
    yaml = YAML(typ="safe")
    content = yaml.load((PROJECT / "params.yaml").read_text("utf-8"))
    for experiment in content["experiments"].values():
        experiment["epochs"] = EPOCHS
    for name, row in [*content["runs"].items(), *content["arms"].items()]:
        row["seeds"] = len(runs.get(name, []))
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    (folder / "results").mkdir()
    settings = load_settings(folder / "params.yaml")
    for name, seeds in runs.items():
        write_run(folder, settings, name, seeds)
    return folder
