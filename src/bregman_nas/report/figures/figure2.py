"""Figure 2: layer widths of the autoencoders."""

from matplotlib.figure import Figure

from bregman_nas.report.data import PIXELS, PROTOCOLS, TASKS, Study
from bregman_nas.report.figures.panels import by_protocol_and_task, draw_widths, title
from bregman_nas.report.figures.style import FULL_WIDTH

ARTICLE_OUTPUT = 0.65  # the article's share of rows in the output layer


def draw(study: Study) -> Figure:
    """Box plots of the widths, over the seeds, for both protocols and tasks."""
    figure = Figure(figsize=(FULL_WIDTH, 3.1))
    panels = figure.subplots(len(PROTOCOLS), len(TASKS)).flat
    runs = by_protocol_and_task(study, "autoencoder")
    for axes, (protocol, task, run) in zip(panels, runs, strict=True):
        axes.set_title(title(protocol, task, run))
        draw_widths(axes, run, protocol)
        if axes.has_data():
            height = ARTICLE_OUTPUT * PIXELS
            axes.axhline(height, color="black", linewidth=0.7, linestyle=":")
            words = f"{ARTICLE_OUTPUT:.0%} of {PIXELS}, the article's output layer"
            axes.text(0.5, height, words, fontsize=7, ha="left", va="bottom")
    return figure
