"""The outcome as README and article tell it, by hand and as it is committed."""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bregman_nas.errors import UserError
from bregman_nas.report import outcome, paper, readme
from bregman_nas.report.data import TASKS, Run, Study, read_study
from bregman_nas.report.table1 import Line
from bregman_nas.report.tables import aggregate, render_all

PROJECT = Path(__file__).resolve().parents[2]
DENSENET = "authors-densenet-fashion"
DASH, MINUS, NAN = "\N{EN DASH}", "\N{MINUS SIGN}", math.nan
MakeRun = Callable[..., Run]
MakeStudy = Callable[..., Study]


def row(answer: str, task: str, protocol: str, ours: float, article: float, p: float) -> Line:
    line = {"answer": answer, "task": task, "protocol": protocol, "images": "test"}
    return line | {"ten_mse_mean": ours, "article_mean": article, "welch_p": p}


def test_how_losses_compare_by_hand() -> None:
    higher = row("autoencoder", "denoising", "paper", 0.1, 0.08, 0.00204)
    lower = row("residual", "denoising", "authors", 0.0046, 0.005, 1e-9)
    hidden = row("residual", "deblurring", "authors", 0.15, 0.1, 0.05)
    found = outcome.compare([hidden, lower, higher])
    assert found["apart"] == [
        {
            "name": "autoencoders, denoising",
            "protocol": "paper",
            "change": "25% higher",
            "p": "= 0.0020",
            "rounding": False,
        },
        {
            "name": "residual autoencoders, denoising",
            "protocol": "authors",
            "change": "8% lower",
            "p": "< 0.0001",
            "rounding": True,  # 0.0046 is printed as 0.005
        },
    ]
    assert found["directions"] == "1 higher (by 25%), 1 lower (by 8%)"
    assert found["largest"]["change"] == "25% higher"
    assert found["hidden"]["change"] == "50% higher"
    assert found["others"] == {"count": "1", "most": "50%"}
    assert (found["tested"], found["corrected"]) == ("3", "2")
    assert [(one["tested"], one["apart"]) for one in found["by_protocol"]] == [
        ("1", "1"),
        ("2", "1"),
    ]
    assert outcome.compare([higher])["hidden"] is None
    assert outcome.compare([])["directions"] == ""
    other = row("autoencoder", "deblurring", "paper", 0.11, 0.1, 0)
    assert outcome.compare([higher, other])["directions"] == "all higher (by 10% to 25%)"


def residual(total: int, narrow: Sequence[int], zero: bool, losses: Sequence[float]) -> list[Any]:
    """Seeds whose second hidden layer of two is the narrowest."""
    tau = {(l, i): 1.0 for l in range(3) for i in range(l + 1)} | ({(0, 0): 0.0} if zero else {})
    return [
        {"mse": loss, "active": [100, width, total - 100 - width], "tau": tau}
        for width, loss in zip(narrow, losses, strict=True)
    ]


def test_architectures_by_hand(make_study: MakeStudy) -> None:
    losses = (0.001, 0.002, 0.003)
    runs = {"paper": residual(600, (50, 60, 70), True, losses)}
    runs["authors"] = residual(500, (10, 20, 30), False, losses)
    both = {f"{p}-residual-{t}": seeds for p, seeds in runs.items() for t in TASKS}
    found = outcome.architectures(make_study(both))
    measures = found["tasks"]["denoising"]["measures"]
    assert measures["loss"]["paper"] == "0.0200 (0.0100)"  # ten times
    # 60 and 20, standard error sqrt(100 / 3 + 100 / 3), 4 degrees of freedom: 2.77645.
    narrow = measures["width of the narrowest hidden layer"]
    assert (narrow["difference"], narrow["interval"]) == (f"{MINUS}40", f"{MINUS}63 to {MINUS}17")
    assert measures["zero skips"]["authors_mean"] == "0.0"
    assert found["apart"] == ["active rows", "zero skips", "width of the narrowest hidden layer"]
    assert found["compared"]
    assert found["tasks"]["deblurring"]["narrowest"] == {"paper": "2 (3)", "authors": "2 (3)"}

    both["authors-residual-denoising"] = residual(500, (10, 20), False, (1, 2))
    fewer = outcome.architectures(make_study(both))
    assert fewer["apart"] == []  # two seeds are too few
    assert fewer["tasks"]["denoising"]["measures"]["loss"]["interval"] == DASH
    del both["authors-residual-denoising"]
    missing = outcome.architectures(make_study(both))
    assert missing["tasks"]["denoising"]["seeds"] == {"paper": "3", "authors": None}
    assert not missing["compared"]


