"""Which work a training found done in the cache: times count only beside others of their kind."""

from __future__ import annotations

from collections.abc import Mapping

from tellapart.cache import Record

#: Start of an entry's kind -> what it is called in ``run.json``.
_WORDS: Mapping[str, str] = {"pixels": "pixels", "feature": "features", "engines": "network"}


def found_in_cache(record: Record) -> dict[str, bool]:
    """Of each kind of work that was asked for, whether any of it was there already.

    >>> found_in_cache({("features", "a"): False, ("features", "b"): True, ("headers", "c"): True})
    {'features': True}
    """
    found: dict[str, bool] = {}
    for (kind, _), there in record.items():
        for start, word in _WORDS.items():
            if kind.startswith(start):
                found[word] = found.get(word, False) or there
    return found
