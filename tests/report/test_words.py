"""What the README and the report say: by hand, and against the results that are committed."""

import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bregman_nas.errors import UserError
from bregman_nas.report import facts, findings, paper, readme, table2, tables
from bregman_nas.report.comparison import compare
from bregman_nas.report.data import Study, read_study
from bregman_nas.report.tables import aggregate, render_all
from tests.helpers import PROJECT
from tests.report.studies import make_run, make_study
from tests.report.test_arms import arm


@pytest.fixture(scope="module")
def committed() -> Study:
    return read_study(PROJECT)


@pytest.fixture(scope="module")
def shown(committed: Study) -> dict[str, Any]:
    return tables.present(committed)


@pytest.fixture(scope="module")
def rendered(committed: Study) -> dict[str, str]:
    return render_all(committed)


@pytest.fixture
def project(committed: Study, rendered: dict[str, str], tmp_path: Path) -> Study:
    """A copy of what the report is made from; a test may spoil it."""
    for folder in ("figures", "docs", "paper"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    for file in ("params.yaml", "data/manifest.json", "results/released-code.json"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / file, tmp_path / file)
    for name, text in rendered.items():
        (tmp_path / "results" / name).write_text(text, "utf-8")
    return replace(committed, project=tmp_path)


def test_an_outlier_by_hand() -> None:
    losses = (0.0005, 0.0006, 0.0006, 0.0013, math.nan)
    seeds = [{"mse": loss, "active": [100, 50, 450]} for loss in losses]
    [found] = facts.outliers(make_run(seeds, "authors-residual-denoising"))
    assert (found["run"], found["seed"]) == ("authors-residual-denoising", 3)
    assert found["times"] == pytest.approx(13 / 6)
    assert found["without"] == pytest.approx(0.017 / 3)


def test_the_readme_is_of_the_results_in_git(shown: dict[str, Any]) -> None:
    text = (PROJECT / "README.md").read_text("utf-8")
    assert text == readme.filled(text, shown), "say `make readme`"


def test_the_tables_for_readers_are_of_the_results_in_git(rendered: dict[str, str]) -> None:
    for name, text in rendered.items():
        if name.endswith((".md", ".tex")):
            path = PROJECT / "results" / name
            assert path.read_text("utf-8") == text, f"{path}: say `bregman-nas aggregate`"


def test_places_of_the_readme(shown: dict[str, Any], rendered: dict[str, str]) -> None:
    marks = "".join(
        f"<!-- {name}: made by `make readme` -->\nto be replaced\n<!-- end of {name} -->\n"
        for name in readme.PLACES
    )
    new = readme.filled(f"# Title\n{marks}Text.\n", shown)
    assert new.startswith("# Title\n<!-- findings")
    assert new.endswith("<!-- end of cost -->\nText.\n")
    assert "to be replaced" not in new
    assert rendered["table1.md"].split("\n\n")[3] in new
    for name in readme.PLACES:
        with pytest.raises(UserError, match=f"marks `<!-- {name}: "):
            readme.filled(marks.replace(f"end of {name}", "end"), shown)


def test_same_results_same_report(project: Study) -> None:
    (project.project / "results" / "table1.md").unlink()
    with pytest.raises(UserError, match="run `bregman-nas aggregate`"):
        paper.build(project)
    aggregate(project)
    assert paper.build(project).endswith("paper/study.pdf")
    first = (project.project / "paper" / "study.pdf").read_bytes()
    assert first.startswith(b"%PDF")
    assert b"CreationDate" not in first
    assert paper.render(project.project) == first


def test_every_sentence_on_a_claim_is_the_one_that_was_written(rendered: dict[str, str]) -> None:
    """Each agrees with the verdicts; where the results say otherwise, the verdicts are told."""
    source = (PROJECT / "paper" / "study.typ").read_text("utf-8")
    written = dict(re.findall(r'#claim\((\d+), (\("[a-z ]+", "[a-z ]+"\)|open-ended)\)', source))
    content = json.loads(rendered["claims.json"])
    for number, expected in written.items():
        claim = content["claims"][number]
        now = tuple(claim[protocol]["verdict"] for protocol in ("paper", "authors"))
        then = (
            ("undecided",) * 2
            if expected == "open-ended"
            else tuple(re.findall('"([a-z ]+)"', expected))
        )
        assert now == then, f"paper/study.typ: rewrite the sentence on claim {number}"
    assert {*map(int, written)} | {1, 15, 17} == {*range(1, 18)}


def test_no_result_is_typed_into_the_report() -> None:
    """Percentages, decimals and large numbers in it are settings, levels, or the article's."""
    text = (PROJECT / "paper" / "study.typ").read_text("utf-8")
    text = re.sub(r'^#let .*$|//.*|"[^"]*"|`[^`]*`|@[\w-]+', "", text, flags=re.MULTILINE)
    while (less := re.sub(r"[\w.\-]+\([^()]*\)|\d+ \*", "", text)) != text:  # calls
        text = less
    numbers = {*re.findall(r"(?<![\w.])(?:\d+\.\d+|\d+%|\d{3,})", text)}
    settings = {*re.findall(r"\d+\.\d+", (PROJECT / "params.yaml").read_text("utf-8"))}
    article, levels, sizes = {"65%", "200"}, {"95%", "90%", "5%"}, {"1%", "784", "2024", "0.5"}
    assert numbers - settings <= article | levels | sizes
    assert {"65%", "95%", "0.02"} <= numbers


@pytest.mark.parametrize("verdict", ["supported", "contradicted", "undecided", "not run"])
def test_the_report_builds_whatever_the_verdicts(project: Study, verdict: str) -> None:
    path = project.project / "results" / "claims.json"
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    for claim in content["claims"].values():
        claim["paper"]["verdict"] = claim["authors"]["verdict"] = verdict
    path.write_text(json.dumps(content), "utf-8")
    assert paper.render(project.project).startswith(b"%PDF")


@pytest.mark.parametrize("protocols", [("paper",), ("authors",), ("paper", "authors")])
def test_a_report_of_a_single_seed(project: Study, protocols: Sequence[str]) -> None:
    """Too few for variances, intervals and comparisons; of one protocol, not all experiments."""
    runs = {
        name: run.only([0])
        for name, run in project.runs.items()
        if run.own and run.protocol in protocols
    }
    aggregate(replace(project, runs=runs, frequencies=None, arms={}))
    assert paper.render(project.project).startswith(b"%PDF")


def test_what_the_report_needs_and_does_not_find_is_named(project: Study) -> None:
    folder = project.project
    for path, old, new, expected in (
        ("docs/choices.md", "| 1 |", "| 1 | 1 |", "must have 7 columns"),
        ("results/claims.json", "loss without skips", "loss", "claim 12 has no finding"),
    ):
        text = (folder / path).read_text("utf-8")
        assert old in text
        (folder / path).write_text(text.replace(old, new), "utf-8")
        with pytest.raises(UserError, match=expected):
            paper.render(folder)
        (folder / path).write_text(text, "utf-8")
    (folder / "figures" / "kernels.pdf").unlink()
    with pytest.raises(UserError, match=r"file not found[\s\S]*kernels\.pdf"):
        paper.render(folder)
    with pytest.raises(UserError, match="no run on MNIST"):
        paper.build(replace(project, runs={}))


def test_the_abstract_is_short(shown: dict[str, Any]) -> None:
    told = (one for one in shown["findings"] if one["topic"] != "The article's claims")
    words = " ".join(one["headline"] for one in told)
    assert len(words.split()) <= 126  # 170 with the two sentences before them
    assert len(re.findall(r"\d+", words)) <= 6


BETTER, WORSE, SAME, OPEN = (0.8, 0.81, 0.79), (1.2, 1.21, 1.19), (1.0, 1.01, 0.99), (0.5, 2.0, 1.0)
PLAIN, RESIDUAL, UNIFORM = (
    "plain denoising",
    "residual denoising",
    "equally large ones of one width",
)
SAID = [
    ([], "has not been tested yet"),
    ([BETTER, OPEN], "beat equally large ones of one width in plain denoising."),
    ([WORSE, SAME], "of one width, and lose in plain denoising."),
    ([BETTER, WORSE], "in plain denoising, and lose in residual denoising."),
    ([BETTER, BETTER], "of one width in plain denoising and residual denoising."),
    ([SAME, SAME], "are as good as equally large ones of one width, and no better."),
    ([SAME, OPEN], "are nowhere shown to beat equally large ones of one width."),
    ([OPEN], "of one width."),
]


DECIDES = [
    (0.61, "size, in denoising mostly through the skips' threshold; the task 50%"),
    (0.2, "size; the task 50%"),
]


def said_of(**numbers: Any) -> list[dict[str, str]]:
    """The findings of these numbers, and of nothing else."""
    nothing: dict[str, Any] = {"arms": {}, "after_holm": [], "rivals": {}, "both": Counter()}
    nothing |= {"searched": Counter(), "beside": [], "dying": [], "size": {}, "choice": {}}
    nothing["facts"] = {"losses": {"tested": 0}, "densenet": {}, "first_steps": None}
    return findings.told(**nothing | {"logistic": None, "more_pairs": False} | numbers)


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ([], "Of 1 DenseNet 1 dies."),
        ([0.6, 0.7], "Of 3 DenseNets 1 dies, and logistic regression beats the others."),
        (
            [0.6, 0.9],
            "Of 3 DenseNets 1 dies, and one beats logistic regression.",
        ),
        ([0.9, 0.85], "Of 3 DenseNets 1 dies, and 2 beat logistic regression."),
    ],
)
def test_what_is_said_of_densenets(accuracies: list[float], said: str) -> None:
    networks = [{"dead": True, "accuracy": 0.1}]
    networks += [{"dead": False, "accuracy": accuracy} for accuracy in accuracies]
    ends = [min(accuracies, default=0), max(accuracies, default=0)]
    living = {"seeds": len(accuracies), "accuracy": ends}
    densenet = {"seeds": len(networks), "collapsed": 1, "living": living, "networks": networks}
    facts = {"losses": {"tested": 0}, "densenet": {"authors": densenet}, "first_steps": None}
    assert said_of(facts=facts, logistic=0.8)[-1]["headline"] == said


