"""The article: paper/numbers.json, with what no table has, and the PDF, which reads all of them."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typst

from bregman_nas.errors import UserError
from bregman_nas.report import changes, claims, table1, tables
from bregman_nas.report.claims.claim import ENOUGH_SEEDS, Measure
from bregman_nas.report.claims.training import active_share_of, dead_share
from bregman_nas.report.claims.widths import has_autoencoder_shape
from bregman_nas.report.data import PIXELS, PROTOCOLS, Run, Study
from bregman_nas.report.frames import skip_names
from bregman_nas.report.outcome import outcome, zero_skips
from bregman_nas.report.stats import summarize
from bregman_nas.report.text import DASH, fixed, interval, mean_std, span

SOURCE = "study.typ"
MADE_BY = "bregman-nas aggregate"
# A row that dies early has died within this share of the epochs.
EARLY = 0.1
# What the text says of changes: the measure, its name, and the digits of a difference.
TOLD = {
    "ten_mse": ("the loss", 5),
    "coding_width": ("the width of the narrowest hidden layer", 1),
    "skips_on": ("the number of skips that are not zero", 1),
    "largest_skip": ("the largest skip", 2),
}


def build(study: Study) -> str:
    """Write paper/numbers.json and paper/study.pdf; returns a line that says so.

    The same results give the same bytes: the PDF has no date (`paper/layout.typ` says so), and only
    the fonts that come with Typst are used.

    Raises:
        UserError: if there is no result to write of, a table is not of the present results, or the
            source has a mistake.
    """
    folder = study.project / "paper"
    tables.check_current(study)
    numbers = json.dumps(collect(study), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "numbers.json").write_text(f"{numbers}\n", encoding="utf-8", newline="\n")
    pdf = (folder / SOURCE).with_suffix(".pdf")
    pdf.write_bytes(render(study.project))
    return f"{pdf}, and its numbers in {folder / 'numbers.json'}"


def render(project: Path, **options: Any) -> bytes:
    """The article as it follows from the tables and paper/numbers.json, as PDF.

    Args:
        project: the repository.
        options: of `typst.compile`, for another format than PDF.
    """
    source = str(project / "paper" / SOURCE)
    options |= {"root": str(project), "ignore_system_fonts": True}
    try:
        try:
            return bytes(typst.compile(source, **options))
        except typst.TypstError as error:
            # Typst 0.15 fails to tag some layouts for screen readers, which depend on the numbers.
            if "internal error" not in error.diagnostic:
                raise
            return bytes(typst.compile(source, pdf_tags=False, **options))
    except typst.TypstError as error:
        raise UserError(
            f"the article cannot be built; its numbers and figures are made by `{MADE_BY}` and "
            f"`bregman-nas figures`. Typst says:\n{error.diagnostic.strip()}"
        ) from error


def collect(study: Study) -> dict[str, Any]:
    """The numbers of the article that are in no table, as text.

    Raises:
        UserError: if no restoration run has results.
    """
    runs = study.restoration
    if not runs:
        raise UserError(
            f"{study.project / 'results'} has no run on MNIST with seeds; the article is about "
            "those. `bregman-nas search` makes them"
        )
    own = [
        *runs,
        *(
            run
            for run in study.runs.values()
            if run.own and run.name not in {of.name for of in runs}
        ),
    ]
    effective = [_effective_share(run) for run in runs]
    return {
        **outcome(study, table1.rows(study), claims.decide(study)),
        "seeds": _seeds(own),
        "schedule": {p: schedule([run for run in runs if run.protocol == p]) for p in PROTOCOLS},
        "autoencoder_shape": _mean_shapes(run for run in runs if run.network == "autoencoder"),
        "widths": [_widths(run) for run in runs],
        "dead": {"range": _percents([dead_share(run) for run in runs])},
        "effective": {
            "range": _percents(effective),
            "all": all((share == 1).all() for share in effective),
        },
        "skips": _zero_skips([run for run in runs if run.network == "residual"]),
        "early": _early(runs),
        "cost": cost(own),
        "ablation": ablation(study),
    }


def _seeds(runs: Sequence[Run]) -> dict[str, Any]:
    counts = [len(run.seeds) for run in runs]
    each = span(counts, "{}")
    return {
        "searches": str(sum(counts)),
        "runs": str(len(runs)),
        "diverged": str(sum(run.diverged for run in runs)),
        "each": each,
        "words": f"{each} seed" if max(counts) == 1 else f"{each} seeds",
        "few": min(counts) < table1.ARTICLE_SEEDS,
    }


def schedule(runs: Sequence[Run]) -> dict[str, Any]:
    """In how many searches the schedule changed the learning rate, and when first; also by run."""
    changed = {run.name: first_changes(run) for run in runs}
    first = [epoch for found in changed.values() for epoch in found]
    return {
        "searches": str(sum(len(run.converged) for run in runs)),
        "changed": str(len(first)),
        "any": len(first) > 0,
        "first": str(min(first)) if first else DASH,
        "by_run": [
            {
                "run": run.name,
                "changed": str(len(changed[run.name])),
                "searches": str(len(run.converged)),
            }
            for run in runs
            if changed[run.name]
        ],
    }


def first_changes(run: Run) -> list[int]:
    """For each converged seed whose learning rate changed, the first epoch with another one."""
    epochs = run.frames.epochs[run.frames.epochs["seed"].isin(run.converged)]
    start = epochs.groupby("seed")["learning_rate"].transform("first")
    found = epochs[epochs["learning_rate"] != start].groupby("seed")["epoch"].min()
    return [int(epoch) for epoch in found]


def _mean_shapes(runs: Iterable[Run]) -> dict[str, str]:
    """Of how many runs the mean widths have the shape of claim 1; likewise the seeds."""
    widths = [run.rows() for run in runs if run.converged]
    seeds = [has_autoencoder_shape(seed) for of_run in widths for seed in of_run]
    return {
        "runs": str(len(widths)),
        "means": str(sum(has_autoencoder_shape(of_run.mean(0)) for of_run in widths)),
        "seeds": str(len(seeds)),
        "single": str(sum(seeds)),
    }


def _widths(run: Run) -> dict[str, Any]:
    """Means over the converged seeds of each layer's rows, and of their shares."""
    shares: dict[str, Measure] = {
        "effective_share": _effective_share,
        "active_share": active_share_of,
        "dead_share": dead_share,
    }
    rows = {"width": "active", "effective": "effective", "living": "living"}
    return {
        "protocol": run.protocol,
        "network": run.network,
        "task": run.task,
        "seeds": str(len(run.converged)),
        **{
            name: [fixed(summarize(of_layer).mean, 0) for of_layer in run.rows(kind).T]
            for name, kind in rows.items()
        },
        **{
            name: DASH if mean is None else f"{mean:.1f}%"
            for name, share in shares.items()
            for mean in [summarize(share(run), 100).mean]
        },
    }


