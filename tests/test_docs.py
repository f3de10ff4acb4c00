"""README and docs: what they name is there."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from bregman_nas.cli import app
from tests.helpers import PROJECT

PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md")]
TABLES = [*(PROJECT / "results").glob("*.csv"), *(PROJECT / "results" / "runs").glob("*/*.csv")]


def test_every_column_is_documented() -> None:
    text = (PROJECT / "docs" / "results.md").read_text("utf-8")
    known = {word for part in re.findall("`([^`]+)`", text) for word in part.split("/")}
    known |= {"seed", "run", "epoch", "layer", "measure", "n", "low", "high", "mean", "std"}
    patterns = [re.escape(name).replace(r"\*", ".+") for name in known]
    patterns += [re.sub(r"_l_i$", r"_\\d+_\\d+", name) for name in known if name.endswith("_l_i")]
    patterns += [re.sub(r"_l$", r"_(\\d+|first|last)", name) for name in known]
    missing = {
        f"{table.name}: {column}"
        for table in TABLES
        for column in table.read_text("utf-8").split("\n", 1)[0].split(",")
        if not any(re.fullmatch(p, column) for p in patterns)
    }
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_commands_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (page.parent / target).exists(), target
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for command in re.findall(r"bregman-nas ([a-z][a-z-]+)", text):
        assert command in commands, command
    targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for target in re.findall(r"`make ([a-z]+)", text):
        assert target in targets, target
