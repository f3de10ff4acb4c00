"""How many DenseNets grow in their first steps, from `results/first_steps.csv`."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from bregman_nas.report.stats import share_interval

OWN = "authors"  # the start of the protocol's own run
COLUMNS = (
    *("start", "density", "initial_scale", "logits", "first_moment", "seed"),
    *("path", "last_bias", "firing_0", "steps", "outcome"),
)


@dataclass(frozen=True)
class Share:
    """How many networks of a group grow, and the exact 95% interval of their share.

    Those that `grow` have more active kernels after the last step than before the first. The last
    ReLU of those that are `dead` passes nothing then.
    """

    name: str
    seeds: int
    grow: int
    dead: int
    low: float
    high: float

    @property
    def undecided(self) -> int:
        """Those that neither grow nor are dead."""
        return self.seeds - self.grow - self.dead


def shares(frame: pd.DataFrame, names: pd.Series) -> Iterator[Share]:
    """The share of each group in the order of first appearance; `names` has each row's group."""
    for name in names.unique():
        outcomes = frame.loc[names == name, "outcome"]
        grow, dead = (int((outcomes == fate).sum()) for fate in ("grows", "dead"))
        yield Share(str(name), len(outcomes), grow, dead, *share_interval(grow, len(outcomes)))


def by_settings(frame: pd.DataFrame) -> list[Share]:
    """By density, and by what else is not as in the first row of the table."""
    names = frame["density"].map("density {:.0%}".format)
    others = {"logits": ", {} logits", "initial_scale": ", scale {}", "first_moment": ", {} moment"}
    for key, words in others.items():
        names += frame[key].map(words.format).where(frame[key] != frame[key].iloc[0], "")
    return list(shares(frame, names))


def by_beginning(frame: pd.DataFrame) -> list[Share]:
    """By what networks began with: whether active kernels lead from the image to the output.

    Where none do, the output of the last convolution is the same for all images: by whether its
    ReLU passes any of that, and by the sign of the last bias.
    """
    sign = (frame["last_bias"] > 0).map({True: "positive", False: "negative"})
    names = ("no path, last bias " + sign).mask(
        frame["firing_0"] == 0, "no path, last ReLU passes nothing"
    )
    return list(shares(frame, names.mask(frame["path"] == 1, "active path").sort_values()))
