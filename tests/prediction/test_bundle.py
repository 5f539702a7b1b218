"""A bundle is opened as it was written, or refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tellapart.errors import BundleError, RunError
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.prediction.bundle import is_bundle, open_bundle
from tellapart.predictors import open_predictor
from tellapart.run import open_run
from tellapart.run_info import FileDigest


def model() -> bytes:
    """Pixels of 2 x 2 to probabilities: the share of red and of green; by hand."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers", "places"], ["colours"], keepdims=0),
        helper.make_node("Slice", ["colours", "from", "until", "axis"], ["two"]),
        helper.make_node("ReduceSum", ["two", "axis"], ["all"], keepdims=1),
        helper.make_node("Div", ["two", "all"], ["probabilities"]),
        helper.make_node("ArgMax", ["probabilities"], ["decision"], axis=1, keepdims=0),
        helper.make_node("ReduceMax", ["probabilities", "axis"], ["probability"], keepdims=0),
    ]
    constants = {"places": [1, 2], "from": [0], "until": [2], "axis": [1]}
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 2, 2, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("decision", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n"]),
        ],
        [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(made.SerializeToString())


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model())
    digest = FileDigest.of(model())
    content = {
        "format": 1, "tellapart": "0.1.0", "created": "2026-11-28", "name": "x",
        "runtime": "onnx", "model": "model.onnx", "precision": "f32",
        "classes": ["red", "green"], "answers": ["red", "green"],
        "preprocessing": Preprocessing(2, 2).to_dict(), "float_input": False,
        "test_time": "none", "temperature": 1.0, "decision": None, "model_digest": "",
        "files": {"model.onnx": {"size": digest.size, "sha256": digest.sha256}},
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(content | changes))
    return folder


