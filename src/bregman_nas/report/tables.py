"""All tables of the study: `aggregate` writes them under results/."""

from pathlib import Path

from bregman_nas.report import networks, table1, widths
from bregman_nas.report.claims import table as claims


def aggregate(project: Path) -> None:
    """Write all tables under `results/`.

    Table 1 (CSV, Markdown, LaTeX in short and in full, JSON, and in short for `dvc metrics`), the
    claims (CSV, Markdown, JSON), the widths and the small networks (CSV, Markdown).

    The same results give the same bytes. Runs that have not been made are left out or said to be
    missing.

    Args:
        project: the repository; `results/` in it is read and written, `data/manifest.json`
            read.
    """
    results = project / "results"
    results.mkdir(parents=True, exist_ok=True)
    rows = table1.rows(project)
    decisions = claims.rows(project)
    small = networks.read(project)
    for name, text in {
        "table1.csv": table1.as_csv(rows),
        "table1.md": table1.as_markdown(rows),
        "table1.tex": table1.as_latex(rows),
        "table1-detailed.tex": table1.as_detailed_latex(rows),
        "table1.json": table1.as_json(rows),
        "metrics.json": table1.as_metrics(rows),
        "claims.csv": claims.as_csv(decisions),
        "claims.md": claims.as_markdown(decisions),
        "claims.json": claims.as_json(decisions),
        "widths.csv": widths.as_csv(project),
        "widths.md": widths.as_markdown(project),
        "networks.csv": networks.as_csv(small),
        "networks.md": networks.as_markdown(small),
    }.items():
        (results / name).write_text(text, encoding="utf-8", newline="\n")
