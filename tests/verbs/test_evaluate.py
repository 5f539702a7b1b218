"""A run on new images: part by part, with what it has seen before and what it cannot know."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from trained import quick_run

from tellapart.errors import DataError, RunError
from tellapart.prediction import classifier as classifier_module
from tellapart.run import Run
from tellapart.verbs.evaluate import Evaluation, evaluate
from tellapart.verbs.predict import predict

PARTS = {"train": 24, "validation": 16, "test": 12}


@pytest.fixture(scope="module")
def images(image_folder) -> Path:
    return image_folder(parts=PARTS)


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick_run(images, tmp_path_factory.mktemp("runs") / "run", epochs=6)


@pytest.fixture(scope="module")
def on_test(run: Run, images: Path) -> Evaluation:
    return evaluate(run.path, images / "test")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripes of strong colours: nothing like a disc or a square on grey."""
    folder = tmp_path_factory.mktemp("foreign")
    random = np.random.default_rng(0)
    for number in range(20):
        stripes = random.choice([0, 255], (1, 40, 3)).repeat(32, axis=0).astype(np.uint8)
        Image.fromarray(stripes).save(folder / f"{number}.png")
    return folder


def test_the_same_images_give_the_numbers_of_the_run(run: Run, images: Path) -> None:
    result = evaluate(run.path, images, keep_leaks=True)  # it was made with train and validation
    assert result.part == "test"
    without = {"validation_without_leaked", "train_without_leaked"}
    assert set(result.metrics) - without == {"test", "validation", "train"}
    result = replace(result, metrics={k: v for k, v in result.metrics.items() if k not in without})
    assert set(result.metrics) == {"test", "validation", "train"}
    for part, metrics in result.metrics.items():
        stored = run.metrics[part]
        assert metrics.accuracy.to_json() == stored["accuracy"]
        assert metrics.log_loss.value == pytest.approx(stored["log_loss"]["value"], abs=1e-3)
    page = result.report.read_text("utf-8")
    assert "Every part of the folder" in page
    assert "Where to draw the line" in page
    assert "If the uncertain images go to a person" in page


def test_warns_of_images_it_was_trained_on(
    run: Run, images: Path, on_test: Evaluation, tmp_path: Path
) -> None:
    """Known by content: copies under other names in another place are found."""
    for name in ("blue", "red"):
        (tmp_path / "copies" / name).mkdir(parents=True)
        for number in range(5):
            source = images / "train" / name / f"{number:04d}.jpg"
            shutil.copy(source, tmp_path / "copies" / name / f"renamed{number}.jpg")
        shutil.copy(images / "test" / name / "0000.jpg", tmp_path / "copies" / name)
    result = evaluate(run.path, tmp_path / "copies")
    assert result.warnings[0].startswith(
        "10 of 12 images of copies (83.3 %) are images that this run was trained on or chosen "
        "with, byte for byte; its numbers are without them"
    )
    assert result.metrics["copies"].images == 2
    assert "10 of 12" in result.report.read_text("utf-8")
    assert not any("trained on or" in warning for warning in on_test.warnings)


