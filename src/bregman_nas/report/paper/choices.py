"""The table of `docs/choices.md` in short form."""

from itertools import dropwhile, takewhile
from pathlib import Path

from bregman_nas.report.paper.missing import PaperError

HEADER = ["#", "choice", "article", "released code", "`paper`", "`authors`", "key"]
# The code says what the article says, and both protocols do it.
AGREED = "the same"


def read_choices(path: Path) -> list[list[str]]:
    """The rows in which article and code part or the article is silent: the first six columns.

    Args:
        path: of docs/choices.md.

    Raises:
        PaperError: if the table is not there or has other columns.
    """
    if not path.exists():
        raise PaperError(f"{path} is missing; the article shows its table")
    lines = _first_table(path.read_text("utf-8"))
    if not lines or lines[0] != HEADER:
        raise PaperError(f"{path} must have a table with the columns {', '.join(HEADER)}")
    rows = lines[2:]
    for row in rows:
        if len(row) != len(HEADER):
            raise PaperError(f"{path}: row {row[0]} of the table has not {len(HEADER)} columns")
    return [[_plain(cell) for cell in row[:6]] for row in rows if row[3] != AGREED]


def _first_table(text: str) -> list[list[str]]:
    lines = dropwhile(lambda line: not line.startswith("|"), text.splitlines())
    return [_cells(line) for line in takewhile(lambda line: line.startswith("|"), lines)]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _plain(cell: str) -> str:
    return cell.replace("`", "")
