"""What every test can use: a cache of its own and image folders made on the spot."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

# Tests are imported by path (import-mode importlib), so helpers need their folder here.
sys.path.insert(0, str(Path(__file__).parent))

import made_images
from browser import browser  # noqa: F401  a fixture
from tellapart.openmp import wait_briefly

wait_briefly()  # before anything imports PyTorch: the processes of tests share the cores


ImageFolder = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _cache_for_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache; one cache serves the whole session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _first_answers_only() -> Iterator[None]:
    """Recipe auto gives its first answer and searches no further where no time is given."""
    from tellapart.verbs import searching

    def seconds(recipe: Any, time: str | float | None) -> float:
        return 0.0 if time is None else searching.search_seconds(recipe, time)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tellapart.verbs.train.search_seconds", seconds)
        yield


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """What a test draws from PyTorch does not depend on which tests ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for this test alone."""
    folder = tmp_path / "fresh-cache"
    monkeypatch.setenv("TELLAPART_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> ImageFolder:
    """Make a labelled image folder; each call writes a new one, safe to change.

    ``image_folder()`` gives ``blue/`` and ``red/`` with 12 images each;
    ``image_folder(parts={"train": 8, "validation": 4, "test": 4})`` the three parts.
    ``size`` is (width, height). Session-scoped, so module fixtures can use it too.
    """

    def make(
        classes: Sequence[str] = ("blue", "red"),
        per_class: int = 12,
        size: tuple[int, int] = (40, 32),
        parts: Mapping[str, int] | None = None,
        extension: str = "jpg",
        seed: int = 0,
    ) -> Path:
        root = tmp_path_factory.mktemp("images") / "photos"
        return made_images.write_folder(root, classes, per_class, size, parts, extension, seed)

    return make