def test_a_seed_apart_by_hand(make_run: MakeRun) -> None:
    losses = (0.0005, 0.0006, 0.0006, 0.0013, NAN)
    run = make_run(residual(600, (50,) * 5, True, losses), "authors-residual-denoising")
    assert list(outcome.seeds_apart([run])) == [
        {
            "protocol": "authors",
            "name": "residual autoencoders, denoising",
            "seed": "3",
            "times": "2.2",  # 0.0013 / 0.0006
            "median": "0.0060",
            "without": "0.0057",  # of 0.005, 0.006, 0.006: standard deviation 0.000577
            "change": "13% above",
            "p": "= 0.1835",  # standard error 0.000333, t = 2 with 2 degrees of freedom
        }
    ]


def test_when_the_schedule_acted(make_run: MakeRun) -> None:
    def run(name: str, *rates: Sequence[float]) -> Run:
        seeds = [
            {"history": {epoch: {"learning_rate": r} for epoch, r in enumerate(of_seed, start=1)}}
            for of_seed in rates
        ]
        return make_run(seeds, name, 4)

    first = run("authors-autoencoder-denoising", [1, 1, 0.5, 0.25], [1, 1, 1, 1])
    second = run("authors-autoencoder-deblurring", [1, 1, 1, 0.5])
    found = paper.schedule([first, second])
    assert (found["searches"], found["changed"], found["any"], found["first"]) == (
        *("3", "2"),
        True,
        "3",
    )
    assert [(one["run"], one["changed"]) for one in found["by_run"]] == [
        ("authors-autoencoder-denoising", "1"),
        ("authors-autoencoder-deblurring", "1"),
    ]
    still = paper.schedule([run("paper-autoencoder-denoising", [1, 1, 1, 1])])
    assert (still["changed"], still["any"], still["first"], still["by_run"]) == (
        "0",
        False,
        DASH,
        [],
    )


def test_seeds_in_lockstep_share_their_time(make_run: MakeRun) -> None:
    run = make_run([{}, {}])
    together = run.frames.costs.assign(seconds=[30.0, 90.0], lockstep=True)
    object.__setattr__(run.frames, "costs", together)
    found = paper.cost([run])
    assert found["runs"] == [
        {
            "run": "paper-residual-denoising",
            "searches": "2",
            "mean": "1.0",
            "least": "0.5",
            "most": "1.5",
            "hours": "0.0",
        }
    ]
    assert found["lockstep"]
    assert found["machines"] == ["made up (cpu)"]


def test_densenets_in_the_article(make_run: MakeRun) -> None:
    norms = [[[1]], [[1]], [[1, 1]]]
    seeds = [{"norms": norms, "loss": math.log(10), "accuracy": a} for a in (0.1, 0.1, 0.9)]
    found = outcome.densenet(make_run(seeds, DENSENET), None)
    assert (found["collapsed"], found["chance"], found["all_equal"]) == ("2", "10%", True)
    assert found["others"]["accuracy"] == "90.0%"
    assert found["start"] is None


# README and article.


@pytest.fixture(scope="module")
def committed() -> Study:
    return read_study(PROJECT)


def test_what_is_in_git_is_of_the_results_in_git(committed: Study) -> None:
    numbers = json.loads((PROJECT / "paper" / "numbers.json").read_text("utf-8"))
    assert numbers == paper.collect(committed), "say `bregman-nas paper`"
    text = (PROJECT / "README.md").read_text("utf-8")
    assert text == readme.filled(text, readme.numbers(committed)), "say `make readme`"


