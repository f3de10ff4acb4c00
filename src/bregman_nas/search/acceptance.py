"""Accept changed code: the evidence that it gives the numbers of the code before.

Two kinds of evidence. Trajectories: short searches in double precision on the sample, through every
path that can change a number, compared with committed ones. And real seeds, one of each kind,
searched again for their first epochs on the full data, which must give their records bit for bit.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bregman_nas.atomic import write_atomically
from bregman_nas.data import files
from bregman_nas.errors import UserError
from bregman_nas.search import accepted
from bregman_nas.search.core.lockstep import LockstepSearch
from bregman_nas.search.core.lockstep import train as train_in_lockstep
from bregman_nas.search.core.loop import Position, train
from bregman_nas.search.core.schedule import LearningRate
from bregman_nas.search.core.searches import Search, searcher
from bregman_nas.search.digest import CODE, COMMIT, LOCKSTEP
from bregman_nas.search.outcome import active_groups
from bregman_nas.search.records import digest_of, read_record, record_path
from bregman_nas.settings import Engine, Run, Settings

GOLDEN = Path(__file__).with_name("golden.json")
TOLERANCE = 1e-9

#: Runs and seeds that are searched again, and for how many epochs. No record is of a competitor,
#: and those of lockstep are of a GPU: for these kinds there are trajectories alone.
REAL = (
    ("paper-autoencoder-deblurring", 0),
    ("paper-residual-denoising", 0),
    ("authors-residual-deblurring", 0),
    ("authors-densenet-fashion", 3),
    ("paper-autoencoder-denoising-found", 10),
)
EPOCHS = 3
NO_SEEDS = "The study has no record of this kind that can be made again on a CPU"

# Momentum that is soon at rest, so that rows die and are taken out within a few hundred steps.
_OPTIMIZER = {"learning_rate": 0.0005, "betas": (0.5, 0.8), "eps": 1e-8, "delta": 1.0}
_PROTOCOL = {
    "skip_threshold": 1.0,
    "schedule": {"kind": "constant"},
    "initial_scale": "1/sqrt(density)",
    "first_moment": "corrected",
    "held_out": 50_000,
    "noise": "once",
    "logits": "linear",
}
_MLP = {
    "network": "mlp",
    "dataset": "mnist",
    "mu": 0.02,
    "density": 0.03,
    "depth": 3,
    "noise_std": 0.05,
    "blur": None,
    "input_mean": 0.1307,
    "input_std": 0.3081,
    "epochs": 8,
}
_DENSENET = {"network": "densenet", "dataset": "fashion-mnist", "mu": 0.01, "density": 0.2,
             "depth": 2, "growth": 4, "input_mean": 0.5, "input_std": 0.5, "epochs": 3}  # fmt: skip
_NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (_MLP | {"skips": False}, {}),
    "residual": (_MLP | {"skips": True}, {}),
    # Its steps take long.
    "densenet": (_DENSENET, {"learning_rate": 0.002, "held_out": 56_000}),
}
_PLATEAU = {"kind": "plateau", "factor": 0.5, "patience": 0, "threshold": 0.4}
_OTHER = {"schedule": _PLATEAU, "first_moment": "uncorrected", "initial_scale": 5.0}
# Arms are trained for fewer epochs; that is far enough for proximal Adam to lose rows.
_PROXIMAL = {"method": "proximal-adam", "mu": 1.7, "skip_threshold": 0.2, "epochs": 3}
_PRUNED = {"method": "pruned", "epochs": 3}

Changes = dict[str, Any]
#: Name; network, whose case of that name found the architecture of an arm; engine; and what is
#: changed of run, protocol, optimizer or experiment.
CASES: dict[str, tuple[str, Engine, Changes]] = {
    "plain": ("plain", "compact", {}),
    "plain, textbook": ("plain", "textbook", {}),
    "residual": ("residual", "compact", {}),
    "residual, textbook": ("residual", "textbook", {}),
    "residual, other options": (
        "residual", "compact", {**_OTHER, "noise": "every-epoch", "skip_threshold": 3.0}
    ),
    "residual, leaky": ("residual", "compact", {"relu_slope": 0.01}),
    "residual, leaky, textbook": ("residual", "textbook", {"relu_slope": 0.01}),
    "residual, frozen": ("residual", "compact", {"inactive_biases": "frozen"}),
    "residual, frozen, textbook": ("residual", "textbook", {"inactive_biases": "frozen"}),
    "residual, lockstep": (
        "residual", "lockstep", {"schedule": _PLATEAU, "noise": "every-epoch"}
    ),
    "densenet": ("densenet", "compact", {}),
    "densenet, textbook": ("densenet", "textbook", {}),
    "densenet, other options": (
        "densenet", "compact",
        {**_OTHER, "schedule": {**_PLATEAU, "threshold": 0.6}, "logits": "relu"},
    ),
    "densenet, lockstep": ("densenet", "lockstep", {"logits": "relu"}),
    "plain, found": ("plain", "compact", {"method": "found", "epochs": 3}),
    "plain, found, textbook": ("plain", "textbook", {"method": "found", "epochs": 3}),
    "plain, uniform": ("plain", "compact", {"method": "uniform", "epochs": 2}),
    "plain, random": ("plain", "compact", {"method": "random", "epochs": 2}),
    "plain, dense": ("plain", "compact", {"method": "dense", "epochs": 2}),
    "residual, found": ("residual", "compact", {"method": "found", "epochs": 3}),
    "residual, found, textbook": ("residual", "textbook", {"method": "found", "epochs": 3}),
    "residual, uniform": ("residual", "compact", {"method": "uniform", "epochs": 2}),
    "residual, random": (
        "residual", "compact",
        {"method": "random", "epochs": 3, "schedule": _PLATEAU, "noise": "every-epoch"},
    ),
    "residual, dense": ("residual", "compact", {"method": "dense", "epochs": 2}),
    "plain, proximal Adam": ("plain", "compact", _PROXIMAL),
    "residual, proximal Adam": ("residual", "compact", _PROXIMAL),
    "residual, proximal Adam, textbook": ("residual", "textbook", _PROXIMAL),
    "plain, pruned": ("plain", "compact", _PRUNED),
    "residual, pruned": ("residual", "compact", _PRUNED),
    "residual, pruned, textbook": ("residual", "textbook", _PRUNED),
}  # fmt: skip


def trajectory(name: str, project: Path) -> dict[str, Any]:
    """The trajectory of a case, computed by the code that runs."""
    network, engine, changes = CASES[name]
    experiment, of_network = _NETWORKS[network]
    run = Run.model_validate(_changed(experiment, of_network | changes))
    images = files.load(run.experiment.dataset, "sample", project)
    with _double_precision():
        if engine == "lockstep":
            return _in_lockstep(run, images)
        return _alone(run, images, engine, None if run.method == "search" else _found(network))


def _changed(experiment: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """The settings of a case, as a run has them."""

    def of(block: dict[str, Any]) -> dict[str, Any]:
        return block | {key: value for key, value in changes.items() if key in block}

    elsewhere = {"method", *_OPTIMIZER, *_PROTOCOL}
    return {
        "name": "golden",
        "method": changes.get("method", "search"),
        "source": "sample",
        "optimizer": of(_OPTIMIZER),
        "batch_size": 16,
        "protocol": of(_PROTOCOL),
        "experiment": experiment | {k: v for k, v in changes.items() if k not in elsewhere},
        "seeds": (0,),
    }


def _found(network: str) -> dict[str, Any]:
    """What a record would say of the architecture that the committed case of a network found."""
    case = golden()[network]
    skips = {key: value for key, value in case["history"][-1].items() if key == "skips"}
    return {"active_groups": case["active"], "result": skips}


@contextmanager
def _double_precision() -> Iterator[None]:
    before, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
        torch.set_num_threads(threads)


def _alone(run: Run, images: files.ImageSet, engine: Engine, found: Any) -> dict[str, Any]:
    search = searcher(run, images, 0, engine, found=found)
    rate = LearningRate(run.optimizer.learning_rate, run.protocol.schedule)
    position, sizes = Position(), []
    train(
        search,
        rate,
        position,
        seed=0,
        epochs=run.experiment.epochs,
        batch_size=run.batch_size,
        after_epoch=lambda _: sizes.append(search.trainer.size()),
    )
    return {"sizes": sizes, **_outcome(search, position.history)}


def _in_lockstep(run: Run, images: files.ImageSet) -> dict[str, Any]:
    together = LockstepSearch((0, 1), (searcher(run, images, s, "textbook") for s in (0, 1)))
    rates = [LearningRate(run.optimizer.learning_rate, run.protocol.schedule) for _ in range(2)]
    positions = [Position(), Position()]
    train_in_lockstep(
        together, rates, positions, epochs=run.experiment.epochs, batch_size=run.batch_size
    )
    pairs = zip(together.searches, positions, strict=True)
    return {f"seed {s}": _outcome(one, at.history) for s, (one, at) in enumerate(pairs)}


def _outcome(search: Search[nn.Module], history: list[dict[str, Any]]) -> dict[str, Any]:
    network = search.full_network()
    moments = {
        name: [float(x.sum()) for x in (p, p.square(), p * _weights(p))]
        for name, p in network.state_dict().items()
    }
    return {"history": history, "active": active_groups(network), "parameters": moments}


def _weights(parameter: torch.Tensor) -> torch.Tensor:
    """Fixed numbers of the same shape, which tell entries from each other."""
    return torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape)


def differences(found: object, expected: object, where: str = "") -> list[str]:
    """Where two trajectories differ: floats by more than `TOLERANCE`, all else at all."""
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        parts = [(found[key], expected[key], key) for key in found]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        parts = [(a, b, str(n)) for n, (a, b) in enumerate(zip(found, expected, strict=True))]
    elif isinstance(found, float) and isinstance(expected, float):
        close = math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return [] if close else [f"{where}: {found!r}, not {expected!r}"]
    else:
        return [] if found == expected else [f"{where}: {found!r}, not {expected!r}"]
    return [line for a, b, key in parts for line in differences(a, b, f"{where}/{key}")]


def golden() -> dict[str, dict[str, Any]]:
    """The committed trajectories."""
    found: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text("utf-8"))
    return found


def dump(cases: dict[str, dict[str, Any]]) -> bytes:
    """The content of the file of committed trajectories: a line for each."""
    lines = (f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def check_trajectory(name: str, project: Path) -> None:
    """Compare the trajectory of a case with the committed one.

    Raises:
        UserError: if they differ.
    """
    found = json.loads(json.dumps(trajectory(name, project)))
    wrong = differences(found, golden()[name], name)
    if wrong:
        raise UserError(
            "the code does not give the committed trajectories, so that its numbers are others:\n"
            + "\n".join(wrong[:5])
        )


def check_seed(settings: Settings, project: Path, name: str, seed: int) -> accepted.Seed:
    """Search the first epochs of a real seed again; returns what was compared.

    Raises:
        UserError: if they are not those of the record, bit for bit.
    """
    run = settings.run(name)
    record = read_record(record_path(project, name, seed))
    found = None if run.of is None else read_record(record_path(project, run.of, seed))
    images = files.load(run.experiment.dataset, run.source, project)
    torch.set_num_threads(1)
    position = Position()
    train(
        searcher(run, images, seed, found=found),
        LearningRate(run.optimizer.learning_rate, run.protocol.schedule),
        position,
        seed=seed,
        epochs=EPOCHS,
        batch_size=run.batch_size,
    )
    wrong = [f"{name}: {line}" for line in _unequal(position.history, record["history"][:EPOCHS])]
    if wrong:
        raise UserError(f"seed {seed} of {name} is not what its record says:\n{wrong[0]}")
    return accepted.Seed(run=name, seed=seed, epochs=EPOCHS, record=record["digests"]["all"])


def _unequal(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[str]:
    return [
        f"epoch {one['epoch']}, {key}: {one.get(key)!r}, not {other[key]!r}"
        for one, other in zip(found, expected, strict=True)
        for key in other
        if one.get(key) != other[key]
    ]


def accept(settings: Settings, project: Path, reason: str) -> str:
    """Make the evidence for the code that runs, and add it to the accepted code.

    Args:
        settings: of the project.
        project: the repository.
        reason: what was changed, in a sentence.

    Returns:
        What was accepted, in words for the user.

    Raises:
        UserError: if the numbers are not those of the accepted code, or nothing is to be accepted.
    """
    digests = {**CODE, "lockstep": LOCKSTEP}
    entries = {kind: list(accepted.entries().get(kind, [])) for kind in digests}
    new = {k: code for k, code in digests.items() if code not in [e.code for e in entries[k]]}
    if not new:
        raise UserError("the code that runs is accepted already; there is nothing to do")
    if COMMIT["modified"]:
        raise UserError("the package has changes that are not committed; commit them first")
    for name in CASES:
        check_trajectory(name, project)
    seeds: dict[str, list[accepted.Seed]] = {kind: [] for kind in digests}
    for name, seed in REAL:
        seeds[settings.run(name).kind].append(check_seed(settings, project, name, seed))
    for kind, code in new.items():
        entries[kind].append(
            accepted.Entry(
                code=code,
                commit=str(COMMIT["commit"]),
                date=date.today().isoformat(),
                reason=reason,
                evidence=accepted.Evidence(
                    trajectories=digest_of(golden()),
                    seeds=tuple(seeds[kind]),
                    no_seeds=None if seeds[kind] else NO_SEEDS,
                ),
            )
        )
    write_atomically(accepted.PATH, accepted.dump(entries))
    return f"accepted for {', '.join(new)}; commit {accepted.PATH.name}"
