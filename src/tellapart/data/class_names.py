"""Class names that look like one class written twice, or like several labels in one."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tellapart.data.listing import listed, plural, shown

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_PIECES = re.compile(r"[^\W\d_]+|\d+|[^\w\s-]")
#: Signs that stand in no class name of one thing, and what also joins the words of one name.
_STRONG = re.compile(r"\s*[|;,]\s*")
_WEAK = re.compile(r"\s*[&+/]\s*|[\s_-]+(?:and[\s_-]+)?")
_MOST = 5


def similar_key(name: str) -> str:
    """Equal for names that differ in case, separators, Unicode form or the way of a number.

    Characters that cannot be seen (Unicode's category Cf: zero width, marks of direction) do not
    count.

    Example:
        >>> similar_key("Dog_1") == similar_key("dog 01"), similar_key("7") == similar_key("7.0")
        (True, True)
    """
    normal = unicodedata.normalize("NFKC", name)
    text = "".join(c for c in normal if unicodedata.category(c) != "Cf").casefold().strip()
    if _NUMBER.fullmatch(text):
        return f"{float(text):g}" if len(text) < 16 else text
    pieces = _PIECES.findall(text)
    return " ".join(str(int(p)) if p.isdecimal() else p for p in pieces)


def notes_on_names(counts: Mapping[str, int]) -> list[str]:
    """What to ask about class names, given the number of images of each."""
    return [*_similar(list(counts)), *_joined(counts)]


def _similar(names: Sequence[str]) -> list[str]:
    by_key: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_key[similar_key(name)].append(name)
    groups = [" and ".join(f"'{shown(n)}'" for n in g) for g in by_key.values() if len(g) > 1]
    if not groups:
        return []
    more = f" and {len(groups) - _MOST:,} more" if len(groups) > _MOST else ""
    return [
        "Class names that differ only in case, spaces, signs between words or the way a number "
        f"is written: {'; '.join(groups[:_MOST])}{more}; if they mean one class, give it one name."
    ]


def _joined(counts: Mapping[str, int]) -> list[str]:
    names = {name.casefold() for name in counts}
    found = [name for name in counts if _joins_others(name, names)]
    if not found:
        return []
    images = sum(counts[name] for name in found)
    several = len(found) > 1
    quoted = listed([f"'{name}'" for name in found], _MOST)
    return [
        f"{'Class names' if several else 'The class name'} "
        f"{quoted} ({plural(images, 'image')}) "
        f"{'join' if several else 'joins'} other class names and may stand for several labels "
        "of one image; here each is a class of its own: give every image the one label that "
        "counts, or leave these out."
    ]


def _joins_others(name: str, names: set[str]) -> bool:
    text = name.casefold().strip()
    strong = [piece for piece in _STRONG.split(text) if piece]
    if len(strong) > 1:
        return any(piece in names for piece in strong)
    weak = [piece for piece in _WEAK.split(text) if piece]
    return len(weak) > 1 and all(piece in names for piece in weak)