def test_bundle__says_what_its_model_says(tmp_path: Path) -> None:
    bundle = open_bundle(written(tmp_path / "b"))
    pixels = np.random.default_rng(0).integers(1, 256, (21, 2, 2, 3), dtype=np.uint8)
    sums = pixels.reshape(21, 4, 3).sum(axis=1)[:, :2].astype(float)
    found = bundle.probabilities(pixels)
    np.testing.assert_allclose(found, sums / sums.sum(axis=1, keepdims=True), atol=1e-6)
    alone = np.concatenate([bundle.probabilities(pixels[i : i + 1]) for i in range(21)])
    np.testing.assert_array_equal(found, alone)
    assert bundle.probabilities(pixels[:0]).shape == (0, 2)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 2}, "newer tellapart"),
        ({"format": "1"}, "newer tellapart"),
        ({"format": 0}, "was not written by tellapart"),
        ({"classes": "red"}, "its key 'classes' is wrong"),
        ({"runtime": "tensorrt"}, "export for tensorrt"),
        ({"preprocessing": {}}, "damaged"),
        ({"decision": {"positive": "blue", "threshold": 0.5, "cost_miss": 1.0,
                       "cost_false_alarm": 1.0}}, "damaged"),
        ({"preprocessing": Preprocessing(2, 2).to_dict() | {"mean": [1.0]}}, "damaged"),
        ({"preprocessing": Preprocessing(2, 2).to_dict() | {"height": -2}}, "damaged"),
        ({"preprocessing": Preprocessing(2, 2).to_dict() | {"height": "2"}}, "of another kind"),
        ({"more_inputs": [{"height": 4}]}, "damaged"),
        ({"abstention": {"above": "high"}}, "damaged"),
        ({"classes": ["red", "red"], "answers": ["red", "red"]}, "damaged: it has the classes"),
        ({"classes": ["red"], "answers": ["red"]}, "damaged: it has the classes"),
        ({"answers": ["green", "red"]}, "damaged: it has the answers"),
        ({"answers": ["red", "green", "uncertain"]}, "damaged: it has the answers"),
        ({"model": "../model.onnx"}, "does not list its model"),
        ({"files": {}}, "does not list its model"),
        ({"files": {"../../etc/passwd": {"size": 1, "sha256": ""}}}, "names the file"),
        ({"files": {"a\0b": {"size": 1, "sha256": ""}}}, "names the file"),
        ({"files": {"model.onnx": {"size": 1, "sha256": ""}}}, "was changed"),
    ],
)  # fmt: skip
def test_bundle__malformed(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=sentence) as caught:
        open_bundle(written(tmp_path / "b", **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', "\x00", "[" * 100_000])
def test_bundle__no_json(text: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "b")
    (folder / "model.json").write_text(text)
    with pytest.raises(BundleError):
        open_bundle(folder)


def test_run__an_export_in_its_place_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is an export, which 'tellapart predict' takes"):
        open_run(written(tmp_path / "b"))


def test_bundle__a_truncated_model_is_noticed_before_it_is_opened(tmp_path: Path) -> None:
    folder = written(tmp_path / "b")
    (folder / "model.onnx").write_bytes(model()[:-40])
    with pytest.raises(BundleError, match="was changed since"):
        open_bundle(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        open_bundle(folder)


def test_bundle__a_model_that_the_runtime_cannot_open(tmp_path: Path) -> None:
    content = b"no model at all"
    digest = FileDigest.of(content)
    folder = written(
        tmp_path / "b", files={"model.onnx": {"size": digest.size, "sha256": digest.sha256}}
    )
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="cannot be opened by onnxruntime"):
        open_bundle(folder).probabilities(np.zeros((1, 2, 2, 3), np.uint8))


def of_content(folder: Path, content: bytes, **changes: Any) -> Path:
    """A bundle whose model is this file, by its digest too."""
    digest = FileDigest.of(content)
    files = {"model.onnx": {"size": digest.size, "sha256": digest.sha256}}
    written(folder, files=files, **changes)
    (folder / "model.onnx").write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"preprocessing": Preprocessing(3, 5).to_dict()}, r"is not the model .* \(.*"),
        ({"float_input": True}, r"is not the model .* \(.*"),
        ({"more_inputs": [Preprocessing(2, 2).to_dict()]}, r"is not the model .* \(.*"),
        ({"classes": ["red", "green", "blue"], "answers": ["red", "green", "blue"]},
         r"it gives float32 of \(8, 2\) instead of probabilities of \(8, 3\)"),
    ],
)  # fmt: skip
def test_bundle__a_model_that_is_not_what_is_said_of_it(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    bundle = open_bundle(of_content(tmp_path / "b", model(), **changes))
    pictures = [np.full((6, 6, 3), 90, np.uint8)]
    pixels, _ = bundle.decoded([Image.fromarray(picture) for picture in pictures])
    with pytest.raises(BundleError, match=sentence) as caught:
        bundle.probabilities(pixels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("said", ["none", "below 0"])
def test_bundle__numbers_that_are_no_probabilities(said: str, tmp_path: Path) -> None:
    theirs = onnx.load_from_string(model())
    by = numpy_helper.from_array(np.array(np.nan if said == "none" else -1.0, np.float32), "by")
    theirs.graph.initializer.append(by)
    for node in theirs.graph.node:
        if node.op_type == "Div":
            node.output[0] = "shares"
    theirs.graph.node.append(helper.make_node("Mul", ["shares", "by"], ["probabilities"]))
    order = [node for node in theirs.graph.node if node.output[0] != "probabilities"]
    last = theirs.graph.node[-1]
    del theirs.graph.node[:]
    theirs.graph.node.extend([*order[:5], last, *order[5:]])
    bundle = open_bundle(of_content(tmp_path / "b", theirs.SerializeToString()))
    with pytest.raises(BundleError, match="no probabilities"):
        bundle.probabilities(np.full((3, 2, 2, 3), 9, np.uint8))


def theirs_of(names: tuple[str, str], shape: list[Any]) -> bytes:
    """A network of somebody else: normalised pictures to logits."""
    nodes = [
        helper.make_node("ReduceMean", [names[0], "axes"], [names[1]], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "theirs",
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.array([2, 3]), "axes")],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(
    ("names", "shape"),
    [(("input", "output"), ["n", 3, 2, 2]), (("pixels", "probabilities"), ["n", 3, 2, 2])],
)
def test_bundle__other_peoples_network_in_a_bundles_place(
    names: tuple[str, str], shape: list[Any], tmp_path: Path
) -> None:
    folder = of_content(tmp_path / "b", theirs_of(names, shape))
    with pytest.raises(BundleError, match="is not the model") as caught:
        open_predictor(folder).predict([np.full((6, 6, 3), 90, np.uint8)])
    assert "\n" not in str(caught.value)


def test_predictor__is_given_a_file_of_a_network(tmp_path: Path) -> None:
    theirs = tmp_path / "resnet50.ONNX"
    theirs.write_bytes(theirs_of(("input", "output"), ["n", 3, 2, 2]))
    with pytest.raises(BundleError, match="a network without its classes"):
        open_predictor(theirs)
    folder = written(tmp_path / "b")
    with pytest.raises(BundleError, match="is a part of an export; give its folder"):
        open_predictor(folder / "model.onnx")


def test_bundle__other_peoples_onnx_files(tmp_path: Path) -> None:
    (tmp_path / "theirs.onnx").write_bytes(model())
    onnx.load(tmp_path / "theirs.onnx")
    assert not is_bundle(tmp_path)
    with pytest.raises(BundleError, match="no classes and preprocessing that could be trusted"):
        open_bundle(tmp_path)
    with pytest.raises(BundleError, match=r"it has no model\.json"):
        open_bundle(tmp_path / "none")
