"""Several networks that answer together: their rule, their file, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.engines.parity import check_images
from tellapart.errors import RunError
from tellapart.models.kept import backbone_state
from tellapart.models.tensors import read_header, read_tensors, write_tensors
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.sets import PixelSets, decode_sets
from tellapart.prediction.classifier import Description, classifier_in_memory, save_classifier
from tellapart.prediction.joint import JointClassifier, join
from tellapart.prediction.predictor import Predictor
from tellapart.prediction.stored import any_in_memory, open_classifier
from tellapart.recipe import BackboneModel

MODEL = BackboneModel(backbone="mobilenetv3_small_050", weights="none")
SIZES = (64, 48, 64)
CLASSES = ("cat", "dog", "owl")


def member(size: int, seed: int, temperature: float = 1.0, test_time: str = "none"):
    preprocessing = Preprocessing(size, size)
    random = np.random.default_rng(seed)
    state = {
        **backbone_state(MODEL, preprocessing),
        "head.output.weight": random.normal(0, 20, (3, 1024)).astype(np.float32),
        "head.output.bias": random.normal(0, 1, 3).astype(np.float32),
    }
    described = Description(
        CLASSES, preprocessing, MODEL, test_time, temperature, frozen_backbone="a backbone"
    )
    return state, described


@pytest.fixture(scope="module")
def members():
    return [member(64, 0, 1.5), member(48, 1, 0.7, "flip"), member(64, 2, 1.1)]


@pytest.fixture(scope="module")
def pixels() -> PixelSets:
    return PixelSets((check_images(64, 64, 5), check_images(48, 48, 5)))


def alone(members, pixels: PixelSets):
    """What each member says by itself, through the path of single classifiers."""
    arrays = (pixels.arrays[0], pixels.arrays[1], pixels.arrays[0])
    for (state, described), array in zip(members, arrays, strict=True):
        yield classifier_in_memory(state, described), array


def test_an_ensemble_is_the_weighted_mean_of_probabilities(members, pixels, tmp_path) -> None:
    state, description = join(members, "mean", [1, 2, 1])
    expected = sum(
        weight * classifier.probabilities(array)
        for weight, (classifier, array) in zip((0.25, 0.5, 0.25), alone(members, pixels),
                                               strict=True)
    )  # fmt: skip
    held = any_in_memory(state, description)
    np.testing.assert_allclose(held.probabilities(pixels), expected, atol=1e-6)
    digest = save_classifier(tmp_path / "model.safetensors", state, description)
    stored = open_classifier(tmp_path / "model.safetensors", digest=digest, classes=CLASSES)
    assert isinstance(stored, JointClassifier)
    np.testing.assert_array_equal(stored.probabilities(pixels), held.probabilities(pixels))
    assert stored.preprocessing.height == 48  # the heaviest member's
    assert stored.engine_name
    np.testing.assert_array_equal(
        stored.features(pixels), classifier_in_memory(*members[1]).features(pixels.arrays[1])
    )


def test_side_by_side_logits_add_up(members, pixels) -> None:
    state, description = join(members, "sum", [1, 1, 1])
    expected = sum(classifier.logits(array) for classifier, array in alone(members, pixels))
    joint = any_in_memory(state, description)
    np.testing.assert_allclose(joint.logits(pixels), expected, atol=1e-4)


def test_networks_side_by_side_may_be_a_member_of_an_ensemble(members, pixels, tmp_path) -> None:
    beside, described = join(members[:2], "sum", [1, 3])
    described = replace(described, temperature=2.0)
    state, description = join([(beside, described), members[2]], "mean", [3, 1])
    inner = any_in_memory(beside, described).probabilities(pixels)
    other = classifier_in_memory(*members[2]).probabilities(pixels.arrays[0])
    file = tmp_path / "model.safetensors"
    save_classifier(file, state, description)
    stored = open_classifier(file)
    np.testing.assert_allclose(stored.probabilities(pixels), 0.75 * inner + 0.25 * other, atol=1e-6)
    assert stored.heaviest.preprocessing.height == stored.preprocessing.height == 48
    assert stored.features(pixels).shape == (5, 1024)


def test_a_backbone_that_members_share_is_stored_and_run_once(members, pixels, tmp_path) -> None:
    state, description = join(members, "mean", [1, 1, 1])
    assert description.backbones == (0, 0, 0)
    assert not any(name.startswith(("1.backbone", "2.backbone")) for name in state)
    joint = any_in_memory(state, description)
    runs: list[int] = []
    first = joint.members[0]
    opened = first._engine()

    def counting(images: np.ndarray) -> np.ndarray:
        runs.append(len(images))
        return opened(images)

    first._engines[next(iter(first._engines))] = counting
    joint.logits(pixels)
    assert runs == [5]  # members 0 and 2 look at the same pixels


def test_files_are_decoded_once_a_size_and_left_out_if_any_fails(members, tmp_path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(check_images(80, 60, 1)[0]).save(good)
    bad.write_bytes(b"no picture")
    found, reasons = decode_sets([bad, good], [Preprocessing(64, 64), Preprocessing(48, 48)])
    assert [array.shape for array in found.arrays] == [(1, 64, 64, 3), (1, 48, 48, 3)]
    assert reasons[0] and not reasons[1]
    joint = any_in_memory(*join(members, "mean", [1, 1, 1]))
    broken, answer = Predictor(joint).predict([bad, good]).rows
    assert broken.error == reasons[0]
    assert list(answer.probabilities.values()) == joint.probabilities(found)[0].tolist()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": [0.5, 0.2, 0.2]}, "the weights are"),
        ({"weights": [1.0, 0.0]}, "the weights are"),
        ({"weights": [1.5, -0.5, 0.0]}, "the weights are"),
        ({"backbones": [0, 2, 2]}, "the backbones are those of members"),
        ({"backbones": [0, 0]}, "the backbones are those of members"),
        ({"rule": "product"}, "joined by 'product'"),
        ({"temperature": 0}, "the temperature is 0"),
        ({"classes": ["cat", "dog", "cow"]}, "members of other classes"),
        ({"members": []}, "0 members"),
        ({"members": [1]}, "description says"),
        ({"more": 1}, "description says"),
    ],
)
def test_every_entry_of_the_description_is_checked(
    members, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    _, description = join(members, "mean", [1, 1, 1])
    file = tmp_path / "model.safetensors"
    write_tensors(file, {"x": np.zeros(1)}, json.dumps(json.loads(description.to_json()) | change))
    with pytest.raises(RunError, match=said):
        open_classifier(file)


def test_changed_weights_are_refused(members, pixels, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    state, description = join(members, "mean", [1, 1, 1])
    save_classifier(file, state, description)
    digest = read_header(file).digest
    stored, _ = read_tensors(file, digest)
    assert stored.keys() == state.keys()
    file.write_bytes(file.read_bytes()[:-4] + b"abcd")
    with pytest.raises(RunError, match="not those it was written with"):
        open_classifier(file).probabilities(pixels)
    del state["2.head.output.bias"]
    save_classifier(file, state, description)
    with pytest.raises(RunError, match=r"weights 'head\.output\.bias' are not those of"):
        open_classifier(file).probabilities(pixels)
    state["2.head.output.bias"] = np.array([0, np.nan, 0], np.float32)
    save_classifier(file, state, description)
    with pytest.raises(RunError, match=r"2\.head\.output\.bias holds values that are no numbers"):
        open_classifier(file).probabilities(pixels)
