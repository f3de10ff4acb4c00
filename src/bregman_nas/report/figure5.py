"""Figure 5, beyond the article: active and living rows over the epochs (inverse scale space)."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from bregman_nas.report.panels import quoted
from bregman_nas.report.read import (
    NETWORKS,
    PIXELS,
    PROTOCOLS,
    TASKS,
    Run,
    depth,
    read_run,
    why_empty,
)
from bregman_nas.report.style import COLOURS, FULL_WIDTH, leave_empty

KINDS = {"width": ("active rows", "-"), "living": ("living rows", "--")}
GRID = {"left": 0.06, "right": 0.985, "bottom": 0.075, "top": 0.865, "wspace": 0.1, "hspace": 0.33}
NAMES = {"autoencoder": "Autoencoder", "residual": "Residual autoencoder"}


def draw(project: Path) -> Figure:
    """A row for each network and task, a panel for each layer, both protocols in each.

    Lines are medians over the seeds at the end of each epoch, bands reach from the lowest to the
    highest seed.
    """
    experiments = [(network, task) for network in NETWORKS for task in TASKS]
    runs = {
        (network, task): {p: read_run(project, p, f"{network}-{task}") for p in PROTOCOLS}
        for network, task in experiments
    }
    found = [run for of_task in runs.values() for run in of_task.values() if run is not None]
    layers = max((depth(run.seeds) for run in found), default=1)
    figure = Figure(figsize=(FULL_WIDTH, 4.7))
    figure.set_layout_engine("none")  # the grid is regular, and leaves place for what is written
    grid = figure.subplots(len(experiments), layers, sharey="row", squeeze=False, gridspec_kw=GRID)
    for panels, (network, task) in zip(grid, experiments, strict=True):
        _draw_strip(panels, f"{NAMES[network]}, {task}", runs[network, task])
    for layer, column in enumerate(grid.T, start=1):
        column[0].annotate(
            f"layer {layer}" if layer < layers else f"layer {layer} (output)",
            (0.5, 1),
            xytext=(0, 18),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            fontsize=8,
            annotation_clip=False,
        )
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
        f"{quoted(protocol)}: {'not run' if run is None else run.seeds_in_words}"
        for protocol, run in runs.items()
    )
    panels[0].annotate(
        f"{name} ({'; '.join(seeds)})",
        (0, 1),
        xytext=(0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8,
        annotation_clip=False,
    )
    for layer, axes in enumerate(panels, start=1):
        for protocol, run in shown.items():
            if layer <= depth(run.seeds):
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
    for kind, (_, linestyle) in KINDS.items():
        by_epoch = run.history.groupby("epoch")[f"{kind}_{layer}"].agg(["median", "min", "max"])
        colour = COLOURS[protocol]
        axes.fill_between(
            by_epoch.index, by_epoch["min"], by_epoch["max"], color=colour, alpha=0.2, linewidth=0
        )
        axes.plot(by_epoch.index, by_epoch["median"], color=colour, linestyle=linestyle)


def _legend() -> list[Line2D | Patch]:
    return [
        *(Line2D([], [], color=colour, label=quoted(name)) for name, colour in COLOURS.items()),
        *(Line2D([], [], color="black", ls=style, label=name) for name, style in KINDS.values()),
        Patch(color="0.8", label="range over the seeds (lines: median)"),
    ]
