"""Writes page.html, the page of `dvc plots`, with Vega inside instead of links to a network.

DVC's own page loads Vega, Vega-Lite and Vega-Embed from a server. Here they are part of the page,
as vl-convert-python bundles them. Run once for a new version of it: `python .dvc/plots/page.py`.
"""

from pathlib import Path

import vl_convert

VEGA_LITE = "6.4"  # draws the templates of DVC, which are for Vega-Lite 5, as well
PAGE = """\
<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
{refresh_tag}
<title>DVC plots</title>
<!--
Made by page.py. Vega, Vega-Lite and Vega-Embed (https://vega.github.io): Copyright (c) University
of Washington Interactive Data Lab and contributors, BSD 3-Clause License, as bundled by
vl-convert-python.
-->
<script>
(() => {
<VEGA>
})();
</script>
<style>table { border-spacing: 15px; } body { font-family: sans-serif; }</style>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def page() -> str:
    """The page, with DVC's marks for what it fills in."""
    vega = vl_convert.javascript_bundle(vl_version=VEGA_LITE)
    for mark in ("</script", "{refresh_tag}", "{plot_divs}"):
        if mark in vega:
            raise ValueError(f"Vega's JavaScript has {mark!r} in it, which the page cannot hold")
    return PAGE.replace("<VEGA>", vega.strip())


if __name__ == "__main__":
    Path(__file__).with_name("page.html").write_text(page(), encoding="utf-8", newline="\n")
