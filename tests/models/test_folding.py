"""BatchNorm worked into convolutions, against the layers as PyTorch runs them."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

from tellapart.models.folding import find_pairs, folded


def still(network: nn.Module) -> nn.Module:
    """BatchNorm in inference mode, with statistics and weights that are not 0 and 1."""
    torch.manual_seed(1)
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval().requires_grad_(False)
            for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                tensor.copy_(torch.rand_like(tensor) + 0.3)
    return network


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=True), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6, bias=False), nn.BatchNorm2d(6), nn.Flatten(),
    )  # fmt: skip


def outcome(network: nn.Module, images: Tensor, *, fold: bool) -> list[Tensor]:
    """Output, and the gradient of every weight that moves."""
    network.zero_grad()
    with folded(find_pairs(network) if fold else []):
        output = network(images)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    (output * weights).sum().backward()
    gradients = [p.grad for p in network.parameters() if p.requires_grad]
    return [tensor.detach().clone() for tensor in (output, *gradients)]


@pytest.mark.parametrize(
    ("make", "num_pairs"),
    [
        (small, 2),
        (lambda: timm.create_model("tf_efficientnet_lite0", num_classes=4), 49),
        (lambda: timm.create_model("mobilenetv2_100", num_classes=4), 52),
        (lambda: timm.create_model("resnet18", num_classes=4), 20),
    ],
)
def test_outputs_and_gradients_stay(make, num_pairs) -> None:
    # In float64, as rounding in float32 can carry a value over the kink of a ReLU, and the
    # gradients below it then differ by far more than rounding.
    torch.manual_seed(0)
    network = still(make()).double()
    assert len(find_pairs(network)) == num_pairs
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    expected = outcome(network, images, fold=False)
    found = outcome(network, images, fold=True)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm()) <= 1e-10 * float(other.norm()) + 1e-12


def test_the_network_is_what_it_was_afterwards() -> None:
    network = still(small())
    before = copy.deepcopy(network.state_dict())
    with folded(find_pairs(network)):
        assert "forward" in vars(network[0])
    assert all("forward" not in vars(layer) for layer in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    with pytest.raises(KeyboardInterrupt), folded(find_pairs(network)):
        raise KeyboardInterrupt
    assert all("forward" not in vars(layer) for layer in network.modules())


@pytest.mark.parametrize("change", ["training", "learning"])
def test_batch_norm_that_moves_is_left_alone(change) -> None:
    network = still(small())
    if change == "training":
        network[1].train()
    else:
        network[1].weight.requires_grad_(True)
    with folded(find_pairs(network)):
        assert "forward" not in vars(network[0])
        assert "forward" in vars(network[3])


class Twice(nn.Module):
    """Uses the output of its convolution beside the BatchNorm as well."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        map_ = self.convolution(images)
        return self.norm(map_) + map_


class Shared(Twice):
    """Calls both layers a second time."""

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.convolution(self.norm(self.convolution(images))))


class Deciding(Twice):
    """Looks at the values before it goes on, which a tracer cannot follow."""

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.convolution(images)) if images.sum() > 0 else images


class Doubling(nn.BatchNorm2d):
    """Does more than its class says."""

    def forward(self, images: Tensor) -> Tensor:
        return 2 * super().forward(images)


@pytest.mark.parametrize(
    "network",
    [
        Twice(), Shared(), Deciding(), nn.Linear(2, 2),
        nn.Sequential(nn.Conv2d(3, 3, 1), Doubling(3)),
    ],
)  # fmt: skip
def test_what_cannot_be_folded_is_not(network) -> None:
    assert find_pairs(still(network)) == []


def test_a_bias_that_stands_still_goes_through_the_batch_norm_too() -> None:
    network = still(small()).double()
    network[0].bias.requires_grad_(False)
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = outcome(network, images, fold=False)
    for one, other in zip(outcome(network, images, fold=True), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_a_convolution_with_holes_pads_as_timm_does() -> None:
    from timm.layers.conv2d_same import Conv2dSame

    torch.manual_seed(0)
    network = nn.Sequential(Conv2dSame(3, 5, 3, stride=2, dilation=2), nn.BatchNorm2d(5))
    network = still(network).double()
    assert len(find_pairs(network)) == 1
    images = torch.randn(2, 3, 17, 20, dtype=torch.float64)
    expected = outcome(network, images, fold=False)
    for one, other in zip(outcome(network, images, fold=True), expected, strict=True):
        assert one.shape == other.shape and torch.allclose(one, other, atol=1e-10)


def test_what_a_batch_norm_of_timm_drops_and_activates_stays() -> None:
    from timm.layers.norm_act import BatchNormAct2d

    class Doubled(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 2 * images - 1

    torch.manual_seed(0)
    network = still(nn.Sequential(nn.Conv2d(3, 5, 3), BatchNormAct2d(5))).double()
    network[1].drop = Doubled()
    network[1].act = nn.Tanh()
    assert len(find_pairs(network)) == 1
    images = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    expected = outcome(network, images, fold=False)
    for one, other in zip(outcome(network, images, fold=True), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-10)
