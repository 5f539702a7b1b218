"""docs/comparing.md and docs/audit.md: their commands are run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pages import commands_of
from tellapart import cli
from tellapart.run import open_run

sys.path.insert(0, str(Path(__file__).parent / "verbs"))

from trained import quick_run

DOCS = Path(__file__).parents[1] / "docs"


def commands(page: str) -> list[list[str]]:
    """The words after ``tellapart`` of every command of a page."""
    return [command.words for command in commands_of((DOCS / page).read_text("utf-8"))]


def test_the_commands_of_both_pages_end_well(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(image_folder(classes=("cat", "dog"), per_class=20), tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    for words in commands("audit.md"):
        assert cli.app(words, standalone_mode=False) in (0, None), words
    left_out = (tmp_path / "fix.csv").read_text("utf-8").splitlines()[1:]
    made = next(path for path in (tmp_path / "runs").iterdir() if (path / "run.json").is_file())
    assert open_run(made).info.data.images == 40 - len(left_out)
    shutil.rmtree(made)  # it has other test images than the next
    quick_run(tmp_path / "photos", tmp_path / "runs/pets", epochs=1)
    quick_run(tmp_path / "photos", tmp_path / "runs/pets-small", epochs=2)
    for words in commands("comparing.md"):
        # as a shell would, which also names the inspection and the first comparison
        given = [
            word
            for each in words
            for word in (map(str, sorted(Path().glob(each))) if "*" in each else [each])
        ]
        assert cli.app(given, standalone_mode=False) in (0, None), words
    assert len(list(Path("runs").glob("comparison-*/report.json"))) == 2


def test_the_commands_of_the_page_of_leaks_end_well(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(image_folder(classes=("cat", "dog"), per_class=12), tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    found = commands("leaks.md")
    assert [words[0] for words in found] == ["train", "evaluate", "evaluate"]
    for words in found:
        assert cli.app(words, standalone_mode=False) in (0, None), words
