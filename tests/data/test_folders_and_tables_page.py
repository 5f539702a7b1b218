"""The page on folders and tables: its examples run, and it names what the code knows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tellapart.cli import app
from tellapart.data.manifests import LABEL_COLUMNS, PART_COLUMNS, PATH_COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "folders-and-tables.md"
COMMANDS = re.search(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
LINES = COMMANDS[1].splitlines() if COMMANDS else []


def test_there_are_examples() -> None:
    assert len(LINES) >= 5


@pytest.mark.parametrize(
    "line",
    [pytest.param(x, marks=[pytest.mark.slow] if " train " in x else []) for x in LINES],
)
def test_an_example_runs(
    line: str,
    image_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "photos").symlink_to(image_folder(per_class=8))
    sites = image_folder(parts={"siteA": 8, "siteB": 4})
    (tmp_path / "sites").symlink_to(sites)
    rows = [f"{name}/{number:04d},{name}" for name in ("blue", "red") for number in range(8)]
    (tmp_path / "labels.csv").write_text("\n".join(["who,kind", *rows]))
    monkeypatch.chdir(tmp_path)
    command, *arguments = shlex.split(line)
    assert command == "tellapart"
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("names", [PATH_COLUMNS, LABEL_COLUMNS, PART_COLUMNS])
def test_every_usual_column_is_named_in_order(names: tuple[str, ...]) -> None:
    words = ", ".join(names)
    text = PAGE.read_text("utf-8").replace(" or ", ", ")
    assert words in text
