"""What NumPy finds inside a network is what PyTorch finds."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart import extras
from tellapart.errors import MissingPackageError, RunError
from tellapart.explanation.inside import layer_named, layer_to_show, look_inside
from tellapart.explanation.inside_lite import InsideLite
from tellapart.explanation.inside_module import InsideModule
from tellapart.models.feature_heads import (
    FeatureHead,
    HiddenLayerHead,
    LinearHead,
    NeighboursHead,
    unit,
)
from tellapart.models.inputs import preprocessing_for
from tellapart.models.kept import backbone_state
from tellapart.prediction.classifier import Classifier, Description, classifier_in_memory
from tellapart.recipe import BackboneModel, DataSettings, ScratchModel

SIZE = 96
RULE = preprocessing_for(BackboneModel(), DataSettings(image_size=SIZE))
PICTURES = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


def classifier(head: FeatureHead, **options: object) -> Classifier:
    model = head.model(BackboneModel()).model_copy(update=options)
    state = {**backbone_state(BackboneModel(), RULE), **head.state()}
    described = Description(
        ("a", "b") if model.output == "sigmoid" else ("a", "b", "c"), RULE, model,
        frozen_backbone="name", neighbours=isinstance(head, NeighboursHead),
    )  # fmt: skip
    return classifier_in_memory(state, described, device="cpu")


def heads() -> dict[str, Classifier]:
    draw = np.random.default_rng(1).normal
    hidden, bias = draw(size=(20, 1280)).astype(np.float32), draw(size=20).astype(np.float32)
    many, one = (draw(size=(n, 1280)).astype(np.float32) for n in (3, 1))
    return {
        "linear": classifier(LinearHead(many, np.zeros(3, np.float32))),
        "sigmoid": classifier(LinearHead(one, np.zeros(1, np.float32)), output="sigmoid"),
        "hidden": classifier(HiddenLayerHead(
            hidden, bias, draw(size=(3, 20)).astype(np.float32), np.zeros(3, np.float32)
        )),
    }  # fmt: skip


def in_numpy(of: Classifier) -> InsideLite:
    plain = of.plain_network() or of.plain_backbone()
    assert plain is not None
    return InsideLite(plain, of)


@pytest.mark.parametrize("kind", ["linear", "sigmoid", "hidden"])
def test_class_activation_maps_are_grad_cam(kind: str) -> None:
    of = heads()[kind]
    classes = [0, 1, 0] if kind == "sigmoid" else [0, 1, 2]
    found = in_numpy(of).evidence(PICTURES, classes)
    assert found.dtype == np.float32 and found.shape == (3, SIZE, SIZE)
    assert found.max() == 1 and found.min() == 0
    np.testing.assert_allclose(found, InsideModule(of).evidence(PICTURES, classes), atol=1e-4)


def test_layers_maps_and_kernels_are_those_of_pytorch() -> None:
    of = heads()["linear"]
    ours, theirs = in_numpy(of), InsideModule(of)
    shapes = {layer.name: (layer.channels, layer.height, layer.width) for layer in theirs.layers}
    for layer in ours.layers:
        assert shapes[layer.name] == (layer.channels, layer.height, layer.width)
    ours_shown, theirs_shown = (layer_to_show(i.layers, SIZE) for i in (ours, theirs))
    assert ours_shown is not None and theirs_shown is not None
    assert ours_shown.height == theirs_shown.height
    for name in ("conv_stem", "blocks.1.1", "blocks.3.0.bn2", "blocks.0.0.bn2", "bn2"):
        np.testing.assert_allclose(
            ours.maps(PICTURES[0], name), theirs.maps(PICTURES[0], name), atol=1e-3
        )
    np.testing.assert_array_equal(ours.kernels(), theirs.kernels())
    with pytest.raises(RunError, match=r"Did you mean|Some that do"):
        layer_named("blocks.9", ours.layers)


def test_where_neighbours_vote_only_pytorch_has_maps_of_evidence() -> None:
    draw = np.random.default_rng(2).normal
    head = NeighboursHead(
        unit(draw(size=(5, 1280)).astype(np.float32)), np.eye(5, 3, dtype=np.float32),
        np.zeros(1280, np.float32), 2,
    )  # fmt: skip
    inside = in_numpy(classifier(head))
    assert inside.evidence_layer is None and "pip install 'tellapart[train]'" in inside.refusal
    assert inside.maps(PICTURES[0], "bn2").shape == (1280, 3, 3)
    opened = look_inside(classifier(head), light=True)  # PyTorch is here, and can
    assert isinstance(opened, InsideModule) and opened.evidence_layer is not None


def test_the_way_is_chosen_by_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    of = heads()["linear"]
    assert isinstance(look_inside(of), InsideModule)
    assert isinstance(look_inside(of, light=True), InsideLite)
    monkeypatch.setattr(extras, "_is_here", lambda name: name not in extras.TRAIN)
    assert isinstance(look_inside(of), InsideLite)
    scratch = Description(
        ("a", "b"), RULE, ScratchModel(kind="scratch", network="small_cnn", output="softmax")
    )
    with pytest.raises(MissingPackageError, match="Looking inside this network needs PyTorch"):
        look_inside(classifier_in_memory({}, scratch, device="cpu"))
