"""How numbers are written in sentences and tables."""

from __future__ import annotations


def percent(share: float, decimals: int = 1) -> str:
    """A share as a percentage, ``0.965`` as ``96.5 %``."""
    return f"{100 * share:.{decimals}f} %"
