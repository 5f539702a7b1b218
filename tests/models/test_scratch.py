"""The small networks, layer by layer.

The counts are those the documents print (or, where they print none, the sum of the
counts a layer that they give).
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from tellapart.errors import RecipeError
from tellapart.models.network import count_parameters
from tellapart.models.scratch import NETWORKS, build_scratch

#: network, outputs, size, options, total, trainable, channels and side of the last map
DOCUMENTS = [
    ("small_cnn", 10, 32, {}, 156_074, 156_074, (64, 4)),  # 001-S
    ("batch_norm_cnn", 10, 32, {}, 815_914, 815_018, (128, 4)),  # 001-S2
    ("five_layer_cnn", 1, 180, {}, 991_041, 991_041, (256, 7)),  # 002-C0
    ("five_layer_cnn", 1, 180, {"dropout": 0.5}, 991_041, 991_041, (256, 7)),  # 002-C1
    ("strided_cnn", 1, 64, {}, 53_953, 53_953, (64, 2)),  # 003-K0
    ("simple_cnn", 5, 100, {}, 726_277, 726_277, (64, 47)),  # 004-A0
    ("mid_cnn", 5, 100, {}, 1_614_885, 1_614_885, (128, 9)),  # 004-A1
    ("resnet", 5, 100, {}, 11_705_333, 11_697_525, (512, 3)),  # 004-A2
    ("inception", 5, 100, {}, 14_633_877, 14_632_725, (64, 14)),  # 004-A3
]


def build(name: str, outputs: int, size: int, options: dict[str, float]) -> nn.Sequential:
    backbone, head = build_scratch(
        name, num_outputs=outputs, image_size=(size, size), options=options
    )
    return nn.Sequential(backbone, head)


@pytest.mark.parametrize(
    ("name", "outputs", "size", "options", "total", "trainable", "last_map"), DOCUMENTS
)
def test_counts_and_shapes_are_those_of_the_documents(
    name: str,
    outputs: int,
    size: int,
    options: dict[str, float],
    total: int,
    trainable: int,
    last_map: tuple[int, int],
) -> None:
    network = build(name, outputs, size, options).eval()
    assert count_parameters(network) == (total, trainable)
    with torch.no_grad():
        features = network[0](torch.zeros(1, 3, size, size))
        assert tuple(features.shape[1:]) == (last_map[0], last_map[1], last_map[1])
        assert network[1](features).shape == (1, outputs)


def test_every_network_of_the_documents_is_covered() -> None:
    assert {row[0] for row in DOCUMENTS} | {"fast_resnet"} == set(NETWORKS)


#: Parameters of each layer with weights, from input to output, as the documents give them.
PRINTED_LAYERS = {
    "small_cnn": (10, 32, [448, 4640, 18496, 131200, 1290]),
    "five_layer_cnn": (1, 180, [896, 18496, 73856, 295168, 590080, 12545]),
    "strided_cnn": (1, 64, [2432, 18496, 32896, 129]),
    "simple_cnn": (5, 100, [896, 18496, 706885]),
    "mid_cnn": (5, 100, [896, 9248, 18496, 36928, 73856, 147584, 1327232, 645]),
}


@pytest.mark.parametrize("name", PRINTED_LAYERS)
def test_each_layer_has_the_printed_number_of_parameters(name: str) -> None:
    outputs, size, printed = PRINTED_LAYERS[name]
    network = build(name, outputs, size, {})
    counts = [
        sum(p.numel() for p in layer.parameters())
        for layer in network.modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    assert counts == printed


def test_blocks_of_the_resnet_have_the_printed_counts() -> None:
    backbone, _ = build_scratch("resnet", num_outputs=5, image_size=(100, 100), options={})
    counts = [count_parameters(block)[0] for block in list(backbone.children())[4:]]
    assert counts == [74368, 74368, 230784, 296192, 920320, 1182208, 3675648, 4723712]


def test_blocks_of_the_inception_network_have_the_printed_counts() -> None:
    backbone, _ = build_scratch("inception", num_outputs=5, image_size=(100, 100), options={})
    rows = list(backbone.children())
    assert [count_parameters(rows[i])[0] for i in (0, 1, 2)] == [83872, 768, 602176]
    assert count_parameters(rows[5])[0] == 95584


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_that_is_built_is_used_and_learns(name: str) -> None:
    size = min(NETWORKS[name].image_size, 100)
    network = build(name, 3, size, {})
    used = set()
    leaves = [m for m in network.modules() if not list(m.children())]
    for leaf in leaves:
        leaf.register_forward_hook(lambda module, *_: used.add(module))
    network(torch.randn(2, 3, size, size)).square().sum().backward()
    assert [leaf for leaf in leaves if leaf not in used] == []
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", NETWORKS)
def test_other_sizes_and_class_counts_work(name: str) -> None:
    size = NETWORKS[name].image_size
    height, width = size + 9, size + 4
    backbone, head = build_scratch(name, num_outputs=7, image_size=(height, width), options={})
    head.eval(), backbone.eval()
    with torch.no_grad():
        assert head(backbone(torch.zeros(2, 3, height, width))).shape == (2, 7)


# Worked backwards through the unpadded layers: a convolution k needs k - 1 more pixels,
# a pooling twice as many.
SMALLEST = {
    "small_cnn": 8,
    "five_layer_cnn": 78,
    "strided_cnn": 32,
    "simple_cnn": 8,
    "mid_cnn": 36,
    "inception": 46,
    "fast_resnet": 8,
}


@pytest.mark.parametrize(("name", "smallest"), SMALLEST.items())
def test_an_image_that_is_too_small_is_refused_with_the_smallest_size(
    name: str, smallest: int
) -> None:
    build(name, 2, smallest, {})
    with pytest.raises(RecipeError) as caught:
        build(name, 2, smallest - 1, {})
    assert str(caught.value) == (
        f"data.image_size: images of {smallest - 1} x {smallest - 1} pixels are too small for "
        f"the network '{name}'; its smallest size is {smallest} x {smallest}."
    )


def test_pooling_before_relu_is_what_the_document_writes() -> None:
    """Convolution, ReLU, pooling, by functions, gives the same outputs and gradients."""
    torch.manual_seed(0)
    backbone, _ = build_scratch("small_cnn", num_outputs=2, image_size=(32, 32), options={})
    images = torch.randn(4, 3, 32, 32)
    kernels = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    x = images
    for layer in kernels:
        x = functional.conv2d(x, layer.weight, layer.bias, padding=1)
        x = functional.max_pool2d(functional.relu(x), 2)
    weights = list(backbone.parameters())
    expected = torch.autograd.grad(x.square().sum(), weights)
    ours = backbone(images)
    assert torch.allclose(ours, x, atol=1e-6)
    for a, b in zip(torch.autograd.grad(ours.square().sum(), weights), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_batch_norm_moves_as_in_keras() -> None:
    """Keras' moving mean: moving * 0.99 + batch * 0.01, from 0."""
    backbone, _ = build_scratch("batch_norm_cnn", num_outputs=2, image_size=(32, 32), options={})
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}
    first = norms[0].train()
    maps = torch.randn(8, 32, 5, 5) + 3
    first(maps)
    assert torch.allclose(first.running_mean, 0.01 * maps.mean((0, 2, 3)), atol=1e-6)


