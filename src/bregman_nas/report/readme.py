"""What the README says of the results, between marks: Table 1, and what was reproduced."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bregman_nas.report.claims.table import COLLAPSED_MARK
from bregman_nas.report.paper.numbers import collect
from bregman_nas.report.read import PROTOCOLS
from bregman_nas.report.table1 import ARTICLE_SEEDS

START = "<!-- table 1: made by `make readme` -->\n"
END = "<!-- end of table 1 -->"
OUTCOME_START = "<!-- outcome: made by `make readme` -->\n"
OUTCOME_END = "<!-- end of outcome -->"
NOTE = (
    "\nTen times the mean squared error per pixel on the 10,000 official test images, which is the"
    "\nunit of the article's Table 1: mean (standard deviation) over the seeds, ten where no n is"
    "\ngiven. The last three rows need no training, and hardly depend on the seed.\n"
)
VERDICTS = {
    "supported": "supported",
    "contradicted": "contradicted",
    "full": f"undecided with {ARTICLE_SEEDS} seeds",
    "few": "undecided with fewer seeds",
    "not run": "not run",
}


def with_table(readme: str, table1: str) -> str:
    """The README with the table in place.

    Args:
        readme: the README's text.
        table1: the text of `results/table1.md`.

    Raises:
        ValueError: if the marks are not in the README, or there is no table in `table1`.
    """
    lines = table1.splitlines(keepends=True)
    first = next((n for n, line in enumerate(lines) if line.startswith("|")), None)
    if first is None:
        raise ValueError("results/table1.md has no table")
    count = next((n for n, line in enumerate(lines[first:]) if not line.startswith("|")), None)
    table = "".join(lines[first:][:count])
    return _between(readme, START, f"{table}{NOTE}", END)


def with_outcome(readme: str, numbers: dict[str, Any]) -> str:
    """The README with what was reproduced in place: verdicts, losses, architectures, DenseNet.

    Args:
        readme: the README's text.
        numbers: those of the article, from `paper.numbers.collect`.

    Raises:
        ValueError: if the marks are not in the README.
    """
    verdicts = numbers["verdicts"]
    lines = [["The article's claims", *VERDICTS.values()], ["---"] * (1 + len(VERDICTS))]
    for protocol in PROTOCOLS:
        found = [", ".join(verdicts[protocol][key]) or "none" for key in VERDICTS]
        lines.append([f"`{protocol}`", *found])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    points = [
        _losses(numbers["losses"]),
        *_unlike(numbers["unlike"]),
        *_architectures(numbers),
        *_densenets(numbers),
    ]
    listed = "\n".join(
        textwrap.fill(f"- {point}", 100, subsequent_indent="  ", break_on_hyphens=False)
        for point in points
    )
    return _between(readme, OUTCOME_START, f"{table}\n\n{listed}\n", OUTCOME_END)


def update(project: Path) -> None:
    """Put table and outcome, as they are now, into README.md."""
    readme = project / "README.md"
    table1 = (project / "results" / "table1.md").read_text("utf-8")
    text = with_outcome(with_table(readme.read_text("utf-8"), table1), collect(project))
    readme.write_text(text, encoding="utf-8")


def _between(readme: str, start: str, text: str, end: str) -> str:
    before, found_start, rest = readme.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found_start and found_end):
        raise ValueError(f"README.md must have the marks {start.strip()!r} and {end!r}")
    return f"{before}{start}{text}{end}{after}"


def _losses(losses: dict[str, Any]) -> str:
    apart = losses["apart"]
    verb = "differs" if len(apart) == 1 else "differ"
    beginning = (
        f"**Losses:** of {losses['tested']} means, {len(apart)} {verb} significantly from the "
        f"article's (Welch's test at {losses['level']}"
    )
    if not apart:
        return f"{beginning})."
    each = "; ".join(
        f"{one['name']}, `{one['protocol']}`: {one['change']}, p {one['p']}"
        + (", within the rounding of the article's number" if one["rounding"] else "")
        for one in apart
    )
    return f"{beginning}; {losses['corrected']} with Holm's correction): {each}."


def _unlike(seeds: list[dict[str, Any]]) -> Iterator[str]:
    for one in seeds:
        yield (
            f"**A seed apart:** {one['name']}, `{one['protocol']}`, seed {one['seed']} ended with "
            f"{one['times']} times the median loss of its run ({one['median']}). It counts in "
            f"every mean and deviation. Without it the mean would be {one['without']}, "
            f"{one['change']} the article's (p {one['p']})."
        )


def _architectures(numbers: dict[str, Any]) -> Iterator[str]:
    found = numbers["architectures"]
    if not found["compared"]:
        return
    tasks = [
        f"{one['paper_mean']} (`paper`) and {one['authors_mean']} (`authors`) for {task}"
        for task, one in (
            (task, found["measures"]["width of the narrowest hidden layer"])
            for task, found in found["tasks"].items()
        )
    ]
    apart = ", ".join(found["apart"]) or "nothing"
    yield (
        "**Residual architectures:** on both tasks the two protocols differ significantly in "
        f"{apart}. Mean width of the narrowest hidden layer: {', '.join(tasks)}."
    )


def _densenets(numbers: dict[str, Any]) -> Iterator[str]:
    for protocol, one in numbers["densenet"].items():
        lost = f"{one['collapsed']} of {one['seeds']} seeds collapsed to one answer for all images"
        text = f"**DenseNet**, `{protocol}`: {lost}"
        if one["any_collapsed"]:
            text += f" (accuracy {one['chance']}{', loss ln 10' if one['all_equal'] else ''})"
        start = one["start"]
        if one["any_collapsed"] and start is not None and start["same"]:
            text += f": {_why(start['own'])}"
        if one["others"]:
            text += (
                f"; without them the test accuracy is {one['others']['accuracy']} "
                f"({one['others']['seeds']})"
            )
        if one["all_collapsed"]:
            text += ". The article's Figure 4 is not reproduced"
        if one["any_collapsed"]:
            text += (
                f". With more than {numbers['rules']['too_many_collapsed']} of such seeds a claim "
                f"is undecided ({COLLAPSED_MARK})"
            )
        yield f"{text}."


def _why(own: dict[str, Any]) -> str:
    """What the collapsed seeds of a DenseNet have in common."""
    when = []
    if own["dead_at_the_start"] is not None:
        when.append(f"at the start ({own['dead_at_the_start']['n']})")
    if own["died"] is not None:
        when.append(f"by step {own['died_by']} at the latest ({own['died']['n']})")
    return (
        f"the ReLU after the last convolution is dead {' or '.join(when)}, before any kernel has "
        "switched on (`figures/figure8.png`)"
    )
