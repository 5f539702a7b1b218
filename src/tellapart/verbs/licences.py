"""``tellapart licences``: under which licences all that is used stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tellapart.notebook import card
from tellapart.package_licences import Licence, licences_of_packages, licences_of_weights
from tellapart.result import Rows
from tellapart.wording import listed


@dataclass(frozen=True, repr=False)
class Licences(Rows[Licence]):
    """A row for every package and for the weights of every known network."""

    def lines(self) -> Iterator[str]:
        """What the command prints: a line each, and a sentence about what is not permissive."""
        rows = [("name", "version", "licence", "kind", "needed by")] + [
            (row.name, row.version or "-", row.licence[:40], row.kind, row.needed_by)
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for line in rows:
            cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            yield "  ".join(cells).rstrip()
        yield self.sentence
        for row in self.rows:
            if row.note and row.needed_by != "weights":
                yield f"{row.name}: {row.note}."

    @property
    def sentence(self) -> str:
        """Whether anything forbids to sell what is made with tellapart."""
        forbidding = [f"{row.name} ({row.needed_by})" for row in self.rows if row.forbids_selling]
        if not forbidding:
            return "None of them forbids selling."
        return f"None of them forbids selling, but for {listed(forbidding, 20, 'and')}."

    def to_json(self) -> list[dict[str, Any]]:
        return [{**asdict(row), "forbids_selling": row.forbids_selling} for row in self.rows]

    def _repr_html_(self) -> str:
        rows = [(row.name, row.licence, row.kind, row.needed_by) for row in self.rows]
        return card("Licences", headline=self.sentence,
                    table=[("name", "licence", "kind", "needed by"), *rows])  # fmt: skip


def licences() -> Licences:
    """The licences of all installed packages that tellapart uses, and of pretrained weights.

    Licences are read from the packages' own metadata; this is no legal advice.
    """
    return Licences((*licences_of_packages(), *licences_of_weights()))
