"""Numbers as the article prints them."""

from typing import Any

DASH = "\N{EN DASH}"


def number(value: float | None) -> str:
    """Three digits that mean something, without an exponent for numbers of rows."""
    if value is None:
        return DASH
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def mean_std(moments: dict[str, Any], digits: int) -> str:
    """A mean and, in brackets, the standard deviation; a dash for what is None."""
    mean, std = (
        DASH if moments[name] is None else f"{moments[name]:.{digits}f}" for name in ("mean", "std")
    )
    return f"{mean} ({std})".replace("-", "\N{MINUS SIGN}")


def interval(moments: dict[str, Any], digits: int) -> str:
    """The ends of an interval; a dash if there is none."""
    if moments["low"] is None:
        return DASH
    text = f"{moments['low']:.{digits}f} to {moments['high']:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")
