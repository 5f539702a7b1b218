"""Normalise, backbone, head as one module."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from tellapart.errors import RecipeError
from tellapart.models.network import (
    Network,
    Normalise,
    build_network,
    count_parameters,
    features,
    l2_penalty,
    probabilities,
)
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import BackboneModel, HeadLayer, ScratchModel


def preprocessing(size: int = 32) -> Preprocessing:
    return Preprocessing(
        height=size,
        width=size,
        fit="squash",
        interpolation="bilinear",
        mean=(0.5, 0.4, 0.3),
        std=(0.25, 0.2, 0.1),
    )


def scratch(network: str = "small_cnn", **more: object) -> ScratchModel:
    return ScratchModel.model_validate({"network": network, **more})


def test_images_are_normalised_inside_from_0_to_255() -> None:
    images = torch.tensor([0.0, 127.5, 255.0]).reshape(1, 3, 1, 1)
    normalised = Normalise((0.5, 0.4, 0.3), (0.25, 0.2, 0.1))(images)
    assert normalised.flatten().tolist() == pytest.approx([-2.0, 0.5, 7.0])


def test_the_network_uses_the_mean_and_std_it_was_given() -> None:
    network = build_network(scratch(), 3, preprocessing()).eval()
    images = torch.rand(2, 3, 32, 32) * 255
    mean = torch.tensor([0.5, 0.4, 0.3]).reshape(1, 3, 1, 1)
    std = torch.tensor([0.25, 0.2, 0.1]).reshape(1, 3, 1, 1)
    by_hand = network.head(network.backbone((images / 255 - mean) / std))
    assert torch.allclose(network(images), by_hand)


def test_normalisation_constants_are_not_saved_with_the_weights() -> None:
    state = build_network(scratch(), 3, preprocessing()).state_dict()
    assert [name for name in state if name.startswith("normalise")] == []
    assert sum(value.numel() for value in state.values()) == 156_074 - 7 * 129


def test_probabilities_of_softmax_are_a_row_a_image() -> None:
    network = build_network(scratch(), 4, preprocessing())
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    expected = torch.tensor([[1.0, 2.718282, 7.389056, 20.085537]]) / 31.192875
    assert torch.allclose(probabilities(network, logits), expected, atol=1e-6)


def test_one_sigmoid_output_speaks_for_the_second_class() -> None:
    network = build_network(scratch(output="sigmoid"), 2, preprocessing())
    assert network(torch.zeros(3, 3, 32, 32)).shape == (3, 1)
    logits = torch.tensor([[0.0], [1.0], [-100.0]])
    rows = probabilities(network, logits)
    assert torch.allclose(rows[:2], torch.tensor([[0.5, 0.5], [0.268941, 0.731059]]), atol=1e-6)
    assert rows[2].tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_probabilities_are_float32_whatever_the_logits_are() -> None:
    network = build_network(scratch(), 4, preprocessing())
    rows = probabilities(network, torch.randn(8, 4, dtype=torch.bfloat16))
    assert rows.dtype == torch.float32
    assert torch.allclose(rows.sum(1), torch.ones(8), atol=1e-6)


def test_a_sigmoid_for_more_than_two_classes_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        build_network(scratch(output="sigmoid"), 3, preprocessing())
    assert str(caught.value) == (
        "model.output=sigmoid is for two classes, but the images have 3; set model.output=softmax."
    )


def test_features_are_what_the_output_layer_sees() -> None:
    network = build_network(scratch(), 3, preprocessing()).eval()
    images = torch.rand(2, 3, 32, 32) * 255
    vectors = features(network, images)
    assert vectors.shape == (2, 128)
    assert torch.allclose(network.head.output(vectors), network(images))


def test_l2_penalty_is_the_weighted_sum_of_squared_kernels_without_biases() -> None:
    convolution = nn.Conv2d(1, 1, 1)
    dense = nn.Linear(2, 1)
    free = nn.Linear(2, 1)
    with torch.no_grad():
        convolution.weight.fill_(2.0)
        dense.weight.copy_(torch.tensor([[3.0, 4.0]]))
        for layer in (convolution, dense, free):
            layer.bias.fill_(100.0)
    convolution.l2, dense.l2, free.l2 = 0.5, 0.01, 0.0
    penalty = l2_penalty(nn.Sequential(convolution, dense, free))
    assert penalty.item() == pytest.approx(0.5 * 4 + 0.01 * 25)
    penalty.backward()
    assert dense.weight.grad.tolist() == [pytest.approx([0.06, 0.08])]  # 2 * l2 * w
    assert dense.bias.grad is None


def test_a_network_without_l2_has_no_penalty() -> None:
    assert l2_penalty(build_network(scratch(), 3, preprocessing())).item() == 0


def test_counting_as_keras_does() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    for weight in module[2].parameters():
        weight.requires_grad_(False)
    # 112 + scale and shift 8 + statistics 8 + 10; the dense layer is frozen
    assert count_parameters(module) == (138, 120)


def test_a_network_that_was_just_built_is_ready_to_train() -> None:
    for model in (scratch("batch_norm_cnn"), BackboneModel(weights="none")):
        network = build_network(model, 3, preprocessing())
        assert isinstance(network, Network)
        assert all(module.training for module in network.modules())


def test_two_seeds_give_different_weights_and_one_seed_the_same() -> None:
    def kernel(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return build_network(scratch(), 3, preprocessing()).head.output.weight

    assert torch.equal(kernel(1), kernel(1))
    assert not torch.equal(kernel(1), kernel(2))


def test_a_pretrained_backbone_under_a_dense_head() -> None:
    model = BackboneModel(
        backbone="mobilenetv2_100",
        features="map",
        head=(
            HeadLayer(layer="flatten"),
            HeadLayer(layer="dense", units=16),
        ),
    )
    network = build_network(model, 2, preprocessing(64), random_weights=True)
    assert network.head.hidden[1].in_features == 2 * 2 * 1280
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 2)


def test_a_pretrained_network_gets_pixels_as_its_makers_trained_it() -> None:
    """RGB from 0..255 to -127/128..1: the network as timm runs it, fed by hand."""
    size = Preprocessing(64, 64, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    network = build_network(BackboneModel(backbone="tf_efficientnet_lite0"), 2, size).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    pixels[..., 2] //= 8  # little blue, so that the order of the channels matters
    by_hand = (pixels.astype(np.float32) - 127) / 128
    plain = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    state = network.state_dict()
    plain.load_state_dict({key: state[f"backbone.network.{key}"] for key in plain.state_dict()})
    with torch.no_grad():
        expected = plain(torch.from_numpy(by_hand).permute(0, 3, 1, 2))
        found = features(network, torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4)
