"""Numbers as the article prints them."""

from typing import Any

from bregman_nas.report.claims.claim import ENOUGH_SEEDS

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


def signed(value: float, digits: int) -> str:
    """A difference, with its sign."""
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def probability(p: float) -> str:
    """Four decimals."""
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def interval(moments: dict[str, Any], digits: int, seeds: int | None) -> str:
    """The ends of an interval; a dash if there is none, or too few seeds for one to mean much."""
    if moments["low"] is None or (seeds or 0) < ENOUGH_SEEDS:
        return DASH
    text = f"{moments['low']:.{digits}f} to {moments['high']:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")
