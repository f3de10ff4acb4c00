"""Every number, table and verdict in the article, as text, from generated files alone."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bregman_nas.report.claims.claim import (
    ENOUGH_SEEDS,
    HALF,
    TOO_MANY_DIVERGED,
    Verdict,
    share_of_seeds,
)
from bregman_nas.report.claims.table import COLLAPSED_MARK
from bregman_nas.report.claims.training import (
    ALL_LIVING,
    NOT_ALL_LIVING,
    active_share_of,
    dead_share,
)
from bregman_nas.report.claims.widths import has_autoencoder_shape
from bregman_nas.report.paper.ablation import ablation
from bregman_nas.report.paper.architectures import architectures, zero_skips
from bregman_nas.report.paper.choices import read_choices
from bregman_nas.report.paper.cost import cost
from bregman_nas.report.paper.densenet import densenet
from bregman_nas.report.paper.losses import losses
from bregman_nas.report.paper.missing import PaperError, entry, read_json
from bregman_nas.report.paper.schedule import schedule
from bregman_nas.report.paper.siblings import unlike_siblings
from bregman_nas.report.read import (
    DENSENET,
    NETWORKS,
    PIXELS,
    PROTOCOLS,
    TASKS,
    Array,
    Run,
    depth,
    read_run,
    rows_by_layer,
    skip_names,
)
from bregman_nas.report.statistics import summarize
from bregman_nas.report.table1 import ARTICLE_SEEDS
from bregman_nas.report.words import DASH, number
from bregman_nas.settings import DenseNetExperiment, MLPExperiment, Settings, load_settings

MADE_BY = "bregman-nas aggregate"
OURS = 17  # the claim that is not the article's
# A row that dies early has died within this share of the epochs.
EARLY = 0.1


def collect(project: Path) -> dict[str, Any]:
    """All that the article's source reads, as JSON-ready text; README and code have no part in it.

    Args:
        project: the repository.

    Raises:
        PaperError: if a file or an entry is missing, or no restoration run has results.
        SettingsError: if params.yaml cannot be used.
    """
    runs = _runs(project)
    restoration = {name: run for name, run in runs.items() if not name.endswith(DENSENET)}
    if not restoration:
        raise PaperError(
            f"{project / 'results'} has no run on MNIST with seeds; the article is about those. "
            "`bregman-nas search` makes them"
        )
    settings = load_settings(project / "params.yaml")
    claims = _claims(project)
    return {
        "settings": _settings(settings),
        "seeds": _seeds(runs),
        "densenet": {
            p: densenet(runs[name]) for p in PROTOCOLS if (name := f"{p}-{DENSENET}") in runs
        },
        "losses": losses(project),
        "unlike": unlike_siblings(restoration),
        "schedule": schedule(restoration),
        "autoencoder_shape": _mean_shapes(restoration),
        "architectures": architectures(runs),
        "claims": claims,
        "verdicts": {p: _verdicts(claims, p) for p in PROTOCOLS},
        "rules": {
            "enough_seeds": str(ENOUGH_SEEDS),
            "article_seeds": str(ARTICLE_SEEDS),
            "seeds_for_a_share": str(_share_needs()),
            "too_many_collapsed": f"{TOO_MANY_DIVERGED:.0%}",
            "nearly_all": f"{ALL_LIVING:.0%}",
            "clearly_not": f"{NOT_ALL_LIVING:.0%}",
        },
        "widths": [_widths(name, run) for name, run in restoration.items()],
        "dead": {"range": _range_of(restoration, dead_share)},
        "effective": {
            "range": _range_of(restoration, _effective_share),
            "all": all((_effective_share(run) == 1).all() for run in restoration.values()),
        },
        "skips": _zero_skips(restoration),
        "early": _early(restoration),
        "cost": cost(project, {name: _numbers(run) for name, run in runs.items()}),
        "pixels": _pixels(project),
        "choices": read_choices(project / "docs" / "choices.md"),
        "ablation": ablation(project / "results" / "ablation.json", restoration),
    }


def _runs(project: Path) -> dict[str, Run]:
    names = [f"{network}-{task}" for network in NETWORKS for task in TASKS]
    found = {
        f"{protocol}-{name}": read_run(project, protocol, name)
        for name in [*names, DENSENET]
        for protocol in PROTOCOLS
    }
    return {name: run for name, run in found.items() if run is not None}


def _numbers(run: Run) -> list[int]:
    return [int(seed) for seed in run.seeds["seed"]]


def _settings(settings: Settings) -> dict[str, Any]:
    perceptrons = [e for e in settings.experiments.values() if isinstance(e, MLPExperiment)]
    densenets = [e for e in settings.experiments.values() if isinstance(e, DenseNetExperiment)]
    blurs = [e.blur for e in perceptrons if e.blur is not None]
    return {
        "sample": settings.data.source == "sample",
        "learning_rate": f"{settings.optimizer.learning_rate:g}",
        "delta": f"{settings.optimizer.delta:g}",
        "batch_size": str(settings.batch_size),
        "mu": _all_of(e.mu for e in perceptrons),
        "density": _all_of(100 * e.density for e in perceptrons),
        "depth": _all_of(e.depth for e in perceptrons),
        "noise_std": _all_of(e.noise_std for e in perceptrons),
        "blur_size": _all_of(blur.size for blur in blurs),
        "blur_std": _all_of(blur.std for blur in blurs),
        "epochs": _all_of(e.epochs for e in perceptrons),
        "densenet_density": _all_of(100 * e.density for e in densenets),
        "skip_threshold": {p: f"{settings.protocols[p].skip_threshold:g}" for p in PROTOCOLS},
        "relu_logits": {p: settings.protocols[p].logits == "relu" for p in PROTOCOLS},
        "rows": str(PIXELS),
    }


def _all_of(values: Any) -> str:
    """One number if all experiments agree, else all of them."""
    return " or ".join(sorted({f"{value:g}" for value in values}))


def _seeds(runs: dict[str, Run]) -> dict[str, Any]:
    counts = [len(run.seeds) for run in runs.values()]
    least, most = min(counts), max(counts)
    each = str(least) if least == most else f"{least} to {most}"
    return {
        "searches": str(sum(counts)),
        "runs": str(len(runs)),
        "diverged": str(sum(len(run.seeds) - len(run.converged) for run in runs.values())),
        "each": each,
        "words": f"{each} seed" if most == 1 else f"{each} seeds",
        "few": least < ARTICLE_SEEDS,
    }


def _claims(project: Path) -> list[dict[str, Any]]:
    path = project / "results" / "claims.json"
    content = entry(read_json(path, MADE_BY), path, MADE_BY, "claims")
    found = []
    for key, claim in content.items():
        told = {k: entry(claim, path, MADE_BY, k) for k in ("words", "statistic", "rule", "place")}
        of_protocols = {
            p: _decision(entry(content, path, MADE_BY, key, p), path) for p in PROTOCOLS
        }
        found.append({"number": int(key), **told, **of_protocols})
    return sorted(found, key=lambda claim: claim["number"])


def _decision(decision: dict[str, Any], path: Path) -> dict[str, Any]:
    findings = entry(decision, path, MADE_BY, "findings")
    deciding = [finding for finding in findings if finding["verdict"] is not None]
    values = [finding["value"] for finding in deciding if finding["value"] is not None]
    counts = Counter(finding["verdict"] for finding in deciding)
    seeds = decision["seeds"]
    return {
        "verdict": decision["verdict"],
        "seeds": None if seeds is None else str(seeds),
        "few": decision["verdict"] == Verdict.UNDECIDED
        and seeds is not None
        and seeds < ARTICLE_SEEDS,
        "collapsed": entry(decision, path, MADE_BY, "collapsed"),
        "range": _span(values),
        "counts": {str(verdict): str(counts[verdict]) for verdict in Verdict},
        "findings": [_finding(finding) for finding in findings],
    }


def _finding(finding: dict[str, Any]) -> dict[str, Any]:
    low, high, value, seeds = (finding[key] for key in ("low", "high", "value", "seeds"))
    shown = low is not None and (seeds is None or seeds >= ENOUGH_SEEDS)
    return {
        "name": finding["name"],
        "value": number(value),
        "percent": DASH if value is None else f"{100 * value:.1f}%",
        "interval": f"{number(low)} to {number(high)}" if shown else None,
        "verdict": finding["verdict"],
    }


def _span(values: list[float]) -> str:
    if not values:
        return DASH
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _verdicts(claims: list[dict[str, Any]], protocol: str) -> dict[str, list[str]]:
    """The numbers of the article's claims by verdict, and which of the undecided have few seeds.

    Marked are those on networks of which some collapsed.
    """
    articles = [(claim["number"], claim[protocol]) for claim in claims if claim["number"] != OURS]

    def those(which: Callable[[dict[str, Any]], bool]) -> list[str]:
        return [
            f"{number}{COLLAPSED_MARK if decision['collapsed'] else ''}"
            for number, decision in articles
            if which(decision)
        ]

    return {
        **{str(verdict): those(_has(verdict)) for verdict in Verdict},
        "full": those(lambda one: one["verdict"] == Verdict.UNDECIDED and not one["few"]),
        "few": those(lambda one: one["few"]),
    }


def _has(verdict: Verdict) -> Callable[[dict[str, Any]], bool]:
    return lambda decision: bool(decision["verdict"] == verdict)


def _share_needs() -> int:
    """The fewest seeds from which a share of seeds can be told to be above one half."""
    seeds = ENOUGH_SEEDS
    while (share_of_seeds("", [True] * seeds, 0).low or 0) <= HALF:
        seeds += 1
    return seeds


def _widths(name: str, run: Run) -> dict[str, Any]:
    """Means over the converged seeds of what each layer has."""
    kinds = {k: rows_by_layer(run.converged, k) for k in ("width", "effective", "living")}
    shares = {
        "effective_share": _effective_share(run),
        "active_share": active_share_of(run),
        "dead_share": dead_share(run),
    }
    protocol, _, experiment = name.partition("-")
    network, _, task = experiment.partition("-")
    return {
        "protocol": protocol,
        "network": network,
        "task": task,
        "seeds": str(len(run.converged)),
        **{
            kind: [_mean(array[:, l], "{:.0f}") for l in range(array.shape[1])]
            for kind, array in kinds.items()
        },
        **{share: _mean(100 * array, "{:.1f}%") for share, array in shares.items()},
    }


def _rows(run: Run, kind: str) -> Array:
    total: Array = rows_by_layer(run.converged, kind).sum(1)
    return total


def _effective_share(run: Run) -> Array:
    width = _rows(run, "width")
    return _rows(run, "effective") / np.where(width > 0, width, 1)


def _range_of(runs: dict[str, Run], share: Callable[[Run], Array]) -> str:
    """From the lowest to the highest seed of all runs, in percent."""
    return _percents(np.concatenate([share(run) for run in runs.values()]))


def _percents(shares: Array) -> str:
    if not len(shares):
        return DASH
    low, high = (f"{100 * share:.0f}%" for share in (shares.min(), shares.max()))
    return low if low == high else f"{low} to {high}"


def _mean_shapes(runs: dict[str, Run]) -> dict[str, str]:
    """Of how many runs without skips the mean widths have the shape of claim 1; likewise seeds."""
    widths = [
        rows_by_layer(run.converged, "width")
        for name, run in runs.items()
        if name.split("-")[1] == "autoencoder" and len(run.converged)
    ]
    seeds = [seed for run in widths for seed in run]  # runs may differ in depth
    return {
        "runs": str(len(widths)),
        "means": str(sum(has_autoencoder_shape(run.mean(0)) for run in widths)),
        "seeds": str(len(seeds)),
        "single": str(sum(has_autoencoder_shape(seed) for seed in seeds)),
    }


def _mean(values: Any, form: str) -> str:
    mean = summarize(values).mean
    return DASH if mean is None else form.format(mean)


def _zero_skips(runs: dict[str, Run]) -> dict[str, str]:
    """How many skips there are, and under each protocol how many of a search are exactly zero."""
    found = {"all": DASH, **dict.fromkeys(PROTOCOLS, "not run")}
    for protocol in PROTOCOLS:
        counts: list[int] = []
        for task in TASKS:
            run = runs.get(f"{protocol}-residual-{task}")
            if run is not None:
                found["all"] = str(len(skip_names(depth(run.seeds))))
                counts += zero_skips(run).astype(int).tolist()
        if counts:
            low, high = min(counts), max(counts)
            found[protocol] = str(low) if low == high else f"{low} to {high}"
    return found


def _early(runs: dict[str, Run]) -> dict[str, str]:
    """How many of the rows that are dead in the end have died within the first epochs."""
    shares, epochs = [], set()
    for run in runs.values():
        history = run.history
        if history.empty:
            continue
        epoch = max(1, round(EARLY * int(history["epoch"].max())))
        total = depth(run.seeds) * PIXELS
        living = history.assign(living=rows_by_layer(history, "living").sum(1))
        then = living[living["epoch"] == epoch].set_index("seed")["living"]
        last = living.groupby("seed")["living"].last()
        dead = total - last[last < total]
        shares += list((total - then.loc[dead.index]) / dead)
        epochs.add(str(epoch))
    return {"epoch": " or ".join(sorted(epochs)) or DASH, "range": _percents(np.array(shares))}


def _pixels(project: Path) -> dict[str, str]:
    path = project / "data" / "manifest.json"
    content = read_json(path, "bregman-nas prepare")
    mnist = entry(content, path, "bregman-nas prepare", "datasets", "mnist")
    pixels = entry(mnist, path, "bregman-nas prepare", "pixels")
    return {
        "nonzero": f"{100 * pixels['nonzero_share']:.1f}%",
        "ever": str(pixels["ever_nonzero"]),
        "train": f"{mnist['train-images-idx3-ubyte']['items']:,}",
        "test": f"{mnist['t10k-images-idx3-ubyte']['items']:,}",
    }
