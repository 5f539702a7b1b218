"""Several networks that answer together are one model when exported, and say the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import tellapart as ta
from tellapart.engines.parity import check_images
from tellapart.errors import BundleError
from tellapart.evaluation.calibration import log_probabilities
from tellapart.exporting.graph import Around, whole_graph
from tellapart.exporting.joint_module import joint_network_of
from tellapart.exporting.module import whole_module
from tellapart.exporting.parity import reference_of, script_answers
from tellapart.models.network import build_network
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.sets import PixelSets
from tellapart.pixels.views import TEST_TIME_VIEWS, View, view_images
from tellapart.prediction.bundle import RUNNERS, open_bundle
from tellapart.prediction.classifier import Description
from tellapart.prediction.joint import JointClassifier, join
from tellapart.prediction.stored import any_in_memory
from tellapart.predictors import open_predictor
from tellapart.progress import SILENT
from tellapart.recipe import ScratchModel
from tellapart.run import Run
from tellapart.verbs.export import export

CLASSES = ("cat", "dog")
SIZES = (24, 32, 24)
PIXELS = PixelSets((check_images(24, 24, 5), check_images(32, 32, 5)))
#: Of the three members: which array of PIXELS they look at.
WAY = (0, 1, 0)


def member(number: int, *, output: str = "softmax", test_time: str = "none", temperature=1.0):
    """A small network of random weights, large enough for its answers to differ."""
    model = ScratchModel(network="small_cnn", output=output)
    rule = Preprocessing(SIZES[number], SIZES[number])
    torch.manual_seed(number)
    network = build_network(model, 2, rule).eval()
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    state["head.output.weight"] = 30 * state["head.output.weight"]
    return state, Description(CLASSES, rule, model, test_time, temperature)


MEMBERS = (
    member(0, temperature=1.5),
    member(1, test_time="flips_and_turns"),
    member(2, output="sigmoid", test_time="flip", temperature=0.7),
)


def by_hand(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 1 or 2) and probabilities (N, 2) of one member, view by view, in PyTorch."""
    state, described = MEMBERS[number]
    network = build_network(described.model, 2, described.preprocessing)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    network.eval()
    views = TEST_TIME_VIEWS[described.test_time]
    with torch.inference_mode():
        logits = np.mean([
            network(torch.from_numpy(shown.copy()).permute(0, 3, 1, 2).float()).numpy()
            for shown in view_images(PIXELS.arrays[WAY[number]], views)
        ], axis=0, dtype=np.float64)  # fmt: skip
    scaled = logits / described.temperature
    if described.single_output:
        return logits, np.hstack([1 / (1 + np.exp(scaled)), 1 / (1 + np.exp(-scaled))])
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return logits, powers / powers.sum(axis=1, keepdims=True)


def module_of(state: Any, description: Any) -> tuple[JointClassifier, torch.nn.Module]:
    classifier = any_in_memory(state, description, device="cpu")
    assert isinstance(classifier, JointClassifier)
    return classifier, joint_network_of(classifier)


def said(module: torch.nn.Module, pixels: PixelSets = PIXELS) -> np.ndarray:
    with torch.inference_mode():
        return module(*map(torch.from_numpy, pixels.arrays)).numpy()


def test_module__an_ensemble_is_the_mean_of_probabilities() -> None:
    _, module = module_of(*join(MEMBERS, "mean", [1, 2, 1]))
    each = [by_hand(number)[1] for number in range(3)]
    mean = 0.25 * each[0] + 0.5 * each[1] + 0.25 * each[2]
    assert 0.02 < mean[:, 0].min() < 0.98 and np.ptp(mean[:, 0]) > 0.01
    np.testing.assert_allclose(said(module), log_probabilities(mean), atol=1e-5)


def test_module__logits_side_by_side_add_up() -> None:
    _, module = module_of(*join(MEMBERS[:2], "sum", [1, 1]))
    expected = by_hand(0)[0] + by_hand(1)[0]
    np.testing.assert_allclose(said(module), expected, rtol=1e-4, atol=1e-4)


