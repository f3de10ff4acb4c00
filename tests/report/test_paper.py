import datetime
import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typst

from bregman_nas.cli import main
from bregman_nas.report.paper.ablation import _changes_nothing
from bregman_nas.report.paper.architectures import architectures
from bregman_nas.report.paper.build import build, render
from bregman_nas.report.paper.choices import read_choices
from bregman_nas.report.paper.cost import cost
from bregman_nas.report.paper.losses import Comparison, directions, holm, losses
from bregman_nas.report.paper.missing import PaperError
from bregman_nas.report.paper.numbers import collect
from bregman_nas.report.paper.schedule import schedule
from bregman_nas.report.paper.siblings import unlike_siblings
from bregman_nas.report.paper.words import interval
from bregman_nas.report.read import TASKS, Run, read_run, skip_names
from bregman_nas.report.words import number

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
    rows = json.loads((project / "paper" / "numbers.json").read_text("utf-8"))["losses"]["rows"]
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


def test_undecided_claims_are_told_apart_by_their_seeds(project: Path) -> None:
    def how(content: Any) -> None:
        seeds = {"1": 10, "2": 9, "3": 12, "13": 3}
        for key, claim in content["claims"].items():
            decision = claim["authors"]
            decision["verdict"] = "undecided" if key in seeds else "supported"
            decision["seeds"] = seeds.get(key)
            decision["collapsed"] = int(key == "13")

    change(project / "results" / "claims.json", how)
    verdicts = collect(project)["verdicts"]["authors"]
    assert verdicts["undecided"] == ["1", "2", "3", "13\N{DAGGER}"]
    assert verdicts["full"] == ["1", "3"]
    assert verdicts["few"] == ["2", "13\N{DAGGER}"]
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
    # Seed 0 learns; in seed 1 the last convolution reads nothing of the image.
    seeds = f"seed,test_loss,test_accuracy\n0,0.3,0.9\n1,{math.log(10)},0.1\n"
    (run / "seeds.csv").write_text(seeds, "utf-8")
    history = "seed,epoch,held_out_loss,switched_on_1,switched_off_1\n0,1,0.5,2,1\n0,2,0.3,0,0\n"
    history += "".join(f"1,{e},{loss},0,0\n" for e, loss in ((1, 2.31), (2, math.log(10))))
    (run / "history.csv").write_text(history, "utf-8")
    (run / "records").mkdir(exist_ok=True)
    other = next(project.glob("results/paper-*/records/seed-00.json"))
    record = json.loads(other.read_text("utf-8"))
    for seed, last in enumerate(([0, 0, 1], [1, 0, 0])):
        record["result"]["kernel_norms"] = [[[0], [2]], [[0, 3]], [last]]
        path = run / "records" / f"seed-{seed:02d}.json"
        path.write_text(json.dumps(record), "utf-8")


def test_the_densenet_is_told_of_when_it_has_seeds(project: Path) -> None:
    shutil.rmtree(project / "results" / "authors-densenet-fashion")
    without = collect(project)
    assert without["densenet"] == {}
    (project / "figures" / "figure4.pdf").unlink()
    build(project)  # figure 4 is not needed

    (project / "results" / "authors-densenet-fashion").mkdir()
    give_seeds_to_the_densenet(project)
    with_densenet = collect(project)
    assert with_densenet["densenet"] == {
        "authors": {
            "seeds": "2",
            "collapsed": "1",
            "any_collapsed": True,
            "all_collapsed": False,
            "accuracy": "10.0% to 90.0%",
            "chance": "10%",
            "all_equal": True,
            "others": {
                "seeds": "1",
                "accuracy": "90.0%",
                "lead": "100.0%",
                "unused_inputs": "1",
                "unused_outputs": "1",
            },
            "start": None,
        }
    }
    runs = [len(numbers["cost"]["runs"]) for numbers in (without, with_densenet)]
    assert runs[1] == runs[0] + 1
    with pytest.raises(PaperError, match=r"figure4\.pdf"):
        build(project)
    shutil.copy(project / "figures" / "figure3.pdf", project / "figures" / "figure4.pdf")
    build(project)  # with a seed that collapsed and one that did not


