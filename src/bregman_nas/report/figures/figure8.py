"""Figure 8, beyond the article: how many DenseNets grow in their first steps, and which."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bregman_nas.report.data import Study
from bregman_nas.report.figures.style import COLOURS, FULL_WIDTH, empty_figure
from bregman_nas.report.first_steps import OWN, Share, by_beginning, by_settings

ROW_HEIGHT = 0.17  # inches


def draw(study: Study) -> Figure:
    """Above the share of networks that grow, by setting; below by what they began with."""
    frame = study.first_steps
    if frame is None:
        return empty_figure("first steps of the DenseNet: not made")
    panels = {
        "by setting": by_settings(frame),
        "by what they begin with, settings of the study": by_beginning(
            frame[frame["start"] == OWN]
        ),
    }
    heights = [1 + len(shares) for shares in panels.values()]
    figure = Figure(figsize=(FULL_WIDTH, 0.6 + ROW_HEIGHT * sum(heights)))
    grid = figure.subplots(2, sharex=True, height_ratios=heights)
    for axes, (how, shares) in zip(grid, panels.items(), strict=True):
        axes.set_title(f"DenseNets that grow within {frame['steps'].iloc[0]} steps, {how}")
        draw_shares(axes, shares)
    grid[-1].set_xlabel("share that grows, and its exact 95% interval")
    return figure


def draw_shares(axes: Axes, shares: list[Share]) -> None:
    """A line for each group, from above: the share that grows, its interval, and the counts."""
    for row, share in enumerate(shares):
        axes.plot([share.low, share.high], [row, row], color=COLOURS["paper"])
        grow = share.grow / share.seeds
        axes.plot(grow, row, "o", color=COLOURS["paper"], markersize=4, clip_on=False)
        words = f"{share.grow} of {share.seeds}"
        words += f", {share.undecided} undecided" if share.undecided else ""
        axes.text(1.02, row, words, va="center", transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(shares)), [share.name for share in shares])
    axes.set(xlim=(0, 1), ylim=(len(shares) - 0.5, -0.5))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="x")
