"""Images that an earlier part has are in no number, unless one asks for them."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from made_images import CHANGES, photograph, resized
from tellapart.errors import RunError
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import load_predictions
from tellapart.run import Run, open_run
from tellapart.verbs.compare import compare
from tellapart.verbs.evaluate import evaluate
from tellapart.verbs.train import resume
from verbs.trained import quick_run

CLASSES = ("ash", "oak")


def write(folder: Path, *, train: int = 8, validation: int = 5, test: int = 6) -> Path:
    """Part folders of pictures that all differ."""
    seed = 0
    for part, count in (("train", train), ("validation", validation), ("test", test)):
        for name in CLASSES:
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                photograph(seed).save(folder / part / name / f"{number}.png")
                seed += 1
    return folder


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five leaked test images, four of them changed, and one leaked validation image."""
    folder = write(tmp_path_factory.mktemp("leaky"))
    for number, change in enumerate(CHANGES):
        with Image.open(folder / "train" / "ash" / f"{number}.png") as image:
            change(image, folder / "test" / "ash" / f"copy{number}.jpg")
    shutil.copy(folder / "train" / "oak" / "0.png", folder / "test" / "oak" / "same.png")
    with Image.open(folder / "train" / "oak" / "1.png") as image:
        resized(image, folder / "validation" / "oak" / "copy.jpg")
    return folder


