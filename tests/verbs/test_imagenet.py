"""tellapart imagenet: top five of a pretrained network's own head."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tellapart as ta
from tellapart.cli import app
from tellapart.errors import DataError, RecipeError
from tellapart.models.backbone import load_imagenet_network

data = pytest.importorskip("skimage.data")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cat and a cup of coffee, with a text file that calls itself a picture."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(data.chelsea()).save(folder / "cat.png")
    Image.fromarray(data.coffee()).save(folder / "coffee.png")
    (folder / "broken.jpg").write_text("no picture")
    return folder


def test_a_cat_and_a_cup_are_recognised(pictures: Path) -> None:
    cat, coffee = ta.imagenet([pictures / "cat.png", pictures / "coffee.png"])
    assert cat.path == str(pictures / "cat.png")
    assert len(cat.top) == 5
    # WordNet: n02123045 tabby, n02123159 tiger cat, n02124075 Egyptian cat.
    assert cat.top[0].wnid in {"n02123045", "n02123159", "n02124075"}
    assert "cat" in cat.top[0].name or "tabby" in cat.top[0].name
    # n07920052 espresso, n07930864 cup.
    assert {"n07920052", "n07930864"} & {guess.wnid for guess in coffee.top[:2]}
    for answer in (cat, coffee):
        probabilities = [guess.probability for guess in answer.top]
        assert probabilities == sorted(probabilities, reverse=True)
        assert 0 < sum(probabilities) <= 1


def test_the_probabilities_are_those_of_timms_own_evaluation(pictures: Path) -> None:
    """timm's transform (resize, central crop, normalise) and eager float32 PyTorch."""
    import torch
    from timm.data import create_transform

    from tellapart.models.catalogue import backbone_info, imagenet_labels

    info = backbone_info("tf_efficientnet_lite0")
    transform = create_transform(
        (3, info.size, info.size),
        interpolation=info.interpolation,
        mean=info.mean,
        std=info.std,
        crop_pct=0.875,
    )
    network = load_imagenet_network("tf_efficientnet_lite0")
    for name in ("cat.png", "coffee.png"):
        image = transform(Image.open(pictures / name).convert("RGB"))[None]
        with torch.inference_mode():
            expected = torch.softmax(network(image), 1)[0].numpy()
        place = {wnid: i for i, (wnid, _) in enumerate(imagenet_labels())}
        (answer,) = ta.imagenet(pictures / name)
        assert place[answer.top[0].wnid] == int(np.argmax(expected))
        for guess in answer.top:
            assert guess.probability == pytest.approx(expected[place[guess.wnid]], abs=0.05)


def test_a_folder_with_an_unreadable_file(pictures: Path) -> None:
    result = CliRunner().invoke(app, ["imagenet", str(pictures), "--json"])
    assert result.exit_code == 1
    content = json.loads(result.stdout)
    assert [Path(row["path"]).name for row in content] == ["broken.jpg", "cat.png", "coffee.png"]
    assert set(content[0]) == {"path", "error"}
    assert set(content[1]["top"][0]) == {"wnid", "name", "probability"}


def test_the_table_has_a_line_a_class_and_names_what_is_wrong(pictures: Path) -> None:
    files = [str(pictures / "cat.png"), str(pictures / "broken.jpg")]
    result = CliRunner().invoke(app, ["imagenet", *files])
    lines = result.stdout.splitlines()
    assert result.exit_code == 1 and len(lines) == 7
    assert lines[0] == files[0] and " %  n0212" in lines[1]
    assert lines[6] == (
        f"{files[1]}  cannot be read: The file is not a picture in a format that is read here."
    )


def test_mistakes_of_the_user_end_in_a_sentence(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no file .*none.png; give image files"):
        ta.imagenet(tmp_path / "none.png")
    with pytest.raises(RecipeError, match="There is no backbone 'mobilnetv2'"):
        ta.imagenet(pictures / "cat.png", backbone="mobilnetv2")
