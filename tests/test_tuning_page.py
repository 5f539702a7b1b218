"""docs/tuning.md: its commands end as it says, its space is one, its table is the code's."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tellapart import cli
from tellapart.errors import TellapartError
from tellapart.recipe_reading import load_recipe
from tellapart.tuning.space import SPACE, read_space

PAGE = (Path(__file__).parents[1] / "docs" / "tuning.md").read_text("utf-8")


def exit_code(words: list[str]) -> int:
    try:
        return cli.app(words, standalone_mode=False) or 0
    except TellapartError:
        return 2


def test_the_commands_of_the_page_end_as_it_says(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(image_folder(per_class=20), tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    lines = [
        line
        for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) == 5
    for line in lines:
        command, _, comment = line.partition("#")
        code = re.search(r"exit code (\d+)", comment)
        assert exit_code(shlex.split(command)[1:]) == (int(code[1]) if code else 0), line
    assert (tmp_path / "runs" / "tuned" / "winner" / "report.html").is_file()


def test_the_space_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)[0], "utf-8"
    )
    assert len(read_space(tmp_path / "space.yaml", load_recipe("cars-augmented"))) == 4


def test_the_table_of_the_page_is_the_one_of_the_code() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \| (.*) \|$", PAGE, flags=re.MULTILINE)
    assert rows == [(row.key, ", ".join(row.methods), row.summary) for row in SPACE]