def _effective_share(run: Run) -> Any:
    width = run.rows().sum(1)
    return run.rows("effective").sum(1) / np.where(width > 0, width, 1)


def _percents(shares: Iterable[Any]) -> str:
    """From the lowest to the highest seed of all runs."""
    return span(np.concatenate([np.zeros(0), *shares]), "{:.0%}")


def _zero_skips(runs: Sequence[Run]) -> dict[str, str]:
    """How many skips there are, and under each protocol how many of a search are exactly zero."""
    found = {"all": str(len(skip_names(runs[-1].depth))) if runs else DASH}
    for protocol in PROTOCOLS:
        counts = [zero_skips(run) for run in runs if run.protocol == protocol]
        found[protocol] = span(np.concatenate(counts), "{:.0f}") if counts else "not run"
    return found


def _early(runs: Iterable[Run]) -> dict[str, str]:
    """How many of the rows that are dead in the end have died within the first epochs."""
    shares, epochs = [], set()
    for run in runs:
        epoch = max(1, round(EARLY * run.last))
        then, last = (run.depth * PIXELS - run.rows("living", e).sum(1) for e in (epoch, None))
        shares.append(then[last > 0] / last[last > 0])
        epochs.add(str(epoch))
    return {"epoch": " or ".join(sorted(epochs)), "range": _percents(shares)}


