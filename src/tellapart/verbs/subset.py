"""``tellapart subset``: so many images a class for each part, copied or linked."""

from __future__ import annotations

from tellapart.data.subset import Subset, subset

__all__ = ["Subset", "subset"]
