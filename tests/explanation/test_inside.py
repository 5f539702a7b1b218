"""Kernels, feature maps, neighbours and the map of the features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn

from tellapart.errors import RunError
from tellapart.explanation.embedding import embed
from tellapart.explanation.feature_maps import feature_maps, most_varied
from tellapart.explanation.figures import feature_map_sheet, kernel_sheet, overlay
from tellapart.explanation.inside import layer_named, layer_to_show
from tellapart.explanation.kernels import first_kernels, signed_parts
from tellapart.explanation.layers import map_layers
from tellapart.explanation.neighbours import nearest
from tellapart.models.network import Network, build_network
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import BackboneModel, ScratchModel


def small_cnn() -> Network:
    torch.manual_seed(0)
    model = ScratchModel.model_validate({"network": "small_cnn"})
    return build_network(model, 3, Preprocessing(32, 32)).eval()


def backbone(name: str, side: int) -> Network:
    model = BackboneModel.model_validate({"kind": "backbone", "backbone": name})
    return build_network(model, 3, Preprocessing(side, side), random_weights=True).eval()


# --- kernels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    [("tf_efficientnet_lite0", (32, 3, 3, 3)), ("vit_tiny_patch16_224", (192, 16, 16, 3))],
)
def test_kernels_are_those_of_the_first_layer(name: str, shape: tuple[int, ...]) -> None:
    side = 224 if name.startswith("vit") else 64
    network = backbone(name, side)
    kernels = first_kernels(network)
    assert kernels.shape == shape
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    assert kernels[5, 2, 1, 0] == first.weight[5, 0, 2, 1].item()  # row, column, red


def test_a_kernel_for_red_is_drawn_red() -> None:
    network = small_cnn()
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        first.weight.zero_()
        first.weight[0, 0] = 2.0  # wants red
        first.weight[0, 2] = -0.5  # is silenced by blue
        first.weight[1] = 5e-4  # too faint to be shown
    positive, negative = signed_parts(first_kernels(network))
    assert np.array_equal(positive[0], np.broadcast_to([1.0, 0, 0], positive[0].shape))
    assert np.array_equal(negative[0], np.broadcast_to([0, 0, 1.0], negative[0].shape))
    assert positive[1].max() == pytest.approx(5e-4) and not negative[1].any()


def test_the_parts_add_up_to_the_kernel() -> None:
    kernels = np.random.default_rng(0).normal(size=(6, 3, 3, 3)).astype(np.float32)
    positive, negative = signed_parts(kernels)
    largest = kernels.max(axis=(1, 2, 3), keepdims=True)
    smallest = (-kernels).max(axis=(1, 2, 3), keepdims=True)
    assert np.allclose(positive * largest - negative * smallest, kernels)
    assert not ((positive > 0) & (negative > 0)).any()
    assert positive.max() == negative.max() == 1 and min(positive.min(), negative.min()) == 0


def test_the_sheet_has_both_parts_in_one_order() -> None:
    kernels = np.zeros((70, 5, 5, 3), np.float32)
    kernels[9, ..., 0] = 1
    kernels[9, ..., 1] = -1
    figure = kernel_sheet(kernels)
    positive, negative = (axes.images[0].get_array() for axes in figure.axes)
    # 64 kernels of 5 pixels in 8 columns with gaps of 1 pixel; kernel 9 is second of row two.
    assert positive.shape == negative.shape == (8 * 6 - 1, 8 * 6 - 1, 3)
    assert np.array_equal(positive[6:11, 6:11], np.broadcast_to([1, 0, 0], (5, 5, 3)))
    assert np.array_equal(negative[6:11, 6:11], np.broadcast_to([0, 1, 0], (5, 5, 3)))


def test_a_network_without_colour_kernels_is_refused() -> None:
    network = small_cnn()
    network.backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    with pytest.raises(RunError, match="no first layer of kernels over red, green and blue"):
        first_kernels(network)


# --- feature maps ---------------------------------------------------------------------------------


def test_feature_maps_are_the_output_of_the_layer() -> None:
    network = small_cnn()
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    layers = map_layers(network, 32, 32)
    with torch.no_grad():
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        by_hand = network.backbone[0](network.normalise(pixels))[0].numpy()
    maps = feature_maps(network, image, layer_named("0", layers))
    assert np.allclose(maps, by_hand, atol=1e-5)


def test_channels_last_and_tokens_become_maps() -> None:
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    network = backbone("vit_tiny_patch16_224", 224)
    layer = layer_named("blocks.0", map_layers(network, 224, 224))
    maps = feature_maps(network, image, layer)
    assert maps.shape == (192, 14, 14)
    captured = []
    hook = layer.module.register_forward_hook(lambda m, i, o: captured.append(o))
    with torch.no_grad():
        network(torch.from_numpy(image).permute(2, 0, 1)[None].float())
    hook.remove()
    # Token 0 is the class token; token 1 + 14 * row + column is a place.
    assert np.allclose(maps[:, 3, 5], captured[0][0, 1 + 14 * 3 + 5].numpy(), atol=1e-5)


def test_a_layer_that_does_not_exist_gets_near_names() -> None:
    layers = map_layers(backbone("tf_efficientnet_lite0", 64), 64, 64)
    with pytest.raises(RunError) as caught:
        layer_named("block.3.0", layers)
    message = str(caught.value)
    assert message.startswith("--layer: no layer 'block.3.0' of this network gives a map. Did you")
    assert "'blocks.3.0'" in message
    with pytest.raises(RunError, match="Some that do: conv_stem, "):
        layer_named("zzz", layers)


def test_the_layer_shown_by_itself_is_deep_but_still_fine() -> None:
    layer = layer_to_show(map_layers(backbone("tf_efficientnet_lite0", 224), 224, 224), 224)
    assert layer is not None and layer.height == 28


def test_most_varied_channels_come_first() -> None:
    maps = np.zeros((3, 4, 4), np.float32)
    maps[1] = 7  # bright everywhere: tells no places apart
    maps[2, 0, 0], maps[0, 0, 0] = 5, 1
    assert most_varied(maps, 2).tolist() == [2, 0]
    figure = feature_map_sheet(maps, np.zeros((4, 4, 3), np.uint8), "x")
    assert "3 of 3 channels" in figure.get_suptitle()


def test_the_overlay_is_lighter_where_the_heat_is() -> None:
    image = np.full((20, 30, 3), 90, np.uint8)
    heat = np.zeros((20, 30), np.float32)
    heat[5:15, 18:28] = 1
    drawn = overlay(image, heat)
    assert drawn.shape[1] / drawn.shape[0] == 1.5 and drawn.shape[0] >= 200
    scale = drawn.shape[0] // 20
    hot, cold = drawn[10 * scale, 23 * scale], drawn[10 * scale, 5 * scale]
    weights = [0.299, 0.587, 0.114]
    assert hot @ weights > cold @ weights + 40
    assert cold[0] == cold[1] == cold[2]  # grey where nothing speaks for the class


# --- neighbours and map ---------------------------------------------------------------------------


def test_nearest_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    reference = random.normal(size=(5000, 7)).astype(np.float32)
    queries = random.normal(size=(9, 7)).astype(np.float32)
    rows, distances = nearest(queries, reference, 4)
    searcher = NearestNeighbors(n_neighbors=4, metric="cosine", algorithm="brute").fit(reference)
    expected_distances, expected_rows = searcher.kneighbors(queries)
    assert np.array_equal(rows, expected_rows)
    assert np.allclose(distances, expected_distances, atol=1e-6)


def test_the_nearest_of_a_reference_image_is_itself() -> None:
    reference = np.random.default_rng(1).normal(size=(50, 5)).astype(np.float32)
    rows, distances = nearest(reference, reference, 3)
    assert rows[:, 0].tolist() == list(range(50))
    assert np.allclose(distances[:, 0], 0, atol=1e-9)
    assert nearest(reference[:2], reference[:3], 6)[0].shape == (2, 3)


def test_the_map_keeps_groups_together_and_repeats() -> None:
    random = np.random.default_rng(0)
    centres = np.eye(3, 16) * 8
    labels = np.repeat(np.arange(3), 30)
    vectors = (centres[labels] + random.normal(size=(90, 16))).astype(np.float32)
    points = embed(vectors, seed=3)
    assert points.shape == (90, 2)
    _, near = NearestNeighbors(n_neighbors=4).fit(points).kneighbors(points)
    assert (labels[near[:, 1:]] == labels[:, None]).mean() > 0.95
    assert np.array_equal(embed(vectors, seed=3), points)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_few_images_make_a_map_too(number: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(number, 4)).astype(np.float32)
    points = embed(vectors)
    assert points.shape == (number, 2) and np.isfinite(points).all()