def test_result_is_kept_in_the_run(run: Run, on_test: Evaluation) -> None:
    place = run.path / "evaluations" / "test"
    stored = json.loads((place / "metrics.json").read_text("utf-8"))
    assert stored["test"] == on_test.metrics["test"].to_json()
    with (place / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum(row["label"] == row["prediction"] for row in rows)
    assert on_test.metrics["test"].accuracy.value == right / 24


def test_without_a_folder_what_is_stored(run: Run) -> None:
    result = evaluate(run.path)
    assert {part: m.to_json() for part, m in result.metrics.items()} == run.metrics
    assert result.report == run.report
    html = result._repr_html_()
    assert "accuracy" in html and "data:image/svg+xml" in html


def test_foreign_images_are_called_unknown(run: Run, foreign: Path, on_test: Evaluation) -> None:
    result = evaluate(run.path, foreign, foreign=True)
    share = result.unknown[foreign.name]
    assert share.low > on_test.unknown["test"].high
    assert not result.metrics[foreign.name].accuracy.known
    assert "Unlike anything it was trained on" in result.report.read_text("utf-8")
    assert "none with a label" in "\n".join(result.lines())


def test_many_files_are_predicted_a_block_at_a_time_by_one_engine(
    run: Run, images: Path, monkeypatch
) -> None:
    """The answers are those of all files at once, in order, and opening is done once."""
    files = sorted((images / "test").rglob("*.jpg"))
    at_once = predict(run.path, files)
    opened = []
    build = classifier_module.build_engine
    monkeypatch.setattr(
        classifier_module, "build_engine", lambda *a, **k: opened.append(1) or build(*a, **k)
    )
    monkeypatch.setattr(classifier_module, "BLOCK_IMAGES", 5)
    in_blocks = predict(run.path, files)
    assert [answer.path for answer in in_blocks] == [str(file) for file in files]
    assert in_blocks == at_once
    assert len(files) == 24 and len(opened) == 1


def test_predict_answers_unknown_when_asked(run: Run, foreign: Path, images: Path) -> None:
    files = [images / "test" / "red" / "0001.jpg", foreign / "0.png"]
    plain, asked = predict(run.path, files), predict(run.path, files, unknown=True)
    assert [answer.prediction for answer in plain] != [answer.prediction for answer in asked]
    assert asked[1].prediction == "unknown" and asked[1].unknown is True
    for one, other in zip(plain, asked, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    assert "unknown" not in plain[0].to_json()
    assert asked[1].to_json()["unknown"] is True


def test_an_unreadable_file_among_unknown_answers(run: Run, tmp_path: Path, images: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    answers = predict(run.path, [broken, images / "test" / "red" / "0001.jpg"], unknown=True)
    assert answers[0].error and not answers[1].error
    head, first, second = answers.in_format("csv")
    assert head == "path,prediction,blue,red,error"
    assert first.startswith(f"{broken},,,,") and second.endswith(",")
    assert answers.exit_code == 1


def test_a_run_with_few_validation_images_says_so(image_folder, tmp_path: Path) -> None:
    small = image_folder(parts={"train": 8, "validation": 4, "test": 4})
    run = quick_run(small, tmp_path / "run", epochs=1)
    with pytest.raises(RunError, match=r"cannot answer 'unknown'.*at least 19 validation images"):
        predict(run.path, small / "test", unknown=True)


def test_images_without_a_label(run: Run, images: Path, tmp_path: Path) -> None:
    """Scored are those with a label; the others are predicted and counted."""
    table = tmp_path / "table.csv"
    lines = ["path,label"]
    for name in ("blue", "red"):
        lines += [f"test/{name}/{n:04d}.jpg,{name}" for n in range(6)]
    table.write_text("\n".join(lines) + "\n")
    result = evaluate(run.path, table, root=images)
    assert result.metrics["table"].images == 12


def test_other_classes_are_refused(run: Run, image_folder) -> None:
    with pytest.raises(DataError, match="no images of class 'blue'"):
        evaluate(run.path, image_folder(classes=("green", "yellow"), per_class=3))


def test_folders_of_one_name_are_kept_apart(image_folder, run: Run, tmp_path: Path) -> None:
    """And the same folder replaces what was said of it before."""
    copy = Run(shutil.copytree(run.path, tmp_path / "run"))
    shutil.rmtree(copy.path / "evaluations", ignore_errors=True)
    places = []
    for number in (3, 5):
        folder = image_folder(per_class=number, seed=number)
        places.append(evaluate(copy, folder).report.parent)
        assert evaluate(copy, folder).report.parent == places[-1]
    assert [place.name for place in places] == ["photos", "photos-2"]
    rows = [len((place / "predictions.csv").read_text().splitlines()) - 1 for place in places]
    assert rows == [6, 10]
    assert len(list((copy.path / "evaluations").iterdir())) == 2


def test_a_run_that_cannot_be_written_is_a_sentence(run: Run, images: Path, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(run.path, tmp_path / "run"))
    shutil.rmtree(copy.path / "evaluations", ignore_errors=True)
    (copy.path / "evaluations").write_text("in the way")
    with pytest.raises(RunError, match="evaluations cannot be written"):
        evaluate(copy, images / "test")


@pytest.mark.parametrize("name", ["unknown", "Run", "warnings", "decision"])
def test_a_folder_whose_name_stands_in_the_result_is_told_apart(
    run: Run, images: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(images / "test", tmp_path / name)
    result = evaluate(run.path, tmp_path / name)
    part = f"({name})"
    content = result.to_json()
    assert content[part]["images"] == 24 and content["run"] == str(run.path)
    stored = json.loads((result.report.parent / "metrics.json").read_text())
    assert stored[part]["accuracy"] == content[part]["accuracy"]
    assert set(stored["unknown"]) == {part}
