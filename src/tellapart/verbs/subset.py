"""``tellapart subset``: so many images a class for each part, copied or linked.

The work is done by :func:`tellapart.data.subset.subset`; here is only what is said of it.
"""

from __future__ import annotations

from typing import Any

from tellapart.data.listing import shown
from tellapart.data.subset import Subset, subset
from tellapart.verbs.lines import aligned

__all__ = ["result_of", "subset", "subset_lines"]


def subset_lines(made: Subset) -> list[str]:
    """What ``tellapart subset`` prints: images by class and part, and the folder."""
    parts = list(made.counts)
    names = list(dict.fromkeys(name for row in made.counts.values() for name in row))
    rows = [["", *parts]]
    rows += [[shown(n), *(f"{made.counts[p].get(n, 0):,}" for p in parts)] for n in names]
    rows.append(["in all", *(f"{sum(made.counts[p].values()):,}" for p in parts)])
    return [*aligned(rows), str(made.folder)]


def result_of(made: Subset) -> dict[str, Any]:
    """What ``tellapart subset --json`` prints."""
    return {
        "folder": str(made.folder),
        "counts": made.counts,
        "skipped": [{"path": p.path, "reason": p.reason} for p in made.skipped],
    }
