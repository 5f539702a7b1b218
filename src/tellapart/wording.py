"""How numbers are written in sentences and tables."""

from __future__ import annotations


def percent(share: float, decimals: int = 1) -> str:
    """A share as a percentage, ``0.965`` as ``96.5 %``."""
    return f"{100 * share:.{decimals}f} %"


def duration(seconds: float, space: str = " ") -> str:
    """Seconds in at most two units: ``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{space}s"
    if whole < 3600:
        return f"{whole // 60}{space}min {whole % 60}{space}s"
    return f"{whole // 3600}{space}h {whole % 3600 // 60}{space}min"