def test_how_losses_compare_by_hand() -> None:
    higher = Comparison("autoencoders", "denoising", "paper", 0.1, 0.08, 0.00204)
    assert higher.told == {
        "name": "autoencoders, denoising",
        "protocol": "paper",
        "change": "25% higher",
        "p": "= 0.0020",
        "rounding": False,
    }
    lower = Comparison("residual autoencoders", "denoising", "authors", 0.0046, 0.005, 1e-9)
    assert (lower.told["change"], lower.told["p"]) == ("8% lower", "< 0.0001")
    assert lower.told["rounding"]  # 0.0046 is printed as 0.005
    assert not Comparison("", "", "", 1, 1, 0.05).significant
    assert directions([higher, lower]) == "1 higher (by 25%), 1 lower (by 8%)"
    assert directions([higher, Comparison("", "", "", 1.1, 1, 0)]) == "all higher (by 10% to 25%)"
    assert directions([]) == ""


def test_holm_by_hand() -> None:
    # 0.01 < 0.05 / 4; 0.02 > 0.05 / 3, and what comes after it fails with it.
    assert holm([0.04, 0.01, 0.02, 0.03]) == [0.01]
    assert holm([0.04, 0.001, 0.012, 0.02]) == [0.001, 0.012, 0.02, 0.04]
    assert holm([]) == []


def residual(total: int, narrow: Sequence[int], zeros: int, losses: Sequence[float]) -> Run:
    """A run whose second hidden layer of two is the narrowest."""
    lines = [
        {"seed": seed, "test_mse": loss, "width_1": 100, "width_2": width}
        | {"width_3": total - 100 - width, "skip_0_0": 0.0 if zeros else 1.0}
        | {f"skip_{l}_{i}": 1.0 for l, i in skip_names(3)[1:]}
        for seed, (width, loss) in enumerate(zip(narrow, losses, strict=True))
    ]
    return Run(Path(), pd.DataFrame(lines))


def test_architectures_by_hand() -> None:
    paper = residual(600, (50, 60, 70), 1, (0.001, 0.002, 0.003))
    authors = residual(500, (10, 20, 30), 0, (0.001, 0.002, 0.003))
    both = {
        f"{p}-residual-{t}": run
        for p, run in (("paper", paper), ("authors", authors))
        for t in TASKS
    }
    found = architectures(both)
    measures = found["tasks"]["denoising"]["measures"]
    assert measures["loss"]["paper"] == "0.0200 (0.0100)"  # ten times
    # 60 and 20, standard error sqrt(100 / 3 + 100 / 3), 4 degrees of freedom: 2.77645.
    narrow = measures["width of the narrowest hidden layer"]
    assert (narrow["difference"], narrow["interval"]) == (
        "\N{MINUS SIGN}40",
        "\N{MINUS SIGN}63 to \N{MINUS SIGN}17",
    )
    assert measures["zero skips"]["authors_mean"] == "0.0"
    assert found["apart"] == ["active rows", "zero skips", "width of the narrowest hidden layer"]
    assert found["tasks"]["deblurring"]["narrowest"] == {"paper": "2 (3)", "authors": "2 (3)"}

    two = residual(500, (10, 20), 0, (1, 2))
    fewer = architectures({**both, "authors-residual-denoising": two})
    assert fewer["apart"] == []  # two seeds are too few
    assert fewer["tasks"]["denoising"]["measures"]["loss"]["interval"] == "\N{EN DASH}"
    del both["authors-residual-denoising"]
    missing = architectures(both)["tasks"]["denoising"]
    assert missing["seeds"] == {"paper": "3", "authors": None}


def test_a_change_that_changes_nothing() -> None:
    assert _changes_nothing(moments(0.0, 0.0))
    assert _changes_nothing(moments(0.0))  # a single seed
    assert not _changes_nothing(moments(0.0, 0.1))
    assert not _changes_nothing(moments(0.1, 0.0))
    assert not _changes_nothing(None)


def test_when_the_schedule_acted(tmp_path: Path) -> None:
    def run(rates: Sequence[Sequence[float]]) -> Run:
        made = Run(Path(), pd.DataFrame({"seed": range(len(rates)), "test_mse": 0.1}))
        lines = [
            {"seed": seed, "epoch": epoch, "learning_rate": rate}
            for seed, of_seed in enumerate(rates)
            for epoch, rate in enumerate(of_seed, start=1)
        ]
        made.__dict__["history"] = pd.DataFrame(lines)
        return made

    runs = {
        "authors-a-b": run([[1, 1, 0.5, 0.25], [1, 1, 1, 1]]),
        "authors-a-c": run([[1, 1, 1, 0.5]]),
        "paper-a-b": run([[1, 1, 1, 1]]),
    }
    found = schedule(runs)
    assert found["authors"] == {
        "searches": "3",
        "changed": "2",
        "any": True,
        "first": "3",
        "by_run": [
            {"run": "authors-a-b", "changed": "1", "searches": "2"},
            {"run": "authors-a-c", "changed": "1", "searches": "1"},
        ],
    }
    assert found["paper"] == {
        "searches": "1",
        "changed": "0",
        "any": False,
        "first": "\N{EN DASH}",
        "by_run": [],
    }


