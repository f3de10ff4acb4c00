from pathlib import Path

import pytest

from bregman_nas.report.readme import END, START, with_table

PROJECT = Path(__file__).resolve().parents[2]


def test_the_table_in_the_readme_is_that_of_the_results() -> None:
    readme = (PROJECT / "README.md").read_text("utf-8")
    table1 = (PROJECT / "results" / "table1.md").read_text("utf-8")
    assert readme == with_table(readme, table1), "say `make readme`"


def test_the_first_table_takes_the_place_of_the_old_one() -> None:
    old = f"# Title\n\n{START}| old |\n{END}\n\nText.\n"
    new = with_table(old, "# Table 1\n\n| a |\n|---|\n| 1 |\n\n## Detail\n\n| b |\n")
    assert "| old |" not in new
    assert "| a |\n|---|\n| 1 |\n" in new
    assert "| b |" not in new
    assert new.startswith("# Title\n")
    assert new.endswith("Text.\n")
    assert with_table(new, "| a |\n|---|\n| 1 |\n") == new


@pytest.mark.parametrize("readme", ["no marks", START, END])
def test_a_readme_without_marks_is_refused(readme: str) -> None:
    with pytest.raises(ValueError, match="marks"):
        with_table(readme, "| a |\n")
