"""``tellapart backbones``: which pretrained networks there are, and which are here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tellapart.notebook import card
from tellapart.result import Rows


@dataclass(frozen=True, repr=False)
class Backbones(Rows[dict[str, Any]]):
    """One mapping a network: name, parameters, input size, licence, where its weights are."""

    def lines(self) -> Iterator[str]:
        """What the command prints: a line a network, columns aligned."""
        if not self.rows:
            return
        table = [list(self.rows[0]), *([_text(v) for v in row.values()] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for line in table:
            cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            yield "  ".join(cells).rstrip()

    def to_json(self) -> list[dict[str, Any]]:
        return list(self.rows)

    def _repr_html_(self) -> str:
        heads = list(self.rows[0]) if self.rows else []
        rows = [[_text(value) for value in row.values()] for row in self.rows]
        return card("Backbones", table=[heads, *rows] if rows else ())


def backbones(filter: str = "") -> Backbones:
    """Pretrained networks whose timm name contains ``filter``; empty: the best known.

    Returns:
        One mapping a network: name, parameters, input size, licence, where its weights are.

    Raises:
        RecipeError: no network has such a name.
    """
    from tellapart.models.catalogue import list_backbones

    return Backbones(tuple(asdict(row) for row in list_backbones(filter)))


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)