def test_the_largest_gap_is_told_also_where_it_is_not_significant(project: Path) -> None:
    path = project / "results" / "table1.json"
    content = json.loads(path.read_text("utf-8"))
    for protocol in ("paper", "authors"):
        for network in ("autoencoder", "residual"):
            for task in TASKS:
                mean = content["article"][network][task]["mean"]
                cell = content[protocol][network][task]["test"]
                cell["ten_mse"]["mean"], cell["welch"]["p"] = 1.1 * mean, 0.5
    last = content["authors"]["residual"]["denoising"]["test"]
    last["ten_mse"]["mean"] = 1.5 * content["article"]["residual"]["denoising"]["mean"]
    first = content["paper"]["autoencoder"]["denoising"]["test"]
    first["ten_mse"]["mean"] = 1.2 * content["article"]["autoencoder"]["denoising"]["mean"]
    first["welch"]["p"] = 0.01
    path.write_text(json.dumps(content), "utf-8")
    found = losses(project)
    assert found["largest"]["change"] == "20% higher"
    assert found["hidden"]["change"] == "50% higher"
    assert found["others"] == {"count": "7", "most": "50%"}
    assert [(one["protocol"], one["tested"], one["apart"]) for one in found["by_protocol"]] == [
        ("paper", "4", "1"),
        ("authors", "4", "0"),
    ]
    last["welch"]["p"] = 0.04
    path.write_text(json.dumps(content), "utf-8")
    assert losses(project)["hidden"] is None


def test_a_seed_unlike_its_siblings_by_hand() -> None:
    losses = (0.0005, 0.0006, 0.0006, 0.0013, math.nan)
    run = residual(600, (50,) * 5, 1, losses)
    assert unlike_siblings({"authors-residual-denoising": run}) == [
        {
            "protocol": "authors",
            "name": "residual autoencoders, denoising",
            "seed": "3",
            "times": "2.2",  # 0.0013 / 0.0006
            "median": "0.0060",
            "without": "0.0057",  # of 0.005, 0.006, 0.006: standard deviation 0.000577
            "change": "13% above",
            # t = 0.000667 / (0.000577 / sqrt(3)) = 2 with 2 degrees of freedom
            "p": "= 0.1835",
        }
    ]
    assert unlike_siblings({"authors-residual-denoising": residual(600, (50,), 1, (1,))}) == []


def moments(mean: float, std: float | None = None) -> dict[str, float | None]:
    low, high = (None, None) if std is None else (mean - std, mean + std)
    return {"mean": mean, "std": std, "low": low, "high": high}


