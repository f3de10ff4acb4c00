"""Builds the article: `paper/numbers.json` from the results, and the PDF from both."""

import json
from pathlib import Path
from typing import Any

import typst

from bregman_nas.report.paper.missing import PaperError
from bregman_nas.report.paper.numbers import MADE_BY, collect

SOURCE = "study.typ"
NUMBERS = "numbers.json"


def build(project: Path) -> Path:
    """Write `paper/numbers.json` and `paper/study.pdf`; returns the path of the latter.

    The same results give the same bytes: the PDF has no date (`paper/layout.typ` says so), and only
    the fonts that come with Typst are used.

    Args:
        project: the repository; `results/`, `figures/`, `data/manifest.json`, `params.yaml`,
            `docs/choices.md` and `paper/` are read.

    Raises:
        PaperError: if a number or a figure that the article needs is missing, or its source has a
            mistake.
    """
    numbers = json.dumps(collect(project), indent=2, ensure_ascii=False, allow_nan=False)
    (project / "paper" / NUMBERS).write_text(f"{numbers}\n", encoding="utf-8", newline="\n")
    pdf = project / "paper" / Path(SOURCE).with_suffix(".pdf")
    pdf.write_bytes(render(project))
    return pdf


def render(project: Path, **options: Any) -> bytes:
    """The article as it follows from `paper/numbers.json`, as PDF.

    Args:
        project: the repository.
        options: of `typst.compile`, for another format than PDF.

    Raises:
        PaperError: as `build`.
    """

    def compiled(**more: Any) -> bytes:
        content: bytes = typst.compile(
            str(project / "paper" / SOURCE),
            root=str(project),
            ignore_system_fonts=True,
            **options,
            **more,
        )
        return content

    try:
        try:
            return compiled()
        except typst.TypstError as error:
            # Typst 0.15 fails to tag some layouts for screen readers, which depend on the numbers.
            if "internal error" not in error.diagnostic:
                raise
            return compiled(pdf_tags=False)
    except typst.TypstError as error:
        raise PaperError(_explained(error)) from error


def _explained(error: typst.TypstError) -> str:
    return (
        f"the article cannot be built; its numbers and figures are made by `{MADE_BY}` and "
        f"`bregman-nas figures`. Typst says:\n{error.diagnostic.strip()}"
    )
