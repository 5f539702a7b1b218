"""Promises that only a whole training can break: data on which a broken one gives other numbers.

The train and validation images are tiles in the colour of their class; some labels of validation
are wrong. The test images are waves instead, and all their labels are the other class's: whatever
the test part chooses is another epoch, strength, temperature or threshold than validation chooses.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from trained import SMALL

from pages import most_alike, pictures_of_page
from tellapart.evaluation.predictions import Predictions
from tellapart.run import Run
from tellapart.training.outcome import Task
from tellapart.verbs import train as verb
from tellapart.verbs.train import train

CLASSES = ("blue", "red")
EPOCHS = 6
WAYS: dict[str, dict[str, Any]] = {
    "probe": {
        "recipe": "probe",
        "settings": ["data.image_size=64", "probe.cross_validate_below=10"],
    },
    "fit": {
        "recipe": "cifar-baseline-sgd",
        "settings": [*SMALL, f"training.epochs={EPOCHS}", "training.learning_rate=0.02"],
    },
    "fit on features": {
        "recipe": "frozen-augmented",
        "settings": ["data.image_size=64", "training.epochs=2", "training.cached_views=1"],
    },
}


def picture(random: np.random.Generator, label: int, *, waves: bool) -> Image.Image:
    """Tiles of random colour, or waves, with more of the class's colour than of the other."""
    if waves:
        y, x = np.mgrid[:64, :64] / 64
        turns = [a * x + b * y + c for a, b, c in random.uniform(-3, 3, (3, 3))]
        pixels = 85 + 60 * np.sin(2 * np.pi * np.stack(turns, axis=-1))
    else:
        pixels = np.kron(random.uniform(0, 170, (8, 8, 3)), np.ones((8, 8, 1)))
    pixels[..., 2 - 2 * label] += 60
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("promises")
    random = np.random.default_rng(0)
    for part, count in (("train", 40), ("validation", 30), ("test", 20)):
        for label in range(2):
            for number in range(count):
                wrong = part == "test" or (part == "validation" and number % 6 == 0)
                place = root / part / CLASSES[1 - label if wrong else label]
                place.mkdir(parents=True, exist_ok=True)
                made = picture(random, label, waves=part == "test")
                made.save(place / f"{CLASSES[label][0]}{number:02d}.png")
    return root


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    runs: dict[str, Run] = {}

    def run(way: str) -> Run:
        if way not in runs:
            runs[way] = train(folder, run=tmp_path_factory.mktemp("runs") / way, **WAYS[way])
        return runs[way]

    return run


class RecordingLabels:
    """Labels of a task, which give away none of the test part's before training has ended."""

    def __init__(self, labels: NDArray[np.int64], test: NDArray[np.int64]) -> None:
        self._labels, self._test = labels, test
        self.training, self.reads = True, 0

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, rows: Any) -> NDArray[np.int64]:
        if self.training:
            asked = np.arange(len(self))[rows]
            assert not np.isin(asked, self._test).any(), "test labels were read in training"
            self.reads += 1
        return self._labels[rows]

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[np.int64]:
        assert not self.training, "all labels were read in training, those of test among them"
        return np.asarray(self._labels, dtype)

    def __iter__(self) -> Any:
        return iter(self.__array__())


