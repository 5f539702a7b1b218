"""The cache can be looked at, emptied and kept small."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tellapart import cache
from tellapart.errors import TellapartError
from tellapart.verbs.manage_cache import manage_cache


def fill(kind: str, key: str, size: int, age: float = 3600.0) -> Path:
    folder = cache.entry(kind, key, lambda new: (new / "x").write_bytes(b"0" * size) and None)
    cache._in_use.discard(folder)
    then = time.time() - age
    os.utime(folder, (then, then))
    return folder


def test_what_is_there_by_kind(fresh_cache: Path) -> None:
    fill("features", "a", 50_000)
    fill("features", "b", 30_000)
    fill("engines", "c", 200_000)
    found = manage_cache()
    assert [(kind, count) for kind, count, _ in found.kinds] == [("engines", 1), ("features", 2)]
    assert 280_000 <= found.bytes < 290_000
    assert str(fresh_cache) in next(iter(found.lines()))


def test_clear_leaves_what_was_used_a_moment_ago(fresh_cache: Path) -> None:
    old, new = fill("features", "old", 50_000), fill("features", "new", 10_000, age=0.0)
    found = manage_cache(clear=True)
    assert not old.exists() and new.exists()
    assert 50_000 <= found.removed_bytes < 52_000
    assert any("Removed" in line for line in found.lines())


def test_a_limit_stays_and_the_environment_goes_before_it(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TELLAPART_CACHE_LIMIT", raising=False)
    oldest = fill("features", "oldest", 60_000, age=7200.0)
    newer = fill("features", "newer", 60_000)
    found = manage_cache(limit="100KB")
    assert not oldest.exists() and newer.exists() and found.limit == 100_000
    assert cache.cache_limit() == 100_000
    monkeypatch.setenv("TELLAPART_CACHE_LIMIT", "3GB")
    assert cache.cache_limit() == 3_000_000_000


def test_no_size_is_a_sentence_and_changes_nothing(fresh_cache: Path) -> None:
    with pytest.raises(TellapartError, match="--limit 'much' is not a size"):
        manage_cache(limit="much")
    assert cache.cache_limit() == 20 * 10**9


def test_a_damaged_limit_is_the_usual_one(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TELLAPART_CACHE_LIMIT", raising=False)
    fresh_cache.mkdir()
    (fresh_cache / "limit.txt").write_bytes(b"\xff\xfe")
    assert cache.cache_limit() == 20 * 10**9


def test_an_empty_one(fresh_cache: Path) -> None:
    assert manage_cache().bytes == 0
    assert manage_cache(clear=True).removed_bytes == 0
