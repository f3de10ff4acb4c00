"""Losses: of single digits, beside the article's and trivial answers, and against parameters."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter

from bregman_nas.report.data import DIGIT_ROWS, NETWORKS, PROTOCOLS, TASKS, WORDS, Array, Study
from bregman_nas.report.figures import panels
from bregman_nas.report.table1 import ANSWERS, ARTICLE, ARTICLE_UNIT
from bregman_nas.report.table2 import METHODS, Group, groups
from bregman_nas.report.text import NOT_RUN

DIGITS = 4
ROWS = ["clean", "input", "error", "autoencoder", "error", "residual\nautoencoder", "error"]
BLACK = 0.5  # errors of this size or larger are black
INPUT = "input_unchanged"
#: Answers that need no network.
TRIVIAL = (
    *("zero", "mean_image", INPUT, "rectified_input", "threshold", "lookup_table"),
    *("principal_components_100", "wiener_relu", "least_squares_relu"),
)
THEIRS, NO_NETWORK = "article", "No network"
#: Of `beside`: heading, name, task, colour, and the frame with `mse` and `dead` of each seed.
Line = tuple[str, str, str, str, pd.DataFrame]
LINE_HEIGHT = 0.15  # inches
GREY_LINES = {"input unchanged": "--", "best without a network": ":"}
COMPETITORS = ("proximal-adam", "pruned")
#: The colours of Okabe and Ito, and markers for who sees no colours.
PALETTE = ["#0072B2", "#009E73", "#D55E00", "#E69F00", "#000000", "#CC79A7", "#56B4E9"]
LOOKS = dict(zip(METHODS, zip(PALETTE, "os^vDP*", strict=True), strict=True))


def digits(study: Study) -> Figure:
    """For each protocol and task the same digits, restored by both networks.

    Below each row stand its errors, and the mean squared error of each digit in the unit of Table
    1. Both are of the picture: 256 greys, nothing below 0 or above 1. Shown is the lowest seed that
    both networks have, or the only network: with the seed the noise is the same.
    """
    cases = [*product(PROTOCOLS, TASKS)]
    figure, grid = panels.subplots(3.6, len(ROWS), len(cases), gridspec_kw={"hspace": 0})
    for column, (protocol, task) in zip(grid.T, cases, strict=True):
        runs = [study.run(protocol, f"{network}-{task}") for network in NETWORKS]
        seeds = [set(run.converged) for run in runs if run is not None and run.converged]
        seed = min(set.intersection(*seeds) or seeds[0]) if seeds else -1
        pictures = [None if run is None else run.picture(seed) for run in runs]
        first = next((picture for picture in pictures if picture is not None), None)
        title = f"{task.capitalize()}, {WORDS[protocol]}"
        column[0].set_title(title if first is None else f"{title}\n(seed {seed})")
        clean, given = (None, None) if first is None else first[:2]
        greys = [given, *(None if picture is None else picture[2] for picture in pictures)]
        _show(column[0], clean)
        shown = zip(column[1::2], column[2::2], greys, [None, *runs], strict=True)
        for above, below, grey, run in shown:
            _show(above, grey)
            _show(below, grey, clean)
            if grey is None and above is not column[1]:
                lost = "no picture" if run and run.converged else panels.DIVERGED
                panels.leave_empty(above, lost if run else NOT_RUN)
    labelled = next((column for column in grid.T if column[0].images), grid.T[0])
    for axes, name in zip(labelled, ROWS, strict=True):
        axes.set_yticks([DIGIT_ROWS / 2], [name])
    return figure


def _show(axes: Axes, grey: Array | None, clean: Array | None = None) -> None:
    """A row of digits, or its errors, if the clean digits are given."""
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if grey is None:
        return
    shown = grey[:, : DIGITS * DIGIT_ROWS] / 255
    if clean is not None:
        errors = shown - clean[:, : DIGITS * DIGIT_ROWS] / 255
        shown = 1 - np.minimum(np.abs(errors) / BLACK, 1)
        squares = (errors**2).reshape(DIGIT_ROWS, DIGITS, DIGIT_ROWS).mean((0, 2))
        places = DIGIT_ROWS * (np.arange(DIGITS) + 0.5)
        axes.set_xticks(places, [f"{error:.3f}" for error in ARTICLE_UNIT * squares], fontsize=6.5)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1)


def beside(study: Study) -> Figure:
    """A panel for each task, in it a line for each kind of network or answer.

    A point is a seed, a bar the geometric mean, a cross a network whose outputs are all 0.
    """
    lines = [*_networks(study), *_answers(study)]
    if not lines:
        return panels.empty_figure(f"losses: {NOT_RUN}")
    places: dict[tuple[str, str], int] = {}
    for heading, name, *_ in lines:
        for line in ("", *([] if heading == NO_NETWORK else [THEIRS]), name):
            places.setdefault((heading, line), len(places))
    figure, grid = panels.subplots(0.9 + LINE_HEIGHT * len(places), 1, len(TASKS), sharey=True)
    for axes, task in zip(grid, TASKS, strict=True):
        axes.set(title=task.capitalize(), xscale="log", xlabel=f"{panels.ERROR} of the test images")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        trivial = {}
        for heading, name, of, colour, networks in lines:
            if of == task:
                _draw_line(axes, places[heading, name], networks, colour)
                if heading == NO_NETWORK:
                    trivial[name] = ARTICLE_UNIT * networks["mse"].mean()
        for network, heading in panels.NAMES.items():
            if (heading, THEIRS) in places:
                number, place = ARTICLE[network, task], places[heading, THEIRS]
                axes.errorbar(number.mean, place, xerr=number.std, fmt="kD", markersize=3.5)
        if trivial:
            errors = (trivial[ANSWERS[INPUT]], min(trivial.values()))
            for error, style in zip(errors, GREY_LINES.values(), strict=True):
                axes.axvline(error, color="0.5", linewidth=0.8, linestyle=style, zorder=0)
    grid[0].set(ylim=(len(places) - 0.5, -0.5))
    grid[0].set_yticks([*places.values()], [name or heading for heading, name in places])
    for label, (_, name) in zip(grid[0].get_yticklabels(), places, strict=True):
        label.set_fontweight("normal" if name else "bold")
    handles = [
        Line2D([], [], color="black", marker="D", markersize=3.5, label="article (std)"),
        Line2D([], [], color="0.35", ls="", marker="o", markersize=2.5, label="seed"),
        Line2D([], [], color="0.35", ls="", marker="|", ms=9, mew=1.8, label="geometric mean"),
        *(Line2D([], [], color="0.5", lw=0.8, ls=s, label=name) for name, s in GREY_LINES.items()),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _networks(study: Study) -> Iterator[Line]:
    arms = {group.of: group.lines[1:] for group in groups(study)}
    for network, protocol, task in product(panels.NAMES, PROTOCOLS, TASKS):
        run = study.run(protocol, f"{network}-{task}")
        if run is None:
            continue
        plain = [arm for arm in arms.get(run.name, []) if not arm.change and len(arm.networks)]
        made = {"search": run.frames.networks, **{arm.method: arm.networks for arm in plain}}
        for method, networks in made.items():
            name = f"{WORDS[protocol]}, {METHODS[method]}"
            yield panels.NAMES[network], name, task, panels.COLOURS[protocol], networks


def _answers(study: Study) -> Iterator[Line]:
    """Both protocols and networks are given the same images: those of the first run."""
    for run in {run.task: run for run in reversed(study.restoration)}.values():
        for answer in TRIVIAL:
            errors = run.scores("test", answer)[["mse"]]
            if len(errors):
                yield NO_NETWORK, ANSWERS[answer], run.task, "0.35", errors.assign(dead=False)


def _draw_line(axes: Axes, place: int, networks: pd.DataFrame, colour: str) -> None:
    errors, dead = ARTICLE_UNIT * networks["mse"], networks["dead"].astype(bool)
    for chosen, marker in ((errors[~dead], "o"), (errors[dead], "x")):
        axes.plot(chosen, [place] * len(chosen), marker, color=colour, markersize=2.5)
    mean = np.exp(np.log(errors[np.isfinite(errors)]).mean())
    axes.plot(mean, place, "|", color=colour, markersize=9, markeredgewidth=1.8)


def against_parameters(study: Study) -> Figure:
    """A panel for each run with competitors: points as in `beside`.

    A line joins the mu of a method; it goes through the geometric means, which are larger, and
    hollow where there is one seed.
    """
    found = [
        group
        for group in groups(study)
        if any((of.change or of.method in COMPETITORS) and len(of.networks) for of in group.lines)
    ]
    if not found:
        return panels.empty_figure("no other way to a small network has been tried yet")
    figure, grid = panels.subplots(2.35, 1, len(found), squeeze=False)
    for axes, group in zip(grid.flat, found, strict=True):
        row = study.settings.runs[group.of]
        axes.set(xlabel="parameters, in millions", ylabel=panels.ERROR)
        others = [of["mse"].mean() for *_, task, _, of in _answers(study) if task in row.experiment]
        best = f"; best without a network: {ARTICLE_UNIT * min(others):.3f}" if others else ""
        axes.set_title(panels.name_of(row.protocol, row.experiment) + best)
        mu = study.settings.experiments[row.experiment].mu
        for method in METHODS:
            _draw_method(axes, group, method, f"{mu:g}")
        axes.margins(x=0.08, y=0.2)
    legends = (zip(*axes.get_legend_handles_labels(), strict=True) for axes in figure.axes)
    handles = {label: handle for of_axes in legends for handle, label in of_axes}
    look: dict[str, Any] = {"ncols": len(handles), "columnspacing": 0.9, "handletextpad": 0.3}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", **look)
    return figure


def _draw_method(axes: Axes, group: Group, method: str, mu: str) -> None:
    """The networks of a method; `mu` is that of the group's run."""
    means, (colour, marker) = [], LOOKS[method]
    for line in group.lines:
        if line.method != method:
            continue
        networks = line.networks[["parameters", "mse", "dead"]].astype(float)
        networks = networks[(networks["parameters"] > 0) & np.isfinite(networks["mse"])]
        for dead, of_kind in ((0, marker), (1, "x")):
            x, y, _ = networks[networks["dead"] == dead].to_numpy().T
            axes.plot(x / 1e6, ARTICLE_UNIT * y, of_kind, color=colour, markersize=3, alpha=0.6)
        if len(networks):
            x, y = np.exp(np.log(networks[["parameters", "mse"]]).mean())
            means.append((x / 1e6, ARTICLE_UNIT * y, line.change.removeprefix("mu ") or mu))
            if len(networks) == 1:
                axes.plot(*means[-1][:2], marker, color=colour, markerfacecolor="white", zorder=3)
    if means:
        name = "AdaBreg, searched" if method == "search" else METHODS[method]
        x, y, mus = zip(*sorted(means), strict=True)
        axes.plot(x, y, label=name, color=colour, marker=marker, markersize=6)
        for place, one in enumerate(mus if method in ("search", "proximal-adam") else ()):
            look: dict[str, Any] = {"xytext": (0, -11), "textcoords": "offset points"}
            look["zorder"] = 1.5  # behind the points
            look["path_effects"] = [withStroke(linewidth=2, foreground="white")]
            look["ha"] = "center" if place else "right"  # of the first, beside the line
            axes.annotate(rf"$\mu={one}$", (x[place], y[place]), fontsize=6, color=colour, **look)
