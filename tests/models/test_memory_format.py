"""Channels last everywhere but where a GPU would compile slow kernels for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tellapart.models.memory_format import in_order, quick_memory_format


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2))


def depthwise() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8))


@pytest.mark.parametrize(
    ("network", "device", "expected"),
    [
        (plain, "cpu", torch.channels_last),
        (depthwise, "cpu", torch.channels_last),
        (plain, "cuda", torch.channels_last),
        (depthwise, "cuda", torch.contiguous_format),
        (depthwise, "cuda:1", torch.contiguous_format),
        (depthwise, "mps", torch.contiguous_format),
    ],
)
def test_only_depthwise_convolutions_on_a_gpu_run_channels_first(
    network: type, device: str, expected: torch.memory_format
) -> None:
    assert quick_memory_format(network(), device) is expected


def test_images_change_their_order_and_nothing_else() -> None:
    images = torch.rand(2, 5, 4, 3).permute(0, 3, 1, 2)

    ordered = in_order(images, torch.contiguous_format)

    assert not images.is_contiguous()
    assert ordered.is_contiguous()
    assert torch.equal(ordered, images)


def test_tokens_stay_as_they_are() -> None:
    tokens = torch.rand(2, 5, 7).transpose(1, 2)

    assert in_order(tokens, torch.channels_last) is tokens
