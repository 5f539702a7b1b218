"""docs/search.md: its commands run, in their order."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pages import commands_of
from tellapart.cli import app
from tellapart.recipe_reading import load_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "search.md").read_text("utf-8")


def test_the_commands_of_the_page_run(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(image_folder(per_class=15), tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    commands = commands_of(PAGE)
    assert len(commands) >= 4
    for command in commands:
        done = CliRunner().invoke(app, command.words, catch_exceptions=False)
        assert done.exit_code == 0, (command.text, done.output)


def test_the_usual_time_is_as_the_page_says() -> None:
    assert load_recipe("auto").time_limit_seconds == 300
    assert "for five minutes in all" in PAGE
