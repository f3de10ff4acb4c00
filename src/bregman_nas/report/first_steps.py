"""How many DenseNets grow in their first steps, from `results/first_steps.csv`."""

from typing import Any

import pandas as pd

from bregman_nas.report.stats import share_interval

OWN = "authors"  # the start of the protocol's own run
COLUMNS = (
    *("start", "density", "initial_scale", "logits", "first_moment", "seed"),
    *("path", "last_bias", "firing_0", "steps", "outcome"),
)


def shares(frame: pd.DataFrame, names: pd.Series) -> list[dict[str, Any]]:
    """How many networks of each group grow, in the order of first appearance in `names`.

    `names` has each row's group. Those that `grow` have more active kernels after the last step
    than before the first; `low` and `high` are the exact 95% interval of their share. The last ReLU
    of those that are `dead` passes nothing then. In `paths` active kernels lead from the image to
    the output before the first step.
    """
    found = []
    for name in names.unique():
        outcomes, paths = frame.loc[names == name, "outcome"], frame.loc[names == name, "path"]
        grow, dead = (int((outcomes == fate).sum()) for fate in ("grows", "dead"))
        low, high = share_interval(grow, len(outcomes))
        counts = {"name": str(name), "seeds": len(outcomes), "grow": grow, "dead": dead}
        found.append(counts | {"low": low, "high": high, "paths": int(paths.sum())})
    return found


def by_settings(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """By density, and by what else is not as in the first row of the table."""
    names = frame["density"].map("density {:.0%}".format)
    others = {"logits": ", {} logits", "initial_scale": ", scale {}", "first_moment": ", {} moment"}
    for key, words in others.items():
        names += frame[key].map(words.format).where(frame[key] != frame[key].iloc[0], "")
    return shares(frame, names)


def by_beginning(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """By what networks began with: whether active kernels lead from the image to the output.

    Where none do, the output of the last convolution is the same for all images: by whether its
    ReLU passes any of that, and by the sign of the last bias.
    """
    sign = (frame["last_bias"] > 0).map({True: "positive", False: "negative"})
    names = ("no path, last bias " + sign).mask(
        frame["firing_0"] == 0, "no path, last ReLU passes nothing"
    )
    return shares(frame, names.mask(frame["path"] == 1, "active path").sort_values())
