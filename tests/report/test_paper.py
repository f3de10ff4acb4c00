import datetime
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bregman_nas.cli import main
from bregman_nas.report.paper.build import build, render
from bregman_nas.report.paper.choices import read_choices
from bregman_nas.report.paper.cost import cost
from bregman_nas.report.paper.missing import PaperError
from bregman_nas.report.paper.numbers import collect
from bregman_nas.report.paper.words import number
from bregman_nas.report.read import read_run

PROJECT = Path(__file__).resolve().parents[2]
VERDICTS = ("supported", "contradicted", "undecided", "not run")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the article is made from; a test may spoil it."""
    for folder in ("results", "figures", "docs", "paper"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    (tmp_path / "data").mkdir()
    for file in ("params.yaml", "data/manifest.json"):
        shutil.copy(PROJECT / file, tmp_path / file)
    return tmp_path


def change(path: Path, how: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text("utf-8"))
    how(content)
    path.write_text(json.dumps(content), "utf-8")


def drop(path: Path, *keys: str) -> None:
    def how(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    change(path, how)


def decide(project: Path, claim: int, paper: str, authors: str) -> None:
    def how(content: Any) -> None:
        for protocol, verdict in (("paper", paper), ("authors", authors)):
            content["claims"][str(claim)][protocol]["verdict"] = verdict

    change(project / "results" / "claims.json", how)


def test_the_numbers_in_git_are_those_of_the_results_in_git() -> None:
    committed = json.loads((PROJECT / "paper" / "numbers.json").read_text("utf-8"))
    assert committed == collect(PROJECT)


def test_same_results_same_bytes_whatever_the_time(project: Path) -> None:
    first = build(project).read_bytes()
    at_another_time = datetime.datetime(2001, 2, 3, tzinfo=datetime.UTC)
    assert render(project, timestamp=at_another_time) == first
    assert b"CreationDate" not in first
    assert first.startswith(b"%PDF")


def test_a_changed_loss_changes_the_article(project: Path) -> None:
    before = build(project).read_bytes()

    def how(content: Any) -> None:
        content["paper"]["autoencoder"]["denoising"]["test"]["ten_mse"]["mean"] = 0.5

    change(project / "results" / "table1.json", how)
    assert build(project).read_bytes() != before
    rows = json.loads((project / "paper" / "numbers.json").read_text("utf-8"))["table1"]["rows"]
    assert rows[0]["paper"]["mean"].startswith("0.5000 (")


def test_there_is_a_sentence_for_each_verdict(project: Path) -> None:
    articles = set()
    for paper, authors in zip(VERDICTS, VERDICTS[1:] + VERDICTS[:1], strict=True):
        for claim in range(1, 18):
            decide(project, claim, paper, authors)
        articles.add(build(project).read_bytes())
    assert len(articles) == len(VERDICTS)


def test_verdicts_are_counted_without_the_claim_that_is_ours(project: Path) -> None:
    for claim in range(1, 18):
        decide(project, claim, "supported", "not run")
    verdicts = collect(project)["verdicts"]
    assert verdicts["paper"]["supported"] == [str(claim) for claim in range(1, 17)]
    assert len(verdicts["authors"]["not run"]) == 16
    build(project)


def test_a_missing_figure_stops_the_build(project: Path) -> None:
    (project / "figures" / "figure2.pdf").unlink()
    with pytest.raises(PaperError, match=r"file not found[\s\S]*figure2\.pdf"):
        build(project)


def test_a_missing_key_stops_the_build(project: Path) -> None:
    drop(project / "results" / "table1.json", "authors", "residual", "denoising")
    with pytest.raises(PaperError, match=r"table1\.json has no authors\.residual\.denoising;"):
        build(project)


def test_a_missing_finding_stops_the_build(project: Path) -> None:
    change(
        project / "results" / "claims.json",
        lambda content: content["claims"]["3"]["paper"]["findings"].pop(0),
    )
    with pytest.raises(PaperError, match="claim 3 has no finding 'denoising'"):
        build(project)


def test_a_number_that_is_not_there_stops_the_build(project: Path) -> None:
    drop(project / "paper" / "numbers.json", "early", "range")
    with pytest.raises(PaperError, match=r"paper/numbers\.json has no early\.range"):
        render(project)


def test_a_missing_file_stops_the_build_in_plain_words(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "results" / "claims.json").unlink()
    assert main(["--project", str(project), "paper"]) == 1
    told = capsys.readouterr().err
    assert told.endswith("claims.json is missing; `bregman-nas aggregate` makes it\n")


def test_without_any_run_there_is_no_article(project: Path) -> None:
    for path in project.glob("results/*/seeds.csv"):
        path.unlink()
    with pytest.raises(PaperError, match="no run on MNIST"):
        build(project)


def give_seeds_to_the_densenet(project: Path) -> None:
    run = project / "results" / "authors-densenet-fashion"
    (run / "seeds.csv").write_text("seed,test_loss,test_accuracy\n0,0.3,0.9\n1,2.3,0.1\n", "utf-8")
    (run / "records").mkdir(exist_ok=True)
    record = next(project.glob("results/paper-*/records/seed-00.json"))
    for seed in range(2):
        shutil.copy(record, run / "records" / f"seed-{seed:02d}.json")


def test_the_densenet_is_told_of_when_it_has_seeds(project: Path) -> None:
    shutil.rmtree(project / "results" / "authors-densenet-fashion")
    without = collect(project)
    assert without["densenet"] == {}
    (project / "figures" / "figure4.pdf").unlink()
    build(project)  # figure 4 is not needed

    (project / "results" / "authors-densenet-fashion").mkdir()
    give_seeds_to_the_densenet(project)
    with_densenet = collect(project)
    found = {"seeds": "2", "collapsed": "1", "any_collapsed": True, "accuracy": "10.0% to 90.0%"}
    assert with_densenet["densenet"] == {"authors": found}
    runs = [len(numbers["cost"]["runs"]) for numbers in (without, with_densenet)]
    assert runs[1] == runs[0] + 1
    with pytest.raises(PaperError, match=r"figure4\.pdf"):
        build(project)


def moments(mean: float, std: float | None = None) -> dict[str, float | None]:
    low, high = (None, None) if std is None else (mean - std, mean + std)
    return {"mean": mean, "std": std, "low": low, "high": high}


def test_the_ablation_is_shown_once_a_choice_was_changed(project: Path) -> None:
    def measures(loss: float, difference: dict[str, float | None] | None) -> dict[str, Any]:
        shape = ("coding_width", "coding_layer", "skips_on", "largest_skip")
        found = {name: {"seeds": 2, "difference": None, **moments(3.0, 0.5)} for name in shape}
        return found | {"ten_mse": {"seeds": 2, "difference": difference, **moments(loss, 0.01)}}

    own = {
        "protocol": "paper",
        "change": None,
        "words": "as it is",
        "measures": measures(0.1, None),
    }
    variant: dict[str, Any] = {
        "protocol": "paper",
        "change": {"initial_scale": 5},
        "words": "initial_scale 5",
        "measures": None,
    }
    table = project / "results" / "ablation.json"
    content = {"experiment": "residual-denoising", "epoch": 50, "runs": {"a": own, "b": variant}}
    table.write_text(json.dumps(content), "utf-8")
    assert collect(project)["ablation"] is None
    without = build(project).read_bytes()

    variant["measures"] = measures(0.3, moments(0.2, 0.02))
    table.write_text(json.dumps(content), "utf-8")
    shown = collect(project)["ablation"]
    assert shown["epoch"] == "50"
    line = "0.3000 (0.0100)", "0.2000 (0.0200); 0.1800 to 0.2200", "3 (0)", "3.0 (0.5)"
    assert shown["rows"][1][:7] == ["paper", "initial_scale 5", "2", *line]
    assert build(project).read_bytes() != without


def test_cost_by_hand(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "run" / "records"
    folder.mkdir(parents=True)
    for seed, seconds in enumerate((600, 1200)):
        told = {
            "seconds": seconds,
            "host": {"processor": f"P{seed}", "device": "cpu"},
            "versions": {"torch": "2"},
        }
        path = folder / f"seed-{seed:02d}.json"
        path.write_text(json.dumps({"provenance": told}), "utf-8")
    found = cost(tmp_path, {"run": [0, 1]})
    assert found["hours"] == "0.5"
    assert found["machines"] == ["P0 (cpu)", "P1 (cpu)"]
    (run,) = found["runs"]
    assert (run["searches"], run["mean"], run["least"], run["most"]) == (
        "2",
        "15.0",
        "10.0",
        "20.0",
    )
    drop(folder / "seed-01.json", "provenance", "seconds")
    with pytest.raises(PaperError, match=r"seed-01\.json has no seconds; `bregman-nas search run`"):
        cost(tmp_path, {"run": [0, 1]})


def test_shares_of_rows_by_hand(project: Path) -> None:
    """One run, all layers alike: of 784 rows 400 are dead at epoch 10, and 484 at 100."""
    for path in project.glob("results/*/seeds.csv"):
        if path.parent.name != "paper-autoencoder-denoising":
            path.unlink()
    folder = project / "results" / "paper-autoencoder-denoising"
    kinds = {"width": 240, "living": 300, "effective": 120}
    for name in ("seeds.csv", "history.csv"):
        table = pd.read_csv(folder / name)
        for layer in range(1, 7):
            for kind, rows in kinds.items():
                if f"{kind}_{layer}" in table:
                    table[f"{kind}_{layer}"] = rows
        if "epoch" in table:
            early = table["epoch"] <= 10
            table.loc[early, [f"living_{layer}" for layer in range(1, 7)]] = 384
        table.to_csv(folder / name, index=False)
    numbers = collect(project)
    (row,) = numbers["widths"]
    assert (row["active_share"], row["effective_share"]) == ("80.0%", "50.0%")
    assert numbers["dead"]["range"] == "62%"  # 484 / 784
    assert numbers["early"] == {"epoch": "10", "range": "83%"}  # 400 / 484
    assert not numbers["effective"]["all"]
    assert numbers["skips"]["paper"] == "not run"


def test_skips_that_are_zero_are_counted(project: Path) -> None:
    run = read_run(project, "paper", "residual-denoising")
    other = read_run(project, "paper", "residual-deblurring")
    assert run is not None
    assert other is not None
    counts = [
        int((row[[c for c in row.index if c.startswith("skip_")]] == 0).sum())
        for table in (run.converged, other.converged)
        for _, row in table.iterrows()
    ]
    found = collect(project)["skips"]
    assert found["all"] == "21"
    assert set(re.findall(r"\d+", found["paper"])) == {str(min(counts)), str(max(counts))}


def test_numbers_as_text() -> None:
    texts = [number(value) for value in (0.12345, 123.4, -0.5, None)]
    assert texts == ["0.123", "123", "\N{MINUS SIGN}0.5", "\N{EN DASH}"]
    # Six seeds of six: (0.05 / 2) ** (1 / 6) > 1/2; five of five are not enough.
    assert collect(PROJECT)["rules"]["seeds_for_a_share"] == "6"


def test_choices_in_which_article_and_code_agree_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "choices.md"
    path.write_text(
        "# Choices\n\n| # | choice | article | released code | `paper` | `authors` | key |\n"
        "|---|---|---|---|---|---|---|\n"
        "| 1 | a | 0 | 1 | `x` | y | `k` |\n| 2 | b | 0 | the same | 0 | 0 | |\n",
        "utf-8",
    )
    assert read_choices(path) == [["1", "a", "0", "1", "x", "y"]]
    path.write_text("nothing", "utf-8")
    with pytest.raises(PaperError, match="must have a table"):
        read_choices(path)


# What the text may say in figures: names, and what the article says in words quoted here.
NAMES = r"""
    \bTable\ 1\b | \bFigure\ [1-6]\b | \bFigures\ [1-6]\b | Claims\ 13\ and\ 14 | row\ 14
  | 65% | 95% | about\ 200\ neurons | Algorithm\ 1 | 0\.000 | numbered\ from\ 1
  | n\ \N{MINUS SIGN}\ 1
  | bare\ 0 | puts\ out\s+0
