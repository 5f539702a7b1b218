"""docs/export.md: its commands run and leave what it says."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pages import commands_of
from tellapart.cli import app
from tellapart.engines.int8 import LEAST_COSINE
from tellapart.engines.quantise import CALIBRATION_IMAGES
from tellapart.errors import BundleError
from tellapart.exporting.formats import FORMATS
from tellapart.exporting.parity import LARGEST_FLOAT32, LEAST_EQUAL_INT8
from tellapart.verbs.export import CHECKED_IMAGES

PAGE = (Path(__file__).parents[1] / "docs" / "export.md").read_text("utf-8")


@pytest.mark.slow
def test_the_commands_of_the_page_run(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = image_folder(classes=("cat", "dog"), per_class=20)
    shutil.copytree(photos, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    commands = commands_of(PAGE)
    assert len(commands) >= 5
    for words in (command.words for command in commands):
        try:
            done = CliRunner().invoke(app, words, catch_exceptions=False)
        except BundleError as error:  # six test images of noise need not keep their answers
            assert "--int8" in words and "In int8 only" in str(error)
            continue
        assert done.exit_code == 0, (words, done.output)
        if words[0] == "export":
            found = {path.name for path in Path(words[2]).iterdir()}
            assert found >= {"classify.py", "README.md", "model.json"}


def test_the_page_says_what_the_code_does() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert set(FORMATS) <= set(rows)
    text = " ".join(PAGE.split())
    assert f"up to {CHECKED_IMAGES} test images" in text
    assert f"by more than {LARGEST_FLOAT32:g}" in text
    assert f"at least {LEAST_EQUAL_INT8:.0%}".replace("%", " %") in text
    assert f"up to {CALIBRATION_IMAGES} training images" in text
    assert f"(cosine with float32 below {LEAST_COSINE:g})" in text


def test_the_speeds_of_the_page_are_those_measured() -> None:
    file = Path(__file__).parents[1] / "benchmarks" / "results" / "export_precisions.json"
    speed = json.loads(file.read_text("utf-8"))["speed"]
    rows = {"f32": "float32", "bf16": "bf16", "int8": "int8, the rest float32",
            "int8, rest bf16": "int8, the rest bf16"}  # fmt: skip
    for name, said in rows.items():
        assert f"| {said} | {speed[name]['images_a_cpu_second']:.0f} |" in PAGE
    for name in ("int8", "int8, rest bf16"):
        told = speed[f"{name} / bf16, by cpu second"]
        ratio = f"{told['median']:.2f} ({told['5 %']:.2f} to {told['95 %']:.2f})"
        assert f"| {rows[name]} | {speed[name]['images_a_cpu_second']:.0f} | {ratio} |" in PAGE


def test_the_int8_features_of_the_page_are_those_measured() -> None:
    file = Path(__file__).parents[1] / "benchmarks" / "results" / "int8_features.json"
    found = json.loads(file.read_text("utf-8"))
    speed, ratio = found["speed"]["images_a_cpu_second"], found["speed"]["ratio"]
    assert (
        f"| {found['accuracy']['usual']:.2%} | {speed['usual']:.0f} | 1 |".replace("%", " %")
        in PAGE
    )
    told = f"{ratio['median']:.2f} ({ratio['5 %']:.2f} to {ratio['95 %']:.2f})"
    row = f"| {found['accuracy']['int8']:.2%} | {speed['int8']:.0f} | {told} |"
    assert row.replace("%", " %") in PAGE
    cost = [f"{100 * found['difference'][key]:+.2f}" for key in ("value", "low", "high")]
    assert f"{cost[0]} points ({cost[1]} to {cost[2]})" in PAGE
    assert f"{found['answered_otherwise']} images are answered" in PAGE


def test_the_decisions_of_the_page_are_those_measured() -> None:
    file = Path(__file__).parents[1] / "benchmarks" / "results" / "export_precisions.json"
    found = json.loads(file.read_text("utf-8"))
    assert found["images"] == 2000
    for name in ("openvino bf16", "openvino int8", "openvino int8, rest bf16", "tellapart predict"):
        told = found[name]
        cost = [f"{100 * told['accuracy_difference'][key]:+.2f}"
                for key in ("value", "low", "high")]  # fmt: skip
        assert (
            f"| {told['equal_decisions']:,} of 2,000 | {told['largest_difference']:.3f} | "
            f"{cost[0]} points ({cost[1]} to {cost[2]}) |"
        ) in PAGE
        assert len(told["differing"]) == 2000 - told["equal_decisions"]
        for image in told["differing"]:
            assert f"`{Path(image['path']).name}`" in PAGE


def test_the_families_of_the_page_are_those_measured() -> None:
    file = Path(__file__).parents[1] / "benchmarks" / "results" / "export_families.json"
    families = json.loads(file.read_text("utf-8"))["families"]
    for name in ("EfficientNet-Lite", "VGG16", "ResNet-50 v2", "MobileNetV2", "Xception", "ViT"):
        told = families[name]
        assert (
            f"| {name} ({told['weights']} weights, {told['pixels']} pixels) | {told['onnx']:.1e} | "
            f"{told['openvino']:.1e} |"
        ) in PAGE
    assert all(max(told["onnx"], told["openvino"]) <= 1e-4 for told in families.values())
