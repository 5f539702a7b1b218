"""docs/command-line.md: its commands are run, and its table is the one that the code obeys."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pages import commands_of, exit_code
from tellapart import cli

PAGE = (Path(__file__).parents[1] / "docs" / "command-line.md").read_text("utf-8")


def test_the_commands_of_the_page_end_as_it_says(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(image_folder(classes=("cat", "dog"), per_class=20), tmp_path / "photos")
    (tmp_path / "phone").mkdir()
    shutil.copy(next((tmp_path / "photos").rglob("*.jpg")), tmp_path / "phone" / "a.jpg")
    (tmp_path / "phone" / "b.jpg").touch()
    monkeypatch.chdir(tmp_path)
    commands = commands_of(PAGE)
    assert len(commands) >= 10
    for command in commands:
        assert exit_code(command.words) == command.code, command.text
    assert (tmp_path / "runs" / "pets" / "report.html").is_file()


def test_the_page_names_every_option_without_effect() -> None:
    section = PAGE.partition("## Options without effect")[2].partition("## From Python")[0]
    for name, pairs in cli.NEEDS.items():
        for option, _ in pairs:
            assert f"--{option.replace('_', '-')}" in section, (name, option)
    for name, rows in cli.EXCLUDES.items():
        assert name in section
        for option, others in rows:
            if option == "resume":  # all but these
                given = {"extend", "time", "trials", "device", "devices", "as_json", "resume"}
                parameters = set(getattr(cli, name).__annotations__) - {"return"}
                assert set(others) == parameters - given, name
                continue
            for other in others:
                assert f"--{other}" in section, (name, other)
