"""The layers above a backbone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tellapart.errors import RecipeError
from tellapart.models.head import build_head
from tellapart.recipe import BackboneModel, HeadLayer
from tellapart.recipe_reading import load_recipe, recipe_names


def layers(*rows: dict[str, object]) -> list[HeadLayer]:
    return [HeadLayer.model_validate(row) for row in rows]


def test_layers_come_in_the_order_of_the_recipe() -> None:
    head = build_head(
        layers(
            {"layer": "flatten"},
            {"layer": "dropout", "rate": 0.3},
            {"layer": "dense", "units": 512, "l2": 1e-5},
            {"layer": "dropout", "rate": 0.5},
        ),
        (512, 4, 4),
        10,
        output_l2=1e-4,
    )
    kinds = [type(layer) for layer in head.hidden]
    assert kinds == [nn.Flatten, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout]
    assert [head.hidden[1].p, head.hidden[4].p] == [0.3, 0.5]
    assert head.hidden[2].l2 == 1e-5
    assert head.output.l2 == 1e-4
    # Document 000 prints 4,199,946 trainable parameters for this head.
    assert sum(p.numel() for p in head.parameters()) == 4_199_946


def test_global_pool_averages_each_channel() -> None:
    head = build_head(layers({"layer": "global_pool"}), (2, 2, 2), 3)
    images = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 4.0]]]])
    assert head.hidden(images).tolist() == [[3.0, 1.0]]


def test_a_linear_dense_layer_has_no_relu() -> None:
    head = build_head(layers({"layer": "dense", "units": 4, "activation": "linear"}), (5,), 2)
    assert [type(layer) for layer in head.hidden] == [nn.Linear]


def test_batch_norm_has_the_epsilon_and_momentum_of_keras() -> None:
    for shape, kind in (((6,), nn.BatchNorm1d), ((6, 2, 2), nn.BatchNorm2d)):
        rows = layers({"layer": "batch_norm"}, *([{"layer": "flatten"}] * (len(shape) == 3)))
        norm = build_head(rows, shape, 2).hidden[0]
        assert isinstance(norm, kind)
        assert (norm.eps, norm.momentum) == (1e-3, pytest.approx(1 - 0.99))


def test_weights_start_glorot_uniform_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    output = build_head([], (400,), 200).output
    limit = (6 / (400 + 200)) ** 0.5  # Glorot and Bengio 2010, equation 16
    assert output.weight.abs().max().item() == pytest.approx(limit, rel=1e-3)
    assert output.weight.abs().max().item() <= limit
    assert output.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.01)
    assert output.bias.abs().max().item() == 0


@pytest.mark.parametrize(
    ("rows", "shape", "message"),
    [
        (
            [{"layer": "dropout", "rate": 0.5}, {"layer": "dense", "units": 8}],
            (4, 3, 3),
            "model.head.1: 'dense' needs a vector an image but gets a map of shape (4, 3, 3); put "
            "'global_pool' or 'flatten' before it.",
        ),
        (
            [{"layer": "global_pool"}],
            (1280,),
            "model.head.0: 'global_pool' needs a map of features but gets a vector of 1280; leave "
            "it out, or set model.features to map.",
        ),
        (
            [],
            (4, 3, 3),
            "model.head: the output layer needs a vector an image, but gets a map of shape "
            "(4, 3, 3); add a 'global_pool' or 'flatten' layer.",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused_by_place(
    rows: list[dict[str, object]], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        build_head(layers(*rows), shape, 2)
    assert str(caught.value) == message


def bends(hidden: nn.Module, width: int) -> bool:
    """Whether f(x) + f(-x) is not twice f(0), as it is of every affine function."""
    x = torch.randn(64, width)
    with torch.no_grad():
        return not torch.allclose(hidden(x) + hidden(-x), 2 * hidden(torch.zeros(64, width)))


def test_a_hidden_layer_is_not_linear_unless_the_recipe_says_so() -> None:
    plain = build_head(layers({"layer": "dense", "units": 32}), (16,), 3)
    assert bends(plain.hidden.eval(), 16)
    asked = build_head(layers({"layer": "dense", "units": 32, "activation": "linear"}), (16,), 3)
    assert not bends(asked.hidden.eval(), 16)


@pytest.mark.parametrize("name", recipe_names())
def test_no_recipe_builds_a_linear_hidden_layer(name: str) -> None:
    model = load_recipe(name).model
    rows = model.head if isinstance(model, BackboneModel) else ()
    for row in rows:
        if row.layer == "dense":
            assert bends(build_head([row], (16,), 3).hidden, 16)
