"""EfficientNet-Lite without PyTorch is timm's network: its weights, its layers, its numbers."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tellapart import extras
from tellapart.engines.onnx import to_onnx, write_openvino
from tellapart.engines.onnxruntime import OnnxRuntimeEngine
from tellapart.engines.openvino import OpenVinoEngine
from tellapart.engines.parity import check_images
from tellapart.models.backbone import Backbone, build_backbone
from tellapart.models.inputs import preprocessing_for
from tellapart.models.known import PACKAGES
from tellapart.models.lite import LITE, lite_layers, same_padding
from tellapart.models.lite_folding import computed_scale, fold, kept_scales
from tellapart.models.lite_network import LiteNetwork, lite_backbone, lite_network
from tellapart.models.network import Normalise
from tellapart.models.tensors import joint_digest, tensor_digests
from tellapart.models.weights import locate_weights, packaged_state
from tellapart.recipe import BackboneModel, DataSettings

NAMES = sorted(LITE)


@lru_cache(maxsize=3)
def backbone(name: str) -> Backbone:
    return build_backbone(name).eval()


@lru_cache(maxsize=3)
def state(name: str) -> dict[str, Any]:
    return packaged_state(name, locate_weights(name))


def network(name: str, **options: Any) -> LiteNetwork:
    return LiteNetwork(name, state(name), PACKAGES[name].mean, PACKAGES[name].std, **options)


def in_pytorch(module: nn.Module, name: str, pixels: np.ndarray) -> np.ndarray:
    whole = nn.Sequential(Normalise(PACKAGES[name].mean, PACKAGES[name].std), module).eval()
    with torch.inference_mode():
        return whole(torch.from_numpy(pixels).permute(0, 3, 1, 2).float()).numpy()


# --- by hand ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "added"),
    [(8, 3, 1, (1, 1)), (8, 5, 1, (2, 2)), (8, 1, 1, (0, 0)),
     (8, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (8, 5, 2, (1, 2)), (7, 5, 2, (2, 2)), (1, 3, 2, (1, 1))],
)  # fmt: skip
def test_padding_is_what_tensorflow_calls_same(
    side: int, kernel: int, stride: int, added: tuple[int, int]
) -> None:
    assert same_padding(side, kernel, stride) == added
    out = (side + sum(added) - kernel) // stride + 1
    assert out == -(-side // stride)


# --- the same as timm's -----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_have_the_names_and_values_that_timm_gives_them(name: str) -> None:
    theirs = {key: value.numpy() for key, value in backbone(name).state_dict().items()}
    ours = {f"network.{key}": value for key, value in state(name).items()}
    assert list(ours) == list(theirs)
    assert joint_digest(tensor_digests(ours)) == joint_digest(tensor_digests(theirs))


@pytest.mark.parametrize(
    ("name", "size"),
    [(NAMES[0], (64, 64)), (NAMES[0], (33, 50)), (NAMES[1], (64, 64)), (NAMES[2], (33, 50))],
)
def test_numpy_computes_what_timm_computes(name: str, size: tuple[int, int]) -> None:
    pixels = check_images(*size, 2)
    expected = in_pytorch(backbone(name), name, pixels)
    np.testing.assert_allclose(network(name)(pixels), expected, atol=2e-5)


def test_the_map_is_timms() -> None:
    name = "tf_efficientnet_lite0"
    pixels = check_images(96, 64, 1)
    expected = in_pytorch(build_backbone(name, features="map").eval(), name, pixels)
    found = network(name, features="map")(pixels)
    assert found.shape == (1, 1280, 3, 2)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_kept_scales_are_the_square_roots_up_to_rounding(name: str) -> None:
    kept = kept_scales(state(name))
    assert len(kept) == 2 * len(lite_layers(name))
    for layer in lite_layers(name):
        scale = kept[f"{layer.norm}.scale"]
        np.testing.assert_allclose(scale, computed_scale(state(name), layer), rtol=3e-7)
        bias = state(name)[f"{layer.norm}.bias"] - state(name)[f"{layer.norm}.running_mean"] * scale
        np.testing.assert_allclose(kept[f"{layer.norm}.bias"], bias, rtol=1e-4, atol=2e-6)


def test_other_weights_have_no_kept_scales_and_are_folded_here() -> None:
    name = "tf_efficientnet_lite0"
    changed = {**state(name), "bn1.weight": state(name)["bn1.weight"] * 2}
    assert not kept_scales(changed)
    layer = lite_layers(name)[0]
    np.testing.assert_allclose(
        fold(changed, layer, {}).weight, 2 * fold(state(name), layer, {}).weight, rtol=1e-6
    )


def test_onnx_says_what_numpy_says(tmp_path: Path) -> None:
    name, pixels = "tf_efficientnet_lite0", check_images(48, 64, 3)
    (tmp_path / "model.onnx").write_bytes(network(name).to_onnx(48, 64))
    found = OnnxRuntimeEngine(tmp_path / "model.onnx", 48, 64)(pixels)
    np.testing.assert_allclose(found, network(name)(pixels), atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [192, 75])
def test_openvino_gives_the_bits_of_pytorchs_exporter(name: str, size: int, tmp_path: Path) -> None:
    whole = nn.Sequential(Normalise(PACKAGES[name].mean, PACKAGES[name].std), backbone(name)).eval()
    pixels = check_images(size, size, 20)
    graphs = {"theirs": to_onnx(whole, size, size), "ours": network(name).to_onnx(size, size)}
    for precision in ("f32", "bf16"):
        found = {}
        for kind, graph in graphs.items():
            write_openvino(graph, tmp_path / f"{kind}.xml")
            engine = OpenVinoEngine(tmp_path / f"{kind}.xml", precision, size, size)
            found[kind] = engine(pixels)
        np.testing.assert_array_equal(found["ours"], found["theirs"])


# --- which networks ---------------------------------------------------------------------------


def test_with_pytorch_here_only_packaged_weights_run_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = BackboneModel()
    rule = preprocessing_for(model, DataSettings(image_size=32))
    whole = {f"backbone.network.{key}": value for key, value in state(model.backbone).items()}
    other = {**whole, "backbone.network.bn1.weight": whole["backbone.network.bn1.weight"] * 2}
    assert lite_backbone(model, whole, rule) is not None
    assert lite_backbone(model, other, rule) is None
    monkeypatch.setattr(extras, "_is_here", lambda module: module != "torch")
    assert lite_backbone(model, other, rule) is not None


def test_other_networks_and_heads_need_pytorch() -> None:
    vgg = BackboneModel(backbone="vgg16")
    rule = preprocessing_for(vgg, DataSettings(image_size=32))
    assert lite_network(vgg, {}, rule) is None
    model = BackboneModel()
    whole = {f"backbone.network.{key}": value for key, value in state(model.backbone).items()}
    del whole["backbone.network.bn2.bias"]
    assert lite_network(model, whole, rule) is None
