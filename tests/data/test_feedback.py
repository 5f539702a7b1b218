"""Corrected pictures are one more source of training images, and of nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tellapart.data.source import Source
from tellapart.data.split import split
from tellapart.errors import DataError

ImageFolder = Callable[..., Path]


@pytest.fixture
def inbox(image_folder: ImageFolder, tmp_path: Path) -> Path:
    """Three corrections: two of red, one of blue."""
    other = image_folder(per_class=2, seed=7)
    (other / "blue" / sorted(p.name for p in (other / "blue").iterdir())[0]).unlink()
    return Path(shutil.copytree(other, tmp_path / "inbox"))


@pytest.mark.parametrize("parts", [None, {"train": 8, "validation": 4, "test": 4}])
def test_they_are_trained_on_and_the_other_parts_are_as_without_them(
    image_folder: ImageFolder, inbox: Path, parts: dict[str, int] | None
) -> None:
    folder = image_folder(parts=parts)
    plain = split(Source(folder).read()).table
    more = split(Source(folder, feedback=inbox).read()).table
    added = [path for path in more.paths if path not in plain.paths]
    assert sorted(added) == sorted(p.as_posix() for p in inbox.rglob("*.jpg"))
    assert more.classes == plain.classes
    part_of = dict(zip(more.paths, more.parts.tolist(), strict=True))
    label_of = dict(zip(more.paths, more.labels.tolist(), strict=True))
    for path in added:
        assert part_of[path] == "train"
        assert more.classes[label_of[path]] == Path(path).parent.name
        assert more.file(more.paths.index(path)).is_file()
    for path, part in zip(plain.paths, plain.parts.tolist(), strict=True):
        assert part_of[path] == part
    assert any("3 corrections in the train part only: 1 of blue, 2 of red" in n for n in more.notes)
    assert set(more.select(more.labels == 1).paths) >= {p for p in added if "/red/" in p}


def test_they_stay_apart_from_groups(image_folder: ImageFolder, inbox: Path) -> None:
    table = Source(image_folder(), feedback=inbox, group_by=r"(\d)").read()
    assert table.groups is not None
    corrections = table.groups[-3:]
    assert len(np.unique(corrections)) == 3
    assert not set(corrections.tolist()) & set(table.groups[:-3].tolist())


def test_a_source_with_corrections_is_stored_and_one_without_is_as_it_was(tmp_path: Path) -> None:
    assert "feedback" not in Source(tmp_path).to_dict()
    source = Source(tmp_path, feedback=tmp_path / "inbox")
    assert Source.from_dict(source.to_dict()) == source


def test_what_is_no_folder_of_corrections_is_a_sentence(
    image_folder: ImageFolder, inbox: Path, tmp_path: Path
) -> None:
    folder = image_folder()
    with pytest.raises(DataError, match=r"--feedback .*no such folder"):
        Source(folder, feedback=tmp_path / "absent").read()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"--feedback .*no pictures"):
        Source(folder, feedback=tmp_path / "empty").read()
    (inbox / "rde").mkdir()
    with pytest.raises(DataError, match=r"'rde' is no class.*Did you mean 'red'"):
        Source(folder, feedback=inbox).read()
