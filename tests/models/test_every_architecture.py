"""One network of each of timm's architectures through all that a recipe can ask of it."""

from __future__ import annotations

import re

import pytest
import timm
import torch

from tellapart.errors import RecipeError
from tellapart.models.catalogue import backbone_info
from tellapart.models.cut import Tail, cut_backbone, cut_point
from tellapart.models.freezing import backbone_stages, freeze
from tellapart.models.network import build_network
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import BackboneModel, HeadLayer, Trainable, TrainingStage
from tellapart.training.parameter_groups import parameter_groups

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

#: Some architectures have no small network.
MOST_PARAMETERS = 60_000_000
#: What networks that take no other size than that of their pretraining are refused with.
REFUSED = "cannot take images of|gives a sequence of tokens|gives no spatial map"


def smallest(module: str) -> str | None:
    sizes = {}
    for name in timm.list_models(module=module):
        if timm.get_pretrained_cfg(name).input_size[-1] > 300:
            continue
        with torch.device("meta"):
            network = timm.create_model(name)
        sizes[name] = sum(weight.numel() for weight in network.parameters())
    name = min(sizes, key=sizes.__getitem__, default=None)
    return name if name is not None and sizes[name] < MOST_PARAMETERS else None


@pytest.mark.parametrize("module", timm.list_modules())
def test_it_is_frozen_cut_and_trained_or_refused_with_a_reason(module: str) -> None:
    name = smallest(module)
    if name is None:
        pytest.skip(f"{module} has no small network")
    info = backbone_info(name, "none")
    trained = 0
    for size, features in ((info.size, "pooled"), (96, "pooled"), (96, "map")):
        head = (HeadLayer(layer="global_pool"),) if features == "map" else ()
        model = BackboneModel(backbone=name, weights="none", features=features, head=head)
        preprocessing = Preprocessing(height=size, width=size, mean=info.mean, std=info.std)
        try:
            network = build_network(model, 3, preprocessing)
        except RecipeError as error:
            assert size != info.size and re.search(REFUSED, str(error)), error
            continue
        images = torch.rand(2, 3, size, size) * 255
        _check_stages(network.backbone)
        with torch.no_grad():
            expected = network.eval()(images)
        assert expected.shape == (2, 3)

        partial = Trainable(backbone="last_layers", last_layers=2)
        freeze(network, partial)
        at = cut_point(network.backbone, partial)
        cut = cut_backbone(network.backbone, at, size, size) if at else None
        if cut is not None:
            tail = Tail(cut.moving, network.head).eval()
            with torch.no_grad():
                found = tail(cut.still(network.normalise(images)))
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)

        freeze(network, Trainable(backbone="all"))
        groups = parameter_groups(network, TrainingStage(layer_decay=0.5))
        moving = {id(w) for w in network.parameters() if w.requires_grad}
        assert {id(w) for group in groups for w in group["params"]} == moving
        network.train()
        network(images).square().sum().backward()
        trained += 1
    assert trained


def _check_stages(backbone: torch.nn.Module) -> None:
    """Every weight belongs to one stage."""
    modules = [module for _, found in backbone_stages(backbone) for module in found]
    found = [id(w) for module in modules for w in module.parameters(recurse=False)]
    assert len(found) == len(set(found))
    assert set(found) == {id(weight) for weight in backbone.parameters()}
