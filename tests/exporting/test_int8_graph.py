"""A head behind a backbone that is an ONNX file: what NumPy says of the same features."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy.special import softmax

from tellapart.engines import int8
from tellapart.errors import BundleError
from tellapart.exporting.graph import Around, whole_graph
from tellapart.exporting.int8_graph import with_head
from tellapart.models.feature_heads import HiddenLayerHead, LinearHead, NeighboursHead
from tellapart.pixels.views import TEST_TIME_VIEWS

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


def test_head__a_network_of_pytorch_stands_in_a_whole_export(
    monkeypatch: pytest.MonkeyPatch, fresh_cache: Any
) -> None:
    import torch
    from torch import nn

    monkeypatch.setattr(int8, "quantised", lambda model, images: model)
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pixels = RANDOM.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    network = int8.make_int8("key", pixels, module=module.eval)
    head = LinearHead(floats(2, 6) / 100, floats(2))
    views = TEST_TIME_VIEWS["flip"]
    graph = whole_graph(
        with_head(network.content, head),
        Around(views=views, temperature=2.0, classes=("a", "b"), height=8, width=8),
    )
    found, *_ = onnxruntime.InferenceSession(graph).run(["probabilities"], {"pixels": pixels})
    with torch.inference_mode():
        logits = [
            head.logits(
                module(torch.from_numpy(np.array(shown)).permute(0, 3, 1, 2).float()).numpy()
            )
            for shown in (pixels, pixels[:, :, ::-1])
        ]
    np.testing.assert_allclose(found, softmax(np.mean(logits, axis=0) / 2.0, axis=1), atol=1e-5)


def test_head__votes_of_neighbours_are_refused() -> None:
    head = NeighboursHead(floats(4, 12), floats(4, 2), floats(12), 1)
    with pytest.raises(BundleError, match=r"nearest images vote.*another probe.head"):
        with_head(backbone(), head)