@pytest.mark.parametrize(("low", "said"), DECIDES)
def test_what_is_said_of_what_decides(low: float, said: str) -> None:
    """The threshold has to lead beyond all doubt: its interval above those of scale and seed."""
    size = {name: [0.5, 0.4, 0.6] for name in ("setting", "task", "seed")}
    choice = {"threshold": [0.69, low, 0.77], "scale": [0, 0, 0.1], "seed": [0.2, 0.1, 0.24]}
    ends = ("value", "low", "high")
    parts = (
        {name: dict(zip(ends, found, strict=True)) for name, found in of.items()}
        for of in (size, choice)
    )
    (told,) = said_of(size=next(parts), choice=next(parts))[1:]
    assert said in told["headline"]
    assert "threshold 69%" in told["more"]


@pytest.mark.parametrize(("ratios", "said"), SAID)
def test_what_is_said_of_found_against_uniform(
    ratios: Sequence[Sequence[float]], said: str
) -> None:
    """Of found and uniform networks whose errors have these ratios, a pair each."""
    pairs = {}
    for of, of_pairs in zip(("plain denoising", "residual denoising"), ratios, strict=False):
        found = {seed: 0.01 * ratio for seed, ratio in enumerate(of_pairs)}
        uniform = dict.fromkeys(found, 0.01)
        pairs[of] = compare("found", found, "uniform", uniform)
    told = said_of(arms=pairs, after_holm=[*pairs])
    assert [one["topic"] for one in told] == ["Found against uniform"]
    assert said in told[0]["headline"]
    if SAME in ratios and OPEN not in ratios and WORSE not in ratios:
        assert "plain denoising 1.00 (0.98 to 1.03, 3 pairs)" in told[0]["numbers"]


