"""docs/heads.md: its commands run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tellapart.cli import app
from tellapart.training.nearest import MOST_REFERENCES
from tellapart.training.probe_heads import HEADS

PAGE = (Path(__file__).parents[1] / "docs" / "heads.md").read_text("utf-8")


def test_the_commands_of_the_page_run(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(image_folder(per_class=15), tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 4
    for line in lines:
        command, *words = shlex.split(line)
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert command == "tellapart" and done.exit_code == 0, (line, done.output)


def test_every_head_is_in_its_table() -> None:
    named = re.findall(r"^\| `(\w+)` \|.*`probe\.(\w+)`", PAGE, flags=re.MULTILINE)
    assert dict(named) == {row.name: row.settings[0] for row in HEADS.values()}
    assert f"{MOST_REFERENCES:,} images" in PAGE
