"""docs/decisions.md: its commands run and do what it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pages import commands_of
from tellapart.cli import app
from tellapart.evaluation.abstaining import fewest_images
from tellapart.evaluation.choosing import HELD_BACK

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "decisions.md").read_text("utf-8")


def test_the_commands_of_the_page_run(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = image_folder(classes=("defective", "functional"), per_class=20)
    shutil.copytree(photos, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    commands = commands_of(PAGE)
    assert len(commands) >= 5
    for command in commands:
        done = CliRunner().invoke(app, command.words, catch_exceptions=False)
        assert done.exit_code == 0, (command.text, done.output)
        assert "'defective' from" in done.output or "explain" in command.words, command.text
    stored = json.loads((tmp_path / "runs" / "cells" / "run.json").read_text())["decision"]
    assert (stored["positive"], stored["cost_miss"]) == ("defective", 5.0)


def test_the_formula_and_the_measured_numbers_are_those_of_the_code() -> None:
    assert f"+  {HELD_BACK:g} b  =" in PAGE
    file = ROOT / "benchmarks" / "results" / "decision_costs.json"
    mean = json.loads(file.read_text("utf-8"))["mean"]
    row = " | ".join(f"{mean[way]:.1f}" for way in ("bayes", "least on validation", "lean"))
    assert f"| all | | {row} |" in PAGE
    assert mean["lean"] < min(mean["bayes"], 0.6 * mean["least on validation"])


def test_the_promises_of_the_page_are_those_that_were_measured() -> None:
    file = ROOT / "benchmarks" / "results" / "promises.json"
    found = json.loads(file.read_text("utf-8"))
    rows = [line.split(" | ") for line in PAGE.splitlines() if " of 1,000 | " in line]
    dogs = found["dogs-vs-cats-small"]
    assert [row[3] for row in rows[:4]] == [
        str(dogs[f"ours {wrong}"]["broken"]) for wrong in (0.01, 0.02, 0.05, 0.1)
    ]
    assert [row[4] for row in rows[:2]] == [
        f"{100 * dogs[f'ours {wrong}']['answered']:.1f} %" for wrong in (0.01, 0.02)
    ]
    for name, said in (
        ("solar-cells", "solar cells, a probe"),
        ("cifar10", "CIFAR-10, 100 images a class to train on, a probe"),
    ):
        for wrong in (0.05, 0.1):
            told = found[name][f"ours {wrong}"]
            assert (
                f"| {said} ({found[name]['images']:,} images) | {wrong:.0%} | {told['made']:,} of "
                f"1,000 | {told['broken']} | {told['answered']:.1%} | {told['above']} of "
                f"{told['made_by_halves']} |"
            ).replace("%", " %") in PAGE
        both = [found[name][f"sets {share}"] for share in (0.9, 0.95)]
        cells = [f"{told['held']:.1%} | {told['classes']:.2f}" for told in both]
        assert (f"| {said} | {found[name]['accuracy']:.1%} | {' | '.join(cells)} |"
                ).replace("%", " %") in PAGE  # fmt: skip
    for run in found.values():
        assert all(run[key]["broken"] <= 0.05 * run[key]["splits"]
                   for key in run if key.startswith("ours"))  # fmt: skip
        for share in (0.9, 0.95):
            told = run[f"sets {share}"]
            assert told["held"] >= share - 3 * told["standard_error"]
    for images, share in ((217, "2 %"), (86, "5 %")):
        assert fewest_images(float(share.split()[0]) / 100) == images
        assert f"{images} validation images for {share}" in PAGE or f"{images} for {share}" in PAGE
