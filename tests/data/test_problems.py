"""Every file is accounted for: one sentence, and a stop where too much is missing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tellapart.data.pixels import load_pixels
from tellapart.data.problems import KINDS, Problem, left_out_sentence, require_few_faults
from tellapart.data.reading import read_table
from tellapart.errors import DataError
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.progress import SILENT, Work

RULE = Preprocessing(16, 16)


class Notes:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, name: str, total: int | None, unit: str = "") -> AbstractContextManager[Work]:
        return SILENT.stage(name, total, unit)

    def note(self, text: str) -> None:
        self.said.append(text)


def problems(kind: str, count: int) -> list[Problem]:
    return [Problem(f"{kind}/{n}.jpg", kind, "A reason.") for n in range(count)]


def test_the_sentence_counts_by_kind_the_most_first() -> None:
    some = [*problems("empty", 1), *problems("missing", 1200), *problems("truncated", 2)]
    assert left_out_sentence(some, 800) == (
        "1,203 of 2,003 files left out: 1,200 not there (missing/0.jpg, ...), "
        "2 cut off (truncated/0.jpg, ...), 1 empty (empty/0.jpg)."
    )
    assert left_out_sentence([], 5) is None


def test_more_than_a_fifth_of_faults_stop() -> None:
    require_few_faults(problems("missing", 20), 80, 0.2, Path("x"))
    with pytest.raises(DataError, match="21 of 100 images in x cannot be used, more than 20 %"):
        require_few_faults(problems("missing", 21), 79, 0.2, Path("x"))
    for kind, row in KINDS.items():
        if not row.is_fault:  # notes and masks beside the images, lists of the user's own
            require_few_faults(problems(kind, 99), 1, 0.2, Path("x"))


def test_missing_files_of_a_table_count_for_the_stop(image_folder: Callable[..., Path]) -> None:
    root = image_folder(per_class=8)
    rows = [f"{c}/{n:04d}.jpg,{c}" for c in ("blue", "red") for n in range(8)]
    gone = [f"gone/{n}.jpg,red" for n in range(60)]
    (root / "t.csv").write_text("\n".join(["path,label", *rows, *gone]))
    notes = Notes()
    table = read_table(root / "t.csv", progress=notes)
    assert notes.said == ["60 of 76 files left out: 60 not there (gone/0.jpg, ...)."]
    assert table.sentences == (table.left_out,) == tuple(notes.said)  # as reports show them
    with pytest.raises(DataError) as raised:
        load_pixels(table, RULE)
    assert "60 of 76 images in" in str(raised.value)
    assert "60 not there (gone/0.jpg, ...)" in str(raised.value)
    assert len(load_pixels(table, RULE, maximum_unreadable=1.0)) == 16  # as inspect does
    (root / "t.csv").write_text("\n".join(["path,label", *rows, *gone[:4]]))
    assert len(load_pixels(read_table(root / "t.csv"), RULE)) == 16  # 4 of 20


def test_a_folder_s_files_are_all_told_once(image_folder: Callable[..., Path]) -> None:
    root = image_folder(per_class=8)
    (root / "red" / "nothing.jpg").touch()
    (root / "red" / "lost.jpg").symlink_to(root / "not there.jpg")
    (root / "red" / "notes.txt").write_text("x")
    (root / "red" / "text.jpg").write_text("this is no picture")
    (root / "blue" / "song.mp3").write_text("la")
    notes = Notes()
    cache = load_pixels(read_table(root, progress=notes), RULE, progress=notes)
    told = [text for text in notes.said if "left out" in text]
    assert told == [
        "4 of 21 files left out: 2 not named as images are (blue/song.mp3, ...), "
        "1 not there (red/lost.jpg), 1 empty (red/nothing.jpg).",
        "1 of 17 files left out: 1 holding no image (red/text.jpg).",
    ]
    assert cache.table.left_out is not None
    assert cache.table.left_out.startswith("5 of 21 files left out: 2 not named as images are")
