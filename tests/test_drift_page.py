"""docs/drift.md: its commands end as it says, and its figures are those that were measured."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tellapart
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
    pictures = sorted(Path("this-week").rglob("*.jpg"))
    names: dict[str, Any] = {"tellapart": tellapart, "pictures": pictures}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, names)
    assert names["monitor"].reading().answers == 100 and names["found"].outcome == "alike"
    assert Path("drift.html").is_file() and Path("drift.csv").is_file()
    assert Path("runs/parts/drift/camera-2/report.html").is_file()


def shown(share: float) -> str:
    return f"{round(100 * share)} %"


def test_the_figures_of_the_page_are_those_measured() -> None:
    file = ROOT / "benchmarks" / "results" / "drift.json"
    found = json.loads(file.read_text("utf-8"))
    alarms, trials = 0.0, 0
    levels: dict[str, dict[str, float]] = {}
    others: dict[str, dict[str, float]] = {}
    for name, kinds in found.items():
        task = "seven classes of CIFAR-10" if name.startswith("CIFAR") else name
        for kind, row in kinds.items():
            if kind == "level":
                levels[task] = row
                continue
            noticed, odd = shown(row["in use"]), shown(row["among the oddest"])
            if kind.startswith("none"):
                alarms, trials = alarms + row["in use"] * row["trials"], trials + row["trials"]
                assert f"{noticed} of {row['trials']}" in PAGE, (name, kind)
            elif kind.endswith("other tests"):
                others[kind.partition(",")[0]] = row
            elif kind.startswith("all "):
                assert f"| {noticed} |" in PAGE
            elif kind.endswith("without the training images"):
                assert f"| {task} | {kind.partition(',')[0]} | {noticed} | {odd} |" in PAGE, kind
            elif f"| {kind} | {noticed} | {odd} |" not in PAGE:
                raise AssertionError((name, kind, noticed, odd))
    assert alarms / trials <= 0.05 + 2 * (0.05 * 0.95 / trials) ** 0.5
    clearly = ("solar cells", "brain scans", "other animals", "without a tumour")
    assert all(kinds[kind]["in use"] >= 0.9 for kinds in found.values() for kind in clearly
               if kind in kinds)  # fmt: skip
    assert f"{round(alarms)} of {trials:,}" in PAGE
    for task, row in levels.items():
        cells = [f"{100 * row[test]:.1f} %" for test in ("in use", "looks", "shares")]
        assert (
            f"| {task} | {cells[0]} of {row['trials']:,} trials | {cells[1]} | {cells[2]} |" in PAGE
        )
    trials = sum(int(row["trials"]) for row in levels.values())
    alarms = sum(row["in use"] * row["trials"] for row in levels.values())
    assert trials >= 1000 and alarms / trials <= 0.05 + 2 * (0.05 * 0.95 / trials) ** 0.5
    assert f"{round(alarms)} of {trials:,} ({100 * alarms / trials:.1f} %)" in PAGE
    assert f"| test | {' | '.join(others)} |" in PAGE
    for test in next(iter(others.values())).keys() - {"in use", "among the oddest", "trials"}:
        noticed = " | ".join(shown(row[test]) for row in others.values())
        assert f" | {noticed} |" in PAGE, test
