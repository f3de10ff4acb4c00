"""Moments and intervals as the article prints them."""

from typing import Any

from bregman_nas.report.claims.claim import ENOUGH_SEEDS
from bregman_nas.report.words import DASH, with_minus


def mean_std(moments: dict[str, Any], digits: int) -> str:
    """A mean and, in brackets, the standard deviation; a dash for what is None."""
    mean, std = (
        DASH if moments[name] is None else f"{moments[name]:.{digits}f}" for name in ("mean", "std")
    )
    return with_minus(f"{mean} ({std})")


def interval(moments: dict[str, Any], digits: int, seeds: int | None) -> str:
    """The ends of an interval; a dash if there is none, or too few seeds for one to mean much."""
    if moments["low"] is None or (seeds or 0) < ENOUGH_SEEDS:
        return DASH
    return with_minus(f"{moments['low']:.{digits}f} to {moments['high']:.{digits}f}")
