"""The page about single images: names of classes never make two overlays one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tellapart.explanation.occlusion import Occlusion
from tellapart.explanation.of_image import ImageExplanation, Subject
from tellapart.report.numbers import format_value
from tellapart.report.of_explanation import write_explanation_report


@pytest.mark.parametrize("classes", [("c++", "c#"), ("Cat", "cat"), ("cat", "dog")])
def test_each_class_has_overlays_of_its_own(tmp_path: Path, classes: tuple[str, str]) -> None:
    heat = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    image = ImageExplanation(
        subject=Subject("a.png", np.zeros((8, 8, 3), np.uint8), label=1),
        probabilities=np.array([0.3, 0.7]), predicted=0, target=0,
        evidence={0: heat, 1: heat.T}, hidden=Occlusion(heat, 0.3, 0.1),
    )  # fmt: skip
    (files,) = write_explanation_report(
        tmp_path, [image], classes, title="", summary="", figures=[], facts=[], notes=[], footer=""
    )
    assert len(files) == 3
    assert len({name.casefold() for name in files.values()}) == 3
    assert all((tmp_path / name).is_file() for name in files.values())
    assert image.confidence == 0.3  # of what was answered, likeliest or not
    assert format_value(0.3, "share") in (tmp_path / "report.html").read_text("utf-8")