def test_module__what_is_joined_may_be_a_member() -> None:
    beside, described = join(MEMBERS[:2], "sum", [1, 3])
    described = replace(described, temperature=2.0)
    _, module = module_of(*join([(beside, described), MEMBERS[2]], "mean", [3, 1]))
    logits = (by_hand(0)[0] + by_hand(1)[0]) / 2.0
    inner = np.exp(logits - logits.max(axis=1, keepdims=True))
    inner /= inner.sum(axis=1, keepdims=True)
    mean = 0.75 * inner + 0.25 * by_hand(2)[1]
    np.testing.assert_allclose(said(module), log_probabilities(mean), atol=1e-5)


def test_module__a_backbone_that_members_share_runs_once_for_the_same_pictures() -> None:
    state, described = MEMBERS[0]
    other = {**state, "head.output.weight": -state["head.output.weight"]}
    flipped = replace(described, test_time="flip")
    _, module = module_of(*join([(state, described), (other, flipped)], "mean", [1, 1]))
    first, second = module.members
    assert first.network.backbone is second.network.backbone
    calls: list[int] = []
    first.network.backbone.register_forward_hook(lambda *_: calls.append(1))
    said(module, PixelSets(PIXELS.arrays[:1]))
    assert len(calls) == 2  # as they are, and mirrored


def test_reference__is_what_the_members_say(tmp_path: Path) -> None:
    from PIL import Image

    from tellapart.evaluation.policy import Policy

    classifier, _ = module_of(*join(MEMBERS, "mean", [1, 2, 1]))
    picture = tmp_path / "a.png"
    Image.fromarray(np.repeat(PIXELS.arrays[0][0], 4, axis=0)).save(picture)
    (tmp_path / "b.png").write_bytes(b"no picture")
    found = reference_of(classifier, Policy(), [picture, tmp_path / "b.png"])
    assert found.files == (picture,)
    pixels, _ = classifier.decoded([picture])
    expected = np.exp(said(joint_network_of(classifier), pixels).astype(float))
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)


