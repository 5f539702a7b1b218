"""docs/drift.md: its commands end as it says, and its figures are those that were measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pages import commands_of, exit_code
from tellapart.verbs.train import train

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "drift.md").read_text("utf-8")


@pytest.mark.slow
def test_the_commands_of_the_page_end_as_it_says(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(image_folder(classes=("good", "cracked"), per_class=100), "photos")
    shutil.copytree(image_folder(classes=("good", "cracked"), per_class=50, seed=1), "this-week")
    train("photos", recipe="probe", run="runs/parts")
    Path("empty").mkdir()
    Path("camera-2").mkdir()
    random = np.random.default_rng(0)
    for number in range(40):
        noise = random.integers(0, 256, (32, 40, 3)).astype(np.uint8)
        Image.fromarray(noise).save(f"camera-2/{number}.jpg")
    commands = commands_of(PAGE)
    assert len(commands) >= 6
    for command in commands:
        assert exit_code(command.words) == command.code, command.text
    assert Path("drift.html").is_file() and Path("drift.csv").is_file()
    assert Path("runs/parts/drift/camera-2/report.html").is_file()
