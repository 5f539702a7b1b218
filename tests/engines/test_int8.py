"""A backbone in int8: kept under its own key, run as one file, refused where it cannot be made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tellapart.engines import int8
from tellapart.engines.int8 import Int8Network, make_int8, open_int8
from tellapart.engines.parity import check_images, difference
from tellapart.errors import MissingPackageError, TellapartError

SIZE, CHANNELS = 16, 24


class Small:
    """One convolution, clipped below, and its mean over the picture: no PyTorch."""

    weight = np.random.default_rng(5).normal(0, 0.01, (CHANNELS, 3, 3, 3)).astype(np.float32)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = pixels.transpose(0, 3, 1, 2).astype(np.float32)
        seen = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
        maps = np.einsum("nchwij,ocij->nohw", seen, self.weight)
        return np.maximum(maps, 0).mean(axis=(2, 3))

    def to_onnx(self, height: int, width: int) -> bytes:
        nodes = [
            helper.make_node("Transpose", ["pixels"], ["turned"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["turned"], ["images"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["images", "weight"], ["map"], kernel_shape=[3, 3]),
            helper.make_node("Relu", ["map"], ["clipped"]),
            helper.make_node("GlobalAveragePool", ["clipped"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["outputs"], axis=1),
        ]
        graph = helper.make_graph(
            nodes, "small",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", height, width, 3])],
            [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["n", CHANNELS])],
            [numpy_helper.from_array(self.weight, "weight")],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 17)]
        return bytes(
            helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
        )


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return check_images(SIZE, SIZE, number=20)


@pytest.fixture
def quantised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """NNCF's place: weights are rounded to steps of 0.0005; how many images each call was given."""
    calls: list[int] = []

    def rounded(model: Any, given: list[dict[str, NDArray[np.uint8]]]) -> Any:
        calls.append(len(given))
        # Ranges hang on the images, and so does what is made.
        step = 0.0005 + 1e-6 * float(np.concatenate([each["pixels"] for each in given]).mean())
        weight = numpy_helper.to_array(model.graph.initializer[0])
        made = (np.round(weight / step) * step).astype(np.float32)
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(made, "weight"))
        return model

    monkeypatch.setattr(int8, "quantised", rounded)
    return calls


def make(images: NDArray[np.uint8], key: str = "small") -> Int8Network:
    def module() -> Any:
        raise AssertionError("a network without PyTorch is not made by it")

    return make_int8(key, images, module=module, plain=Small)


def test_int8__is_made_once_for_the_same_images(
    images: NDArray[np.uint8], quantised: list[int], fresh_cache: Any
) -> None:
    first, again = make(images), make(images.copy())
    assert again.content == first.content and quantised == [20]
    others = make(images[:-1])
    assert quantised == [20, 19] and others.digest != first.digest
    assert make(images, key="other weights").content == first.content
    assert len(quantised) == 3


def test_int8__has_a_key_of_its_own(
    images: NDArray[np.uint8], quantised: list[int], fresh_cache: Any
) -> None:
    keys = {"small", make(images).key("small"), make(images[1:]).key("small"),
            make(images).key("other")}  # fmt: skip
    assert len(keys) == 4


def test_int8__engine_gives_an_image_the_same_bits_alone(
    images: NDArray[np.uint8], quantised: list[int], fresh_cache: Any
) -> None:
    network = make(images)
    engine = open_int8(network, network.key("small"), SIZE, SIZE)
    assert engine.name == int8.int8_engine_name() == "OpenVINO int8"
    together = engine(images)
    assert difference(together, Small()(images)).acceptable
    np.testing.assert_array_equal(together[3:4], engine(images[3:4]))
    # Without the cache it is opened from its own bytes.
    again = open_int8(Int8Network(network.content), "elsewhere", SIZE, SIZE)
    np.testing.assert_array_equal(again(images), together)


def test_int8__features_that_are_no_longer_the_network_s_are_refused(
    images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, fresh_cache: Any
) -> None:
    def broken(model: Any, given: Any) -> Any:
        weight = -numpy_helper.to_array(model.graph.initializer[0])
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))
        return model

    monkeypatch.setattr(int8, "quantised", broken)
    with pytest.raises(TellapartError, match=r"not its own \(cosine .*set probe.precision=auto"):
        make(images)
    assert not [file for file in (fresh_cache / "int8").rglob("*") if file.is_file()]


def test_int8__what_nncf_refuses_is_a_sentence(
    images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, fresh_cache: Any
) -> None:
    def fails(model: Any, given: Any) -> Any:
        raise ValueError("no such operator")

    monkeypatch.setattr(int8, "quantised", fails)
    with pytest.raises(TellapartError, match=r"cannot quantise this network \(no such operator\)"):
        make(images)


@pytest.mark.parametrize("missing", ["nncf", "openvino"])
def test_int8__says_what_it_needs(
    missing: str, images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: Callable[[Any], tuple[str, ...]] = lambda names: tuple(  # noqa: E731
        name for name in names if name == missing
    )
    monkeypatch.setattr(int8, "missing_of", hidden)
    with pytest.raises(MissingPackageError, match=r"needs .*pip install 'tellapart\[export\]'"):
        make(images)
    network = Int8Network(Small().to_onnx(SIZE, SIZE))
    if missing == "nncf":  # which only making it needs
        assert open_int8(network, "key", SIZE, SIZE)(images).shape == (20, CHANNELS)
    else:
        with pytest.raises(MissingPackageError, match="OpenVINO: pip install openvino"):
            open_int8(network, "key", SIZE, SIZE)


@pytest.mark.slow
def test_int8__nncf_computes_convolutions_in_8_bits(
    images: NDArray[np.uint8], fresh_cache: Any
) -> None:
    network = make(images)
    kinds = [node.op_type for node in onnx.load_from_string(network.content).graph.node]
    assert "QuantizeLinear" in kinds and "DequantizeLinear" in kinds
    engine = open_int8(network, network.key("small"), SIZE, SIZE)
    exact = Small()(images)
    found = engine(images)
    assert 0 < difference(found, exact).relative < 0.05
    assert difference(found, exact).least_cosine > 0.99
