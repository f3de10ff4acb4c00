"""The ablation's table and what can be said of it, from `results/ablation.json`."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bregman_nas.report.claims.claim import ENOUGH_SEEDS
from bregman_nas.report.paper.missing import entry, read_json
from bregman_nas.report.paper.schedule import first_changes
from bregman_nas.report.paper.words import interval, mean_std
from bregman_nas.report.read import Run
from bregman_nas.report.words import DASH, signed

MADE_BY = "bregman-nas ablation"
# What the table shows of each run beside the loss, and with how many digits.
SHAPE = {"coding_width": 0, "skips_on": 1, "largest_skip": 2}
# What the text says of the changes.
TOLD = {
    "ten_mse": ("the loss", 5),
    "coding_width": ("the width of the narrowest hidden layer", 1),
    "skips_on": ("the number of skips that are not zero", 1),
    "largest_skip": ("the largest skip", 2),
}


def ablation(path: Path, runs_made: Mapping[str, Run]) -> dict[str, Any] | None:
    """Experiment, epoch, and a line for each run; None as long as no choice has been changed.

    Args:
        path: of results/ablation.json, which need not be there.
        runs_made: the protocols' own runs, by name.

    Returns:
        `pairs`: the fewest and the most pairs of seeds that a difference rests on, as text, and
        `enough`, whether any has the `ENOUGH_SEEDS` of an interval. `changes`: what is changed, by
        protocol. `still`: the changes that change no seed's loss at all, in any digit. `first`: the
        first epoch in which a schedule changed the learning rate in the protocols' own runs, if
        that was after the epoch of the ablation. `told`: for each of `TOLD` that was measured its
        name, how many differences have an interval, and those whose interval excludes zero.

    Raises:
        PaperError: if it is there and an entry is missing.
    """
    if not path.exists():
        return None
    content = read_json(path, MADE_BY)
    runs = entry(content, path, MADE_BY, "runs")
    changed = [
        run for run in runs.values() if run["change"] is not None and run["measures"] is not None
    ]
    if not changed:
        return None
    pairs = [_pairs(run["measures"]["ten_mse"]["difference"]) for run in changed]
    least, most = min(pairs), max(pairs)
    experiment = entry(content, path, MADE_BY, "experiment")
    epoch = entry(content, path, MADE_BY, "epoch")
    changes: dict[str, list[str]] = {}
    for run in changed:
        changes.setdefault(run["protocol"], []).append(run["words"])
    return {
        "experiment": experiment,
        "epoch": str(epoch),
        "changes": changes,
        "rows": [_row(run, path) for run in runs.values()],
        "pairs": str(least) if least == most else f"{least} to {most}",
        "one": least == most == 1,
        "still": [
            {
                "protocol": run["protocol"],
                "words": run["words"],
                "schedule": "schedule" in run["change"],
            }
            for run in changed
            if _changes_nothing(run["measures"]["ten_mse"]["difference"])
        ],
        "first": _first_change(
            [run for name, run in runs_made.items() if name.endswith(f"-{experiment}")], epoch
        ),
        "enough": most >= ENOUGH_SEEDS,
        "told": [
            _told(changed, path, measure) for measure in TOLD if measure in changed[0]["measures"]
        ],
    }


def _first_change(runs: list[Run], epoch: int) -> str | None:
    """The first epoch with another learning rate, if there is one and it is after `epoch`."""
    first = min((change for run in runs for change in first_changes(run)), default=0)
    return str(first) if first > epoch else None


def _pairs(difference: dict[str, Any] | None) -> int:
    """How many pairs of seeds, both converged, a difference rests on."""
    return 0 if difference is None else int(difference["pairs"] - difference["nan_pairs"])


def _changes_nothing(difference: dict[str, Any] | None) -> bool:
    return difference is not None and difference["mean"] == 0 and difference["std"] in (0, None)


def _told(changed: list[dict[str, Any]], path: Path, measure: str) -> dict[str, Any]:
    name, digits = TOLD[measure]
    found = [(run, entry(run, path, MADE_BY, "measures", measure, "difference")) for run in changed]
    with_interval = [
        (run, apart)
        for run, apart in found
        if _pairs(apart) >= ENOUGH_SEEDS and apart["low"] is not None
    ]
    return {
        "name": name,
        "intervals": str(len(with_interval)),
        "apart": [
            {
                "protocol": run["protocol"],
                "words": run["words"],
                "by": signed(apart["mean"], digits),
                "interval": interval(apart, digits, _pairs(apart)),
            }
            for run, apart in with_interval
            if apart["low"] * apart["high"] > 0
        ],
    }


def _row(run: dict[str, Any], path: Path) -> list[str]:
    cells = [run["protocol"], run["words"]]
    if run["measures"] is None:
        return [*cells, "not run", *[""] * (3 + len(SHAPE))]
    # What a network does not have, such as skips, is not measured.
    measures = entry(run, path, MADE_BY, "measures")
    loss = entry(run, path, MADE_BY, "measures", "ten_mse")
    apart = loss["difference"]
    difference = "" if apart is None else _difference(apart)
    return [
        *cells,
        str(loss["seeds"]),
        mean_std(loss, 5),
        difference,
        *(
            mean_std(measures[key], digits) if key in measures else DASH
            for key, digits in SHAPE.items()
        ),
        _places(entry(run, path, MADE_BY, "by_seed")),
    ]


def _difference(apart: dict[str, Any]) -> str:
    """Mean, standard deviation and interval of a paired difference, as far as there are."""
    if apart["mean"] is None:
        return DASH
    mean = signed(apart["mean"], 5)
    if apart["std"] is None:
        return mean
    return f"{mean} ({apart['std']:.5f}); {interval(apart, 5, _pairs(apart))}"


def _places(seeds: list[dict[str, Any]]) -> str:
    """Which layer is the narrowest and, in brackets, in how many seeds."""
    counts = Counter(int(seed["coding_layer"]) for seed in seeds if seed.get("coding_layer"))
    return ", ".join(f"{layer} ({count})" for layer, count in sorted(counts.items())) or DASH
