"""The templates and the page of `dvc plots`: they draw, and load nothing from a network."""

import re
import runpy
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import vl_convert
from dvc_render import VegaRenderer
from dvc_render.html import render_html

from tests.helpers import PROJECT

PLOTS = PROJECT / ".dvc" / "plots"


def drawn(
    frame: pd.DataFrame,
    template: str,
    x: str,
    y: str,
    revisions: Sequence[str] = ("HEAD", "workspace"),
) -> VegaRenderer:
    rows = [row | {"rev": r} for r in revisions for row in frame.astype(str).to_dict("records")]
    return VegaRenderer(rows, template, template=template, template_dir=str(PLOTS), x=x, y=y)


RUN = "paper-residual-denoising"
WIDTHS = pd.DataFrame({"run": RUN, "seed": [0, 0, 1, 1], "layer": [1, 2] * 2, "width": 100})


def svg(renderer: VegaRenderer) -> str:
    return str(vl_convert.vegalite_to_svg(renderer.get_filled_template(), vl_version="6.4"))


def test_widths_are_boxes_for_each_layer_and_revision() -> None:
    picture = svg(drawn(WIDTHS, "widths", "layer", "width"))
    assert RUN in picture
    assert len(re.findall(r'aria-roledescription="(?:boxplot|box)"', picture)) == 2 * 2


def test_what_was_before_is_left_of_what_is_after() -> None:
    """The workspace is last, though DVC has it first; others are in the order they are named in."""
    revisions = ("workspace", "v2", "v1")
    picture = svg(drawn(WIDTHS, "widths", "layer", "width", revisions))
    point = r'aria-label="layer: 1;[^"]*rev: (\w+);[^>]*transform="translate\(([\d.]+)'
    found = {(float(x), revision) for revision, x in re.findall(point, picture)}
    assert [revision for _, revision in sorted(found)] == ["v2", "v1", "workspace"]


def test_learning_curves_are_lines_for_each_seed_and_revision() -> None:
    columns = {"seed": [0, 0, 1, 1, 2, 2], "epoch": [1, 2] * 3, "held_out_loss": [0.1, 0.01] * 3}
    frame = pd.DataFrame({"filename": f"{RUN}/history.csv", **columns})
    picture = svg(drawn(frame, "learning_curves", "epoch", "held_out_loss"))
    assert len(re.findall(r'aria-roledescription="line mark"', picture)) == 3 * 2


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page" / "index.html"
    widths = drawn(WIDTHS, "widths", "layer", "width")
    render_html([widths], path, html_template=PLOTS / "page.html")
    page = path.read_text("utf-8")
    markup = re.sub(r"<script[^>]*>[\s\S]*?</script>", "", page)
    assert "vegaEmbed('#" in page
    assert not re.search(r"""<link|<img[^>]*src=["']http|@import""", markup)
    assert not re.search(r"<script[^>]*\ssrc=", page)


def test_the_page_is_what_its_script_writes() -> None:
    script = runpy.run_path(str(PLOTS / "page.py"))
    assert (PLOTS / "page.html").read_text("utf-8") == script["page"]()
