"""Figure 5, beyond the article: all active and living rows over the epochs."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bregman_nas.report.data import NETWORKS, PROTOCOLS, TASKS, Study, why_empty
from bregman_nas.report.figures.panels import KINDS, NAMES, draw_rows, seeds_in_words
from bregman_nas.report.figures.style import COLOURS, FULL_WIDTH, leave_empty
from bregman_nas.report.text import quoted


def draw(study: Study) -> Figure:
    """A row of panels for each protocol, a column for each network and task.

    Lines are medians over the seeds at the end of each epoch, bands reach from the lowest to the
    highest seed. The layers stand in figure 13.
    """
    experiments = [(network, task) for network in NETWORKS for task in TASKS]
    figure = Figure(figsize=(FULL_WIDTH, 3.6))
    grid = figure.subplots(len(PROTOCOLS), len(experiments), sharey=True)
    for protocol, row in zip(PROTOCOLS, grid, strict=True):
        for axes, (network, task) in zip(row, experiments, strict=True):
            run = study.run(protocol, f"{network}-{task}")
            if run is None or why_empty(run):
                axes.set_title(quoted(protocol), fontsize=7)
                leave_empty(axes, why_empty(run) or "")
                continue
            axes.set_title(f"{quoted(protocol)}, {seeds_in_words(run)}", fontsize=7)
            draw_rows(axes, run, COLOURS[protocol])
    for axes, (network, task) in zip(grid[0], experiments, strict=True):
        axes.set_title(f"{NAMES[network]},\n{task}\n{axes.get_title()}", fontsize=7)
    for axes in grid[:, 0]:
        if axes.has_data():
            axes.set_ylabel("rows of all layers")
    for axes in grid[-1]:
        if axes.has_data():
            axes.set_xlabel("epoch")
    figure.legend(handles=legend(), ncols=4, loc="outside lower center")
    return figure


def legend() -> list[Line2D | Patch]:
    """Of `draw_rows`."""
    return [
        *(Line2D([], [], color="black", ls=style, label=name) for name, style in KINDS.values()),
        Patch(color="0.8", label="range over the seeds (lines: median)"),
    ]
