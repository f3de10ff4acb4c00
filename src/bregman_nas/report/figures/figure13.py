"""Figure 13, beyond the article: active and living rows of each layer over the epochs."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bregman_nas.report.data import NETWORKS, PROTOCOLS, TASKS, Study
from bregman_nas.report.figures.figure5 import legend
from bregman_nas.report.figures.panels import draw_rows
from bregman_nas.report.figures.style import COLOURS, FULL_WIDTH, leave_empty
from bregman_nas.report.text import NOT_RUN, quoted


def draw(study: Study) -> Figure:
    """A row for each network and task, a panel for each layer, both protocols in each."""
    experiments = [(network, task) for network in NETWORKS for task in TASKS]
    layers = max((run.depth for run in study.restoration), default=1)
    figure = Figure(figsize=(FULL_WIDTH, 5))
    grid = figure.subplots(len(experiments), layers, sharex=True, sharey=True, squeeze=False)
    for panels, (network, task) in zip(grid, experiments, strict=True):
        runs = {protocol: study.run(protocol, f"{network}-{task}") for protocol in PROTOCOLS}
        for layer, axes in enumerate(panels, start=1):
            for protocol, run in runs.items():
                if run is not None and run.converged and layer <= run.depth:
                    draw_rows(axes, run, COLOURS[protocol], layer)
            if not axes.has_data():
                leave_empty(axes, NOT_RUN if not any(runs.values()) else "all seeds diverged")
        panels[0].set_ylabel(f"{network.capitalize()},\n{task}: rows")
    for layer, axes in enumerate(grid[0], start=1):
        axes.set_title(f"layer {layer}" if layer < layers else f"layer {layer} (output)")
    figure.supxlabel("epoch", fontsize=7.5)
    colours = [Line2D([], [], color=c, label=quoted(name)) for name, c in COLOURS.items()]
    figure.legend(handles=[*colours, *legend()], ncols=5, loc="outside upper center")
    return figure
