"""The output layer: which of its rows are active, and how often their pixels are inked."""

from collections.abc import Iterator

import numpy as np

from bregman_nas.report.claims.resampling import agreement, areas_under_the_curve
from bregman_nas.report.data import Run, Study
from bregman_nas.report.stats import Summary, summarize


def outputs(study: Study) -> Iterator[tuple[Run, dict[str, Summary]]]:
    """Each of `Study.restoration` with numbers of its output layer; nothing without frequencies.

    Yields:
        The run, and over its converged seeds `active`: the number of active output rows; `area`:
        under the ROC curve, where a pixel's frequency predicts whether its row is active;
        `agreement` and `jaccard`: of the active rows and the pixels that are ever inked.
    """
    if study.frequencies is None:
        return
    inked = study.frequencies > 0
    for run in study.restoration:
        active = run.output
        same, jaccard = agreement(active, inked)
        area = areas_under_the_curve(active, study.frequencies)
        values = {"active": active.sum(1), "area": area, "agreement": same, "jaccard": jaccard}
        missing = [np.nan] * run.diverged
        yield run, {name: summarize([*of, *missing]) for name, of in values.items()}
