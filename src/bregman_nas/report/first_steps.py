"""The fate of each DenseNet in its first steps."""

from dataclasses import dataclass

import pandas as pd

from bregman_nas.report.data import Run

DEAD_AT_THE_START, DIED, GREW, UNDECIDED = "dead at the start", "die", "grow", "undecided"
#: What a network may do first; one that grows may still die later.
FATES = (DEAD_AT_THE_START, DIED, GREW, UNDECIDED)


@dataclass(frozen=True)
class Start:
    """The first steps of one search.

    Attributes:
        seed: its number.
        steps: the rows of the table, by ascending `step`.
        died: the step from which on no output of the last convolution passes its ReLU, to the end
            of the table; None if some do at its end.
        grew: the first step by which there are more active kernels than at the start; None if
            there never are.
    """

    seed: int
    steps: pd.DataFrame
    died: int | None
    grew: int | None

    @property
    def dead_before_growth(self) -> bool:
        """Whether the network died, and no kernel had switched on by then."""
        return self.died is not None and (self.grew is None or self.died < self.grew)

    @property
    def fate(self) -> str:
        """One of `FATES`."""
        if self.dead_before_growth:
            return DEAD_AT_THE_START if self.died == 0 else DIED
        return UNDECIDED if self.grew is None else GREW

    @property
    def until_decided(self) -> pd.DataFrame:
        """The rows up to the step at which the network died or grew, whichever came first."""
        ends = [step for step in (self.died, self.grew) if step is not None]
        return self.steps if not ends else self.steps[self.steps["step"] <= min(ends)]

    @property
    def furthest(self) -> float:
        """How close a kernel came to switching on until then: |v| as a share of the threshold."""
        return float(self.until_decided["furthest"].max())


def starts(run: Run) -> dict[bool, list[Start]]:
    """The first steps of all seeds of a run, by whether there is a ReLU on the logits.

    The protocol's own logits come first. Empty if the first steps have not been looked at.
    """
    table = run.first_steps
    if table is None:
        return {}
    return {
        bool(relu): [_start(rows) for _, rows in of_logits.groupby("seed")]
        for relu, of_logits in table.groupby("relu_logits", sort=False)
    }


def _start(rows: pd.DataFrame) -> Start:
    rows = rows.sort_values("step")
    steps, fires = rows["step"].to_numpy(int), rows["firing"].to_numpy() > 0
    grown = rows["active"].to_numpy() > rows["active"].iloc[0]
    died = steps[steps > steps[fires].max(initial=steps[0] - 1)]
    return Start(
        int(rows["seed"].iloc[0]),
        rows,
        died=int(died[0]) if len(died) else None,
        grew=int(steps[grown][0]) if grown.any() else None,
    )
