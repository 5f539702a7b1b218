"""docs/search.md: its commands run, in their order."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tellapart.cli import app
from tellapart.recipe_reading import load_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "search.md").read_text("utf-8")


def test_the_commands_of_the_page_run(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(image_folder(per_class=15), tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    lines = [
        line for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
        for line in block.splitlines()
    ]  # fmt: skip
    assert len(lines) >= 4
    for line in lines:
        command, *words = shlex.split(line)
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert command == "tellapart" and done.exit_code == 0, (line, done.output)


def test_the_usual_time_is_as_the_page_says() -> None:
    assert load_recipe("auto").time_limit_seconds == 300
    assert "for five minutes in all" in PAGE