@pytest.fixture
def project(committed: Study, tmp_path: Path) -> Study:
    """A copy of what the article is made from; a test may spoil it."""
    for folder in ("figures", "docs", "paper"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    (tmp_path / "results").mkdir()
    (tmp_path / "data").mkdir()
    for file in ("params.yaml", "data/manifest.json", "README.md"):
        shutil.copy(PROJECT / file, tmp_path / file)
    return Study(tmp_path, committed.settings, committed.runs, committed.pixels)


def without(study: Study, names: Iterable[str]) -> Study:
    left = {name: run for name, run in study.runs.items() if name not in names}
    return Study(study.project, study.settings, left, study.pixels)


def test_same_results_same_article(project: Study) -> None:
    with pytest.raises(UserError, match="`bregman-nas aggregate` makes it"):
        paper.build(project)
    aggregate(project)
    assert paper.build(project).startswith(str(project.project / "paper" / "study.pdf"))
    first = (project.project / "paper" / "study.pdf").read_bytes()
    assert first.startswith(b"%PDF")
    assert b"CreationDate" not in first
    assert paper.render(project.project) == first
    assert readme.update(project).startswith("table 1 and outcome in ")


def test_there_is_a_sentence_for_each_verdict(project: Study) -> None:
    aggregate(project)
    path = project.project / "results" / "claims.json"
    content, articles = json.loads(path.read_text("utf-8")), set()
    verdicts = ("supported", "contradicted", "undecided", "not run")
    for first, second in zip(verdicts, verdicts[1:] + verdicts[:1], strict=True):
        for claim in content["claims"].values():
            claim["paper"]["verdict"], claim["authors"]["verdict"] = first, second
        path.write_text(json.dumps(content), "utf-8")
        articles.add(paper.render(project.project))
    assert len(articles) == len(verdicts)


def test_an_article_without_a_part_of_its_results(project: Study) -> None:
    part = without(project, [DENSENET, *(n for n, run in project.runs.items() if not run.own)])
    aggregate(part)
    (project.project / "figures" / "figure4.pdf").unlink()
    paper.build(part)  # figures 4, 7 and 8 are not needed
    aggregate(project)
    with pytest.raises(UserError, match=r"file not found[\s\S]*figure4\.pdf"):
        paper.build(project)
    with pytest.raises(UserError, match="no run on MNIST"):
        paper.collect(without(project, list(project.runs)))


def test_what_the_article_needs_and_does_not_find_is_named(project: Study) -> None:
    aggregate(project)
    folder = project.project
    for path, old, new, expected in (
        ("paper/numbers.json", '"early"', '"later"', r"paper/numbers\.json has no early"),
        ("docs/choices.md", "| 1 |", "| 1 | 1 |", "must have 7 columns"),
        ("results/claims.json", "loss without skips", "loss", "claim 12 has no finding"),
    ):
        text = (folder / path).read_text("utf-8")
        assert old in text
        (folder / path).write_text(text.replace(old, new), "utf-8")
        with pytest.raises(UserError, match=expected):
            paper.render(folder)
        (folder / path).write_text(text, "utf-8")


def test_undecided_claims_are_told_apart_by_their_seeds(
    make_study: MakeStudy, make_run: MakeRun
) -> None:
    dense = {"norms": [[[1]], [[1]], [[1, 1]]], "accuracy": 0.1}
    runs: dict[str, Any] = {f"paper-autoencoder-{task}": [{}] * 10 for task in TASKS}
    study = make_study(runs | {"authors-densenet-fashion": [dense] * 3})
    found = readme.numbers(study)["verdicts"]
    assert "5" in found["paper"]["supported"]
    assert found["authors"]["few"] == ["13\N{DAGGER}", "14\N{DAGGER}"]
    assert found["authors"]["full"] == []
    assert len(found["paper"]["not run"]) == 10
    assert all("17" not in those for those in found["paper"].values())  # it is not the article's


# Places of the README.

MARKS = "".join(
    f"<!-- {name}: made by `make readme` -->\nto be replaced\n<!-- end of {name} -->\n"
    for name in readme.PLACES
)


def test_places_of_the_readme(committed: Study) -> None:
    told = readme.numbers(committed)
    new = readme.filled(f"# Title\n{MARKS}Text.\n", told)
    assert new.startswith("# Title\n<!-- table 1")
    assert new.endswith("<!-- end of outcome -->\nText.\n")
    assert "to be replaced" not in new
    assert render_all(committed)["table1.md"].split("\n\n")[2] in new
    assert readme.filled(new, told) == new
    for name in readme.PLACES:
        with pytest.raises(UserError, match=f"marks `<!-- {name}: "):
            readme.filled(MARKS.replace(f"end of {name}", "end"), told)


def test_the_outcome_says_what_came_out(committed: Study) -> None:
    told = readme.numbers(committed)

    def text(**changes: Any) -> str:
        return " ".join(readme.filled(MARKS, told | changes).split())

    one = told["densenet"]["authors"]
    start = {"same": True, "steps": "200", "own": {"dead": "16", "seeds": "30"}}
    lost = one | {"seeds": "3", "collapsed": "3", "any_collapsed": True, "all_collapsed": True}
    lost |= {"others": None, "start": start, "all_equal": True}
    assert (
        "3 of 3 seeds collapsed to one answer for all images (accuracy 10%, loss ln 10): after 200 "
        "steps the ReLU after their last convolution passes nothing any more, as in 16 of 30 "
        "starts (`figures/figure8.png`). The article's Figure 4 is not "
        "reproduced. With more than 20% of such seeds a claim is undecided (\N{DAGGER})."
    ) in text(densenet={"authors": lost})
    none = one | {"seeds": "3", "collapsed": "0", "any_collapsed": False, "all_collapsed": False}
    assert "0 of 3 seeds collapsed to one answer for all images." in text(
        densenet={"authors": none | {"others": None}}
    )
    losses = told["losses"] | {"apart": []}
    assert "0 differ significantly from the article's (Welch's test at 5%)." in text(losses=losses)
    assert "Residual architectures" not in text(architectures={"compared": False})
