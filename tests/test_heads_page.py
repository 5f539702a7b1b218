"""docs/heads.md: its commands run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pages import commands_of
from tellapart.cli import app
from tellapart.training.nearest import MOST_REFERENCES
from tellapart.training.probe_heads import HEADS

PAGE = (Path(__file__).parents[1] / "docs" / "heads.md").read_text("utf-8")


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


def test_every_head_is_in_its_table() -> None:
    named = re.findall(r"^\| `(\w+)` \|.*`probe\.(\w+)`", PAGE, flags=re.MULTILINE)
    assert dict(named) == {row.name: row.settings[0] for row in HEADS.values()}
    assert f"{MOST_REFERENCES:,} images" in PAGE
