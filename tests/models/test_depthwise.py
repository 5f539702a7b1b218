"""Quick gradients of depthwise convolutions, against PyTorch's own in float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tellapart.models.depthwise import QuickDepthwise, _Depthwise, has_slow_gradients


def gradients(layer: nn.Conv2d, images: Tensor, *, quick: bool) -> list[Tensor]:
    """Output, and gradients of a loss that weighs every output differently."""
    layer.zero_grad()
    images = images.clone().requires_grad_()
    if quick:
        with torch.autocast("cpu", torch.bfloat16), QuickDepthwise():
            output = layer(images)
    else:
        output = layer(images)
    weights = torch.linspace(-1, 1, output.numel()).reshape(output.shape)
    (output.float() * weights).sum().backward()
    found = [output.float(), images.grad, layer.weight.grad]
    if layer.bias is not None:
        found.append(layer.bias.grad)
    return [tensor.detach().clone() for tensor in found if tensor is not None]


@pytest.mark.parametrize("kernel", [3, 5, 6, 7, (3, 5)])
@pytest.mark.parametrize("stride", [1, 2, (2, 1)])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_the_convolution(kernel, stride, padding, bias) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(
        24, 24, kernel, stride=stride, padding=padding, groups=24, bias=bias
    ).to(memory_format=torch.channels_last)  # fmt: skip
    images = torch.randn(3, 24, 13, 11).contiguous(memory_format=torch.channels_last)
    quick, expected = gradients(layer, images, quick=True), gradients(layer, images, quick=False)
    assert len(quick) == len(expected) == 3 + bias
    for one, other in zip(quick, expected, strict=True):
        assert one.shape == other.shape
        assert float((one - other).norm() / other.norm()) < 0.01


def count_applications(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    original = _Depthwise.apply
    monkeypatch.setattr(
        _Depthwise, "apply", lambda *given: calls.append(1) or original(*given), raising=True
    )
    return calls


def test_only_the_slow_ones_are_replaced(monkeypatch) -> None:
    calls = count_applications(monkeypatch)
    images = torch.randn(1, 8, 9, 9)
    others = [
        nn.Conv2d(8, 8, 5),
        nn.Conv2d(8, 8, 5, groups=2),
        nn.Conv2d(8, 16, 5, groups=8),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 1, groups=8, stride=2),
        nn.Conv2d(8, 8, 3, groups=8, stride=2, dilation=2),
        nn.Conv2d(8, 8, 5, groups=8, padding="same"),
    ]
    with torch.autocast("cpu", torch.bfloat16), QuickDepthwise():
        for layer in others:
            layer(images)
        assert not calls
        slow = nn.Conv2d(8, 8, 5, groups=8)
        slow(images)
        assert len(calls) == 1
        with torch.no_grad():
            slow(images)
    with QuickDepthwise():  # float32: nothing to gain
        slow(images)
    slow(images)
    assert len(calls) == 1


def test_which_networks_have_slow_gradients() -> None:
    import timm

    assert has_slow_gradients(timm.create_model("tf_efficientnet_lite0"))
    assert has_slow_gradients(timm.create_model("mobilenetv2_100"))
    assert not has_slow_gradients(timm.create_model("resnet18"))
