"""A backbone in int8 under its head: from pictures to logits, as a run computes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import BundleError
from tellapart.models.feature_heads import FeatureHead, HiddenLayerHead, LinearHead

_HEAD = "tellapart/head"


def with_head(backbone: bytes, head: FeatureHead) -> bytes:
    """The head's layers behind a backbone's features, in float32.

    Args:
        backbone: an ONNX model of uint8 images (N, H, W, 3) to features (N, D), for every N.

    Raises:
        BundleError: the head is no stack of layers.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(backbone)
    graph = model.graph
    name = graph.output[0].name
    if isinstance(head, HiddenLayerHead):
        hidden = _dense(graph, "hidden", name, head.hidden_weight, head.hidden_bias)
        name = f"{_HEAD}.clipped"
        graph.node.append(helper.make_node("Relu", [hidden], [name]))
    elif not isinstance(head, LinearHead):
        raise BundleError(
            "A run whose nearest images vote on features in int8 cannot be exported; train it with "
            "probe.precision=auto, or another probe.head."
        )
    name = _dense(graph, "output", name, head.weight, head.bias)
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["number", len(head.bias)])
    )
    return bytes(model.SerializeToString())


def _dense(
    graph: Any, name: str, source: str, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> str:
    from onnx import helper, numpy_helper

    inputs, output = [source], f"{_HEAD}.{name}"
    for part, value in (("weight", weight), ("bias", bias)):
        inputs.append(f"{output}.{part}")
        graph.initializer.append(
            numpy_helper.from_array(np.ascontiguousarray(value, np.float32), inputs[-1])
        )
    graph.node.append(helper.make_node("Gemm", inputs, [output], output, transB=1))
    return output
