"""The templates of `templates/`, and what all of them know."""

from typing import Any

import jinja2

from bregman_nas.report import table1, text
from bregman_nas.report.claims.rules import ENOUGH_SEEDS, TOO_MANY_DIVERGED
from bregman_nas.report.data import PROTOCOLS, REGISTERED, TASKS
from bregman_nas.report.stats import summarize


def render(template: str, **context: Any) -> str:
    """Fill in a template of `templates/`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bregman_nas.report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"fixed": text.fixed, "number": text.number, "p": text.probability}
    environment.filters["zip"] = zip
    environment.globals |= {
        "mean_std": text.mean_std,
        "interval": text.interval,
        "counted": text.counted,
        "DASH": text.DASH,
        "summarize": summarize,
        "nothing": summarize([]),
        "protocols": PROTOCOLS,
        "tasks": TASKS,
        "unit": table1.ARTICLE_UNIT,
        "registered": len(REGISTERED),
        "enough": ENOUGH_SEEDS,
        "too_many": TOO_MANY_DIVERGED,
    }
    return environment.get_template(template).render(context)
