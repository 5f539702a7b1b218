"""Does every family of networks say the same in ONNX Runtime and OpenVINO as in PyTorch?

    python benchmarks/export_families.py [NAME ...] [--json results.json]

Each network from scratch and one backbone of each family is built, with its pretrained weights
where they are here (nothing is downloaded) and random ones else. Its output layer is scaled so that
logits of the made pictures have a standard deviation of 2: random networks say the same of all.
Around it stand views, a temperature and a decision rule. The exported graph answers five pictures
together and one alone, in float32; eager PyTorch is the reference.

Ends with 1 where a probability differs by more than 0.0001 or a decision differs: the pass mark.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tellapart.engines.onnx import save_openvino
from tellapart.engines.openvino import import_openvino
from tellapart.engines.parity import check_images
from tellapart.errors import WeightsError
from tellapart.evaluation.decision import Decision, decided
from tellapart.exporting.graph import Around
from tellapart.exporting.job import Job
from tellapart.machine import keep_memory, num_cores, processor_name
from tellapart.models.inputs import preprocessing_for
from tellapart.models.network import Network, build_network
from tellapart.models.scratch import NETWORKS
from tellapart.pixels.views import TEST_TIME_VIEWS, view_images
from tellapart.prediction.bundle import RUNNERS
from tellapart.prediction.classifier import Description, classifier_in_memory, to_probabilities
from tellapart.recipe import BackboneModel, DataSettings, ScratchModel

CLASSES = ("ant", "bee", "cow")
#: The largest difference of a probability.
MOST = 1e-4
PICTURES = 5


@dataclass(frozen=True)
class Family:
    """A network to try."""

    model: ScratchModel | BackboneModel
    #: Pixels of a side; None: its own.
    size: int | None = None


def backbone(name: str, size: int, features: str = "pooled") -> Family:
    head = [{"layer": "global_pool"}] if features == "map" else []
    return Family(BackboneModel(backbone=name, features=features, head=head), size)


FAMILIES: Mapping[str, Family] = {
    **{name: Family(ScratchModel(network=name)) for name in NETWORKS},
    "EfficientNet-Lite": backbone("tf_efficientnet_lite0", 96),
    "VGG16": backbone("vgg16", 64, "map"),
    "ResNet-50 v2": backbone("resnetv2_50", 64),
    "MobileNetV2": backbone("mobilenetv2_100", 64),
    "Xception": backbone("legacy_xception", 96),
    "ViT": backbone("vit_tiny_patch16_224", 224),
}


@dataclass(frozen=True)
class Tried:
    """A network with all that an export puts around it, and what it must say."""

    job: Job
    #: "pretrained" or "random".
    weights: str
    #: uint8 (N, H, W, 3).
    pixels: NDArray[np.uint8]
    #: float64 (N, C), by eager PyTorch.
    expected: NDArray[np.float64]


def tried(family: Family) -> Tried:
    """Build a family's network, scale its output, and let PyTorch answer."""
    rule = preprocessing_for(family.model, DataSettings(image_size=family.size))
    torch.manual_seed(0)
    weights = "random"
    network = build_network(family.model, len(CLASSES), rule, random_weights=True).eval()
    if isinstance(family.model, BackboneModel):
        try:
            network = build_network(family.model, len(CLASSES), rule).eval()
            weights = "pretrained"
        except WeightsError:
            pass
    pixels = check_images(rule.height, rule.width, PICTURES)
    views = TEST_TIME_VIEWS["flip"]
    logits = _mean_logits(network, pixels)
    with torch.no_grad():
        scale = torch.from_numpy(2 / logits.std(axis=0)).float()
        network.head.output.weight.mul_(scale[:, None])
        network.head.output.bias.copy_(
            (network.head.output.bias - torch.from_numpy(logits.mean(axis=0))) * scale
        )
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    described = Description(CLASSES, rule, family.model, test_time="flip", temperature=1.7)
    around = Around(
        views=views, temperature=1.7, classes=CLASSES, decision=Decision("cow", 0.35),
        height=rule.height, width=rule.width,
    )  # fmt: skip
    job = Job("tried", classifier_in_memory(state, described), around)
    return Tried(job, weights, pixels, to_probabilities(_mean_logits(network, pixels), described))


def _mean_logits(network: Network, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    with torch.inference_mode():
        each = [
            network(torch.from_numpy(view.copy()).permute(0, 3, 1, 2).float()).numpy()
            for view in view_images(pixels, TEST_TIME_VIEWS["flip"])
        ]
    return np.mean(each, axis=0, dtype=np.float64)


def differences(this: Tried, folder: Path) -> dict[str, float]:
    """By runtime, the largest difference of a probability, together and alone; infinite where a
    decision is another one."""
    (folder / "model.onnx").write_bytes(this.job.onnx)
    model = import_openvino().Core().read_model(folder / "model.onnx")
    save_openvino(model, folder / "model.xml", len(this.job.onnx))
    decisions = decided(this.expected, CLASSES, this.job.around.decision)
    found = {}
    for name, file in (("onnx", "model.onnx"), ("openvino", "model.xml")):
        run, largest = RUNNERS[name].open(folder / file), 0.0
        for images in (this.pixels, this.pixels[:1]):
            probabilities, chosen, _ = run(images)
            some = slice(0, len(images))
            largest = max(largest, float(np.abs(probabilities - this.expected[some]).max()))
            if not np.array_equal(chosen, decisions[some]):
                largest = float("inf")
        found[name] = largest
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_memory()
    os.environ["HF_HUB_OFFLINE"] = "1"
    told: dict[str, object] = {}
    passed = True
    for name in options.families:
        started = time.perf_counter()
        this = tried(FAMILIES[name])
        with tempfile.TemporaryDirectory() as folder:
            found = differences(this, Path(folder))
        rule = this.job.classifier.preprocessing
        told[name] = {"weights": this.weights, "pixels": rule.height, **found}
        passed &= max(found.values()) <= MOST
        print(f"{name:<20} {this.weights:<10} {rule.height:>3} pixels  "
              + "  ".join(f"{runtime} {value:.1e}" for runtime, value in found.items())
              + f"  ({time.perf_counter() - started:.0f} s)", flush=True)  # fmt: skip
    if options.json:
        content = {"machine": f"{num_cores()} cores of {processor_name()}", "families": told}
        options.json.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