def test_what_is_said_of_differences_that_a_correction_takes_back() -> None:
    errors = {PLAIN: WORSE, RESIDUAL: BETTER}
    uniform = dict.fromkeys(range(3), 1.0)
    arms = {
        name: compare("found", dict(enumerate(of)), "uniform", uniform)
        for name, of in errors.items()
    }
    before = "; before Holm's correction they"
    for remaining, said in (
        ([], f"are nowhere shown to beat {UNIFORM}{before} win in {RESIDUAL} and lose in {PLAIN}."),
        ([RESIDUAL], f"beat {UNIFORM} in {RESIDUAL}{before} lose in {PLAIN}."),
        ([PLAIN], f"lose in {PLAIN}{before} win in {RESIDUAL}."),
    ):
        (told,) = said_of(arms=arms, after_holm=remaining)
        assert told["headline"].endswith(said)


@pytest.mark.parametrize(
    ("last", "best", "said"),
    [
        ((-0.02, -0.01), (-0.02, -0.01), "beats the search at any mu."),
        (
            (-0.02, -0.01),
            (-0.02, 0.01),
            "beats the search at any mu (by best epochs undecided).",
        ),
        (
            (-0.02, 0.01),
            (-0.02, -0.01),
            "is not shown to beat the search at its best.",
        ),
        ((None, None), (None, None), "is not shown to beat the search"),
    ],
)
def test_what_is_said_of_proximal_adam(last: Any, best: Any, said: str) -> None:
    """Of the interval of its mean error less the search's, each at its best mu."""
    one = {"ten_mse_mean": 0.1, "ten_mse_best_held_out": 0.1, "seeds": 3, "parameters_mean": 2e6}
    kinds = [{**one, "change": mu} for mu in ("mu 1", "")]
    rival: dict[str, Any] = {
        name: {"kinds": kinds, "low": low, "high": high}
        for name, (low, high) in (("last", last), ("best", best))
    }
    (_, told) = said_of(rivals={"residual deblurring": {**rival, "pairs": []}})
    assert said in told["headline"]
    assert (
        "0.1000 at mu 1 (3 seeds, 2.00 million parameters), the search 0.1000 at its"
        in (told["numbers"])
    )


def test_the_best_mu_of_each_kind_is_found() -> None:
    name = "paper-residual-deblurring"
    errors = {
        f"{name}-proximal-adam-0-003": (0.03, 0.01),
        f"{name}-proximal-adam-0-01": (0.01, 0.02),
    }
    arms = {arm_name: arm(of) for arm_name, of in errors.items()}
    study = make_study({name: [{"mse": 0.02}, {"mse": 0.03}]}, arms=arms)
    group = next(group for group in table2.groups(study) if group.of == name)
    rival = findings._rival(group)
    assert rival is not None
    assert [one["change"] for one in rival["last"]["kinds"]] == ["mu 0.01", ""]
    assert [one["ten_mse_mean"] for one in rival["last"]["kinds"]] == pytest.approx([0.15, 0.25])
    # The standard error is sqrt(2) times 0.05: Welch's interval with two degrees of freedom.
    half = 4.302653 * 0.05 * math.sqrt(2)
    assert (rival["last"]["low"], rival["last"]["high"]) == pytest.approx(
        (-0.1 - half, -0.1 + half)
    )
    assert findings._rival(group._replace(lines=group.lines[:1])) is None
