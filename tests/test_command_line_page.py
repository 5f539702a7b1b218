"""docs/command-line.md: its commands are run, and its table is the one that the code obeys."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tellapart import cli
from tellapart.errors import TellapartError

PAGE = (Path(__file__).parents[1] / "docs" / "command-line.md").read_text("utf-8")


def commands() -> list[tuple[list[str], int]]:
    """The words after ``tellapart``, and the exit code that the page names."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL):
        for line in block.splitlines():
            command, _, comment = line.partition("#")
            code = re.search(r"exit code (\d+)", comment)
            found.append((shlex.split(command)[1:], int(code[1]) if code else 0))
    return found


def exit_code(words: list[str]) -> int:
    try:
        return cli.app(words, standalone_mode=False) or 0
    except TellapartError:
        return 2


def test_the_commands_of_the_page_end_as_it_says(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(image_folder(classes=("cat", "dog"), per_class=20), tmp_path / "photos")
    (tmp_path / "phone").mkdir()
    shutil.copy(next((tmp_path / "photos").rglob("*.jpg")), tmp_path / "phone" / "a.jpg")
    (tmp_path / "phone" / "b.jpg").touch()
    monkeypatch.chdir(tmp_path)
    assert len(commands()) >= 10
    for words, code in commands():
        assert exit_code(words) == code, words
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
