"""The marked places of README.md, each filled from a template of its name."""

import textwrap
from typing import Any

from bregman_nas.errors import UserError
from bregman_nas.report.data import Study, readable
from bregman_nas.report.render import render
from bregman_nas.report.tables import present

wrap = textwrap.TextWrapper(100, subsequent_indent="  ", break_on_hyphens=False).fill
PLACES = {name: f"readme-{name.replace(' ', '')}.md.j2" for name in ("findings", "table 1", "cost")}


def update(study: Study) -> str:
    """Fill in README.md from the results as they are now; returns a line that says so.

    Raises:
        UserError: if it is not there, or a mark is not in it.
    """
    readme = study.project / "README.md"
    with readable(readme):
        text = readme.read_text("utf-8")
    readme.write_text(filled(text, present(study)), encoding="utf-8", newline="\n")
    return f"{', '.join(PLACES)} in {readme}"


def filled(readme: str, told: dict[str, Any]) -> str:
    """The README with all its places filled; `told` is as of `tables.present`."""
    for name, template in PLACES.items():
        start, end = f"<!-- {name}: made by `make readme` -->", f"<!-- end of {name} -->"
        before, _, place = readme.partition(f"{start}\n")
        _, found, after = place.partition(end)
        if not found:
            raise UserError(
                f"README.md must have the marks `{start}` and `{end}`; `git restore README.md` "
                "brings them back"
            )
        lines = render(template, **told).splitlines()
        wrapped = [wrap(line) if line.startswith("- ") else line for line in lines]
        readme = "\n".join([before + start, *wrapped, end + after])
    return readme