"""


def prose(source: str) -> str:
    """The text of a Typst file without code, mathematics, references and comments."""
    for part in (
        r"(?m)^\s*//.*$",
        r"```[\s\S]*?```",
        r"`[^`]*`",
        r"\$[^$]*\$",
        r'"[^"\n]*\.(bib|typ)"',
        r"@\w+",
        r"<[\w-]+>",
        r"#?(outcome|measured|values|parts|ranges|by-verdict|drawn|set-to|get|cite)\([^()\[\]]*[,)]?",
        r"by-verdict\(\s*\d+,",
        r"\(\s*\d+,\s*supported:|^\s*\d+,\s*$",
        r"\.len\(\) *(==|>) *\d|columns: \d|if n == 1",
    ):
        source = re.sub(part, " ", source, flags=re.MULTILINE)
    return re.sub(NAMES, " ", source, flags=re.VERBOSE)


def test_no_number_is_typed_into_the_text() -> None:
    text = prose((PROJECT / "paper" / "study.typ").read_text("utf-8"))
    typed = [line.strip() for line in text.splitlines() if re.search(r"\d", line)]
    assert typed == []
    assert prose("The loss is 0.05 #outcome(12) on @table1.").count("0.05") == 1


def test_no_semicolon_is_lost() -> None:
    """Typst takes one right after a call in the text for the end of the code."""
    source = (PROJECT / "paper" / "study.typ").read_text("utf-8")
    assert re.findall(r".*#[\w.-]+\([^()]*\);.*", source) == []
