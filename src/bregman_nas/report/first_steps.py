"""What became of each DenseNet in its first steps, from `first_steps.csv` of a run."""

from dataclasses import dataclass

import pandas as pd

from bregman_nas.report.read import Run, read_table

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

    What the run's protocol has comes first. Empty if the first steps have not been looked at.

    Raises:
        ResultsError: if the file is no such table.
    """
    path = run.folder / "first_steps.csv"
    if not path.exists():
        return {}
    columns = ("seed", "relu_logits", "step", "firing", "active", "furthest")
    table = read_table(path, *columns)
    found: dict[bool, list[Start]] = {}
    for relu in table["relu_logits"].unique():
        chosen = table[table["relu_logits"] == relu]
        found[bool(relu)] = [
            _start(seed, chosen[chosen["seed"] == seed].sort_values("step"))
            for seed in sorted(int(seed) for seed in chosen["seed"].unique())
        ]
    return found


def _start(seed: int, rows: pd.DataFrame) -> Start:
    fires = rows["firing"].to_numpy(float) > 0
    grown = rows["active"].to_numpy(int) > rows["active"].iloc[0]
    steps = rows["step"].to_numpy(int)
    last_fired = steps[fires].max(initial=steps[0] - 1)
    return Start(
        seed,
        rows,
        died=None if fires[-1] else int(steps[steps > last_fired][0]),
        grew=int(steps[grown][0]) if grown.any() else None,
    )
