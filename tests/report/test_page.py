"""docs/page.html: what it is given, what its charts draw, and the page itself in a browser."""

import base64
import html
import io
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import vl_convert
from PIL import Image

from bregman_nas.report import page
from bregman_nas.report.data import Study

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.fixture(scope="module")
def made(partial: Study) -> str:
    return page.page(partial)


def drawn(study: Study, chart: str, run: str, seed: int, epoch: int) -> list[str]:
    """The texts of a chart, read from a picture of it."""
    found = next(one for one in page.results(study)["runs"] if one["name"] == run)
    told = {**found, **next(one for one in found["seeds"] if one["seed"] == seed)}
    spec = page.charts()[chart].to_dict()
    spec["datasets"] = {"search": [told]}
    for parameter in spec.get("params", []):
        parameter["value"] = epoch
    picture = vl_convert.vegalite_to_svg(spec, vl_version="6.4")
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)]


def test_what_is_kept_of_a_seed(partial: Study) -> None:
    found = page.results(partial)
    run = next(run for run in found["runs"] if run["name"] == "paper-residual-denoising")
    lost, first, _ = run["seeds"]
    assert run["epoch"] == [1, 2, 3, 4]
    assert first["active"][0] == [12, 13, 14, 15]
    # tau(1, 0) is the second of (0, 0), (1, 0), (1, 1), ...
    assert (run["from"][1], run["into"][1]) == (0, 2)
    assert first["tau"][:2] == [[0.2, 0.2, 0.2, 0.2], [0, 0.2, 0.2, 0.2]]
    assert page._rounded([0.000456, math.nan], 2) == [0.00046, None]  # what is on stays on
    assert dict(zip(lost["answer"], lost["error"], strict=True))["this network"] is None
    # Of the record's answers on the images held out, 0.02, 0.04 and 0.06.
    assert (first["best"], first["best_name"]) == (0.2, "dotted: Input unchanged, held out")
    # All seeds have the same picture, of which two rows are the same as well: kept once.
    assert first["digits"] == lost["digits"]
    assert len(found["pictures"]) == len({*first["digits"]})
    picture = partial.runs["paper-residual-denoising"].picture(1)
    assert picture is not None
    with Image.open(io.BytesIO(base64.b64decode(found["pictures"][first["digits"][0]]))) as image:
        shown = np.asarray(image.convert("L"), dtype=float)
    assert np.abs(shown - picture[0]).max() <= 255 / 15 / 2 + 1  # of sixteen greys


def test_charts_follow_the_seed_and_the_epoch(partial: Study) -> None:
    residual = ("paper-residual-denoising", 1)
    rows = drawn(partial, "rows", *residual, epoch=2)
    assert next(text for text in rows if "active, " in text) == "13 active, 660 living"
    assert [text for text in rows if text.startswith("layer")][-1] == "layer 6 (output)"
    skips = drawn(partial, "skips", *residual, epoch=2)
    assert "0.20" in skips
    assert skips.count("0") >= 18  # those that are off
    assert "dotted: Input unchanged, held out" in drawn(partial, "losses", *residual, epoch=1)
    answers = drawn(partial, "answers", *residual, epoch=1)
    assert {"this network", "0.001", "Input unchanged", "0.01", "Zero", "0.03"} <= {*answers}
    # Of a seed that diverged, only the answers that need no network.
    assert "this network" not in drawn(partial, "answers", residual[0], 0, epoch=1)
    dense = drawn(partial, "rows", "authors-densenet-fashion", 0, epoch=1)
    titles = [text for text in dense if "convolution" in text]
    assert titles == ["first convolution", "last convolution"]


def test_the_page_is_the_same_each_time_and_loads_nothing(partial: Study, made: str) -> None:
    assert page.page(partial) == made
    markup = re.sub(r"<script>[\s\S]*?</script>", "", made)
    assert not re.search(r"\ssrc=|<link|@import|url\(", markup)
    assert len(re.findall("<script", markup)) == 0
    assert made.count("</script") == 2, "one in a script would end it"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to look at the page with")
def test_in_a_browser(made: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(made, "utf-8")

    def seen(address: str) -> str:
        quiet = ["background-networking", "component-update", "sync", "gpu", "quic"]
        command = [str(CHROMIUM), "--headless", "--no-sandbox", "--no-first-run"]
        command += [f"--disable-{what}" for what in quiet]
        command += [f"--user-data-dir={tmp_path / 'user'}", "--virtual-time-budget=20000"]
        command += ["--dump-dom", f"{path.as_uri()}{address}"]
        dom = subprocess.run(command, check=True, capture_output=True, timeout=300).stdout
        return re.sub(r"<script>[\s\S]*?</script>", "", dom.decode())

    residual = seen("#paper-residual-denoising/1/2")
    assert "13 active, 660 living" in residual
    assert "residual-denoising, text, changed: nothing, seed 1: 10 times the mean" in residual
    assert "2 of 4" in residual
    assert residual.count("data:image/png") == 3
    options = {
        name: re.findall(r"<option[^>]*>([^<]*)", chosen)
        for name, chosen in re.findall(r'<select id="(\w+)">(.*?)</select>', residual)
    }
    assert {*options["protocol"]} == {"text", "code"}
    assert options["experiment"] == ["autoencoder-denoising", "residual-denoising"]
    assert options["seed"] == ["0", "1", "2"]
    assert "seed 0: diverged" in seen("#paper-residual-denoising/0/4")
    dense = seen("#authors-densenet-fashion/0")
    assert "share of the test images misclassified 0.1" in dense
    assert '<section hidden=""' in dense
