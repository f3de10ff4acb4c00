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
        UserError: if there is no result to write of, a table is not of the present results, or the
            source has a mistake.
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
    """The report as it follows from the tables, as PDF.

    Args:
        project: the repository.
        options: of `typst.compile`, for another format than PDF.
    """
    source = str(project / "paper" / SOURCE)
    options |= {"root": str(project), "ignore_system_fonts": True}
    try:
        try:
            return bytes(typst.compile(source, **options))
        except typst.TypstError as error:
            # Typst 0.15 fails to tag some layouts for screen readers, which depend on the numbers.
            if "internal error" not in error.diagnostic:
                raise
            return bytes(typst.compile(source, pdf_tags=False, **options))
    except RuntimeError as error:  # a missing source has no diagnostic
        raise UserError(
            "the report cannot be built; its numbers and figures are made by `bregman-nas "
            "aggregate` and `bregman-nas figures`, its source is in paper/. Typst says:\n"
            f"{getattr(error, 'diagnostic', str(error)).strip()}"
        ) from error
