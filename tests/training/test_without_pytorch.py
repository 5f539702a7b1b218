"""Which recipes train without PyTorch, and what the others say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tellapart import extras
from tellapart.errors import MissingPackageError
from tellapart.recipe_reading import apply_settings, load_recipe
from tellapart.training.ways import check_trainable
from tellapart.verbs.train import train


@pytest.fixture(autouse=True)
def _without_pytorch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(extras, "_is_here", lambda name: name not in extras.TRAIN)
        yield


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("auto", ()), ("probe", ()), ("probe", ("probe.views=[original,flip]",)),
        ("probe", ("probe.head=discriminant",)), ("probe", ("probe.head=neighbours",)),
        ("probe", ("model.backbone=tf_efficientnet_lite2",)),
    ],
)  # fmt: skip
def test_probes_on_packaged_backbones_train(recipe: str, settings: tuple[str, ...]) -> None:
    check_trainable(apply_settings(load_recipe(recipe), settings))


@pytest.mark.parametrize(
    ("recipe", "settings", "beginning"),
    [
        ("finetune", (), "The recipe finetune trains a network in epochs: it needs PyTorch"),
        ("probe", ("model.backbone=vgg16",), "The network 'vgg16' needs PyTorch"),
        ("probe", ("probe.head=network",), "The recipe probe fits a hidden layer"),
    ],
)
def test_what_needs_pytorch_is_said_before_any_image_is_read(
    recipe: str, settings: tuple[str, ...], beginning: str, tmp_path: Path
) -> None:
    with pytest.raises(MissingPackageError) as caught:
        train(tmp_path / "no-such-folder", recipe=recipe, settings=settings,
              run=tmp_path / "run")  # fmt: skip
    assert str(caught.value).startswith(beginning)
    assert "pip install 'tellapart[train]'" in str(caught.value)
    assert not (tmp_path / "run").exists()
