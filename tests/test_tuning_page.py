"""docs/tuning.md: its commands end as it says, its space is one, its table is the code's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pages import commands_of, exit_code
from tellapart.recipe_reading import load_recipe
from tellapart.tuning.space import SPACE, read_space

PAGE = (Path(__file__).parents[1] / "docs" / "tuning.md").read_text("utf-8")


def test_the_commands_of_the_page_end_as_it_says(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(image_folder(per_class=20), tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    commands = commands_of(PAGE)
    assert len(commands) == 5
    for command in commands:
        assert exit_code(command.words) == command.code, command.text
    assert (tmp_path / "runs" / "tuned" / "winner" / "report.html").is_file()


def test_the_space_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)[0], "utf-8"
    )
    assert len(read_space(tmp_path / "space.yaml", load_recipe("cars-augmented"))) == 4


def test_the_table_of_the_page_is_the_one_of_the_code() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \| (.*) \|$", PAGE, flags=re.MULTILINE)
    assert rows == [(row.key, ", ".join(row.methods), row.summary) for row in SPACE]
