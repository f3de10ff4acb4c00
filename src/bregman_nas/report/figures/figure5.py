"""Figure 5, beyond the article: active and living rows over the epochs (inverse scale space)."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from bregman_nas.report.data import NETWORKS, PIXELS, PROTOCOLS, TASKS, Run, Study, why_empty
from bregman_nas.report.figures.panels import seeds_in_words
from bregman_nas.report.figures.style import COLOURS, FULL_WIDTH, leave_empty
from bregman_nas.report.text import NOT_RUN, quoted

KINDS = {"active": ("active rows", "-"), "living": ("living rows", "--")}
GRID = {"left": 0.06, "right": 0.985, "bottom": 0.075, "top": 0.865, "wspace": 0.1, "hspace": 0.33}
ABOVE: dict[str, Any] = {
    "xycoords": "axes fraction",
    "textcoords": "offset points",
    "fontsize": 8,
    "annotation_clip": False,
}
NAMES = {"autoencoder": "Autoencoder", "residual": "Residual autoencoder"}


def draw(study: Study) -> Figure:
    """A row for each network and task, a panel for each layer, both protocols in each.

    Lines are medians over the seeds at the end of each epoch, bands reach from the lowest to the
    highest seed.
    """
    experiments = [(network, task) for network in NETWORKS for task in TASKS]
    runs = {
        (network, task): {p: study.run(p, f"{network}-{task}") for p in PROTOCOLS}
        for network, task in experiments
    }
    found = [run for of_task in runs.values() for run in of_task.values() if run is not None]
    layers = max((run.depth for run in found), default=1)
    figure = Figure(figsize=(FULL_WIDTH, 4.7))
    figure.set_layout_engine("none")  # the grid is regular, and leaves place for what is written
    grid = figure.subplots(len(experiments), layers, sharey="row", squeeze=False, gridspec_kw=GRID)
    for panels, (network, task) in zip(grid, experiments, strict=True):
        _draw_strip(panels, f"{NAMES[network]}, {task}", runs[network, task])
    for layer, column in enumerate(grid.T, start=1):
        name = f"layer {layer}" if layer < layers else f"layer {layer} (output)"
        column[0].annotate(name, (0.5, 1), (0, 18), ha="center", **ABOVE)
        drawn = [axes for axes in column if axes.has_data()]
        for axes in drawn[:-1]:
            axes.tick_params(labelbottom=False)
        for axes in drawn[-1:]:
            axes.set_xlabel("epoch")
    figure.legend(handles=_legend(), ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _draw_strip(panels: Sequence[Axes], name: str, runs: dict[str, Run | None]) -> None:
    shown = {p: run for p, run in runs.items() if run is not None and not why_empty(run)}
    seeds = (
        f"{quoted(protocol)}: {NOT_RUN if run is None else seeds_in_words(run)}"
        for protocol, run in runs.items()
    )
    panels[0].annotate(f"{name} ({'; '.join(seeds)})", (0, 1), (0, 5), **ABOVE)
    for layer, axes in enumerate(panels, start=1):
        for protocol, run in shown.items():
            if layer <= run.depth:
                _draw_layer(axes, run, protocol, layer)
        if not axes.has_data():
            leave_empty(axes, "" if shown else why_empty(next(iter(runs.values()))) or "")
            continue
        axes.set(ylim=(0, 1.02 * PIXELS), yticks=range(0, PIXELS + 1, 196))
        axes.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10], integer=True))
        axes.grid(axis="y")
    if shown:
        panels[0].set_ylabel("rows")


def _draw_layer(axes: Axes, run: Run, protocol: str, layer: int) -> None:
    frame = run.frames.layers
    frame = frame[(frame["layer"] == layer) & frame["seed"].isin(run.converged)]
    for kind, (_, linestyle) in KINDS.items():
        of_kind = frame[frame["kind"] == kind].groupby("epoch")["rows"]
        by_epoch, colour = of_kind.agg(["median", "min", "max"]), COLOURS[protocol]
        ends = (by_epoch["min"], by_epoch["max"])
        axes.fill_between(by_epoch.index, *ends, color=colour, alpha=0.2, linewidth=0)
        axes.plot(by_epoch.index, by_epoch["median"], color=colour, linestyle=linestyle)


def _legend() -> list[Line2D | Patch]:
    return [
        *(Line2D([], [], color=colour, label=quoted(name)) for name, colour in COLOURS.items()),
        *(Line2D([], [], color="black", ls=style, label=name) for name, style in KINDS.values()),
        Patch(color="0.8", label="range over the seeds (lines: median)"),
    ]
