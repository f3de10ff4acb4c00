"""Writes page.html, the page of `dvc plots`, with Vega inside instead of links to a network.

DVC's own page loads Vega, Vega-Lite and Vega-Embed from a server. Here they are part of the page,
as vl-convert-python bundles them. Run once for a new version of it: `python .dvc/plots/page.py`.

DVC puts the workspace first, whatever it is compared with; the page puts it last: after the others.
"""

from pathlib import Path

from bregman_nas.report.page import vega

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
<style>body { font-family: sans-serif; } img { max-width: 47vw; }</style>
</head>
<body>
{plot_divs}
<script>
for (const {textContent, parentElement: picture} of document.querySelectorAll("div > div > p"))
  if (textContent === "workspace") picture.parentElement.append(picture);
</script>
</body>
</html>
"""


def page() -> str:
    """The page, with DVC's marks for what it fills in."""
    return PAGE.replace("<VEGA>", vega())


if __name__ == "__main__":
    Path(__file__).with_name("page.html").write_text(page(), encoding="utf-8", newline="\n")