def two_inputs() -> bytes:
    """Logits: the mean of red of the first picture, and of green of the second."""
    nodes, constants = [], {"axes": np.array([1, 2]), "axis": np.array([1])}
    for number in (0, 1):
        constants[f"colour{number}"] = np.array([number])
        nodes += [
            helper.make_node("Cast", [f"in{number}"], [f"f{number}"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", [f"f{number}", "axes"], [f"m{number}"], keepdims=0),
            helper.make_node("Gather", [f"m{number}", f"colour{number}"], [f"c{number}"], axis=1),
        ]
    nodes.append(helper.make_node("Concat", ["c0", "c1"], ["logits"], axis=1))
    graph = helper.make_graph(
        nodes,
        "by hand",
        [
            helper.make_tensor_value_info(f"in{n}", TensorProto.UINT8, ["n", size, size, 3])
            for n, size in enumerate((24, 32))
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "torch module"])
def test_graph__of_two_inputs(runtime: str, tmp_path: Path) -> None:
    around = Around(
        (View(),), 2.0, CLASSES, height=24, width=24, more_sizes=((32, 32),),
        uncertain_up_to=0.6,
    )  # fmt: skip
    logits = np.stack([
        PIXELS.arrays[0][..., 0].mean(axis=(1, 2)), PIXELS.arrays[1][..., 1].mean(axis=(1, 2)),
    ], axis=1) / 2.0  # fmt: skip
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    if runtime == "torch module":

        class ByHand(torch.nn.Module):
            def forward(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
                means = [one[..., 0].float().mean((1, 2)), two[..., 1].float().mean((1, 2))]
                return torch.stack(means, dim=1)

        module = whole_module(ByHand(), around)
        found = [output.numpy() for output in module(*map(torch.from_numpy, PIXELS.arrays))]
    else:
        file = tmp_path / "model.onnx"
        file.write_bytes(whole_graph(two_inputs(), around))
        assert [value.name for value in onnx.load(file).graph.input] == ["pixels", "pixels_2"]
        found = list(RUNNERS[runtime].open(file)(PIXELS))
    np.testing.assert_allclose(found[0], expected, atol=2e-4)
    confident = expected.max(axis=1) > 0.6
    np.testing.assert_array_equal(found[1], np.where(confident, expected.argmax(axis=1), 2))


# --- a run of several networks, from training to the script ---------------------------------

SCRATCH = """
name: {name}
title: Two small networks
teaches: a test
method: ensemble
data: {{image_size: 32, fit: {fit}}}
ensemble:
  weights: [1, 2]
  members:
    - name: one
      method: fit
      model: {{kind: scratch, network: small_cnn}}
      training: {{epochs: 2, batch_size: 16, learning_rate: 0.05, precision: float32}}
    - name: two
      method: fit
      seed: 5
      data: {{image_size: {size}}}
      model: {{kind: scratch, network: small_cnn, output: sigmoid}}
      training: {{epochs: 2, batch_size: 16, learning_rate: 0.05, precision: float32}}
      test_time: flip
"""


@pytest.fixture(scope="module")
def photos(image_folder: Callable[..., Path]) -> Path:
    parts = {"train": 12, "validation": 6, "test": 8}
    return image_folder(("blue", "red"), parts=parts, size=(80, 60))


def trained(photos: Path, folder: Path, name: str, size: int, fit: str = "squash") -> Run:
    file = folder / f"{name}.yaml"
    file.write_text(SCRATCH.format(name=name, size=size, fit=fit), "utf-8")
    return ta.train(photos, recipe=file, run=folder / name, progress=SILENT)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "fit"), [(32, "squash"), (48, "squash"), (48, "pad")])
def test_export__several_networks(size: int, fit: str, photos: Path, tmp_path: Path) -> None:
    run = trained(photos, tmp_path, "run", size, fit)
    stored = run.predictions("test")
    files = [photos / path for path in stored.paths]
    for to in ("onnx", "openvino", "torch"):
        made = export(run, tmp_path / to, to=to, progress=SILENT)
        check = made.info.measured["float32"]
        assert check["share_of_equal_decisions"] == 1.0 and check["largest_difference"] < 1e-5
        content = json.loads((made.folder / "model.json").read_text())
        assert len(content["more_inputs"]) == (size != 32)
        assert content["test_time"] == "none + flip"
        probabilities, _ = script_answers(made.folder / "classify.py", files)
        np.testing.assert_allclose(probabilities, stored.probabilities, atol=0.02)
        predictor = open_predictor(made.folder)
        answers = predictor.predict(files, progress=SILENT)
        by_bundle = np.array([list(answer.probabilities.values()) for answer in answers])
        np.testing.assert_allclose(by_bundle, probabilities, atol=1e-5)
        assert predictor.predict_one(files[3]).probabilities == answers[3].probabilities
    text = (tmp_path / "onnx" / "README.md").read_text("utf-8")
    assert ("in 2 sizes: `pixels` 32 x 32, `pixels\\_2`" in text.replace("pixels_2", "pixels\\_2")
            ) == (size == 48)  # fmt: skip
    int8 = export(run, tmp_path / "int8", int8=True, progress=SILENT)
    assert open_bundle(int8.folder).info.precision == "int8"


@pytest.mark.slow
def test_export__what_several_networks_cannot(photos: Path, tmp_path: Path) -> None:
    run = trained(photos, tmp_path, "run", 48)
    with pytest.raises(BundleError, match="a normalisation of its own"):
        export(run, tmp_path / "out", float_input=True, progress=SILENT)
    with pytest.raises(BundleError, match="several networks answer together"):
        export(run, tmp_path / "out", to="timm", progress=SILENT)
    text = SCRATCH.format(name="mixed", size="48, fit: crop", fit="squash")
    (tmp_path / "mixed.yaml").write_text(text, "utf-8")
    mixed = ta.train(
        photos, recipe=tmp_path / "mixed.yaml", run=tmp_path / "mixed", progress=SILENT
    )
    with pytest.raises(BundleError, match=r"fitted to their sizes in different ways \(squash"):
        export(mixed, tmp_path / "out", progress=SILENT)
    assert not (tmp_path / "out").exists()
