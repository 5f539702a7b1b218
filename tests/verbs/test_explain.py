"""tellapart explain: a page that shows why, for mistakes and for given images."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tellapart as ta
from made_images import write_image
from tellapart.cli import app
from tellapart.engines.parity import difference
from tellapart.errors import DataError, RunError
from tellapart.evaluation.predictions import load_predictions
from tellapart.explanation.vectors import vectors_of
from tellapart.models.network import features
from tellapart.prediction.classifier import load_classifier
from tellapart.run import Run
from tellapart.verbs.explain import explain
from tellapart.verbs.train import train

SETTINGS = [
    "model={kind: scratch, network: small_cnn}", "data.train_folders=[]",
    "data.validation_folders=[]", "data.test_folders=[]", "training.epochs=2",
    "training.batch_size=16", "training.optimizer=adam", "training.momentum=0",
    "training.learning_rate=0.002",
]  # fmt: skip


@pytest.fixture(scope="module")
def photos(image_folder: Callable[..., Path]) -> Path:
    return image_folder(classes=("blue", "green", "<i>red"), per_class=24)


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return train(photos, recipe="cifar-baseline-sgd", settings=SETTINGS, run=folder)


def test_without_images_the_most_confident_mistakes_are_explained(run: Run) -> None:
    explained = explain(run.path, count=3)
    predictions = load_predictions(run.predictions_file("test"))
    wrong = np.flatnonzero(~predictions.correct)
    if len(wrong):
        rows = sorted(wrong.tolist(), key=lambda r: -predictions.confidence[r])[:3]
    else:
        rows = sorted(range(len(predictions)), key=lambda r: predictions.confidence[r])[:3]
    assert [i.subject.path for i in explained.images] == [predictions.paths[r] for r in rows]
    for image, row in zip(explained.images, rows, strict=True):
        assert image.subject.label == predictions.labels[row]
        assert np.allclose(image.probabilities, predictions.probabilities[row], atol=0.02)
        assert image.evidence[image.target].shape == (32, 32)
        assert len(image.neighbours) == 6
    assert explained.report.parent.parent == run.path / "explanations"
    names = {p.name for p in explained.report.parent.iterdir()}
    assert {"report.html", "kernels.png", "feature_maps.png", "map_of_features.png"} <= names
    assert sum(name.endswith("occlusion.png") for name in names) == 3


def test_the_nearest_training_image_of_a_training_image_is_itself(run: Run, photos: Path) -> None:
    train_part = load_predictions(run.predictions_file("train"))
    path = train_part.paths[4]
    found = explain(run.path, photos / path).images[0]
    assert found.subject.path == path and found.subject.label == train_part.labels[4]
    assert found.neighbours[0].path == path
    assert found.neighbours[0].distance == pytest.approx(0, abs=1e-6)
    assert {n.path for n in found.neighbours} <= set(train_part.paths)
    assert [n.distance for n in found.neighbours] == sorted(n.distance for n in found.neighbours)


def test_the_vectors_are_what_the_last_layer_sees(run: Run) -> None:
    import torch

    classifier = load_classifier(run.model_file)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = features(classifier.network(), batch).numpy()
    found = vectors_of(classifier, pixels)
    assert found.shape == expected.shape == (5, 128)
    assert difference(found, expected).acceptable


def test_a_given_image_another_class_and_layer(run: Run, tmp_path: Path) -> None:
    image = write_image(tmp_path / "new picture.png", seed=99)
    explained = explain(run.path, image, target="green", layer="3", name="mine")
    (found,) = explained.images
    assert found.subject.label == -1 and found.target == run.classes.index("green")
    assert list(found.evidence) == [found.target]
    assert found.hidden.probability == pytest.approx(found.probabilities[found.target], abs=0.02)
    assert explained.report == run.path / "explanations" / "mine" / "report.html"
    page = explained.report.read_text("utf-8")
    assert "layer 3 (" in page and "nearest training images" in page


def test_the_page_stands_alone_and_escapes_names(run: Run) -> None:
    page = explain(run.path, count=2).report.read_text("utf-8")
    assert "<i>red" not in page and "&lt;i&gt;red" in page
    assert not re.search(r'(src|href)="https?:', page)
    assert page.count("data:image/") >= 5


def test_the_page_of_the_same_name_is_replaced(run: Run, photos: Path) -> None:
    files = sorted((photos / "blue").iterdir())[:2]
    first = explain(run.path, files, name="again")
    second = explain(run.path, files[:1], name="again")
    assert first.report == second.report
    left = {p.name for p in second.report.parent.glob("*occlusion.png")}
    assert left == {"01-0000-occlusion.png"}


def test_images_of_one_name_get_a_page_each(run: Run, photos: Path, tmp_path: Path) -> None:
    other = write_image(tmp_path / "0000.jpg", seed=7)
    own = sorted((photos / "blue").iterdir())[0]
    reports = [explain(run, image).report for image in (own, other, own)]
    assert reports[0] == reports[2] != reports[1]
    assert str(other) in reports[1].read_text("utf-8")


def test_without_its_images_a_run_still_explains_given_ones(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    info = json.loads((copy / "run.json").read_text())
    info["source"]["folder"] = str(tmp_path / "gone")
    del info["digest"]
    (copy / "run.json").write_text(json.dumps(info))
    image = write_image(tmp_path / "a.png", seed=5)
    explained = explain(copy, image)
    assert explained.images[0].neighbours == ()
    assert "Nearest images and the map are left out" in explained.report.read_text("utf-8")
    with pytest.raises(DataError, match="cannot be read any more, so its mistakes"):
        explain(copy)


def test_json_names_files_that_are_there(run: Run, photos: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    good = photos / "blue" / "0001.jpg"
    result = CliRunner().invoke(app, ["explain", str(run.path), str(good), str(broken), "--json"])
    assert result.exit_code == 1  # one of them could not be read
    content = json.loads(result.stdout)
    assert Path(content["report"]).is_file()
    assert content["problems"] == [
        {"path": str(broken), "error": "The file is not a picture in a format that is read here."}
    ]
    (image,) = content["images"]
    assert image["path"] == "blue/0001.jpg" and image["label"] == "blue"
    assert sum(image["probabilities"].values()) == pytest.approx(1)
    for file in image["overlays"].values():
        assert Image.open(file).width >= 224
    assert image["probability_with_worst_place_hidden"] <= image["probability"] + 0.02


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"images": "missing.jpg"}, DataError, "There is no file missing.jpg; give image files"),
        ({"target": "gren"}, RunError, "the class 'gren'. Did you mean 'green'?"),
        ({"layer": "convolution"}, RunError, "no layer 'convolution' of this network gives a map"),
        ({"count": 500}, DataError, "One page explains at most 60 images, not 500; give fewer."),
    ],
)
def test_mistakes_of_the_user_end_in_a_sentence(
    run: Run, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        ta.explain(run.path, **arguments)
    assert message in str(caught.value)


def test_an_unreadable_image_alone_is_refused(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"")
    with pytest.raises(DataError, match=r"None of the images .*broken[.]jpg: The file is empty"):
        explain(run.path, broken)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run folder"):
        explain(tmp_path)