@pytest.mark.parametrize(("size", "body"), [(32, 32), (48, 24), (64, 32), (128, 32), (224, 28)])
def test_the_fast_network_halves_large_images_until_near_32_pixels(size: int, body: int) -> None:
    """Its body then costs about the same at every size; its last map is an eighth of that."""
    backbone, head = build_scratch(
        "fast_resnet", num_outputs=2, image_size=(size, size), options={"width": 8}
    )
    features = backbone(torch.randn(2, 3, size, size))
    assert features.shape == (2, 64, body // 8, body // 8)
    assert head(features).shape == (2, 2)


def test_the_fast_network_grows_with_its_width() -> None:
    """ResNet-9's layers: 3-w, w-2w, two 2w-2w, 2w-4w, 4w-8w, two 8w-8w; BatchNorm after each."""
    for w in (8, 32):
        pairs = [(3, w), (w, 2 * w), (2 * w, 2 * w), (2 * w, 2 * w), (2 * w, 4 * w)]
        pairs += [(4 * w, 8 * w), (8 * w, 8 * w), (8 * w, 8 * w)]
        expected = sum(9 * i * o + 4 * o for i, o in pairs) + 8 * w * 10 + 10
        network = build("fast_resnet", 10, 32, {"width": w})
        assert count_parameters(network)[0] == expected


def test_every_hidden_kernel_of_document_003_has_l2_and_the_output_none() -> None:
    network = build("strided_cnn", 1, 64, {"l2": 0.002})
    factors = [m.l2 for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert factors == [0.002, 0.002, 0.002, 0.0]


def test_dropout_of_the_options_is_built() -> None:
    for rate, expected in ((0.0, []), (0.5, [0.5])):
        network = build("five_layer_cnn", 1, 80, {"dropout": rate})
        assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == expected


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"no network 'smal_cnn'\. Did you mean 'small_cnn'\?"):
        build("smal_cnn", 2, 32, {})
    with pytest.raises(RecipeError, match=r"'small_cnn' has no option 'dropout'; it has: none\."):
        build("small_cnn", 2, 32, {"dropout": 0.5})
    with pytest.raises(RecipeError, match=r"has no option 'drop'; it has: dropout\."):
        build("mid_cnn", 2, 100, {"drop": 0.5})
    with pytest.raises(RecipeError, match=r"model\.options\.dropout='much': .* takes a float"):
        build("mid_cnn", 2, 100, {"dropout": "much"})  # type: ignore[dict-item]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_used(name: str) -> None:
    """Document 004 builds a second pooling that is never called."""
    side = NETWORKS[name].image_size
    network = build(name, 2, side, {})
    used: set[nn.Module] = set()
    layers = [layer for layer in network.modules() if not list(layer.children())]
    for layer in layers:
        layer.register_forward_hook(lambda layer, *_: used.add(layer))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, side, side))
    assert len(layers) > 4 and used == set(layers)


@pytest.mark.parametrize("name", NETWORKS)
def test_between_two_dense_layers_stands_an_activation(name: str) -> None:
    """Two dense layers without one are a single one, with more to learn."""
    side = NETWORKS[name].image_size
    network = build(name, 2, side, {})
    order: list[nn.Module] = []
    for layer in network.modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda layer, *_: order.append(layer))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, side, side))
    dense = [i for i, layer in enumerate(order) if isinstance(layer, nn.Linear)]
    assert dense
    for i, j in pairwise(dense):
        assert any(isinstance(layer, nn.ReLU | nn.ELU | nn.GELU) for layer in order[i:j])
