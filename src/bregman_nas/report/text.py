"""Numbers as tables, figures and article print them."""

from collections.abc import Iterable

DASH = "\N{EN DASH}"
NOT_RUN = "not run"


def number(value: float | None) -> str:
    """Three digits that mean something, without an exponent for numbers of rows."""
    if value is None:
        return DASH
    return with_minus(f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}")


def fixed(value: float | None, digits: int, sign: bool = False) -> str:
    """A number with so many decimals, a dash for None; with its sign, if it is a difference."""
    if value is None:
        return DASH
    return with_minus(f"{value:+z.{digits}f}" if sign else f"{value:.{digits}f}")


def mean_std(
    mean: float | None, std: float | None, digits: int | None = None, sign: bool = False
) -> str:
    """A mean and, in brackets, the standard deviation if there is one.

    Args:
        mean: None prints a dash.
        std: of the seeds.
        digits: decimals of both; without them as `number` prints.
        sign: the mean gets its sign, if it is a difference.
    """
    if digits is None:
        shown, spread = number(mean), number(std)
    else:
        shown, spread = fixed(mean, digits, sign), fixed(std, digits)
    return shown if mean is None or std is None else f"{shown} ({spread})"


def interval(low: float | None, high: float | None, digits: int | None, sign: bool = False) -> str:
    """The ends of an interval; a dash if there is none."""
    if low is None or high is None:
        return DASH
    if digits is None:
        return f"{number(low)} to {number(high)}"
    return f"{fixed(low, digits, sign)} to {fixed(high, digits, sign)}"


def span(values: Iterable[float], form: str) -> str:
    """The least and the greatest, or one of them if they print the same; a dash without any.

    Args:
        values: of the seeds, for instance.
        form: how one is printed, as of `str.format`.
    """
    found = [*values]
    if not found:
        return DASH
    low, high = form.format(min(found)), form.format(max(found))
    return with_minus(low if low == high else f"{low} to {high}")


def counted(count: int, noun: str, plural: str = "") -> str:
    """Such as 1 seed, 2 seeds."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def probability(p: float) -> str:
    """Four decimals."""
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def quoted(protocol: str) -> str:
    """The name of a protocol as it stands in titles."""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{protocol}\N{RIGHT DOUBLE QUOTATION MARK}"


def with_minus(text: str) -> str:
    """With a true minus sign in place of each hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")
