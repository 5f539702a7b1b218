"""Grad-CAM and occlusion: on every family, at the right place, and because of the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from tellapart.errors import RunError
from tellapart.explanation.gradcam import grad_cam
from tellapart.explanation.layers import evidence_layer, map_layers
from tellapart.explanation.occlusion import log_odds, occlusion
from tellapart.models.head import build_head
from tellapart.models.network import Network, Normalise, build_network, probabilities
from tellapart.models.scratch import NETWORKS
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import BackboneModel, HeadLayer, ScratchModel

SIDE, SQUARE = 32, 8
COLOURS = np.array([[230, 40, 40], [40, 220, 40], [40, 40, 230]])

#: Backbone, image side, and height and width of its last map (the side over its stride).
BACKBONES = [
    ("vgg16", 64, 2),
    ("resnetv2_50", 96, 3),
    ("mobilenetv2_100", 96, 3),
    ("legacy_xception", 96, 3),
    ("tf_efficientnet_lite0", 96, 3),
    ("convnext_atto", 96, 3),
    ("swin_tiny_patch4_window7_224", 224, 7),
    ("vit_tiny_patch16_224", 224, 14),
]


# --- made images: the class is the colour of a square in some corner --------------------------


def made_images(number: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], list]:
    random = np.random.default_rng(seed)
    images = random.integers(90, 170, (number, SIDE, SIDE, 3)).astype(np.uint8)
    labels = random.integers(0, 3, number)
    places = []
    for image, label in zip(images, labels, strict=True):
        top, left = random.choice([2, SIDE - SQUARE - 2], 2)
        image[top : top + SQUARE, left : left + SQUARE] = COLOURS[label]
        places.append((int(top), int(left)))
    return images, labels, places


def new_network(seed: int) -> Network:
    torch.manual_seed(seed)
    backbone = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(inplace=True),
    )  # fmt: skip
    head = build_head([HeadLayer(layer="global_pool")], (16, SIDE // 2, SIDE // 2), 3)
    return Network(Normalise((0.5,) * 3, (0.25,) * 3), backbone, head, "softmax").eval()


def as_batch(images: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


@pytest.fixture(scope="module")
def trained() -> Network:
    network = new_network(0)
    images, labels, _ = made_images(256, 1)
    batch, truth = as_batch(images), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for step in range(80):
        rows = slice(step % 4 * 64, step % 4 * 64 + 64)
        optimizer.zero_grad()
        cross_entropy(network(batch[rows]), truth[rows]).backward()
        optimizer.step()
    held_out, answers, _ = made_images(64, 2)
    with torch.no_grad():
        right = (network(as_batch(held_out)).argmax(1).numpy() == answers).mean()
    assert right > 0.95  # otherwise the tests below mean nothing
    return network


def in_square(heat: NDArray[np.float32], place: tuple[int, int], margin: int = 2) -> float:
    """The share of the heat that lies on the square, give or take a margin."""
    top, left = place
    rows = slice(max(0, top - margin), top + SQUARE + margin)
    columns = slice(max(0, left - margin), left + SQUARE + margin)
    return float(heat[rows, columns].sum() / heat.sum())


def hottest(heat: NDArray[np.float32]) -> tuple[int, int]:
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return int(row), int(column)


def test_grad_cam_points_at_the_square(trained: Network) -> None:
    images, labels, places = made_images(24, 3)
    maps = grad_cam(trained, images, labels)
    assert maps.shape == (24, SIDE, SIDE)
    for heat, (top, left) in zip(maps, places, strict=True):
        row, column = hottest(heat)
        assert top - 2 <= row < top + SQUARE + 2
        assert left - 2 <= column < left + SQUARE + 2
    # The square with its margin is 14 % of the picture.
    shares = [in_square(heat, place) for heat, place in zip(maps, places, strict=True)]
    assert np.mean(shares) > 0.5


def test_occlusion_points_at_the_square(trained: Network) -> None:
    images, labels, places = made_images(6, 4)
    for image, label, place in zip(images, labels, places, strict=True):

        def score(versions: NDArray[np.uint8], column: int = int(label)) -> NDArray[np.float64]:
            with torch.no_grad():
                rows = probabilities(trained, trained(as_batch(versions))).double().numpy()
            return log_odds(rows, column)

        found = occlusion(score, image)
        assert in_square(found.heat, place, margin=4) > 0.5
        row, column = hottest(found.heat)
        assert place[0] - 1 <= row <= place[0] + SQUARE
        assert place[1] - 1 <= column <= place[1] + SQUARE
        assert found.probability > 0.8
        # A window a little smaller than the square leaves a strip, but doubt grows manyfold.
        assert 1 - found.least_probability > 20 * (1 - found.probability)


def test_grad_cam_changes_when_the_weights_are_randomised(trained: Network) -> None:
    """The sanity check of Adebayo et al. (2018): a map that stayed would show the image only."""
    images, labels, _ = made_images(24, 5)
    maps = grad_cam(trained, images, labels)
    correlations = []
    for seed in range(3):
        others = grad_cam(new_network(10 + seed), images, labels)
        correlations += [
            spearmanr(a.ravel(), b.ravel()).statistic
            for a, b in zip(maps, others, strict=True)
            if b.any()
        ]
    assert len(correlations) > 20
    assert abs(np.mean(correlations)) < 0.5
    again = grad_cam(trained, images, labels)
    assert np.array_equal(again, maps)


def test_grad_cam_is_what_captum_finds(trained: Network) -> None:
    captum = pytest.importorskip("captum.attr")
    images, labels, _ = made_images(10, 6)
    # The layer before the in-place ReLU: ours must see it as it was.
    for index in (0, 3):
        layer = {m.name: m for m in map_layers(trained, SIDE, SIDE)}[str(index)]
        reference = captum.LayerGradCam(trained, layer.module)
        # captum reads a layer after an in-place one has changed it, so not that one here.
        trained.backbone[4].inplace = False
        theirs = reference.attribute(
            as_batch(images), target=torch.from_numpy(labels), relu_attributions=True
        )
        trained.backbone[4].inplace = True
        theirs = interpolate(theirs, (SIDE, SIDE), mode="bilinear").detach()[:, 0]
        theirs = theirs / theirs.amax((1, 2), keepdim=True).clamp(min=1e-12)
        ours = grad_cam(trained, images, labels, layer)
        assert np.allclose(ours, theirs.numpy(), atol=1e-4)


# --- every family ------------------------------------------------------------------------------


def frozen(model: ScratchModel | BackboneModel, side: int) -> Network:
    torch.manual_seed(0)
    preprocessing = Preprocessing(side, side)
    network = build_network(model, 3, preprocessing, random_weights=True)
    return network.requires_grad_(False)


def check_maps(network: Network, side: int) -> None:
    random = np.random.default_rng(0)
    images = np.repeat(random.integers(0, 256, (1, side, side, 3)).astype(np.uint8), 3, axis=0)
    maps = grad_cam(network, images, [0, 1, 2])
    assert maps.shape == (3, side, side) and maps.dtype == np.float32
    assert np.isfinite(maps).all() and maps.min() >= 0 and maps.max() == pytest.approx(1)
    assert max(heat.std() for heat in maps) > 0.01
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(("name", "side", "places"), BACKBONES)
def test_every_frozen_backbone_gives_a_map_that_varies(name: str, side: int, places: int) -> None:
    network = frozen(BackboneModel.model_validate({"kind": "backbone", "backbone": name}), side)
    layer = evidence_layer(network, map_layers(network, side, side))
    assert (layer.height, layer.width) == (places, places)
    check_maps(network, side)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_scratch_network_gives_a_map_that_varies(name: str) -> None:
    side = NETWORKS[name].image_size
    check_maps(frozen(ScratchModel.model_validate({"network": name}), side), side)


def test_the_two_classes_of_a_sigmoid_have_opposite_evidence() -> None:
    model = ScratchModel.model_validate({"network": "small_cnn", "output": "sigmoid"})
    torch.manual_seed(0)
    network = build_network(model, 2, Preprocessing(32, 32))
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    layer = evidence_layer(network, map_layers(network, 32, 32))
    first, second = (grad_cam(network, image, [c], layer)[0] for c in (0, 1))
    assert first.any() or second.any()
    # Before enlarging, a place speaks for one class or the other.
    step = 32 // layer.height
    both = (first[step // 2 :: step, step // 2 :: step] > 0.6) & (
        second[step // 2 :: step, step // 2 :: step] > 0.6
    )
    assert not both.any()


def test_a_network_without_a_map_is_refused_in_a_sentence() -> None:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
    network = Network(
        Normalise((0.5,) * 3, (0.5,) * 3), backbone, build_head([], (5,), 2), "softmax"
    )
    with pytest.raises(RunError) as caught:
        grad_cam(network, np.zeros((1, 8, 8, 3), np.uint8), [0])
    assert str(caught.value) == (
        "Grad-CAM needs a layer that keeps a map of places, and the network 'Sequential' has "
        "none that is known here; occlusion and nearest images explain it all the same."
    )


def test_occlusion_of_a_known_score() -> None:
    """The score is the brightness of one box: hiding it costs what can be worked out."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[4:12, 44:56] = 255

    def score(versions: NDArray[np.uint8]) -> NDArray[np.float64]:
        return versions[:, 4:12, 44:56].mean(axis=(1, 2, 3)) / 255 * 4

    found = occlusion(score, image)
    row, column = hottest(found.heat)
    assert 3 <= row <= 12 and 43 <= column <= 56
    assert found.heat.shape == (40, 60) and found.heat.max() == 1
    assert not found.heat[25:, :30].any()
    assert found.probability == pytest.approx(1 / (1 + np.exp(-4)))
    assert found.least_probability < found.probability


def test_occlusion_of_an_answer_that_never_changes_is_empty() -> None:
    image = np.full((16, 16, 3), 100, np.uint8)
    found = occlusion(lambda versions: np.full(len(versions), 2.0), image)
    assert not found.heat.any()
    assert found.least_probability == found.probability


def test_log_odds_are_those_of_the_probability() -> None:
    rows = np.array([[0.5, 0.5, 0.0], [0.8, 0.1, 0.1], [1.0, 1e-30, 0.0]])
    odds = log_odds(rows, 0)
    assert odds[:2] == pytest.approx([0.0, np.log(4)])
    assert odds[2] == pytest.approx(np.log(1e30))
