"""All tables under results/: each is made from lines, or a frame, and a template."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from bregman_nas.errors import UserError
from bregman_nas.report import cells, changes, claims, findings, questions, table1, table2, variance
from bregman_nas.report.data import PIXELS, Study, readable
from bregman_nas.report.facts import facts
from bregman_nas.report.measures import collapsed, outputs
from bregman_nas.report.render import render
from bregman_nas.report.text import mean_std
from bregman_nas.settings import Settings

# Columns of whole numbers, some of which may be missing.
_COUNTS = ("seeds", "nan_seeds", "article_seeds", "pairs", "nan_pairs")
_TEMPLATES = (
    *("table1.md", "table1.tex", "table1-detailed.tex", "table2.md", "planned.md", "claims.md"),
    *("widths.md", "networks.md", "ablation.md", "variance.md", "questions.md"),
)
_SMALL = (
    *("run", "seed", "parameters_full", "parameters_small", "multiply_adds_full"),
    *("multiply_adds_small", "images", "difference_double", "difference_single"),
)


def present(study: Study) -> dict[str, Any]:
    """What the templates show, of the results as they are now."""
    losses, apart = table1.rows(study), variance.taken_apart(study)
    found: dict[str, Any] = {
        **{"losses": losses, "shown": table1.shown(losses), "facts": facts(study)},
        **{"decisions": claims.decide(study), "revised": claims.decide_revised(study)},
        **{"apart": apart, "designs": variance.designs(study), "cells": cells.cells(study)},
        **{"compared": table2.groups(study), "changed": changes.groups(study)},
        **{"outputs": list(outputs(study)), "tested": list(table1.tests(study)), "beside": _beside},
        **{"planned": list(_planned(study.settings)), "networks": list(_networks(study))},
        "own": [run.name for run in study.runs.values() if run.own],
        "runs": [run for run in study.perceptrons if run.converged],
    }
    found["questions"] = questions.ask(study, found)
    return found | {"findings": findings.findings(found)}


def render_all(study: Study) -> dict[str, str]:
    """The text of each table, by the name of its file; the same results give the same bytes."""
    shown = present(study)
    frames: dict[str, Any] = {
        "table1": shown["losses"],
        "table1-tests": shown["tested"],
        "table2": [{"of": g.of, **line.numbers()} for g in shown["compared"] for line in g.lines],
        "claims": claims.findings(shown["decisions"], shown["revised"]),
        "widths": widths(study),
        "networks": shown["networks"],
        "ablation": changes.rows(shown["changed"]),
        "cells": cells.rows(shown["cells"]),
        "variance": shown["apart"],
    }
    contents = {
        **{name: shown[name] for name in ("facts", "findings", "questions")},
        "table1": table1.as_json(shown["losses"]),
        "table2": table2.as_json(shown["compared"]),
        "metrics": table1.metrics(study),
        "claims": {
            "claims": claims.as_json(shown["decisions"]),
            "revised": {"claims": claims.as_json(shown["revised"])},
        },
    }
    return {
        **{f"{name}.csv": _csv(table) for name, table in frames.items()},
        **{
            f"{name}.json": json.dumps(content, indent=2, allow_nan=False) + "\n"
            for name, content in contents.items()
        },
        **{name: render(f"{name}.j2", **shown) for name in _TEMPLATES},
    }


def aggregate(study: Study) -> str:
    """Write all tables; returns a line that says so."""
    results, tables = study.project / "results", render_all(study)
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
            raise UserError(f"{path} does not match the results; run `bregman-nas aggregate`")


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
        with readable(path):
            flat = pd.json_normalize(json.loads(path.read_text("utf-8")), sep="_")
            (about,) = flat.rename(columns={"difference_images": "images"}).to_dict("records")
            line = {name: about[name] for name in _SMALL}
            run, digest = study.runs.get(line["run"]), about["record"]
        if run is not None and run.digests.get(line["seed"]) == digest:  # else: replaced since
            line["weights_committed"] = int(path.with_suffix(".safetensors").exists())
            yield {**line, "collapsed": int(collapsed(run)[run.seeds.index(line["seed"])])}


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
            found.setdefault(beginning, []).append(f"{name} {mean_std(one.value, one.std)}")
    return found


def _csv(table: pd.DataFrame | Iterable[Mapping[str, Any]]) -> str:
    frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame([*table])
    counts = {name: "Int64" for name in _COUNTS if name in frame}
    return frame.astype(counts).to_csv(index=False, lineterminator="\n")
