"""Numbers as tables and article print them."""

DASH = "\N{EN DASH}"


def number(value: float | None) -> str:
    """Three digits that mean something, without an exponent for numbers of rows."""
    if value is None:
        return DASH
    return with_minus(f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}")


def signed(value: float, digits: int) -> str:
    """A difference, with its sign; what rounds to zero has a plus."""
    return with_minus(f"{value:+z.{digits}f}")


def probability(p: float) -> str:
    """Four decimals."""
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def with_minus(text: str) -> str:
    """With a true minus sign in place of each hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")
