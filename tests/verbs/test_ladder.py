"""The ladder climbs four rungs on one split, says what each bought, and goes on where it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.comparison.paired import compare_predictions
from tellapart.errors import RecipeError, RunError
from tellapart.evaluation.predictions import Predictions, load_predictions
from tellapart.run import open_run
from tellapart.run_info import RUNNING
from tellapart.verbs.compare import Comparison
from tellapart.verbs.ladder import ladder, lessons, make_rungs

RUNGS = ("1-small-cnn", "2-augmented", "3-frozen-features", "4-fine-tuned")
QUICK = {"epochs": 1, "settings": ["data.image_size=48", "training.batch_size=16"], "seed": 3}


@pytest.fixture(scope="module")
def photos(image_folder) -> Path:
    return image_folder(per_class=30)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def climbed(photos: Path, runs: Path) -> Comparison:
    return ladder(photos, runs=runs, **QUICK)


def test_four_rungs_on_one_split(climbed: Comparison) -> None:
    place = climbed.report.parent
    assert [run.name for run in climbed.runs.values()] == list(RUNGS)
    splits = {
        load_predictions(place / rung / "predictions" / f"{part}.csv").paths
        for rung in RUNGS
        for part in ("test",)
    }
    assert len(splits) == 1
    assert {open_run(place / rung).info.seed for rung in RUNGS} == {3}
    assert open_run(place / "2-augmented").recipe.augmentation
    first, second = (open_run(place / rung).recipe for rung in RUNGS[:2])
    assert (first.model, first.training) == (second.model, second.training)
    assert len(climbed.lessons) == 4
    page = climbed.report.read_text("utf-8")
    assert "what each step bought" in page
    assert "Fine-tuning the pretrained network" in page
    assert (place / "report.csv").is_file() and (place / "report.json").is_file()


def test_finished_rungs_are_not_trained_again(
    climbed: Comparison, photos: Path, runs: Path
) -> None:
    place = climbed.report.parent
    before = {rung: (place / rung / "run.json").stat().st_mtime_ns for rung in RUNGS}
    open_run(place / "2-augmented").update(status=RUNNING)  # as a kill would leave it
    shutil.rmtree(place / "1-small-cnn")
    for name in ("predictions", "figures"):  # as a kill left it in older versions
        (place / "1-small-cnn" / name).mkdir(parents=True)
    again = ladder(photos, runs=runs, **QUICK)
    assert again.report.parent == place
    after = {rung: (place / rung / "run.json").stat().st_mtime_ns for rung in RUNGS}
    assert [rung for rung in RUNGS if after[rung] != before[rung]] == [
        "1-small-cnn",
        "2-augmented",
    ]
    assert open_run(place / "2-augmented").status == "complete"


def test_another_ladder_is_not_mixed_in(climbed: Comparison, photos: Path) -> None:
    with pytest.raises(RunError, match="not made with these images and settings"):
        ladder(photos, run=climbed.report.parent, epochs=2)


def test_settings_go_where_they_fit(photos: Path) -> None:
    rungs = make_rungs(photos, epochs=5, settings=["model.output=sigmoid"], seed=None)
    assert [rung.recipe.model.output for rung in rungs] == ["sigmoid"] * 4
    assert [rung.recipe.training.epochs for rung in rungs][:2] == [5, 5]
    rungs = make_rungs(photos, epochs=None, settings=["model.network=mid_cnn"], seed=None)
    assert rungs[0].recipe.model.network == "mid_cnn"
    assert rungs[3].recipe.model.backbone == "tf_efficientnet_lite0"
    with pytest.raises(RecipeError, match="modle"):
        make_rungs(photos, epochs=None, settings=["modle.network=mid_cnn"], seed=None)


def test_the_small_network_suits_the_pictures(photos: Path, tmp_path: Path) -> None:
    assert make_rungs(photos, epochs=None, settings=[], seed=None)[0].recipe.data.image_size == 32
    (tmp_path / "large").mkdir()
    Image.new("RGB", (300, 200)).save(tmp_path / "large" / "1.png")
    assert make_rungs(tmp_path, epochs=None, settings=[], seed=None)[0].recipe.data.image_size == 96


def predictions(right: int) -> Predictions:
    """100 images of which the first ``right`` are right."""
    labels = np.arange(100) % 2
    said = np.where(np.arange(100) < right, labels, 1 - labels)
    return Predictions(
        "test", ("a", "b"), tuple(f"{n}.jpg" for n in range(100)), labels,
        np.where(said[:, None] == np.arange(2), 0.9, 0.1),
    )  # fmt: skip


def test_lessons_say_points_chance_and_cost(photos: Path) -> None:
    """Hand-made: 60, 80, 81 and 81 of 100 right. 20 against 0 has p = 2 / 2**20."""
    rungs = make_rungs(photos, epochs=None, settings=[], seed=None)
    right = dict(zip((rung.name for rung in rungs), (60, 80, 81, 81), strict=True))
    seconds = dict(zip(right, (12.0, 90.0, 8.0, 600.0), strict=True))
    result = compare_predictions(
        {name: predictions(count) for name, count in right.items()},
        facts={name: {"training_seconds": value} for name, value in seconds.items()},
    )
    first, bought, chance, nothing = lessons(result, rungs)
    assert "right on 60.0 %" in first and "12 s of training" in first
    assert "Augmentation bought 20.0 points" in bought and "more than chance: 80.0 %" in bought
    assert "took 1.5 min instead of 12 s" in bought
    assert "bought 1.0 points" in chance and "may be chance" in chance
    assert "changed nothing" in nothing and "10.0 min" in nothing


def test_nothing_is_left_by_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="There is no folder"):
        ladder(tmp_path / "nowhere", runs=tmp_path / "runs")
    assert not list((tmp_path / "runs").rglob("run.json"))


def test_settings_are_written_down(climbed: Comparison, photos: Path) -> None:
    content = json.loads((climbed.report.parent / "ladder.json").read_text("utf-8"))
    assert content["source"] == str(photos.resolve())
    assert set(content["recipes"]) == set(RUNGS)
