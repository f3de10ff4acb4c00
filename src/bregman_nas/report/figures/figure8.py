"""Figure 8, beyond the article: how many DenseNets grow in their first steps, and which."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bregman_nas.report.data import Study
from bregman_nas.report.figures.style import COLOURS, FULL_WIDTH, leave_empty
from bregman_nas.report.first_steps import OWN, Share, by_beginning, by_settings

ROW_HEIGHT = 0.22  # inches


def draw(study: Study) -> Figure:
    """Left the share of networks that grow, by setting; right by what they began with."""
    frame = study.first_steps
    if frame is None:
        figure = Figure(figsize=(FULL_WIDTH, 0.6))
        leave_empty(figure.subplots(), "first steps of the DenseNet: not made")
        return figure
    panels = [by_settings(frame), by_beginning(frame[frame["start"] == OWN])]
    height = 0.6 + ROW_HEIGHT * max(map(len, panels))
    figure = Figure(figsize=(FULL_WIDTH, height))
    for axes, shares in zip(figure.subplots(1, 2), panels, strict=True):
        draw_shares(axes, shares)
    steps = frame["steps"].iloc[0]
    figure.suptitle(f"DenseNets that grow within {steps} steps, with exact 95% intervals")
    return figure


def draw_shares(axes: Axes, shares: list[Share]) -> None:
    """A line for each group, from above: the share that grows, its interval, and the counts."""
    for row, share in enumerate(shares):
        axes.plot([share.low, share.high], [row, row], color=COLOURS["authors"])
        grow = share.grow / share.seeds
        axes.plot(grow, row, "o", color=COLOURS["authors"], markersize=4, clip_on=False)
        words = f"{share.grow} of {share.seeds}"
        words += f", {share.undecided} undecided" if share.undecided else ""
        axes.text(1.04, row, words, va="center", transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(shares)), [share.name for share in shares])
    axes.set(xlim=(0, 1), ylim=(len(shares) - 0.5, -0.5), xlabel="share that grows")
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="x")
