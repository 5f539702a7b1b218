"""The graph around a network does what a run does: views, temperature, decision rule."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tellapart.engines.openvino import import_openvino
from tellapart.evaluation.decision import Decision, decided
from tellapart.exporting.graph import (
    Around,
    answers_of,
    least_float32,
    most_float32,
    whole_graph,
)
from tellapart.exporting.module import whole_module
from tellapart.pixels.views import TEST_TIME_VIEWS, View, view_images
from tellapart.prediction.bundle import RUNNERS, open_openvino

SIDE = 6
CLASSES = ("ant", "bee", "cow")
PIXELS = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)


def weights(outputs: int) -> np.ndarray:
    """Of a network that is one linear layer: no two pixels count the same."""
    random = np.random.default_rng(2)
    return (random.normal(0, 1, (SIDE * SIDE * 3, outputs)) / 800).astype(np.float32)


def linear_network(outputs: int) -> bytes:
    """Pixels uint8 (N, H, W, 3) to logits, by hand; its names are those that the graph uses."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["shown"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["shown", "flat"], ["probabilities"]),
        helper.make_node("MatMul", ["probabilities", "weights"], ["decision"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("decision", TensorProto.FLOAT, ["n", outputs])],
        [
            numpy_helper.from_array(np.array([-1, SIDE * SIDE * 3]), "flat"),
            numpy_helper.from_array(weights(outputs), "weights"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(made.SerializeToString())


def by_hand(around: Around) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and decisions as the rest of the product makes them, in NumPy."""
    logits = np.mean([
        view.reshape(len(view), -1).astype(np.float64) @ weights(around.outputs)
        for view in view_images(PIXELS, around.views)
    ], axis=0) / around.temperature  # fmt: skip
    if around.sigmoid:
        second = 1 / (1 + np.exp(-logits[:, 0]))
        probabilities = np.stack([1 - second, second], axis=1)
    else:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
    decisions = decided(probabilities, around.classes, around.decision)
    if around.uncertain_up_to is not None:
        confidence = probabilities[np.arange(len(decisions)), decisions]
        decisions = np.where(confidence > around.uncertain_up_to, decisions, len(around.classes))
    return probabilities, decisions


def around(**changes: object) -> Around:
    plain = {
        "views": (View(),), "temperature": 1.0, "classes": CLASSES, "height": SIDE, "width": SIDE,
    }  # fmt: skip
    return Around(**(plain | changes))  # type: ignore[arg-type]


CASES = {
    **{f"views {name}": around(views=views) for name, views in TEST_TIME_VIEWS.items()},
    "temperature": around(temperature=2.5),
    "sigmoid": around(sigmoid=True, classes=("no", "yes"), temperature=0.7),
    "rule": around(decision=Decision("cow", 0.2)),
    "never": around(decision=Decision("cow", 1.01)),
    "always": around(decision=Decision("ant", 0.0)),
    "uncertain": around(uncertain_up_to=0.6),
    "uncertain by a rule": around(decision=Decision("cow", 0.2), uncertain_up_to=0.23),
    "always uncertain": around(uncertain_up_to=1.0),
    "all": around(
        views=TEST_TIME_VIEWS["flip"], sigmoid=True, classes=("no", "yes"), temperature=3.0,
        decision=Decision("yes", 0.45),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("runtime", ["onnx", "openvino", "torch module"])
def test_graph__as_by_hand(case: str, runtime: str, tmp_path: Path) -> None:
    this = CASES[case]
    probabilities, decisions = by_hand(this)
    if runtime == "torch module":

        class Linear(torch.nn.Module):
            def forward(self, pixels: torch.Tensor) -> torch.Tensor:
                return pixels.flatten(1).float() @ torch.from_numpy(weights(this.outputs))

        with torch.inference_mode():
            found = [o.numpy() for o in whole_module(Linear(), this)(torch.from_numpy(PIXELS))]
    else:
        graph = whole_graph(linear_network(this.outputs), this)
        if runtime == "onnx":
            (tmp_path / "model.onnx").write_bytes(graph)
            found = list(RUNNERS["onnx"].open(tmp_path / "model.onnx")(PIXELS))
        else:
            ov = import_openvino()
            model = ov.Core().read_model(BytesIO(graph))
            ov.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
            found = list(open_openvino(tmp_path / "model.xml")(PIXELS))
    np.testing.assert_allclose(found[0], probabilities, atol=2e-6)
    np.testing.assert_array_equal(found[1], decisions)
    chosen = decided(probabilities, this.classes, this.decision)
    np.testing.assert_allclose(found[2], probabilities[np.arange(len(chosen)), chosen], atol=2e-6)
    assert found[0].dtype == np.float32 and found[1].dtype == np.int64


def test_graph__any_number_of_images(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(whole_graph(linear_network(3), CASES["views flip"]))
    run = RUNNERS["onnx"].open(tmp_path / "model.onnx")
    together = run(PIXELS)[0]
    alone = np.concatenate([run(PIXELS[i : i + 1])[0] for i in range(len(PIXELS))])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_graph__float_input_takes_the_axes_of_nchw(tmp_path: Path) -> None:
    images = np.ascontiguousarray(PIXELS.transpose(0, 3, 1, 2)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "flat"], ["vector"]),
            helper.make_node("MatMul", ["vector", "weights"], ["y"]),
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(np.array([-1, SIDE * SIDE * 3]), "flat"),
            numpy_helper.from_array(weights(3), "weights"),
        ],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    views = TEST_TIME_VIEWS["flips_and_turns"]
    whole = whole_graph(network.SerializeToString(), around(views=views, float_input=True))
    (tmp_path / "model.onnx").write_bytes(whole)
    logits = np.mean([
        view.transpose(0, 3, 1, 2).reshape(len(view), -1).astype(np.float64) @ weights(3)
        for view in view_images(PIXELS, views)
    ], axis=0)  # fmt: skip
    powers = np.exp(logits)
    found = RUNNERS["onnx"].open(tmp_path / "model.onnx")(images)[0]
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), atol=2e-6)


def test_graph__carries_its_metadata() -> None:
    graph = whole_graph(linear_network(3), around(metadata={"classes": '["ant"]'}))
    model = onnx.load_from_string(graph)
    assert {p.key: p.value for p in model.metadata_props} == {"classes": '["ant"]'}


@pytest.mark.parametrize("threshold", [0.1, 0.3, 1 / 3, 0.7, 1.0, np.nextafter(1.0, 2.0), 5.0])
def test_least_float32__same_side_for_every_float32(threshold: float) -> None:
    value = np.float32(threshold)
    for near in (np.nextafter(value, np.float32(-9)), value, np.nextafter(value, np.float32(9))):
        assert (near >= least_float32(threshold)) == (float(near) >= threshold)
        assert (near > most_float32(threshold)) == (float(near) > threshold)


def test_graph__some_are_uncertain_and_some_are_not() -> None:
    for case in ("uncertain", "uncertain by a rule"):
        decisions = by_hand(CASES[case])[1]
        assert 0 < (decisions == 3).sum() < len(decisions)
    assert answers_of(CASES["uncertain"]) == (*CLASSES, "uncertain")
    assert answers_of(around(classes=("uncertain", "x"), uncertain_up_to=0.5))[2] == "(uncertain)"
    assert answers_of(CASES["rule"]) == CLASSES
