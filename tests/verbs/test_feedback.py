"""A training that learns from corrections has them in its train part, and can be gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from trained import quick_run

from tellapart.run import open_run


def test_a_run_keeps_where_its_corrections_are(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder(per_class=20)
    inbox = shutil.copytree(image_folder(per_class=2, seed=7), tmp_path / "inbox")
    plain = quick_run(folder, tmp_path / "plain", epochs=1)
    run = open_run(quick_run(folder, tmp_path / "run", epochs=1, feedback=inbox))
    parts = {image.path: image.part for image in run.images}
    corrections = sorted(path.as_posix() for path in inbox.rglob("*.jpg"))
    assert [parts.pop(path) for path in corrections] == ["train"] * 4
    assert parts == {image.path: image.part for image in plain.images}
    assert run.predictions("test").paths == plain.predictions("test").paths
    assert run.source.feedback == inbox
    assert any("4 corrections" in note for note in run.info.data.notes)
