"""A classifier says what its own weights say: nothing that another file left in the cache."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tellapart.data.pixels import PixelCache
from tellapart.engines import features
from tellapart.engines.features import backbone_key, extract
from tellapart.engines.parity import check_images
from tellapart.errors import RunError
from tellapart.models.kept import backbone_digest, backbone_state
from tellapart.models.tensors import joint_digest, read_header, tensor_digests, write_tensors
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.prediction.classifier import Description, load_classifier, save_classifier
from tellapart.recipe import BackboneModel

SIZE = 64
MODEL = BackboneModel(backbone="mobilenetv3_small_050", weights="none")
PREPROCESSING = Preprocessing(SIZE, SIZE)
PIXELS = check_images(SIZE, SIZE, 5)


def description(**changes: object) -> Description:
    plain = Description(
        classes=("cat", "dog"),
        preprocessing=PREPROCESSING,
        model=MODEL,
        frozen_backbone="backbone-name",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def state(change: float = 0.0) -> dict[str, np.ndarray]:
    """A probe on the frozen backbone, whose first weights are changed a little."""
    random = np.random.default_rng(0)
    weights = backbone_state(MODEL, PREPROCESSING)
    name = "backbone.network.conv_stem.weight"
    weights[name] = weights[name] * np.float32(1 - change)
    length = 1024
    return {
        **weights,
        "head.output.weight": random.normal(0, 30, (2, length)).astype(np.float32),
        "head.output.bias": np.zeros(2, np.float32),
    }


def in_float32(file: Path) -> np.ndarray:
    """What the file's weights say, by PyTorch."""
    network = load_classifier(file).network()
    with torch.inference_mode():
        images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float()
        return torch.softmax(network(images), dim=1).double().numpy()


def test_a_changed_model_changes_no_other_and_is_not_ignored(
    fresh_cache: Path, tmp_path: Path
) -> None:
    """Both have the same name of a backbone in their header; the changed one comes first."""
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    save_classifier(good, state(), description())
    save_classifier(bad, state(change=1.9), description())
    of_bad = load_classifier(bad).probabilities(PIXELS)
    of_good = load_classifier(good).probabilities(PIXELS)
    np.testing.assert_allclose(of_bad, in_float32(bad), atol=0.1)
    np.testing.assert_allclose(of_good, in_float32(good), atol=0.1)
    assert abs(of_bad - of_good).max() > 0.2


def test_runs_on_one_backbone_share_the_engine_that_made_their_features(
    fresh_cache: Path, tmp_path: Path
) -> None:
    cache = PixelCache(range(5), PIXELS, (), "images")  # type: ignore[arg-type]
    extracted = extract(MODEL, PREPROCESSING, cache)
    file = tmp_path / "model.safetensors"
    save_classifier(file, state(), description(frozen_backbone="whatever it says"))
    classifier = load_classifier(file)
    assert classifier.engine_name == ""
    np.testing.assert_array_equal(classifier.features(PIXELS), extracted.values[0])
    assert classifier.engine_name == extracted.engine_name != ""
    assert classifier.features_key == backbone_key(MODEL, PREPROCESSING)
    assert len(list((fresh_cache / "engines").iterdir())) == 1


def test_the_kept_digest_is_that_of_the_kept_weights() -> None:
    digest = joint_digest(tensor_digests(backbone_state(MODEL, PREPROCESSING)))
    assert backbone_digest(MODEL, PREPROCESSING) == digest


def test_features_of_another_engine_are_not_taken(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = PixelCache(range(5), PIXELS, (), "images")  # type: ignore[arg-type]
    first = extract(MODEL, PREPROCESSING, cache)
    assert extract(MODEL, PREPROCESSING, cache).engine_name == first.engine_name
    monkeypatch.setattr(features, "recorded_engine", lambda *a, **k: "PyTorch f32 on cpu")
    extract(MODEL, PREPROCESSING, cache)
    assert len(list((fresh_cache / "features").iterdir())) == 2


# --- what a file says of itself -------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": ["cat", "cat"]}, "2 classes, 1 of them apart"),
        ({"classes": ["cat"]}, "1 classes"),
        ({"classes": "cat"}, "classes are not a list"),
        ({"classes": ["cat", 3]}, "classes are not a list"),
        ({"temperature": 0.0}, "the temperature is 0.0"),
        ({"temperature": float("nan")}, "the temperature is nan"),
        ({"temperature": "1"}, "the temperature is '1'"),
        ({"test_time": "sideways"}, "test_time is 'sideways'"),
        ({"preprocessing": {"height": -1}}, "description says"),
        ({"preprocessing": []}, "description says"),
        ({"model": {"network": "none"}}, "description says"),
        ({"more": 1}, "description says"),
        ({"frozen_backbone": 1}, "a frozen backbone with layers"),
        ({"model": {**MODEL.model_dump(mode="json"), "features": "map"}}, "a frozen backbone with"),
    ],
)
def test_every_entry_of_the_description_is_checked(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    content = json.loads(description().to_json()) | change
    file = tmp_path / "model.safetensors"
    write_tensors(file, {"x": np.zeros(1)}, json.dumps(content))
    with pytest.raises(RunError, match=said) as raised:
        load_classifier(file)
    assert str(raised.value).startswith(f"{file} is damaged: its description says")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "{", '{"classes": ["a", "b"]}'])
def test_a_description_that_is_none_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "model.safetensors"
    write_tensors(file, {"x": np.zeros(1)}, text)
    with pytest.raises(RunError):
        load_classifier(file)


def test_weights_of_another_network_are_said(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    right = state()
    wrong = [
        {**right, "head.output.weight": right["head.output.weight"][:, :5]},
        {**right, "more": np.zeros(1, np.float32)},
        {name: value for name, value in right.items() if name != "head.output.bias"},
        {**right, "head.output.bias": np.zeros(2, np.int32)},
    ]
    for weights in wrong:
        save_classifier(file, weights, description())
        with pytest.raises(RunError, match="not those of the network that it describes"):
            load_classifier(file).network()
    save_classifier(file, {**right, "head.output.bias": np.zeros(3, np.float32)}, description())
    with pytest.raises(RunError, match=r"'head\.output\.bias'"):
        load_classifier(file).probabilities(PIXELS)


def test_weights_that_are_no_numbers_are_said(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_classifier(file, {**state(), "head.output.bias": np.array([0, np.nan])}, description())
    with pytest.raises(RunError, match=r"head\.output\.bias holds values that are no numbers"):
        load_classifier(file).state()


def test_what_run_json_says_is_compared(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    digest = save_classifier(file, state(), description())
    opened = load_classifier(file, digest=digest, classes=("cat", "dog"))
    assert opened.digest == digest == read_header(file).digest
    other = save_classifier(tmp_path / "other.safetensors", state(0.1), description())
    with pytest.raises(RunError, match="not the model that the run was finished with"):
        load_classifier(file, digest=other)
    with pytest.raises(RunError, match=r"its classes are cat, dog, and run\.json says dog, cat"):
        load_classifier(file, classes=("dog", "cat"))


def test_a_file_of_the_first_version_is_still_opened(tmp_path: Path) -> None:
    """It has no digest; what can be checked is."""
    file = tmp_path / "model.safetensors"
    save_file(state(), file, {"tellapart": description().to_json()})
    classifier = load_classifier(file)
    assert classifier.digest == ""
    np.testing.assert_allclose(classifier.probabilities(PIXELS), in_float32(file), atol=0.1)
