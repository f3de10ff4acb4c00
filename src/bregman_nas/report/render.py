"""The templates of `templates/`, and what all of them know."""

from functools import partial
from typing import Any

import jinja2

from bregman_nas.report import claims, table1, table2, text
from bregman_nas.report.claims.rules import ENOUGH_SEEDS, TOO_MANY_DIVERGED
from bregman_nas.report.data import PROTOCOLS, REGISTERED, TASKS, WORDS, experiment_words
from bregman_nas.report.measures import LAYERS, LINEAR_R2
from bregman_nas.report.stats import summarize

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("bregman_nas.report"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
)
_ENVIRONMENT.filters |= {
    **{"fixed": text.fixed, "number": partial(text.fixed, digits=None), "p": text.probability},
    **{"cell": table1.cell, "zip": zip, "experiment": experiment_words},
    "words": lambda name: WORDS.get(name, name),
}
_ENVIRONMENT.globals |= {
    **{"mean_std": text.mean_std, "interval": text.interval, "fixed": text.fixed},
    **{"DASH": text.DASH, "summarize": summarize, "unit": table1.ARTICLE_UNIT},
    **{"table1": table1, "table2": table2, "claims": claims},
    **{"protocols": PROTOCOLS, "tasks": TASKS, "layers": range(1, LAYERS + 1)},
    **{"registered": len(REGISTERED), "enough": ENOUGH_SEEDS, "too_many": TOO_MANY_DIVERGED},
    **{"counted": text.counted, "linear": LINEAR_R2},
}


def macros(template: str) -> Any:
    """The macros of a template of `templates/`, as functions."""
    return _ENVIRONMENT.get_template(template).module


def render(template: str, **context: Any) -> str:
    """Fill in a template of `templates/`."""
    return _ENVIRONMENT.get_template(template).render(context)
