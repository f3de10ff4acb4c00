"""docs/page.html: each search alone, in one file that needs no network.

The numbers are rounded, and kept after some of the epochs only, so that the file stays small.
"""

import base64
import io
import json
import math
from collections.abc import Iterable
from typing import Any

import altair as alt
import numpy as np
import vl_convert
from PIL import Image

from bregman_nas.atomic import write_atomically
from bregman_nas.report.changes import in_words
from bregman_nas.report.data import WORDS, Array, Run, Study
from bregman_nas.report.render import render
from bregman_nas.report.table1 import ANSWERS, ARTICLE_UNIT

EACH_UNTIL, THEN = 10, 10  # epochs that are shown: each of the first, then at most so many
GREYS = 16  # of the digits that the networks restore, and that they are given
NAMES = ANSWERS | {"network": "this network"}
COLOURS = ["#0072B2", "#D55E00"]
SMALL: dict[str, Any] = {"width": 128, "height": 110}
LARGE: dict[str, Any] = {"width": 330, "height": 260}
ERROR = f"{ARTICLE_UNIT} times the mean squared error per pixel"
#: Of a perceptron, and of a DenseNet: the titles of the counts, the errors and the curves.
TITLES = (
    {"groups": "Active and living rows of each layer"}
    | {"measure": f"{ERROR} of the test images", "loss": ERROR},
    {"groups": "Active kernels and living channels of each convolution"}
    | {"measure": "Share of the test images misclassified", "loss": "Cross-entropy"},
)


def build(study: Study) -> str:
    """Write docs/page.html; returns a line that says so. The same results give the same bytes."""
    path = study.project / "docs" / "page.html"
    write_atomically(path, page(study).encode())
    return f"wrote {path}"


def page(study: Study) -> str:
    """The page, with all that it needs; in it, answers are numbers of their names."""
    shown, answers = results(study), [*NAMES.values()]
    for seed in (seed for run in shown["runs"] for seed in run["seeds"]):
        seed["answer"] = [answers.index(name) for name in seed["answer"]]
    specs = {name: chart.to_dict() for name, chart in charts().items()}
    parts = {"charts": specs, "results": {**shown, "answers": answers}}
    return render("page.html.j2", vega=vega(), **{k: _json(part) for k, part in parts.items()})


