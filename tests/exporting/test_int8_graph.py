"""A head behind a backbone that is an ONNX file: what NumPy says of the same features."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tellapart.errors import BundleError
from tellapart.exporting.int8_graph import with_head
from tellapart.models.feature_heads import HiddenLayerHead, LinearHead, NeighboursHead

RANDOM = np.random.default_rng(4)


def floats(*shape: int) -> NDArray[np.float32]:
    return RANDOM.normal(size=shape).astype(np.float32)


def backbone() -> bytes:
    """The 12 values of a picture of 2 x 2 pixels."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["values"], ["outputs"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "flat",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 2, 2, 3])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["n", 12])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


@pytest.mark.parametrize(
    "head",
    [
        LinearHead(floats(3, 12), floats(3)),
        HiddenLayerHead(floats(5, 12), floats(5), floats(2, 5), floats(2)),
    ],
)
def test_head__gives_the_logits_of_numpy(head: LinearHead | HiddenLayerHead) -> None:
    pixels = RANDOM.integers(0, 256, (7, 2, 2, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(with_head(backbone(), head))
    (found,) = session.run(None, {"pixels": pixels})
    expected = head.logits(pixels.reshape(7, 12).astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_head__votes_of_neighbours_are_refused() -> None:
    head = NeighboursHead(floats(4, 12), floats(4, 2), floats(12), 1)
    with pytest.raises(BundleError, match=r"nearest images vote.*another probe.head"):
        with_head(backbone(), head)