def cost(runs: Iterable[Run]) -> dict[str, Any]:
    """Hours in all, minutes of a search for each run, and on what.

    Seeds in lockstep share the time of their batch evenly; `lockstep` says whether there are any.
    """
    by_run, machines, versions, lockstep, hours = [], set(), set(), False, 0.0
    for run in runs:
        costs = run.frames.costs
        minutes = costs["seconds"] / 60
        hours += minutes.sum() / 60
        machines |= set(zip(costs["processor"], costs["device"], strict=True))
        versions |= set(costs["torch"])
        lockstep |= bool(costs["lockstep"].any())
        told = {"mean": minutes.mean(), "least": minutes.min(), "most": minutes.max()}
        by_run.append(
            {
                "run": run.name,
                "searches": str(len(minutes)),
                **{name: f"{value:.1f}" for name, value in told.items()},
                "hours": f"{minutes.sum() / 60:.1f}",
            }
        )
    return {
        "hours": f"{hours:.1f}",
        "machines": [f"{processor} ({device})" for processor, device in sorted(machines)],
        "torch": sorted(versions),
        "lockstep": lockstep,
        "runs": by_run,
    }


def ablation(study: Study) -> dict[str, Any] | None:
    """The first experiment in which one choice was changed alone; None as long as none was.

    Returns:
        `pairs`: the fewest and the most pairs of seeds that a difference rests on, as text, and
        `enough`, whether any has the `ENOUGH_SEEDS` of an interval. `changes`: what is changed, by
        protocol. `still`: the changes that change no seed's loss at all, in any digit. `told`: for
        each of `TOLD` that was measured its name, how many differences have an interval, and those
        whose interval excludes zero.
    """
    group = next(iter(changes.groups(study)), None)
    if group is None:
        return None
    changed = [row for row in group.rows if row.row.change and len(row.numbers)]
    gaps = [row.gap("ten_mse") or summarize([]) for row in changed]
    pairs = [gap.used for gap in gaps]
    words: dict[str, list[str]] = {}
    for row in changed:
        words.setdefault(row.row.protocol, []).append(row.words)
    return {
        "experiment": group.experiment,
        "epoch": str(group.epoch),
        "changes": words,
        "rows": [_row(row) for row in group.rows],
        "pairs": span(pairs, "{}"),
        "one": set(pairs) == {1},
        "still": [
            {"protocol": row.row.protocol, "words": row.words}
            for row, gap in zip(changed, gaps, strict=True)
            if gap.used and not gap.finite.any()
        ],
        "enough": max(pairs) >= ENOUGH_SEEDS,
        "told": [_told(changed, measure) for measure in TOLD if measure in changed[0].numbers],
    }


def _told(changed: Sequence[changes.Row], measure: str) -> dict[str, Any]:
    name, digits = TOLD[measure]
    gaps = [(row, gap) for row in changed if (gap := row.gap(measure)) is not None]
    sure = [(row, gap) for row, gap in gaps if gap.used >= ENOUGH_SEEDS and gap.low is not None]
    return {
        "name": name,
        "intervals": str(len(sure)),
        "apart": [
            {
                "protocol": row.row.protocol,
                "words": row.words,
                "by": fixed(gap.mean, digits, sign=True),
                "interval": interval(gap.low, gap.high, digits),
            }
            for row, gap in sure
            if (gap.low or 0) * (gap.high or 0) > 0
        ],
    }


def _row(row: changes.Row) -> list[str]:
    """The cells of the article's table."""
    loss, gap = row.of("ten_mse"), row.gap("ten_mse")
    cells = [row.row.protocol, row.words]
    if loss is None:
        return [*cells, "not run", *[""] * 6]
    difference = "" if gap is None else mean_std(gap.mean, gap.std, 5, sign=True)
    if gap is not None and gap.std is not None:
        enough = gap.used >= ENOUGH_SEEDS
        difference += f"; {interval(gap.low, gap.high, 5) if enough else DASH}"
    shape = {"coding_width": 0, "skips_on": 1, "largest_skip": 2}
    counts = Counter(row.coding_layers)
    return [
        *cells,
        str(loss.seeds),
        mean_std(loss.mean, loss.std, 5),
        difference,
        *(row.shown(measure, digits) for measure, digits in shape.items()),
        ", ".join(f"{layer} ({count})" for layer, count in sorted(counts.items())) or DASH,
    ]