def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, of the version that Altair writes for."""
    version = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)
    return script.strip()


def charts() -> dict[str, alt.TopLevelMixin]:
    """By name, of data `search` with one row, a run and its seed; `epoch` is a parameter."""
    data = alt.NamedData("search")
    search, epoch = alt.Chart(data), alt.param("epoch", value=1)
    at_epoch, over_epochs = "datum.epoch == epoch", alt.X("epoch:Q", title="epoch")

    def curves(chart: alt.Chart, kinds: list[str], y: alt.Y) -> tuple[Any, Any]:
        """A line at the epoch, and a curve of each kind."""
        look: dict[str, Any] = {"title": None, "legend": alt.Legend(orient="top", symbolSize=300)}
        now = chart.transform_filter(at_epoch).mark_rule(color="#999").encode(x=over_epochs)
        lines = chart.transform_fold([*kinds], as_=["kind", "value"]).mark_line()
        return now, lines.encode(
            x=over_epochs,
            y=y,
            color=alt.Color("kind:N", **look).scale(domain=kinds, range=COLOURS),
            strokeDash=alt.StrokeDash("kind:N", **look).scale(domain=kinds),
            tooltip=["epoch:Q", "kind:N", "value:Q"],
        )

    layer, number = alt.Chart(), alt.Y("value:Q", title=None)
    told = "datum.active + ' active, ' + datum.living + ' living'"
    counts = layer.transform_filter(at_epoch).transform_calculate(told=told)
    counts = counts.mark_text(y=-6, color="#333")
    counts = counts.encode(x=alt.value(SMALL["width"] / 2), text="told:N")
    by_place = alt.EncodingSortField("place", op="min")
    rows = (
        alt.layer(*curves(layer, ["active", "living"], number), counts, data=data)
        .properties(**SMALL)
        .facet(column=alt.Column("layer:N", sort=by_place, title=None))
        .transform_flatten(["place", "layer", "active", "living"])
        .transform_flatten(["epoch", "active", "living"])
    )

    size = alt.Scale(type="symlog", constant=0.05, domain=[-1, 1], scheme="redblue", clamp=True)
    matrix = search.transform_flatten(["from", "into", "tau"]).transform_flatten(["epoch", "tau"])
    matrix = matrix.transform_filter(at_epoch).encode(
        x=alt.X("from:O", title="from layer (0: input)", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("into:O", title="into layer"),
    )
    skips = alt.layer(
        matrix.mark_rect(stroke="#bbb").encode(color=alt.Color("tau:Q", scale=size, title="skip")),
        matrix.mark_text().encode(
            text=alt.condition("datum.tau == 0", alt.value("0"), alt.Text("tau:Q", format=".2f")),
            color=alt.condition("abs(datum.tau) > 0.3", alt.value("white"), alt.value("black")),
            tooltip=["from:O", "into:O", "tau:Q"],
        ),
    )

    kinds = ["images trained on", "images held out"]
    log = alt.Y("value:Q", title=None).scale(type="log", nice=False).axis(format="~g")
    best = search.transform_filter("isValid(datum.best)").encode(y="best:Q")
    losses = alt.layer(
        best.mark_rule(strokeDash=[2, 2]),
        best.mark_text(align="right").encode(
            x=alt.value("width"), y=alt.value(10), text="best_name:N"
        ),
        *curves(search.transform_flatten(["epoch", *kinds]), kinds, log),
    )

    is_network, order = "datum.answer == 'this network'", alt.EncodingSortField("error")
    error = alt.X("error:Q", title=None, axis=alt.Axis(format="~g", labelSeparation=8))
    dots = search.transform_flatten(["answer", "error"]).transform_filter("isValid(datum.error)")
    dots = dots.encode(
        x=error.scale(type="log", padding=30),
        y=alt.Y("answer:N", sort=order, title=None, axis=alt.Axis(labelLimit=350)),
        color=alt.condition(is_network, alt.value(COLOURS[0]), alt.value("#777")),
    )
    answers = alt.layer(
        dots.mark_point(filled=True, size=70),
        dots.mark_text(align="left", dx=8).encode(text=alt.Text("error:Q", format=".3~g")),
    )
    return {
        "rows": rows.add_params(epoch),
        "skips": skips.properties(**LARGE).add_params(epoch),
        "losses": losses.properties(**LARGE).add_params(epoch),
        "answers": answers.properties(**{**LARGE, "width": 270}),
    }


def results(study: Study) -> dict[str, Any]:
    """The seeds by run, and the pictures, of which each seed has the numbers.

    What all seeds of a run share stands at the run, and a picture that several seeds share is kept
    once: a row of digits as PNG in base64. Of a seed they are clean, degraded, restored.
    """
    pictures: dict[str, int] = {}
    runs = [_run(run, pictures) for run in study.runs.values()]
    return {"runs": runs, "pictures": list(pictures)}


def _run(run: Run, pictures: dict[str, int]) -> dict[str, Any]:
    dense = not run.frames.kernels.empty
    layers = [f"layer {l}" for l in range(1, run.depth)]
    names = ["first convolution", *layers[:-1], "last convolution"]
    skips = run.frames.skips[["l", "i"]].drop_duplicates().sort_values(["l", "i"])
    stride, last = max(EACH_UNTIL, run.last // THEN), run.last
    epochs = [e for e in range(1, last + 1) if e <= EACH_UNTIL or e % stride == 0 or e == last]
    return {
        "name": run.name,
        "protocol": WORDS[run.protocol],
        "experiment": run.row.experiment,
        "change": in_words(run.row.change) or "nothing",
        **TITLES[dense],
        "epoch": epochs,
        "layer": names if dense else [*layers, f"layer {run.depth} (output)"],
        "place": list(range(run.depth)),
        "from": skips["i"].tolist(),
        "into": (skips["l"] + 1).tolist(),
        "seeds": [_seed(run.only([seed]), seed, epochs, pictures) for seed in run.seeds],
    }


def _seed(run: Run, seed: int, epochs: list[int], pictures: dict[str, int]) -> dict[str, Any]:
    """The numbers of a run that has this seed alone."""
    curves = run.frames.epochs.set_index("epoch").loc[epochs]
    counts = run.frames.layers.pivot(index=["kind", "layer"], columns="epoch", values="rows")
    skips = run.frames.skips.pivot(index=["l", "i"], columns="epoch", values="tau")
    losses = run.frames.losses[run.frames.losses["answer"].isin(NAMES)]
    by_answer = losses.set_index("answer")
    errors = (ARTICLE_UNIT * by_answer["mse"]).fillna(1 - by_answer["accuracy"])
    unit = ARTICLE_UNIT if run.frames.kernels.empty else 1
    of = losses["images"].to_numpy()
    found: dict[str, Any] = {
        "seed": seed,
        "images trained on": _rounded(unit * curves["train_loss"], 3),
        "images held out": _rounded(unit * curves["held_out_loss"], 3),
        **{k: counts.loc[k, epochs].astype(int).to_numpy().tolist() for k in ("active", "living")},
        "tau": [_rounded(skip, 2) for skip in skips.reindex(columns=epochs).to_numpy()],
        "answer": [NAMES[str(answer)] for answer in errors[of == "test"].index],
        "error": _rounded(errors[of == "test"], 4),
    }
    best = errors[of == "held_out"].drop("network")
    if len(best) and run.frames.kernels.empty:  # a classifier's curves are of another measure
        (least,) = _rounded([best.min()], 4)
        found |= {"best": least, "best_name": f"dotted: {NAMES[str(best.idxmin())]}, held out"}
    picture = run.picture(seed)
    rows = [] if picture is None else map(_png, picture)
    return found | {"digits": [pictures.setdefault(row, len(pictures)) for row in rows]}


def _rounded(values: Iterable[float], digits: int) -> list[float | None]:
    """To so many digits that mean something, so that no skip that is on becomes 0; no NaN."""
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in values]


def _png(grey: Array) -> str:
    levels = np.round(grey / 255 * (GREYS - 1)).astype(np.uint8)
    image, file = Image.fromarray(levels, "P"), io.BytesIO()
    image.putpalette(np.linspace(0, 255, GREYS).astype(np.uint8).repeat(3).tobytes())
    image.save(file, "PNG", optimize=True, bits=4)
    return base64.b64encode(file.getvalue()).decode()


def _json(content: object) -> str:
    """For a script of a page: its one mark that would end the script is written otherwise."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
