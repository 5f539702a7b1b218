"""Which engine runs a network where PyTorch, or OpenVINO as well, is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tellapart import extras
from tellapart.engines import choice
from tellapart.engines.choice import build_engine, recorded_engine
from tellapart.engines.engine import Engine
from tellapart.engines.features import build_backbone_engine
from tellapart.engines.numpy import NumpyEngine
from tellapart.engines.onnxruntime import OnnxRuntimeEngine
from tellapart.engines.parity import check_images
from tellapart.errors import MissingPackageError
from tellapart.models.inputs import preprocessing_for
from tellapart.models.kept import backbone_state
from tellapart.models.lite_network import LiteNetwork, lite_backbone
from tellapart.recipe import BackboneModel, DataSettings

SIZE = 48
MODEL = BackboneModel()
RULE = preprocessing_for(MODEL, DataSettings(image_size=SIZE))


def network() -> LiteNetwork:
    found = lite_backbone(MODEL, backbone_state(MODEL, RULE), RULE)
    assert found is not None
    return found


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    monkeypatch.setattr(extras, "_is_here", lambda name: name not in modules)


@pytest.mark.parametrize("number", [0, 1, 9])
def test_an_image_gets_the_same_numbers_alone_and_among_others(number: int, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(network().to_onnx(SIZE, SIZE))
    pixels = check_images(SIZE, SIZE, 9)[:number]
    engines: tuple[Engine, ...] = (
        NumpyEngine(network(), SIZE, SIZE), OnnxRuntimeEngine(tmp_path / "model.onnx", SIZE, SIZE)
    )  # fmt: skip
    for engine in engines:
        together = engine(pixels)
        assert together.shape == (number, 1280) and together.dtype == np.float32
        alone = [engine(pixels[i : i + 1]) for i in range(number)]
        for one, row in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], row)
        with pytest.raises(ValueError, match="was given"):
            engine(np.zeros((1, SIZE + 1, SIZE, 3), np.uint8))


@pytest.mark.parametrize(
    ("gone", "name"),
    [(("torch",), "OpenVINO"), (("torch", "openvino"), "ONNX Runtime f32"),
     (("torch", "openvino", "onnxruntime"), "NumPy f32")],
)  # fmt: skip
def test_the_next_engine_stands_in(
    gone: tuple[str, ...], name: str, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, *gone)
    engine = build_backbone_engine(MODEL, RULE, device="cpu")
    assert engine.name.startswith(name)
    pixels = check_images(SIZE, SIZE, 2)
    error = np.abs(engine(pixels) - network()(pixels)).max()
    assert error < (0.3 if "bf16" in engine.name or "f16" in engine.name else 1e-4)
    opened = build_backbone_engine(MODEL, RULE, device="cpu")  # from the cache
    np.testing.assert_array_equal(opened(pixels), engine(pixels))


def test_an_engine_that_disagrees_with_numpy_is_not_used(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(OnnxRuntimeEngine):
        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            return super().__call__(pixels)[::-1]

    without(monkeypatch, "torch", "openvino")
    monkeypatch.setattr(choice, "OnnxRuntimeEngine", Wrong)
    assert build_backbone_engine(MODEL, RULE, device="cpu").name == "NumPy f32"


def test_the_packaged_backbone_is_the_same_engine_with_and_without_pytorch(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = check_images(SIZE, SIZE, 5)
    with monkeypatch.context() as patch:
        without(patch, "torch", "torchvision", "timm", "accelerate")
        made = build_backbone_engine(MODEL, RULE, device="cpu")(pixels)
        assert len(list((fresh_cache / "engines").iterdir())) == 1
    again = build_backbone_engine(MODEL, RULE, device="cpu")(pixels)
    assert len(list((fresh_cache / "engines").iterdir())) == 1  # the key was the same
    np.testing.assert_array_equal(again, made)


def test_a_network_that_needs_pytorch_says_so(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "torch")
    with pytest.raises(MissingPackageError, match=r"pip install 'tellapart\[train\]'"):
        build_engine(lambda: None, key="x", height=8, width=8, device="cpu")
    assert recorded_engine("x", height=8, width=8, device="cpu") == ""
    assert not (fresh_cache / "engines").exists()
