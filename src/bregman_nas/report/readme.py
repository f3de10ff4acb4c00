"""The table in the README: the first of `results/table1.md`, between two marks."""

from pathlib import Path

START = "<!-- table 1: made by `make readme` -->\n"
END = "<!-- end of table 1 -->"
NOTE = (
    "\nTen times the mean squared error per pixel on the 10,000 official test images, which is the"
    "\nunit of the article's Table 1: mean (standard deviation) over the seeds, ten where no n is"
    "\ngiven. The last three rows need no training.\n"
)


def with_table(readme: str, table1: str) -> str:
    """The README with the table in place.

    Args:
        readme: the README's text.
        table1: the text of `results/table1.md`.

    Raises:
        ValueError: if the marks are not in the README, or there is no table in `table1`.
    """
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"README.md must have the marks {START.strip()!r} and {END!r}")
    lines = table1.splitlines(keepends=True)
    first = next((n for n, line in enumerate(lines) if line.startswith("|")), None)
    if first is None:
        raise ValueError("results/table1.md has no table")
    count = next((n for n, line in enumerate(lines[first:]) if not line.startswith("|")), None)
    table = "".join(lines[first:][:count])
    return f"{before}{START}{table}{NOTE}{END}{after}"


def update(project: Path) -> None:
    """Put the current table into README.md."""
    readme = project / "README.md"
    table1 = (project / "results" / "table1.md").read_text("utf-8")
    readme.write_text(with_table(readme.read_text("utf-8"), table1), encoding="utf-8")
