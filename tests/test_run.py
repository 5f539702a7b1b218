"""Run folders: saved, reopened, refused when damaged."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from tellapart.errors import RunError
from tellapart.files import write_json
from tellapart.recipe_reading import load_recipe
from tellapart.run import COMPLETE, create_run, new_run_path, open_run

INFO = {"classes": ["a", "b"], "seed": 0}


def make(folder: Path) -> Path:
    return create_run(folder, load_recipe("auto"), INFO).update(status=COMPLETE).path


def test_a_run_opens_with_what_was_saved(tmp_path: Path) -> None:
    run = open_run(make(tmp_path / "run"))
    assert run.classes == ("a", "b")
    assert run.status == "complete"
    assert run.recipe == load_recipe("auto")


def test_a_run_that_was_killed_says_so(tmp_path: Path) -> None:
    create_run(tmp_path / "run", load_recipe("auto"), INFO)
    with pytest.raises(RunError, match="did not finish"):
        open_run(tmp_path / "run")
    assert open_run(tmp_path / "run", complete=False).status == "running"


def test_a_full_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RunError, match="not empty"):
        create_run(tmp_path, load_recipe("auto"), INFO)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no run folder"),
        ("", "no run.json"),
        ("{not json", "damaged"),
        ("[1]", "not written by tellapart"),
        (json.dumps({"format": 99, "classes": []}), "newer tellapart"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    folder = tmp_path / "run"
    if content is not None:
        folder.mkdir()
        if content:
            (folder / "run.json").write_text(content)
    with pytest.raises(RunError, match=message):
        open_run(folder)


def test_names_of_runs_do_not_collide_and_are_safe_paths(tmp_path: Path) -> None:
    now = datetime(2026, 11, 22, 15, 30)
    first = new_run_path(tmp_path, "../my photos!", "auto", now)
    assert first.parent == tmp_path
    assert first.name == "2026-11-22-1530-my-photos-auto"
    first.mkdir()
    assert new_run_path(tmp_path, "../my photos!", "auto", now).name == first.name + "-2"


def test_numbers_that_are_none_never_reach_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"accuracy": float("nan")})
    assert list(tmp_path.iterdir()) == []
