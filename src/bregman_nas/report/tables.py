"""All tables under results/: each is made from lines, or a frame, and a template."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from bregman_nas.errors import UserError
from bregman_nas.report import (
    cells,
    changes,
    claims,
    findings,
    questions,
    table1,
    table1_tests,
    table2,
    text,
    variance,
)
from bregman_nas.report.data import PIXELS, Study
from bregman_nas.report.facts import facts
from bregman_nas.report.measures import LAYERS, LINEAR_R2, collapsed, outputs
from bregman_nas.report.records import SmallNetwork, read
from bregman_nas.report.render import render
from bregman_nas.settings import Settings

# Columns of whole numbers, some of which may be missing.
_COUNTS = ("seeds", "nan_seeds", "article_seeds", "pairs", "nan_pairs")


def render_all(study: Study) -> dict[str, str]:
    """The text of each table, by the name of its file; the same results give the same bytes."""
    losses, tested = table1.rows(study), list(table1_tests.rows(study))
    decisions, revised = claims.decide(study), claims.decide_revised(study)
    compared, changed, crossed = table2.groups(study), changes.groups(study), cells.cells(study)
    apart, networks = variance.taken_apart(study), list(_networks(study))
    asked = questions.ask(study, apart, revised)
    in_table1 = {
        "rows": losses,
        "compact": table1.compact(losses),
        "fitted": table1.fitted(losses),
        "answers": table1.shown(losses),
        "tested": tested,
        "table1": table1,
        "tests": table1_tests,
    }
    told = facts(study)
    found = findings.findings(study, told, decisions, apart)
    return {
        "table1.csv": _csv(losses),
        "table1.json": _json(table1.as_json(losses)),
        "table1.md": render("table1.md.j2", **in_table1),
        "table1.tex": render("table1.tex.j2", **in_table1),
        "table1-detailed.tex": render("table1-detailed.tex.j2", **in_table1),
        "table1-tests.csv": _csv(tested),
        "table2.csv": _csv(table2.rows(compared)),
        "table2.json": _json(table2.as_json(compared)),
        "table2.md": render("table2.md.j2", groups=compared, finding=table2.finding(compared)),
        "planned.md": render("planned.md.j2", rows=list(_planned(study.settings))),
        "facts.json": _json(told),
        "findings.json": json.dumps(found, indent=2) + "\n",
        "metrics.json": _json(table1.metrics(study)),
        "claims.csv": _csv(claims.findings(decisions, revised)),
        "claims.json": _json(claims.as_json(decisions, revised)),
        "claims.md": render(
            "claims.md.j2", claims=claims, decisions=decisions, revised=revised, beside=_beside
        ),
        "widths.csv": _csv(widths(study)),
        "widths.md": render(
            "widths.md.j2",
            runs=[run for run in study.perceptrons if run.converged],
            outputs=list(outputs(study)),
        ),
        "networks.csv": _csv(networks),
        "networks.md": render("networks.md.j2", rows=networks),
        "ablation.csv": _csv(changes.rows(changed)),
        "ablation.md": render("ablation.md.j2", groups=changed, line=LINEAR_R2),
        "cells.csv": _csv(cells.rows(crossed)),
        "variance.csv": _csv(apart),
        "variance.md": render(
            "variance.md.j2",
            designs=variance.designs(study),
            apart=apart,
            cells=crossed,
            layers=range(1, LAYERS + 1),
        ),
        "questions.json": _json({one["name"]: one for one in asked}),
        "questions.md": render("questions.md.j2", questions=asked),
    }


def aggregate(study: Study) -> str:
    """Write all tables; returns a line that says so."""
    results = study.project / "results"
    tables = render_all(study)
    for name, content in tables.items():
        (results / name).write_text(content, encoding="utf-8", newline="\n")
    return f"{len(tables)} tables of {len(study.runs)} runs in {results}"


def check_current(study: Study) -> None:
    """Refuse tables on disk that are not of the present results.

    Raises:
        UserError: if one is missing or says something else.
    """
    for name, content in render_all(study).items():
        path = study.project / "results" / name
        if not path.is_file() or path.read_bytes() != content.encode():
            raise UserError(
                f"{path} is not of the present results; `bregman-nas aggregate` makes it"
            )


def widths(study: Study) -> pd.DataFrame:
    """One line for each run on MNIST, seed and layer, diverged seeds included.

    Columns: `run`; `seed`; `layer`, 0 for the input and then from 1; `width`, its active rows;
    `effective` and `living` rows, empty for the input; `added_by_hand`, 1 for the input, whose
    784 pixels are no result, else 0.
    """
    columns = ["run", "seed", "layer", "width", "effective", "living", "added_by_hand"]
    parts = [pd.DataFrame(columns=columns)]
    for run in study.perceptrons:
        layers = run.frames.layers
        last = layers[layers["epoch"] == run.last]
        wide = last.pivot(index=["seed", "layer"], columns="kind", values="rows").reset_index()
        wide = wide.rename(columns={"active": "width"}).assign(added_by_hand=0)
        by_hand = pd.DataFrame({"seed": run.seeds, "layer": 0, "width": PIXELS, "added_by_hand": 1})
        parts.append(pd.concat([by_hand, wide]).sort_values(["seed", "layer"]).assign(run=run.name))
    return pd.concat(parts)[columns].convert_dtypes()


def _networks(study: Study) -> Iterator[dict[str, Any]]:
    """A line for each small network that is described, ordered by run and seed."""
    for path in sorted((study.project / "results" / "networks").glob("*/seed-*.json")):
        about = read(path, SmallNetwork)
        run = study.runs.get(about.run)
        if run is None or run.digests.get(about.seed) != about.record:
            continue  # of a search that was replaced since
        lost = dict(zip(run.seeds, collapsed(run), strict=True))[about.seed]
        sizes = {"parameters": about.parameters, "multiply_adds": about.multiply_adds}
        yield {
            "run": about.run,
            "seed": about.seed,
            **{f"{kind}_{which}": n for kind, ns in sizes.items() for which, n in ns.items()},
            "images": int(about.difference["images"]),
            "difference_double": about.difference["double"],
            "difference_single": about.difference["single"],
            "weights_committed": int(path.with_suffix(".safetensors").exists()),
            "collapsed": int(lost),
        }


def _planned(settings: Settings) -> Iterator[dict[str, str]]:
    """The rows of params.yaml that have no seeds, or fewer than are planned."""
    for name in settings.names:
        run = settings.run(name)
        row = settings.arms.get(name) or settings.runs[name]
        if len(run.seeds) < (row.planned or 1):
            of = run.of or f"{settings.runs[name].protocol}, {settings.runs[name].experiment}"
            told = {"method": table2.METHODS[run.method], "change": changes.in_words(row.change)}
            seeds = f"{len(run.seeds)} of {row.planned or 'any'}"
            yield {"name": name, "of": of, "seeds": seeds, **told}


def _beside(decision: claims.Decision) -> dict[str, list[str]]:
    """What decides nothing: findings by how their names begin, up to the last comma."""
    found: dict[str, list[str]] = {}
    for one in decision.findings:
        if one.verdict is None:
            beginning, _, name = one.name.rpartition(", ")
            found.setdefault(beginning, []).append(f"{name} {text.mean_std(one.value, one.std)}")
    return found


def _csv(table: pd.DataFrame | Iterable[Mapping[str, Any]]) -> str:
    frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame([*table])
    counts = {name: "Int64" for name in _COUNTS if name in frame}
    return frame.astype(counts).to_csv(index=False, lineterminator="\n")


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