@pytest.fixture(scope="module")
def clean_run(leaky: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick_run(leaky, tmp_path_factory.mktemp("runs") / "clean", epochs=2)


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.images_file.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_headline_is_without_the_leaked_images(clean_run: Run) -> None:
    metrics = clean_run.metrics
    assert metrics["test"]["images"] == 12
    assert metrics["test_with_leaked"]["images"] == 17
    assert metrics["validation"]["images"] == 10
    assert metrics["validation_with_leaked"]["images"] == 11
    assert "train_with_leaked" not in metrics
    # By the stored predictions of all images, and the names of those that were planted.
    everything = load_predictions(clean_run.predictions_file("test"))
    planted = np.array(["copy" in path or "same" in path for path in everything.paths])
    right = int(everything.correct[~planted].sum())
    assert metrics["test"]["accuracy"]["value"] == pytest.approx(right / 12)
    assert metrics["test_with_leaked"]["accuracy"]["value"] == pytest.approx(
        everything.correct.mean()
    )


def test_the_leak_is_the_first_thing_said(clean_run: Run) -> None:
    first = clean_run.info.data.audit[0]
    assert first.startswith(
        "5 of 17 test images (29.4 %) are also in train or validation, 1 byte for byte and 4 "
        "slightly changed"
    )
    leaks = clean_run.info.data.leaks
    assert (leaks["test"].images, leaks["test"].copies, leaks["test"].near) == (17, 1, 4)
    assert leaks["validation"].leaked == 1
    said = "\n".join(clean_run.lines())
    assert "with the 5 leaked: " in said
    assert "5 of 17 test images" in clean_run.report.read_text("utf-8")


def test_images_csv_says_what_belongs_together(clean_run: Run) -> None:
    rows = {row["path"]: row for row in rows_of(clean_run)}
    assert list(next(iter(rows.values()))) == ["part", "digest", "path", "group", "leaked"]
    leaked = {path: row["leaked"] for path, row in rows.items() if row["leaked"]}
    assert leaked == {
        **{f"test/ash/copy{number}.jpg": "near" for number in range(4)},
        "test/oak/same.png": "copy",
        "validation/oak/copy.jpg": "near",
    }
    for number in range(4):
        group = rows[f"train/ash/{number}.png"]["group"]
        assert group and group == rows[f"test/ash/copy{number}.jpg"]["group"]
    assert rows["train/ash/5.png"]["group"] == ""
    assert clean_run.info.data.groups == 6


def test_predictions_of_a_run_know_groups_and_leaks(clean_run: Run) -> None:
    everything, scored = clean_run.predictions("test"), clean_run.scored_predictions("test")
    assert len(everything) == 17 and len(scored) == 12
    assert not any("copy" in path for path in scored.paths)
    assert everything.groups is not None
    assert len(np.unique(everything.groups)) == 17  # each copy's other is in another part
    assert clean_run.leaked("test")["test/oak/same.png"] == "copy"


def test_keep_leaks_turns_the_two_numbers_round(
    leaky: Path, clean_run: Run, tmp_path: Path
) -> None:
    kept = quick_run(leaky, tmp_path / "kept", epochs=2, keep_leaks=True)
    assert kept.recipe.data.keep_leaks
    assert kept.metrics["test"]["images"] == 17
    assert kept.metrics["test_without_leaked"]["images"] == 12
    assert kept.metrics["validation_without_leaked"]["images"] == 10
    assert "test_with_leaked" not in kept.metrics
    assert len(kept.scored_predictions("test")) == 17
    assert "without the 5 leaked: " in "\n".join(kept.lines())
    measured = evaluate_predictions(kept.predictions("test"))
    assert measured.accuracy.value == kept.metrics["test"]["accuracy"]["value"]
    assert "is without them" not in kept.info.data.audit[0]


def test_a_test_part_that_was_all_seen_gives_no_number_and_a_reason(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", test=0)
    for name in CLASSES:
        for number in range(4):
            with Image.open(folder / "train" / name / f"{number}.png") as image:
                resized(image, folder / "test" / name / f"{number}.jpg")
    run = quick_run(folder, tmp_path / "run", epochs=1)
    accuracy = run.accuracy("test")
    assert accuracy.value is None
    assert accuracy.reason == "all 8 test images were seen in training"
    assert run.metrics["test_with_leaked"]["images"] == 8
    assert "no accuracy: all 8 test images were seen in training" in "\n".join(run.lines())
    assert run.report.is_file()
    assert "all 8 test images" in run.report.read_text("utf-8")


def test_what_is_split_keeps_copies_on_one_side(tmp_path: Path) -> None:
    folder, seed = tmp_path / "data", 0
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(16):
            image = photograph(seed)
            image.save(folder / name / f"{number}.png")
            if number < 6:
                CHANGES[number % 4](image, folder / name / f"{number}-again.jpg")
            seed += 1
    run = quick_run(folder, tmp_path / "run", epochs=1, test=0.25, validation=0.25)
    part = {row["path"]: row["part"] for row in rows_of(run)}
    pairs = [(path, path.replace("-again.jpg", ".png")) for path in part if "again" in path]
    assert len(pairs) == 12
    assert all(part[copy] == part[original] for copy, original in pairs)
    assert set(run.metrics) == {"train", "validation", "test"}
    assert any("copies kept together" in note for note in run.info.data.notes)


def test_validation_images_that_were_trained_on_do_not_choose(
    leaky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    from tellapart.training import scoring

    calibrate = scoring.calibrate

    def spy(logits: np.ndarray, labels: np.ndarray, description: object) -> object:
        seen.append(len(labels))
        return calibrate(logits, labels, description)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "calibrate", spy)
    quick_run(leaky, tmp_path / "clean", epochs=1)
    quick_run(leaky, tmp_path / "kept", epochs=1, keep_leaks=True)
    assert seen == [10, 11]


def test_runs_of_older_versions_open_and_go_on(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Their images.csv has three columns; equal contents are known from it all the same."""
    folder = write(tmp_path / "data")
    shutil.copy(folder / "train" / "oak" / "0.png", folder / "test" / "oak" / "same.png")
    run = quick_run(folder, tmp_path / "run", epochs=1)
    lines = [",".join(line.split(",")[:3]) for line in run.images_file.read_text().splitlines()]
    run.images_file.write_text("\n".join(lines) + "\n")
    old = run.update(files={})
    assert old.leaked("test") == {"test/oak/same.png": "copy"}
    assert old.predictions("test").groups is None
    longer = resume(old.path, extend=1)
    assert [row["epoch"] for row in longer.history()] == [1, 2]
    assert "leaked" in rows_of(longer)[0]


def test_a_split_of_an_older_version_is_gone_on_with(tmp_path: Path) -> None:
    """It did not look for near copies, so that one may be on both sides."""
    import tellapart.verbs.preparation as verb

    folder, seed = tmp_path / "data", 0
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(12):
            image = photograph(seed)
            image.save(folder / name / f"{number}.png")
            resized(image, folder / name / f"{number}-again.jpg")
            seed += 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            verb, "split_apart",
            lambda table, copies, **shares: verb.split(table, **shares),
        )  # fmt: skip
        old = quick_run(folder, tmp_path / "run", epochs=1)
    parts = {row["path"]: row["part"] for row in rows_of(old)}
    longer = resume(old.path, extend=1)
    assert {row["path"]: row["part"] for row in rows_of(longer)} == parts
    assert longer.metrics["test_with_leaked"]["images"] > longer.metrics["test"]["images"]


@pytest.mark.parametrize(
    ("old", "new"), [(",near", ",nearly"), (",leaked", ",leak"), (",,", ",one,")]
)
def test_damaged_images_are_refused(clean_run: Run, tmp_path: Path, old: str, new: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(clean_run.path, folder)
    run = open_run(folder).update(files={})
    run.images_file.write_text(run.images_file.read_text().replace(old, new, 1))
    with pytest.raises(RunError, match=r"images\.csv is damaged"):
        open_run(folder).predictions("test")


# --- evaluate -----------------------------------------------------------------------------------


@pytest.fixture
def own_copy(clean_run: Run, tmp_path: Path) -> Run:
    folder = tmp_path / "run"
    shutil.copytree(clean_run.path, folder)
    return open_run(folder)


@pytest.fixture
def new_images(leaky: Path, tmp_path: Path) -> Path:
    """Ten new pictures, three changed copies of what was trained on, one of validation."""
    folder = tmp_path / "new"
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(5):
            photograph(5000 + 10 * label + number).save(folder / name / f"{number}.png")
    for number in range(3):
        with Image.open(leaky / "train" / "ash" / f"{number + 4}.png") as image:
            CHANGES[number](image, folder / "ash" / f"seen{number}.jpg")
    shutil.copy(leaky / "validation" / "oak" / "2.png", folder / "oak" / "seen.png")
    return folder


def test_an_evaluation_is_without_what_the_run_was_made_with(
    own_copy: Run, new_images: Path
) -> None:
    found = evaluate(own_copy, new_images)
    assert found.metrics["new"].images == 10
    assert found.metrics["new_with_leaked"].images == 14
    assert len(found.predictions["new"]) == 14
    assert any(
        "4 of 14 images of new (28.6 %)" in warning
        and "1 byte for byte and 3 slightly changed; its numbers are without them" in warning
        for warning in found.warnings
    )
    assert found.report is not None
    with (found.report.parent / "seen.csv").open(newline="") as file:
        seen = {row["path"]: row["seen"] for row in csv.DictReader(file)}
    assert seen == {
        "ash/seen0.jpg": "near", "ash/seen1.jpg": "near", "ash/seen2.jpg": "near",
        "oak/seen.png": "copy",
    }  # fmt: skip


def test_an_evaluation_can_keep_them(own_copy: Run, new_images: Path) -> None:
    found = evaluate(own_copy, new_images, keep_leaks=True)
    assert found.metrics["new"].images == 14
    assert found.metrics["new_without_leaked"].images == 10
    assert any("too good by that" in warning for warning in found.warnings)


def test_an_evaluation_on_training_images_alone_gives_no_number(
    own_copy: Run, leaky: Path, tmp_path: Path
) -> None:
    shutil.copytree(leaky / "train", tmp_path / "again")
    found = evaluate(own_copy, tmp_path / "again")
    assert found.metrics["again"].accuracy.value is None
    assert found.metrics["again_with_leaked"].images == 16
    assert any("no accuracy: all 16 again images were seen" in line for line in found.lines())


def test_the_runs_own_test_part_is_no_leak_but_for_its_leaks(own_copy: Run, leaky: Path) -> None:
    found = evaluate(own_copy, leaky)
    assert found.metrics["test"].images == 12
    value = own_copy.metrics["test"]["accuracy"]["value"]
    assert found.metrics["test"].accuracy.value == pytest.approx(value)


def test_a_run_without_thumbnails_knows_equal_files_and_says_so(
    own_copy: Run, new_images: Path
) -> None:
    own_copy.thumbnails_file.unlink()
    found = evaluate(own_copy.update(files={}), new_images)
    assert found.metrics["new"].images == 13
    assert any("only byte for byte" in warning for warning in found.warnings)


def test_damaged_thumbnails_are_refused(own_copy: Run, new_images: Path) -> None:
    own_copy.thumbnails_file.write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"thumbnails\.npy was changed"):
        evaluate(own_copy, new_images)
    with pytest.raises(RunError, match=r"thumbnails\.npy is damaged"):
        evaluate(own_copy.update(files={}), new_images)


# --- compare ------------------------------------------------------------------------------------


def test_a_comparison_is_on_clean_images(leaky: Path, clean_run: Run, tmp_path: Path) -> None:
    kept = quick_run(leaky, tmp_path / "kept", epochs=1, keep_leaks=True)
    mixed = compare([clean_run, kept], out=tmp_path / "mixed")
    assert mixed.result.images == 12
    assert any("5 test images were also seen" in note for note in mixed.notes)
    other = quick_run(leaky, tmp_path / "other", epochs=1, keep_leaks=True)
    both = compare([kept, other], out=tmp_path / "both")
    assert both.result.images == 17
    assert any("keep such images" in note for note in both.notes)


def test_nothing_is_compared_where_all_was_seen(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", test=0)
    for name in CLASSES:
        shutil.copy(folder / "train" / name / "0.png", folder / "test" / name / "0.png")
    runs = [quick_run(folder, tmp_path / name, epochs=1) for name in "ab"]
    with pytest.raises(RunError, match="nothing is left to compare"):
        compare(runs, out=tmp_path / "page")


def test_of_pictures_that_are_all_alike_an_evaluation_says_what_is_not_known(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(7)
    pattern = random.normal(128, 40, (64, 64, 3))
    for part, count in (("train", 20), ("validation", 8), ("test", 4)):
        for name in CLASSES:
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(pattern + random.normal(0, 8, pattern.shape), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    run = quick_run(tmp_path / "data", tmp_path / "run", epochs=1)
    assert "test_with_leaked" not in run.metrics
    assert any("all so alike" in sentence for sentence in run.info.data.audit)
    (warning,) = [w for w in evaluate(run, tmp_path / "data" / "test").warnings if "byte" in w]
    assert warning == (
        "Of the images that this run was made with only byte for byte copies can be told: they are "
        "all so alike that a changed copy of one cannot be told from another."
    )
