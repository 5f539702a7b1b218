from __future__ import annotations

import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from torch import nn

from tellapart.errors import RecipeError
from tellapart.models.backbone import Backbone, build_backbone, feature_shape
from tellapart.models.catalogue import backbone_info, create_network_without_memory, list_backbones
from tellapart.models.freezing import (
    backbone_stages,
    describe_trainable,
    freeze,
    layers,
    select_trainable,
)
from tellapart.recipe import Trainable

SMALL = "mobilenetv3_small_050"


def without_memory(name: str, features: str = "map") -> Backbone:
    return Backbone(create_network_without_memory(name), features)  # type: ignore[arg-type]


def statistics(module: nn.Module) -> int:
    return sum(
        b.numel() for k, b in module.named_buffers() if k.endswith(("running_mean", "running_var"))
    )


# Counts as printed by Keras for the same networks; ResNet-50 v2 has 19,008 fewer because
# timm's convolutions before a BatchNorm have no bias.
@pytest.mark.parametrize(
    ("name", "parameters", "total"),
    [
        ("vgg16", 14714688, 14714688),
        ("resnetv2_50", 23519360 - 19008, 23564800 - 19008),
        ("mobilenetv2_100", 2223872, 2257984),
        ("xception", 20806952, 20861480),
    ],
)
@pytest.mark.parametrize("features", ["pooled", "map"])
def test_parameter_counts(name: str, parameters: int, total: int, features: str) -> None:
    backbone = without_memory(name, features)
    assert sum(p.numel() for p in backbone.parameters()) == parameters
    assert parameters + statistics(backbone) == total
    assert backbone_info(name, "none").parameters == total


def test_vgg16_with_its_classifier_has_the_parameters_keras_prints() -> None:
    network = create_network_without_memory("vgg16")
    assert sum(p.numel() for p in network.parameters()) == 138357544


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("vgg16", 64, (512, 2, 2)),
        ("vgg16", 128, (512, 4, 4)),
        ("vgg16", 180, (512, 5, 5)),
        ("resnetv2_50", 100, (2048, 4, 4)),
        ("mobilenetv2_100", 100, (1280, 4, 4)),
        ("legacy_xception", 100, (2048, 3, 3)),
        ("legacy_xception", 64, (2048, 2, 2)),
        ("swin_tiny_patch4_window7_224", 224, (768, 7, 7)),
    ],
)
def test_map_shapes(name: str, size: int, shape: tuple[int, ...]) -> None:
    assert feature_shape(without_memory(name), size, size) == shape


@pytest.mark.parametrize(
    "name", ["vgg16", "legacy_xception", "vit_tiny_patch16_224", "mobilenetv3_small_100"]
)
def test_pooled_features_have_the_stated_size(name: str) -> None:
    backbone = without_memory(name, "pooled")
    assert feature_shape(backbone, 224, 224) == (backbone.feature_size,)
    assert backbone_info(name, "none").feature_size == backbone.feature_size


def test_pooled_features_are_what_the_classifier_reads() -> None:
    import timm

    backbone = build_backbone(SMALL, "none").eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(SMALL).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network.classifier(backbone(images)), network(images))


def test_vgg_pools_by_the_average() -> None:
    backbone = build_backbone("vgg11", "none").eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = backbone.network.features(images).mean((2, 3))  # type: ignore[union-attr,operator]
        torch.testing.assert_close(backbone(images), expected)


def test_tokens_are_no_map() -> None:
    with pytest.raises(RecipeError, match=r"'vit_tiny_patch16_224' gives a sequence of tokens"):
        without_memory("vit_tiny_patch16_224", "map")


@pytest.mark.parametrize("name", ["mixer_s16_224", "levit_128"])
def test_a_size_that_a_network_cannot_take_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(RecipeError, match=r"cannot take images of 100 x 100 pixels \(.*: set data"):
        build_backbone(name, "none", image_size=(100, 100))