@pytest.mark.parametrize("way", WAYS)
def test_no_label_of_test_is_read_before_training_has_ended(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Epoch, strength, temperature: whatever is chosen before the end is chosen without them."""
    given: list[RecordingLabels] = []
    make, end = verb._task, verb.publish

    def guarded(*arguments: Any, **options: Any) -> Task:
        task = make(*arguments, **options)
        labels = RecordingLabels(task.labels, task.rows["test"])
        given.append(labels)
        table = replace(task.images.table)
        object.__setattr__(table, "labels", labels)
        return replace(task, labels=labels, images=replace(task.images, table=table))

    def publish(*arguments: Any) -> Run:
        given[0].training = False
        return end(*arguments)

    monkeypatch.setattr(verb, "_task", guarded)
    monkeypatch.setattr(verb, "publish", publish)
    options = {**WAYS[way], "settings": [*WAYS[way]["settings"]]}
    if way == "fit":
        options["settings"].append("training.epochs=2")
    run = train(folder, run=tmp_path / "run", **options)
    assert len(given) == 1 and given[0].reads >= 3
    assert run.info.test_evaluations == 1


def log_loss(told: Predictions, power: float = 1.0) -> float:
    """Of probabilities whose logits are multiplied by ``power``."""
    logits = power * np.log(np.maximum(told.probabilities, 1e-300))
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-logits[np.arange(len(told)), told.labels].mean())


@pytest.mark.parametrize("way", ["probe", "fit"])
def test_validation_chooses_the_temperature(trained: Callable[[str], Run], way: str) -> None:
    run = trained(way)
    told, test = run.predictions("validation"), run.predictions("test")
    assert told.correct.mean() > test.correct.mean() + 0.2, "the parts must differ"
    at_best = log_loss(told)
    for power in (0.8, 0.95, 1.05, 1.25):
        assert log_loss(told, power) > at_best
    assert log_loss(test, 0.8) < log_loss(test), "the test part would choose another one"


def test_validation_chooses_the_epoch(trained: Callable[[str], Run]) -> None:
    run = trained("fit")
    rows = run.history()
    losses = [row["validation_loss"] for row in rows]
    assert run.kept_epoch == 1 + int(np.argmin(losses)) > 1
    kept = rows[run.kept_epoch - 1]
    told = run.predictions("validation")
    assert kept["validation_accuracy"] == pytest.approx(told.correct.mean(), abs=1e-6)
    raw = log_loss(told, run.info.temperature)  # as the logits were before it
    assert kept["validation_data_loss"] == pytest.approx(raw, rel=1e-3)


def test_validation_chooses_the_strength_of_a_probe(trained: Callable[[str], Run]) -> None:
    run = trained("probe")
    facts = run.info.facts
    losses = {float(key): value for key, value in facts["strength_log_losses"].items()}
    assert facts["strength_chosen_by"] == "validation"
    assert facts["strength"] == min(losses, key=losses.__getitem__)
    raw = log_loss(run.predictions("validation"), run.info.temperature)
    assert losses[facts["strength"]] == pytest.approx(raw, rel=2e-3)


def test_validation_sets_what_is_unknown(trained: Callable[[str], Run], folder: Path) -> None:
    """One in twenty images like validation's; of the test images, which are unlike, many more."""
    run = trained("probe")
    found = {}
    for part in ("validation", "test"):
        answers = run.predict([folder / part], unknown=True)
        found[part] = np.mean([answer.unknown for answer in answers])
    assert found["validation"] <= 0.1
    assert found["test"] > 0.25


def test_pictures_in_a_report_are_those_that_their_captions_name(
    trained: Callable[[str], Run], folder: Path
) -> None:
    """Each picture is its own label: it looks like one file and like no other.

    What stands under it is what the predictions table says of that file.
    """
    run = trained("fit")
    shown = pictures_of_page(run.report.read_text("utf-8"))
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*.png")}
    said = {}
    for part in ("train", "validation", "test"):
        if run.predictions_file(part).is_file():
            with run.predictions_file(part).open(newline="") as table:
                said |= {row["path"]: row for row in csv.DictReader(table)}
    assert len(shown) >= 30 and len({picture.path for picture in shown}) >= 25
    for picture in shown:
        assert most_alike(picture.looks, files) == picture.path
        row = said[picture.path]
        assert picture.true == row["label"] == Path(picture.path).parent.name
        if picture.predicted:  # pairs that may be copies have no answer under them
            assert picture.predicted == row["prediction"]
            assert picture.confidence == float(row[row["prediction"]])
    assert sum(bool(picture.predicted) for picture in shown) >= 20


def test_the_history_of_the_first_stage_is_kept_to_the_end(folder: Path, tmp_path: Path) -> None:
    """In the file, and in what the run gives; the second stage starts anew at epoch 1."""
    settings = [*SMALL, "training.epochs=2",
                "fine_tuning={epochs: 3, batch_size: 16, learning_rate: 0.001}"]  # fmt: skip
    run = train(folder, recipe="cifar-baseline-sgd", settings=settings, run=tmp_path / "run")
    assert [row["stage"] for row in run.history()] == [1, 1, 2, 2, 2]
    with run.history_file.open(newline="") as file:
        rows = [(row["stage"], row["epoch"]) for row in csv.DictReader(file)]
    assert rows == [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2"), ("2", "3")]
