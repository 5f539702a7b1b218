"""``tellapart cache``: what is kept from run to run, how much, and how to be rid of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tellapart import cache
from tellapart.report.numbers import format_value
from tellapart.result import DONE, ShortRepr, card_of
from tellapart.wording import aligned, plural, shown


@dataclass(frozen=True, repr=False)
class CacheContent(ShortRepr):
    """The cache folder, by kind of entry."""

    folder: Path
    limit: int
    #: (kind, entries, bytes), the largest first.
    kinds: tuple[tuple[str, int, int], ...]
    removed_bytes: int = 0

    exit_code: ClassVar[int] = DONE

    @property
    def bytes(self) -> int:
        return sum(size for _, _, size in self.kinds)

    def lines(self) -> Iterator[str]:
        """What the command prints."""
        yield f"{shown(self.folder)}: {_bytes(self.bytes)} of at most {_bytes(self.limit)}"
        if self.kinds:
            rows = [["kind", "entries", "size"]]
            rows += [[kind, f"{count:,}", _bytes(size)] for kind, count, size in self.kinds]
            yield from aligned(rows)
        if self.removed_bytes:
            yield f"Removed {_bytes(self.removed_bytes)}."

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "bytes": self.bytes,
            "limit_bytes": self.limit,
            "kinds": {kind: {"entries": n, "bytes": size} for kind, n, size in self.kinds},
            "removed_bytes": self.removed_bytes,
        }

    def _repr_html_(self) -> str:
        return card_of(f"Cache: {plural(len(self.kinds), 'kind')} of entries", self.lines())


def manage_cache(*, clear: bool = False, limit: str | None = None) -> CacheContent:
    """Show what the cache holds; empty it, or say how much it may hold from now on.

    Everything in it can be made again: decoded pixels, features, networks made ready.

    Args:
        clear: remove all that no process used within the last minute.
        limit: a size such as "5GB", kept in the cache folder; ``TELLAPART_CACHE_LIMIT`` goes
            before it. The least recently used goes until the rest fits.

    Raises:
        TellapartError: the limit is no size.
        FileError: it cannot be written down.
    """
    before = _size()
    if limit is not None:
        cache.set_limit(limit)
        cache.evict()
    if clear:
        cache.clear()
    kinds: dict[str, tuple[int, int]] = {}
    for row in cache.contents():
        count, size = kinds.get(row.kind, (0, 0))
        kinds[row.kind] = count + 1, size + row.bytes
    listed = sorted(((k, n, size) for k, (n, size) in kinds.items()), key=lambda row: -row[2])
    return CacheContent(
        cache.cache_folder(), cache.cache_limit(), tuple(listed), max(0, before - _size())
    )


def _size() -> int:
    return sum(row.bytes for row in cache.contents())


def _bytes(number: int) -> str:
    return format_value(number, "bytes").replace("\u2009", " ")