def test_images_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(RecipeError, match="cannot take images of 8 x 8 pixels"):
        build_backbone("vit_tiny_patch16_224", "none", image_size=(8, 8))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {}),
        # As many windows as at 224 pixels: an eighth of the patches, of 4 pixels each.
        ("swin_tiny_patch4_window7_224", {"window_size": (3, 4)}),
    ],
)
def test_positions_are_interpolated_for_images_of_another_size(name: str, options: dict) -> None:
    """As timm does it for a network that is made for that size."""
    import timm

    size = (96, 128)
    backbone = build_backbone(name, "none", image_size=size).eval()
    assert feature_shape(backbone, *size) == (backbone.feature_size,)
    source = build_backbone(name, "none").network.state_dict()
    expected = timm.create_model(name, img_size=size, num_classes=0, **options).eval()
    filtered = sys.modules[type(expected).__module__].checkpoint_filter_fn(source, expected)
    expected.load_state_dict(filtered, strict=False)
    images = torch.rand(2, 3, *size)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images), expected(images))


# --- what moves ------------------------------------------------------------------------

RESNET = (*(f"stages.3.blocks.2.{m}" for m in ("norm2", "conv2", "norm3", "conv3")), "norm")
MOBILENET = (
    *(f"blocks.6.0.{m}" for m in ("bn1", "conv_dw", "bn2", "conv_pwl", "bn3")),
    "conv_head",
    "bn2",
)
XCEPTION = ("block12.skip", "block12.skipbn", "conv3", "bn3", "conv4", "bn4")


# (with moving BatchNorm, with frozen BatchNorm): the last ten Keras layers of document 004.
@pytest.mark.parametrize(
    ("name", "modules", "moving", "frozen"),
    [
        ("resnetv2_50", RESNET, 3414016, 3414016 - (36190069 - 36183925)),
        ("mobilenetv2_100", MOBILENET, 732480, 732480 - (21218485 - 21211445)),
        ("xception", XCEPTION, 5496320, 5496320 - (23934325 - 23925109)),
    ],
)
def test_partial_fine_tuning_by_modules(
    name: str, modules: tuple[str, ...], moving: int, frozen: int
) -> None:
    backbone = without_memory(name)
    for batch_norm, expected in (("train", moving), ("frozen", frozen)):
        trainable = Trainable(backbone="modules", modules=modules, batch_norm=batch_norm)
        freeze(backbone, trainable)
        assert sum(p.numel() for p in backbone.parameters() if p.requires_grad) == expected
        assert describe_trainable(backbone).trainable == expected
        everything = sum(p.numel() for p in backbone.parameters()) + statistics(backbone)
        assert describe_trainable(backbone).frozen == everything - expected


def test_the_last_three_layers_of_vgg16_are_its_fifth_block() -> None:
    backbone = without_memory("vgg16")
    names = select_trainable(backbone, Trainable(backbone="last_layers", last_layers=3))
    assert names == [f"network.features.{i}.{k}" for i in (24, 26, 28) for k in ("weight", "bias")]
    moving = sum(p.numel() for name, p in backbone.named_parameters() if name in names)
    assert moving == 7079424


def test_what_does_not_exist_cannot_move() -> None:
    backbone = without_memory(SMALL)
    with pytest.raises(RecipeError, match=r"no module 'block9' .* parts are blocks, bn1, "):
        select_trainable(backbone, Trainable(backbone="modules", modules=("block9",)))
    with pytest.raises(RecipeError, match=r"last_layers=999: this backbone has \d+ layers"):
        select_trainable(backbone, Trainable(backbone="last_layers", last_layers=999))


class Whole(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.BatchNorm1d(1024), nn.Linear(1024, 2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.backbone(images))
        return logits


def changed_by_a_step(trainable: Trainable) -> set[str]:
    """Names of the parameters and statistics that one step of training changes."""
    torch.manual_seed(0)
    network = Whole(build_backbone("mobilenetv3_small_100", "none"))
    freeze(network, trainable)
    network.eval()
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.5)
    network(torch.randn(8, 3, 32, 32)).square().sum().backward()
    optimiser.step()
    after = network.state_dict()
    return {k for k, v in after.items() if not torch.equal(v, before[k]) and "tracked" not in k}


