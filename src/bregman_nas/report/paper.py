"""The report: paper/study.typ, which reads results/, as PDF."""

from pathlib import Path
from typing import Any

import typst

from bregman_nas.errors import UserError
from bregman_nas.report import tables
from bregman_nas.report.data import Study

SOURCE = "study.typ"


def build(study: Study) -> str:
    """Write paper/study.pdf; returns a line that says so.

    The same results give the same bytes: the PDF has no date (`paper/layout.typ` says so), and only
    the fonts that come with Typst are used.

    Raises:
        UserError: without results, with tables of other results, or for a mistake in the source.
    """
    if not study.restoration:
        raise UserError(
            f"{study.project / 'results'} has no run on MNIST with seeds; the report is about "
            "those. `bregman-nas search` makes them"
        )
    tables.check_current(study)
    pdf = (study.project / "paper" / SOURCE).with_suffix(".pdf")
    pdf.write_bytes(render(study.project))
    return f"the report in {pdf}"


def render(project: Path, **options: Any) -> bytes:
    """The report as it follows from the tables, as PDF or by other `options` of `typst.compile`."""
    source = str(project / "paper" / SOURCE)
    options |= {"root": str(project), "ignore_system_fonts": True}
    try:
        return bytes(typst.compile(source, **options))
    except RuntimeError as error:
        told = getattr(error, "diagnostic", str(error)).strip()  # a missing source has none
        # Typst 0.15 fails to tag some layouts for screen readers, which depend on the numbers.
        if "internal error" in told and "pdf_tags" not in options:
            return render(project, **options, pdf_tags=False)
        raise UserError(
            "the report cannot be built; its numbers and figures are made by `bregman-nas "
            "aggregate` and `bregman-nas figures`, its source is in paper/. Typst says:\n" + told
        ) from error
