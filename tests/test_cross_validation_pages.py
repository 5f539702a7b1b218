"""docs/cross-validation.md and docs/learning-curve.md: their commands run and do what they say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pages import commands_of, exit_code
from tellapart.evaluation.learning_curve import HARDLY
from tellapart.training import growth, procedure

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [(DOCS / name).read_text("utf-8") for name in ("cross-validation.md", "learning-curve.md")]


def test_the_commands_of_the_pages_run(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = image_folder(classes=("defective", "functional"), per_class=20)
    shutil.copytree(photos, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    commands = [command for page in PAGES for command in commands_of(page)]
    assert len(commands) >= 6
    for command in commands:
        assert exit_code(command.words) == command.code, command.text
    folder = tmp_path / "runs" / "curve"
    curve = json.loads((folder / "learning_curve.json").read_text("utf-8"))
    for key in curve:
        assert f"`{key}`" in PAGES[1]
    assert curve["images"] == 40 and curve["splits"] == 10
    assert "What more images would buy" in (folder / "report.html").read_text("utf-8")
    stored = json.loads((folder / "run.json").read_text("utf-8"))["cross_validation"]
    assert stored["procedure"]["low"] <= stored["procedure"]["value"]
    assert "Trained in the same way on other images" in (folder / "report.html").read_text("utf-8")


def test_the_numbers_of_the_pages_are_those_of_the_code() -> None:
    assert procedure.repeats_for(2_000) == 10 and procedure.repeats_for(10_000) == 2
    assert growth.SHARES == (0.1, 0.25, 0.5, 1.0) and growth.MOST_CLASSES == 10
    assert HARDLY == 0.005