def test_a_frozen_backbone_stays_still_and_its_head_moves() -> None:
    changed = changed_by_a_step(Trainable(backbone="none"))
    assert changed and all(name.startswith("head.") for name in changed)
    assert "head.0.running_mean" in changed


def test_statistics_stay_while_convolutions_move() -> None:
    changed = changed_by_a_step(Trainable(backbone="all"))
    assert "backbone.network.conv_stem.weight" in changed
    assert not any(".bn" in name for name in changed)


def test_statistics_move_only_where_the_recipe_says_so() -> None:
    changed = changed_by_a_step(Trainable(backbone="all", batch_norm="train"))
    assert {"backbone.network.bn1.running_mean", "backbone.network.bn1.weight"} <= changed


def test_freezing_can_be_changed_between_stages() -> None:
    network = Whole(build_backbone(SMALL, "none"))
    freeze(network, Trainable(backbone="none"))
    freeze(network, Trainable(backbone="all", batch_norm="train"))
    assert all(p.requires_grad for p in network.parameters())
    assert network.backbone.network.bn1.training  # type: ignore[union-attr]


def test_a_network_without_a_pretrained_backbone_moves_as_a_whole() -> None:
    network = Whole(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    freeze(network, Trainable())
    assert all(p.requires_grad for p in network.parameters())
    network.train()
    assert all(module.training for module in network.modules())


def test_the_description_names_what_moves() -> None:
    backbone = without_memory("vgg16")
    freeze(backbone, Trainable(backbone="last_layers", last_layers=3))
    assert describe_trainable(backbone).text().splitlines() == [
        "moves: 7,079,424 values in 3 layers (network.features.24 to network.features.28)",
        "stays: 7,635,264 values in 10 layers (network.features.0 to network.features.21)",
        "BatchNorm of the backbone: in inference mode, its statistics stay",
    ]


# --- stages ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "first", "last", "number"),
    [
        ("vgg16", "block1", "block5", 5),
        ("resnetv2_50", "stem.conv", "norm", 6),
        ("mobilenetv2_100", "conv_stem to bn1", "blocks.6.0.conv_pw to bn2", 8),
        ("legacy_xception", "conv1 to bn2", "conv3.conv1 to bn4", 14),
        ("vit_tiny_patch16_224", "embeddings to patch_embed.proj", "blocks.11.norm1 to norm", 13),
    ],
)
def test_stages_go_from_input_to_output_and_hold_everything_once(
    name: str, first: str, last: str, number: int
) -> None:
    backbone = without_memory(name, "pooled")
    found = backbone_stages(backbone)
    assert (found[0][0], found[-1][0], len(found)) == (first, last, number)
    assert len({stage for stage, _ in found}) == number
    listed = [id(p) for _, ms in found for m in ms for p in m.parameters(recurse=False)]
    assert sorted(listed) == sorted(id(p) for p in backbone.parameters())
    assert len(layers(backbone)) == sum(len(modules) for _, modules in found)


# --- the list --------------------------------------------------------------------------


def test_the_list_says_what_is_here() -> None:
    rows = {row.name: row for row in list_backbones("tf_efficientnet_lite")}
    row = rows["tf_efficientnet_lite0"]
    assert (row.where, row.size, row.licence) == ("package", 224, "Apache-2.0")
    assert row.parameters == 3413024  # 4,694,024 with the classifier's 1,281,000
    assert next(iter(rows)) == "tf_efficientnet_lite0"


def test_the_list_takes_words_wildcards_and_aliases() -> None:
    assert {row.name for row in list_backbones("mobilenetv3_small*")} >= {SMALL}
    assert "legacy_xception" in {row.name for row in list_backbones("xception")}
    with pytest.raises(RecipeError, match=r"has 'no_such_network' in its name"):
        list_backbones("no_such_network")


def test_without_a_filter_the_best_known_and_the_cached_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / f"models--timm--{SMALL}.lamb_in1k" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(snapshot.name)
    rows = {row.name: row for row in list_backbones()}
    assert {"vgg16", "resnetv2_50", "mobilenetv2_100", "legacy_xception"} <= set(rows)
    assert (rows[SMALL].where, rows["vgg16"].where) == ("cache", "hub")
