"""A backbone cut in two computes what it computed whole, and its weights stay its own."""

from __future__ import annotations

import pytest
import torch

from tellapart.models.backbone import build_backbone
from tellapart.models.cut import Tail, cut_backbone, cut_point
from tellapart.models.folding import find_pairs
from tellapart.models.freezing import freeze
from tellapart.models.head import build_head
from tellapart.recipe import Trainable

CASES = [
    ("tf_efficientnet_lite0", ("blocks.5", "blocks.6", "conv_head", "bn2"), "blocks.5"),
    ("mobilenetv2_100", ("conv_head", "bn2"), "conv_head"),
    ("resnetv2_50", ("stages.3", "norm"), "stages.3"),
]


@pytest.mark.parametrize(("name", "modules", "expected"), CASES)
def test_the_parts_together_are_the_whole(
    name: str, modules: tuple[str, ...], expected: str
) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, "none").eval()
    at = cut_point(backbone, Trainable(backbone="modules", modules=modules))
    assert at == expected
    cut = cut_backbone(backbone, at, 64, 64)
    assert cut is not None
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = cut.still(images)
        assert maps.ndim == 4
        torch.testing.assert_close(cut.moving(maps), backbone(images), rtol=1e-4, atol=1e-5)


def test_vgg_is_cut_before_its_last_block() -> None:
    backbone = build_backbone("vgg16", "none", features="map").eval()
    at = cut_point(backbone, Trainable(backbone="last_layers", last_layers=3))
    assert at == "features.24"  # block5_conv1
    assert cut_backbone(backbone, at, 64, 64) is not None


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "eva02_tiny_patch14_224", "coat_tiny"])
def test_a_network_whose_parts_do_not_follow_one_another_is_not_cut(name: str) -> None:
    backbone = build_backbone(name, "none")
    at = cut_point(backbone, Trainable(backbone="last_layers", last_layers=2))
    assert at
    assert cut_backbone(backbone, at, 224, 224) is None


def test_training_the_tail_trains_the_backbone_and_nothing_before_the_cut() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("tf_efficientnet_lite0", "none")
    trainable = Trainable(backbone="modules", modules=("blocks.6", "conv_head", "bn2"))
    cut = cut_backbone(backbone, "blocks.6", 64, 64)
    assert cut is not None
    tail = Tail(cut.moving, build_head((), (1280,), 2))
    freeze(tail, trainable)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    moving = [parameter for parameter in tail.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(moving, lr=0.1)
    tail.train()
    loss = torch.nn.functional.cross_entropy(
        tail(torch.randn(4, 192, 2, 2)), torch.tensor([0, 1, 0, 1])
    )
    loss.backward()
    optimizer.step()
    changed = {
        name for name, value in backbone.state_dict().items() if not value.equal(before[name])
    }
    assert changed
    assert all(name.startswith(("network.blocks.6", "network.conv_head")) for name in changed)


def test_batch_norm_of_the_tail_is_worked_into_its_convolutions() -> None:
    backbone = build_backbone("tf_efficientnet_lite0", "none")
    cut = cut_backbone(backbone, "blocks.6", 64, 64)
    assert cut is not None
    tail = Tail(cut.moving, build_head((), (1280,), 2))
    freeze(tail, Trainable(backbone="modules", modules=("blocks.6", "conv_head")))
    tail.train()
    assert len(find_pairs(tail)) == 4  # expansion, depthwise, projection; the last convolution


def test_nothing_to_cut_where_everything_or_nothing_moves() -> None:
    backbone = build_backbone("tf_efficientnet_lite0", "none")
    assert cut_point(backbone, Trainable(backbone="all", batch_norm="train")) == ""
    assert cut_point(backbone, Trainable(backbone="none")) == ""
