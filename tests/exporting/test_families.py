"""Every family of networks says the same in ONNX Runtime, in OpenVINO and in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tellapart.engines.onnx import save_openvino
from tellapart.engines.openvino import import_openvino
from tellapart.engines.parity import check_images
from tellapart.evaluation.decision import Decision, decided
from tellapart.exporting.graph import Around
from tellapart.exporting.job import Job
from tellapart.models.inputs import preprocessing_for
from tellapart.models.network import build_network
from tellapart.models.scratch import NETWORKS
from tellapart.pixels.views import TEST_TIME_VIEWS, view_images
from tellapart.prediction.bundle import RUNNERS
from tellapart.prediction.classifier import Description, classifier_in_memory, to_probabilities
from tellapart.recipe import BackboneModel, DataSettings, ScratchModel

CLASSES = ("ant", "bee", "cow")
#: Backbone, the size that it is tried at, and its features.
BACKBONES = {
    "tf_efficientnet_lite0": (96, "pooled"),
    "vgg16": (64, "map"),
    "resnetv2_50": (64, "pooled"),
    "mobilenetv2_100": (64, "pooled"),
    "legacy_xception": (96, "pooled"),
    "vit_tiny_patch16_224": (224, "pooled"),
}


def job_of(model: ScratchModel | BackboneModel, size: int | None) -> Job:
    """A network of random weights with views, temperature and a decision rule around it."""
    rule = preprocessing_for(model, DataSettings(image_size=size))
    torch.manual_seed(0)
    network = build_network(model, len(CLASSES), rule, random_weights=True).eval()
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    described = Description(CLASSES, rule, model, test_time="flip", temperature=1.7)
    around = Around(
        views=TEST_TIME_VIEWS["flip"], temperature=1.7, classes=CLASSES,
        decision=Decision("cow", 0.35), height=rule.height, width=rule.width,
    )  # fmt: skip
    return Job("random", classifier_in_memory(state, described), around)


def holds(job: Job, folder: Path) -> None:
    """Both runtimes agree with eager PyTorch, whatever the number of images."""
    rule, around = job.classifier.preprocessing, job.around
    pixels = check_images(rule.height, rule.width, 5)
    network = job.classifier.network()
    with torch.inference_mode():
        logits = np.mean([
            network(torch.from_numpy(view.copy()).permute(0, 3, 1, 2).float()).numpy()
            for view in view_images(pixels, around.views)
        ], axis=0)  # fmt: skip
    expected = to_probabilities(logits, job.classifier.description)
    (folder / "model.onnx").write_bytes(job.onnx)
    model = import_openvino().Core().read_model(folder / "model.onnx")
    save_openvino(model, folder / "model.xml", len(job.onnx))
    for name, file in (("onnx", "model.onnx"), ("openvino", "model.xml")):
        run = RUNNERS[name].open(folder / file)
        for images in (pixels, pixels[:1]):
            probabilities, decisions, _ = run(images)
            np.testing.assert_allclose(probabilities, expected[: len(images)], atol=2e-5)
            np.testing.assert_array_equal(
                decisions, decided(expected, CLASSES, around.decision)[: len(images)]
            )


@pytest.mark.parametrize(
    "network",
    [
        name if name == "small_cnn" else pytest.param(name, marks=pytest.mark.slow)
        for name in NETWORKS
    ],
)
def test_networks_from_scratch(network: str, tmp_path: Path) -> None:
    holds(job_of(ScratchModel(network=network), None), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbones(backbone: str, tmp_path: Path) -> None:
    size, features = BACKBONES[backbone]
    model = BackboneModel(
        backbone=backbone, weights="none", features=features,
        head=[{"layer": "global_pool"}] if features == "map" else [],
    )  # fmt: skip
    holds(job_of(model, size), tmp_path)


def test_every_family_is_tried() -> None:
    assert len(NETWORKS) >= 9 and len(BACKBONES) == 6
