"""Every family of networks says the same in ONNX Runtime, in OpenVINO and in PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tellapart.models.scratch import NETWORKS

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from export_families import FAMILIES, MOST, differences, tried


@pytest.mark.parametrize(
    "name",
    [
        name if name == "small_cnn" else pytest.param(name, marks=pytest.mark.slow)
        for name in FAMILIES
    ],
)
def test_family(name: str, tmp_path: Path) -> None:
    this = tried(FAMILIES[name])
    assert np.ptp(this.expected[:, 0]) > 0.2  # it does not say the same of all pictures
    found = differences(this, tmp_path)
    assert found.keys() == {"onnx", "openvino"} and max(found.values()) <= MOST


def test_every_family_is_tried() -> None:
    named = {"EfficientNet-Lite", "VGG16", "ResNet-50 v2", "MobileNetV2", "Xception", "ViT"}
    assert FAMILIES.keys() == {*NETWORKS, *named} and len(NETWORKS) >= 9


def test_a_difference_is_seen(tmp_path: Path) -> None:
    from dataclasses import replace

    this = tried(FAMILIES["small_cnn"])
    moved = replace(this, expected=this.expected[:, [1, 2, 0]])
    assert max(differences(moved, tmp_path).values()) == np.inf
