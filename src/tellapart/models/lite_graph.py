"""An EfficientNet-Lite as ONNX: the graph that PyTorch's exporter gives, without PyTorch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.models.feature_heads import HiddenLayerHead, LinearHead
from tellapart.models.known import Channels
from tellapart.models.lite import CEILING, Layer, State, lite_blocks, same_padding
from tellapart.models.lite_folding import fold, kept_scales

_OPERATORS, _FORMAT = 20, 9  # versions of ONNX: of its operators, of its file


class Network(Protocol):
    """What is written: see ``models.lite_network.LiteNetwork``."""

    @property
    def name(self) -> str:
        """A row of ``LITE``."""

    @property
    def state(self) -> State:
        """Its tensors."""

    @property
    def mean(self) -> Channels:
        """Of pixels scaled to 0..1."""

    @property
    def std(self) -> Channels:
        """Of pixels scaled to 0..1."""

    @property
    def features(self) -> str:
        """What it ends in: "pooled" or "map"."""

    @property
    def head(self) -> LinearHead | HiddenLayerHead | None:
        """What stands on pooled features."""


def lite_graph(network: Network, height: int, width: int, *, normalised: bool = False) -> bytes:
    """The network from images to its outputs; see ``LiteNetwork.to_onnx``."""
    from onnx import TensorProto, helper

    graph = _Graph()
    name = "pixels" if normalised else graph.images(network.mean, network.std)
    kept = kept_scales(network.state)
    size = (height, width)
    for block in lite_blocks(network.name):
        before = name
        for layer in block.layers:
            name, size = graph.layer(network, layer, kept, name, size)
        if block.adds:
            name = graph.node("Add", [name, before], f"{block.name}.sum")
    channels = len(network.state[lite_blocks(network.name)[-1].layers[-1].weight])
    shape: list[Any] = ["number", channels, *size]
    if network.features == "pooled":
        name = graph.node("GlobalAveragePool", [name], "pooled")
        name = graph.node("Flatten", [name], "features", axis=1)
        shape = ["number", channels]
        if network.head is not None:
            name = graph.head(network, name)
            shape = ["number", len(network.head.bias)]
    graph.nodes[-1].output[0] = "outputs"
    pixels = helper.make_tensor_value_info(
        "pixels",
        TensorProto.FLOAT if normalised else TensorProto.UINT8,
        ["number", 3, height, width] if normalised else ["number", height, width, 3],
    )
    made = helper.make_graph(
        graph.nodes,
        network.name,
        [pixels],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, shape)],
        graph.constants,
    )
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", _OPERATORS)], ir_version=_FORMAT,
        producer_name="tellapart",
    )  # fmt: skip
    return bytes(model.SerializeToString())


class _Graph:
    """Nodes and constants; each method adds some and gives the name of what comes out."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._floor = self.constant("floor", np.array(0, np.float32))
        self._ceiling = self.constant("ceiling", np.array(CEILING, np.float32))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(
            value.shape), name))  # fmt: skip
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def images(self, mean: Any, std: Any) -> str:
        """From pixels to normalised images, as ``models.network.Normalise`` does it."""
        from onnx import TensorProto

        turned = self.node("Transpose", ["pixels"], "pixels.first", perm=[0, 3, 1, 2])
        cast = self.node("Cast", [turned], "pixels.float", to=TensorProto.FLOAT)
        by = self.constant("pixels.largest", np.array(255, np.float32))
        scaled = self.node("Div", [cast, by], "pixels.scaled")
        middle = self.constant("mean", np.array(mean, np.float32).reshape(1, 3, 1, 1))
        centred = self.node("Sub", [scaled, middle], "pixels.centred")
        spread = self.constant("std", np.array(std, np.float32).reshape(1, 3, 1, 1))
        return self.node("Div", [centred, spread], "images")

    def layer(
        self, network: Network, layer: Layer, kept: Any, source: str, size: tuple[int, int]
    ) -> tuple[str, tuple[int, int]]:
        """A convolution with its BatchNorm folded in, and ReLU6; and the size of its map."""
        folded = fold(network.state, layer, kept)
        outputs, inputs, kernel, _ = folded.weight.shape
        (top, bottom), (left, right) = (same_padding(side, kernel, layer.stride) for side in size)
        name = self.node(
            "Conv",
            [
                source,
                self.constant(layer.weight, folded.weight),
                self.constant(f"{layer.convolution}.bias", folded.bias),
            ],
            layer.convolution,
            kernel_shape=[kernel, kernel],
            strides=[layer.stride, layer.stride],
            pads=[top, left, bottom, right],
            group=outputs if inputs == 1 else 1,
            dilations=[1, 1],
        )
        if layer.clipped:
            name = self.node("Clip", [name, self._floor, self._ceiling], layer.norm)
        return name, (-(-size[0] // layer.stride), -(-size[1] // layer.stride))

    def head(self, network: Network, source: str) -> str:
        """From pooled features to logits."""
        head = network.head
        if isinstance(head, HiddenLayerHead):
            source = self._dense("head.hidden", source, head.hidden_weight, head.hidden_bias)
            source = self.node("Relu", [source], "head.hidden.clipped")
        if head is not None:
            source = self._dense("head.output", source, head.weight, head.bias)
        return source

    def _dense(self, name: str, source: str, weight: Any, bias: Any) -> str:
        inputs = [
            source, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias),
        ]  # fmt: skip
        return self.node("Gemm", inputs, name, transB=1)
