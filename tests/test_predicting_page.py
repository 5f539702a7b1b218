"""docs/predicting.md: its commands end as it says, and its figures are those that were measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pages import commands_of

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "predicting.md").read_text("utf-8")


def test_the_commands_of_the_page_end_as_it_says(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(image_folder(classes=("cat", "dog"), per_class=20), tmp_path / "photos")
    (tmp_path / "new").mkdir()
    (tmp_path / "more.txt").touch()
    from PIL import Image

    for number, file in enumerate(sorted((tmp_path / "photos" / "cat").iterdir())[:5]):
        Image.open(file).save(tmp_path / "new" / f"{number}.png")
    (tmp_path / "new" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    # As a person runs them: by a shell, which has the command.
    tool = tmp_path / "bin" / "tellapart"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m tellapart "$@"\n')
    tool.chmod(0o755)
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    commands = commands_of(PAGE)
    assert len(commands) >= 11
    for command in commands:
        done = subprocess.run(command.text, shell=True, cwd=tmp_path,
                              env={**os.environ, "PATH": path}, capture_output=True,
                              text=True)  # fmt: skip
        assert done.returncode == command.code, (command.text, done.stderr)
    rows = (tmp_path / "answers.csv").read_text().splitlines()
    assert len(rows) == 1 + 6 + 40
    assert sum(file.is_symlink() for file in (tmp_path / "linked").rglob("*")) == 5
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["broken.jpg"]


def test_the_figures_of_the_page_are_those_measured() -> None:
    file = ROOT / "benchmarks" / "results" / "many_files.json"
    found = json.loads(file.read_text("utf-8"))
    for count in (found["few"], found["files"]):
        told = found[str(count)]
        assert f"| {count:,} | {told['seconds']:.0f} s | {told['peak_mb']:.0f} MB |" in PAGE
    assert found["same_rows"] and found["killed"] == 3
    assert f"{found['resumed_peak_mb']:.0f} MB" in PAGE