def test_the_ablation_is_shown_once_a_choice_was_changed(project: Path) -> None:
    def measures(loss: float, difference: dict[str, float | None] | None) -> dict[str, Any]:
        shape = ("coding_width", "coding_layer", "skips_on", "largest_skip")
        found = {name: {"seeds": 2, "difference": None, **moments(3.0, 0.5)} for name in shape}
        return found | {"ten_mse": {"seeds": 2, "difference": difference, **moments(loss, 0.01)}}

    own: dict[str, Any] = {
        "protocol": "paper",
        "change": None,
        "words": "as it is",
        "measures": measures(0.1, None),
        "by_seed": [],
    }
    variant: dict[str, Any] = {
        "protocol": "paper",
        "change": {"initial_scale": 5},
        "words": "initial_scale 5",
        "measures": None,
        "by_seed": [{"coding_layer": 3.0}, {"coding_layer": 1.0}, {"coding_layer": 1.0}],
    }
    table = project / "results" / "ablation.json"
    content = {"experiment": "residual-denoising", "epoch": 50, "runs": {"a": own, "b": variant}}
    table.write_text(json.dumps(content), "utf-8")
    assert collect(project)["ablation"] is None
    without = build(project).read_bytes()

    def shown(pairs: int, nan_pairs: int = 0) -> dict[str, Any]:
        counts = {"pairs": pairs, "nan_pairs": nan_pairs}
        variant["measures"] = measures(0.3, counts | moments(0.2, 0.02))
        table.write_text(json.dumps(content), "utf-8")
        found = collect(project)["ablation"]
        assert isinstance(found, dict)
        return found

    found = shown(3)
    assert (found["epoch"], found["pairs"], found["enough"]) == ("50", "3", True)
    line = "0.30000 (0.01000)", "+0.20000 (0.02000); 0.18000 to 0.22000", "3 (0)", "3.0 (0.5)"
    assert found["rows"][1][:7] == ["paper", "initial_scale 5", "2", *line]
    assert found["rows"][1][-1] == "1 (2), 3 (1)"
    assert found["still"] == []
    loss, *shape = found["told"]
    assert loss == {
        "name": "the loss",
        "intervals": "1",
        "apart": [
            {
                "protocol": "paper",
                "words": "initial_scale 5",
                "by": "+0.20000",
                "interval": "0.18000 to 0.22000",
            }
        ],
    }
    assert [(one["intervals"], one["apart"]) for one in shape] == [("0", [])] * 3
    enough = build(project).read_bytes()
    assert enough != without

    for pairs, diverged in ((2, 0), (3, 1)):  # two pairs have no interval worth the name
        found = shown(pairs, diverged)
        assert not found["enough"]
        assert found["rows"][1][4] == "+0.20000 (0.02000); \N{EN DASH}"
        assert found["told"][0]["intervals"] == "0"
    assert build(project).read_bytes() not in (enough, without)


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
    assert not found["lockstep"]
    # Ten seeds as one batch share its time.
    path = folder / "seed-02.json"
    batch = {**told, "seconds": 6000, "in_lockstep": list(range(10))}
    path.write_text(json.dumps({"provenance": batch}), "utf-8")
    found = cost(tmp_path, {"run": [2]})
    assert (found["lockstep"], found["runs"][0]["mean"]) == (True, "10.0")
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
    assert interval({"low": -1.0, "high": 2.0}, 1, 3) == "\N{MINUS SIGN}1.0 to 2.0"
    assert interval({"low": -1.0, "high": 2.0}, 1, 2) == "\N{EN DASH}"
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
  | 65% | 95% | about\ 200\ neurons | Algorithm\ 1 | row\ 2[12] | 0\.000 | numbered\ from\ 1
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
        r"#?(outcome|measured|values|parts|ranges|beside|in-part|contradicted-in-part|times-mu|"
        r"by-verdict|drawn|set-to|get|cite)\([^()\[\]]*[,)]?",
        r"by-verdict\(\s*\d+,",
        r"\(\s*\d+,\s*supported:|^\s*\d+,\s*$",
        r"\.len\(\) *(==|>) *\d|columns: \d|if n == 1",
    ):
        source = re.sub(part, " ", source, flags=re.MULTILINE)
    return re.sub(NAMES, " ", source, flags=re.VERBOSE)


def test_what_typst_cannot_tag_is_built_without_tags(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_: Any = typst.compile
    tried: list[bool] = []

    def failing_to_tag(*arguments: Any, pdf_tags: bool = True, **options: Any) -> bytes:
        tried.append(pdf_tags)
        if pdf_tags:
            # As Typst says it: a document that stops the build, with this in its message.
            source = b'#panic("internal error: parent group")'
            compile_(source)
        content: bytes = compile_(*arguments, pdf_tags=False, **options)
        return content

    monkeypatch.setattr(typst, "compile", failing_to_tag)
    assert render(project).startswith(b"%PDF")
    assert tried == [True, False]


def test_no_number_is_typed_into_the_text() -> None:
    text = prose((PROJECT / "paper" / "study.typ").read_text("utf-8"))
    typed = [line.strip() for line in text.splitlines() if re.search(r"\d", line)]
    assert typed == []
    assert prose("The loss is 0.05 #outcome(12) on @table1.").count("0.05") == 1


def test_no_semicolon_is_lost() -> None:
    """Typst takes one right after a call in the text for the end of the code."""
    source = (PROJECT / "paper" / "study.typ").read_text("utf-8")
    assert re.findall(r".*#[\w.-]+\([^()]*\);.*", source) == []
