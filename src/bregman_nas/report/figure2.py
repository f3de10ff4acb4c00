"""Figure 2: layer widths of the autoencoders."""

from pathlib import Path

from matplotlib.figure import Figure

from bregman_nas.report.panels import by_protocol_and_task, draw_widths, title
from bregman_nas.report.read import PIXELS, PROTOCOLS, TASKS
from bregman_nas.report.style import FULL_WIDTH

ARTICLE_OUTPUT = 0.65  # the article's share of rows in the output layer


def draw(project: Path) -> Figure:
    """Box plots of the widths, over the seeds, for both protocols and tasks."""
    figure = Figure(figsize=(FULL_WIDTH, 3.1))
    panels = figure.subplots(len(PROTOCOLS), len(TASKS)).flat
    runs = by_protocol_and_task(project, "autoencoder")
    for axes, (protocol, task, run) in zip(panels, runs, strict=True):
        axes.set_title(title(protocol, task, run))
        draw_widths(axes, run, protocol)
        if axes.has_data():
            height = ARTICLE_OUTPUT * PIXELS
            axes.axhline(height, color="black", linewidth=0.7, linestyle=":")
            axes.text(
                0.5,
                height,
                f"{ARTICLE_OUTPUT:.0%} of {PIXELS}, the article's output layer",
                fontsize=7,
                ha="left",
                va="bottom",
            )
    return figure
