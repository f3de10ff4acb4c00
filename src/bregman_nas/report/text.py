"""Numbers as tables, figures and article print them."""

from collections.abc import Iterable

DASH = "\N{EN DASH}"
NOT_RUN = "not run"


def fixed(value: float | None, digits: int | None, sign: bool = False) -> str:
    """A number with so many decimals, and with its sign if it is a difference; a dash for None.

    Without `digits` it has three digits that mean something, and numbers of rows no exponent.
    """
    if value is None:
        return DASH
    if digits is None:
        return with_minus(f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}")
    return with_minus(f"{value:+z.{digits}f}" if sign else f"{value:.{digits}f}")


def mean_std(
    mean: float | None, std: float | None, digits: int | None = None, sign: bool = False
) -> str:
    """A mean, as `fixed`, and in brackets the standard deviation if there is one."""
    spread = "" if mean is None or std is None else f" ({fixed(std, digits)})"
    return fixed(mean, digits, sign) + spread


def interval(low: float | None, high: float | None, digits: int | None, sign: bool = False) -> str:
    """The ends of an interval, as `fixed`; a dash if there is none."""
    if low is None or high is None:
        return DASH
    return f"{fixed(low, digits, sign)} to {fixed(high, digits, sign)}"


def span(values: Iterable[float], form: str) -> str:
    """The least and the greatest by a `str.format` form, or one if they print the same."""
    found = sorted(values)
    shown = [form.format(value) for value in found[:1] + found[-1:]]
    return with_minus(" to ".join(dict.fromkeys(shown))) or DASH


def counted(count: int, noun: str, plural: str = "") -> str:
    """Such as 1 seed, 2 seeds."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def probability(p: float) -> str:
    """Four decimals."""
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def with_minus(text: str) -> str:
    """With a true minus sign in place of each hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")
