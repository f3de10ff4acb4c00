from pathlib import Path
from typing import Any

import pytest

from bregman_nas.report.paper.numbers import collect
from bregman_nas.report.readme import (
    END,
    OUTCOME_END,
    OUTCOME_START,
    START,
    with_outcome,
    with_table,
)

PROJECT = Path(__file__).resolve().parents[2]


def test_table_and_outcome_in_the_readme_are_those_of_the_results() -> None:
    readme = (PROJECT / "README.md").read_text("utf-8")
    table1 = (PROJECT / "results" / "table1.md").read_text("utf-8")
    assert readme == with_table(readme, table1), "say `make readme`"
    assert readme == with_outcome(readme, collect(PROJECT)), "say `make readme`"


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


def numbers() -> dict[str, Any]:
    """Those of the article that the README tells."""
    kinds = ("supported", "contradicted", "full", "few", "not run")
    verdicts: dict[str, dict[str, list[str]]] = {
        p: {kind: [] for kind in kinds} for p in ("paper", "authors")
    }
    verdicts["authors"]["few"] = ["2", "13\N{DAGGER}"]
    one = {"name": "autoencoders, denoising", "protocol": "paper", "change": "25% higher"}
    narrowest = {"width of the narrowest hidden layer": {"paper_mean": "200", "authors_mean": "60"}}
    return {
        "verdicts": verdicts,
        "losses": {
            "tested": "8",
            "level": "5%",
            "corrected": "0",
            "apart": [one | {"p": "= 0.0200", "rounding": True}],
        },
        "unlike": [
            one
            | {"seed": "7", "times": "2.7", "median": "0.0062"}
            | {"without": "0.0061", "change": "22% above", "p": "= 0.0005"}
        ],
        "architectures": {
            "compared": True,
            "apart": ["loss"],
            "tasks": {"denoising": {"measures": narrowest}},
        },
        "rules": {"too_many_collapsed": "20%"},
        "densenet": {
            "authors": {
                "seeds": "3",
                "collapsed": "3",
                "any_collapsed": True,
                "all_collapsed": True,
                "chance": "10%",
                "all_equal": True,
                "others": None,
                "start": None,
            }
        },
    }


def test_the_outcome_says_what_came_out() -> None:
    marks = f"{OUTCOME_START}old\n{OUTCOME_END}\n"
    found = numbers()
    text = " ".join(with_outcome(marks, found).split())
    assert "| `authors` | none | none | none | 2, 13\N{DAGGER} | none |" in text
    assert (
        "of 8 means, 1 differs significantly from the article's (Welch's test at 5%; 0 with Holm's "
        "correction): autoencoders, denoising, `paper`: 25% higher, p = 0.0200, within the "
        "rounding of the article's number." in text
    )
    assert "`paper`, seed 7 ended with 2.7 times the median loss of its run (0.0062)." in text
    assert "Without it the mean would be 0.0061, 22% above the article's (p = 0.0005)." in text
    assert "on both tasks the two protocols differ significantly in loss. " in text
    assert "200 (`paper`) and 60 (`authors`) for denoising." in text
    assert "3 of 3 seeds collapsed to one answer for all images (accuracy 10%, loss ln 10)." in text
    assert "Figure 4 is not reproduced" in text
    assert "old" not in text

    own = {"dead_at_the_start": {"n": "1"}, "died": {"n": "2"}, "died_by": "48"}
    found["densenet"]["authors"]["start"] = {"same": True, "own": own}
    text = " ".join(with_outcome(marks, found).split())
    assert (
        "loss ln 10): the ReLU after the last convolution is dead at the start (1) or by step "
        "48 at the latest (2), before any kernel has switched on (`figures/figure8.png`)."
    ) in text
    found["densenet"]["authors"]["start"]["same"] = False
    assert "figure8" not in with_outcome(marks, found)

    found["densenet"]["authors"] |= {"seeds": "4", "all_collapsed": False}
    found["densenet"]["authors"]["others"] = {"accuracy": "88.1%", "seeds": "1"}
    text = " ".join(with_outcome(marks, found).split())
    assert (
        "3 of 4 seeds collapsed to one answer for all images (accuracy 10%, loss ln 10); without "
        "them the test accuracy is 88.1% (1). With more than 20% of such seeds a claim is "
        "undecided (\N{DAGGER})."
    ) in text

    found["losses"]["apart"] = []
    found["densenet"]["authors"] |= {"seeds": "3", "others": None}
    found["densenet"]["authors"] |= {"collapsed": "0", "any_collapsed": False}
    found["densenet"]["authors"]["all_collapsed"] = False
    text = " ".join(with_outcome(marks, found).split())
    assert "0 differ significantly from the article's (Welch's test at 5%)." in text
    assert "0 of 3 seeds collapsed to one answer for all images." in text
    assert "Figure 4" not in text
    with pytest.raises(ValueError, match="marks"):
        with_outcome("no marks", found)
