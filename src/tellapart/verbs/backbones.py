"""``tellapart backbones``: which pretrained networks there are, and which are here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any


def backbones(filter: str = "") -> list[dict[str, Any]]:
    """Pretrained networks whose timm name contains ``filter``; empty: the best known.

    Returns:
        One mapping a network: name, parameters, input size, licence, where its weights are.

    Raises:
        RecipeError: no network has such a name.
    """
    from tellapart.models.catalogue import list_backbones

    return [asdict(row) for row in list_backbones(filter)]


def backbone_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The rows as text, a line each, columns aligned."""
    if not rows:
        return
    table = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)
