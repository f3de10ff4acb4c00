"""Accept changed code: the evidence that it gives the numbers of the code before.

Trajectories: short searches in double precision on the sample, through every path that can change a
number, compared with committed ones. Real seeds: one of each kind, searched again for their first
epochs on the full data, must give their records bit for bit.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bregman_nas.atomic import write_atomically
from bregman_nas.data import files
from bregman_nas.errors import UserError
from bregman_nas.search import records
from bregman_nas.search.core.lockstep import LockstepSearch
from bregman_nas.search.core.searches import Search, searcher, train
from bregman_nas.search.digest import CODE, COMMIT
from bregman_nas.search.records import read_record, record_path
from bregman_nas.settings import Run, Settings, load_settings

#: The settings of each case, and its trajectory. An arm trains what the case of its network found.
CASES = Path(__file__).with_name("golden.yaml")
GOLDEN = CASES.with_suffix(".json")
TOLERANCE = 1e-9

#: Runs and seeds that are searched again, and for how many epochs. Records of most competitors and
#: of lockstep are of a GPU: for these kinds there are trajectories alone.
REAL = (
    ("paper-autoencoder-deblurring", 0),
    ("paper-residual-denoising", 0),
    ("authors-residual-deblurring", 0),
    ("authors-densenet-fashion", 3),
    ("paper-autoencoder-denoising-found", 10),
)
EPOCHS = 3
NO_SEEDS = "No record of this kind is made again: it takes a GPU, or too long"


def trajectory(name: str, project: Path) -> dict[str, Any]:
    """The trajectory of a case, computed by the code that runs.

    The engine is the one that the name ends in, else `compact`.
    """
    run, engine = case_run(name), name.rpartition(", ")[2]
    images = files.load(run.experiment.dataset, "sample", project)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        if engine == "lockstep":
            together = LockstepSearch(searcher(run, images, s, "textbook") for s in (0, 1))
            _train(together, run, run.experiment.epochs)
            return {f"seed {s}": _outcome(one) for s, one in enumerate(together.searches)}
        options: Any = {"engine": "textbook"} if engine == "textbook" else {}
        if run.method != "search":
            case = golden()[name.partition(", ")[0]]
            options["found"] = {"active_groups": case["active"], "result": case["history"][-1]}
        search = searcher(run, images, 0, **options)
        return {"sizes": _train(search, run, run.experiment.epochs), **_outcome(search)}
    finally:
        torch.set_default_dtype(before)


def case_run(name: str) -> Run:
    """The settings of a case."""
    row = name.removesuffix(", textbook").replace(", ", "-").replace(" ", "-").lower()
    return load_settings(CASES).run(row)


def _train(search: Search[nn.Module] | LockstepSearch, run: Run, epochs: int) -> list[int]:
    """Train from the start; returns the size after each epoch."""
    torch.set_num_threads(1)
    first, sizes = search.searches[0], list[int]()
    train(search, epochs, run.batch_size, after_epoch=lambda: sizes.append(first.trainer.size()))
    return sizes


def _outcome(search: Search[nn.Module]) -> dict[str, Any]:
    """The history, the active groups, and three sums over each parameter, the last weighted."""

    def sums(p: Tensor) -> list[float]:
        weights = torch.linspace(-1, 1, p.numel()).reshape(p.shape)  # tell entries from each other
        return [float(x.sum()) for x in (p, p.square(), p * weights)]

    network = search.full_network()
    moments = {name: sums(p) for name, p in network.state_dict().items()}
    return {
        "history": search.history,
        "active": records.active_groups(network),
        "parameters": moments,
    }


def golden() -> dict[str, dict[str, Any]]:
    """The committed trajectories."""
    found: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text("utf-8"))
    return found


def check_equal(name: str, found: object, expected: object, tolerance: float = TOLERANCE) -> None:
    """Compare two trajectories: floats may differ by the tolerance, nothing else may.

    Raises:
        UserError: if they are not equal; it says where.
    """

    def unpacked(part: dict[str, Any]) -> Any:
        return records.unpack(part) if part.keys() == {"shape", "active"} else part

    pair = (json.loads(json.dumps(one), object_hook=unpacked) for one in (found, expected))
    try:
        torch.testing.assert_close(*pair, rtol=tolerance / 2, atol=tolerance / 2)  # they add up
    except AssertionError as error:
        raise UserError(f"{name}: the code that runs gives other numbers\n{error}") from error


def check_seed(run: Run, seed: int, project: Path) -> dict[str, Any]:
    """Search the first epochs of a real seed again; returns what was compared.

    Raises:
        UserError: if they are not those of the record, bit for bit.
    """
    record = read_record(record_path(project, run.name, seed))
    found = None if run.of is None else read_record(record_path(project, run.of, seed))
    images = files.load(run.experiment.dataset, run.source, project)
    search = searcher(run, images, seed, found=found)
    _train(search, run, EPOCHS)
    expected = record["history"][:EPOCHS]
    # Newer code may note more than the record did.
    pairs = zip(search.history, expected, strict=True)
    noted = [{k: now.get(k) for k in then} for now, then in pairs]
    check_equal(f"seed {seed} of {run.name}", noted, expected, tolerance=0)
    return {"run": run.name, "seed": seed, "epochs": EPOCHS, "record": record["digests"]["all"]}


def accept(settings: Settings, project: Path, reason: str) -> str:
    """Make the evidence for the code that runs, and add it, with a reason, to the accepted code.

    Returns:
        What was accepted, in words for the user.

    Raises:
        UserError: if the numbers are not those of the accepted code, or nothing is to be accepted.
    """
    entries = [*records.accepted()]
    known = [(entry["kind"], entry["code"]) for entry in entries]
    new = {kind: code for kind, code in CODE.items() if (kind, code) not in known}
    if not new:
        raise UserError("the code that runs is accepted already; there is nothing to do")
    if COMMIT["modified"]:
        raise UserError("the package has changes that are not committed; commit them first")
    for name, expected in golden().items():
        check_equal(name, trajectory(name, project), expected)
    seeds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in CODE}
    for name, seed in REAL:
        run = settings.run(name)
        seeds[run.kind].append(check_seed(run, seed, project))
    entries += [
        {
            "kind": kind,
            "code": code,
            "commit": COMMIT["commit"],
            "date": date.today().isoformat(),
            "reason": reason,
            "trajectories": records.digest_of(golden()),
            **({"seeds": seeds[kind]} if seeds[kind] else {"no_seeds": NO_SEEDS}),
        }
        for kind, code in new.items()
    ]
    lines = ",\n".join(
        json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in entries
    )
    write_atomically(records.ACCEPTED, f"[\n{lines}\n]\n".encode())
    return f"accepted for {', '.join(new)}; commit {records.ACCEPTED.name}"
