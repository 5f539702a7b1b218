"""The main job from a folder to a run, by both ways of training."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.errors import DataError, RecipeError, RunError, TellapartError
from tellapart.prediction.classifier import (
    Description,
    classifier_in_memory,
    load_classifier,
    save_classifier,
)
from tellapart.progress import SilentProgress
from tellapart.run import Run, training_lock
from tellapart.training.outcome import Task, Trained
from tellapart.training.scoring import Scored, score_validation
from tellapart.training.ways import train_task
from tellapart.verbs.train import resume, train

PROBE = {"recipe": "probe", "settings": ["data.image_size=64"]}
SCRATCH = {
    "recipe": "cifar-baseline-sgd",
    "settings": [
        "training.epochs=3",
        "data.train_folders=[]",
        "data.validation_folders=[]",
        "data.test_folders=[]",
    ],
}


@pytest.fixture(scope="module")
def photos(image_folder: Callable[..., Path]) -> Path:
    return image_folder(per_class=40)


@pytest.fixture(scope="module")
def probe_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(photos, runs=tmp_path_factory.mktemp("runs"), **PROBE)


def test_a_run_holds_all_that_is_promised(probe_run: Run) -> None:
    names = {p.relative_to(probe_run.path).as_posix() for p in probe_run.path.rglob("*")}
    assert {
        "recipe.yaml", "run.json", "model.safetensors", "metrics.json", "report.html",
        "predictions/validation.csv", "predictions/test.csv", "figures/confusion_matrix.svg",
        "figures/confusion_matrix.png",
    } <= names  # fmt: skip
    assert not [name for name in names if name.endswith(".tmp")]
    modes = {file.stat().st_mode for file in probe_run.path.iterdir() if file.is_file()}
    assert len(modes) == 1  # whoever may read the report may use the model
    info = probe_run.info
    assert info.status == "complete"
    assert info.test_evaluations == 1
    assert info.machine.processor and info.data.fingerprint and info.seconds["total"] > 0
    assert probe_run.metrics["test"]["accuracy"]["value"] > 0.8  # the made classes are easy


def test_the_metrics_are_those_of_the_predictions_table(probe_run: Run) -> None:
    with probe_run.predictions_file("test").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = [row["label"] == row["prediction"] for row in rows]
    assert probe_run.metrics["test"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    for row in rows:
        assert row["path"].startswith(row["label"] + "/")  # the folder is the label


def test_the_command_says_of_its_number_what_the_page_says(probe_run: Run) -> None:
    told = probe_run.info.verdict
    assert told is not None
    assert f"believe it? {told.answer}" in list(probe_run.lines())
    page = unescape(probe_run.report.read_text("utf-8")).replace("\N{NO-BREAK SPACE}", " ")
    for sentence in (told.answer.partition(": ")[2], *told.doubts):
        assert sentence[1:] in page


def test_the_same_seed_gives_the_same_metrics(photos: Path, probe_run: Run, tmp_path: Path) -> None:
    again = train(photos, runs=tmp_path, **PROBE)
    first, second = (run.path / "metrics.json" for run in (probe_run, again))
    assert first.read_bytes() == second.read_bytes()
    other = train(photos, runs=tmp_path, seed=1, **PROBE)
    assert other.predictions_file("test").read_text() != (
        probe_run.predictions_file("test").read_text()
    )


def test_what_came_from_the_cache_is_written_down(
    photos: Path, tmp_path: Path, fresh_cache: Path
) -> None:
    """So that the time of a run is not held against that of one that had more to do."""
    cold = train(photos, runs=tmp_path, **PROBE)
    assert cold.info.from_cache == {"pixels": False, "features": False, "network": False}
    warm = train(photos, runs=tmp_path, **PROBE)
    assert warm.info.from_cache == {"pixels": True, "features": True, "network": True}
    (photos.parent / "part").mkdir()
    shutil.copytree(photos / "red", photos.parent / "part/red")
    shutil.copytree(photos / "blue", photos.parent / "part/blue")
    (photos.parent / "part/blue/0001.jpg").unlink()
    other = train(photos.parent / "part", runs=tmp_path, **PROBE)
    assert other.info.from_cache == {"pixels": True, "features": False, "network": True}
    scratch = train(photos, runs=tmp_path, **SCRATCH)
    assert scratch.info.from_cache == {"pixels": False}  # of 32 x 32 pixels


def test_the_recipe_of_a_run_repeats_it(photos: Path, probe_run: Run, tmp_path: Path) -> None:
    again = train(photos, recipe=probe_run.path / "recipe.yaml", runs=tmp_path)
    assert again.metrics == probe_run.metrics


def test_every_path_gives_a_file_the_same_probabilities(photos: Path, probe_run: Run) -> None:
    """Training's own predictions, predict on one file, and predict on all of them."""
    with probe_run.predictions_file("test").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stored = {row["path"]: float(row["red"]) for row in rows}
    everything = {
        Path(a.path).relative_to(photos).as_posix(): a.probabilities["red"]
        for a in ta.predict(probe_run.path, photos)
    }
    path = rows[0]["path"]
    single = ta.predict(probe_run.path, photos / path)[0].probabilities["red"]
    for name, value in stored.items():
        assert everything[name] == pytest.approx(value, abs=1e-5)
    assert single == pytest.approx(stored[path], abs=1e-5)


def test_mirrored_views_are_averaged_by_every_path(photos: Path, tmp_path: Path) -> None:
    settings = [*PROBE["settings"], "probe.views=[original, flip]"]
    run = train(photos, runs=tmp_path, recipe="probe", settings=settings)
    with run.predictions_file("test").open(newline="") as file:
        stored = {row["path"]: float(row["red"]) for row in csv.DictReader(file)}
    answers = ta.predict(run.path, [photos / path for path in stored])
    assert [a.probabilities["red"] for a in answers] == pytest.approx(
        list(stored.values()), abs=1e-5
    )


def test_turned_photographs_are_read_upright_by_training_and_prediction(
    photos: Path, probe_run: Run, tmp_path: Path
) -> None:
    source = next(p for p in sorted(photos.rglob("*.jpg")))
    plain = tmp_path / "plain.png"
    turned = tmp_path / "turned.png"
    with Image.open(source) as image:
        image.save(plain)
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise for display
        image.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    first, second = ta.predict(probe_run.path, [plain, turned])
    assert first.probabilities == second.probabilities


def test_scratch_training_resumes_and_extends(photos: Path, tmp_path: Path) -> None:
    run = train(photos, runs=tmp_path, **SCRATCH)
    before = run.history()
    assert [row["epoch"] for row in before] == [1, 2, 3]
    with pytest.raises(RunError, match="is finished"):
        resume(run.path)
    with pytest.raises(RunError, match="--extend -1"):
        resume(run.path, extend=-1)
    longer = resume(run.path, extend=2)
    assert [row["epoch"] for row in longer.history()] == [1, 2, 3, 4, 5]
    assert longer.history()[:3] == before


def test_an_extension_that_dies_leaves_the_finished_run_as_it_was(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tellapart.training import fit as fit_module

    run = train(photos, runs=tmp_path, **SCRATCH)
    before = {f.name: f.read_bytes() for f in (run.model_file, run.path / "metrics.json")}
    take_epoch = fit_module.train_epoch
    dies_in = 4

    def dying(plan, step, course, epoch, *others):
        if epoch == dies_in:
            raise SystemExit  # nothing catches it, as nothing catches a kill
        return take_epoch(plan, step, course, epoch, *others)

    monkeypatch.setattr(fit_module, "train_epoch", dying)
    with pytest.raises(SystemExit):
        resume(run.path, extend=2)
    with pytest.raises(RunError, match="is finished"):  # nothing was added yet
        resume(run.path)
    dies_in = 5
    with pytest.raises(SystemExit):
        resume(run.path, extend=2)
    left = ta.open_run(run.path)
    assert left.status == "complete" and [r["epoch"] for r in left.history()] == [1, 2, 3, 4]
    assert {f: (run.path / f).read_bytes() for f in before} == before
    assert ta.predict(run.path, [next(photos.rglob("*.jpg"))])[0].probabilities
    dies_in = 0
    longer = resume(run.path)  # one of two epochs is left
    assert longer.status == "complete"
    assert [row["epoch"] for row in longer.history()] == [1, 2, 3, 4, 5]


def test_a_probe_begins_from_no_run(photos: Path, probe_run: Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="method 'probe' trains no network; leave --from out"):
        train(photos, runs=tmp_path, from_run=probe_run.path, **PROBE)
    assert not list(tmp_path.iterdir())


def test_a_run_of_changed_images_is_not_resumed(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder(per_class=20)
    run = train(folder, runs=tmp_path, **SCRATCH)
    Image.new("RGB", (40, 32), "red").save(folder / "red" / "new.png")
    with pytest.raises(RunError, match="have changed"):
        resume(run.path, extend=1)


def test_a_run_of_changed_labels_parts_or_classes_is_not_resumed(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder(per_class=20)
    run = train(folder, runs=tmp_path, **SCRATCH)
    one, other = run.classes[:2]
    last = sorted((folder / one).iterdir())[-1]
    # The same pictures in the same order, one of them under another class.
    moved = last.rename(folder / other / f"0{last.suffix}")
    with pytest.raises(RunError, match=r"classes, parts or names of the images .* have changed"):
        resume(run.path, extend=1)
    moved.rename(last)
    (folder / one).rename(folder / "azure")
    with pytest.raises(RunError, match=f"they were {one}, .* and are azure, .*put them back"):
        resume(run.path, extend=1)
    (folder / "azure").rename(folder / one)
    recipe = run.path / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("seed: 0", "seed: 1"))
    run.update(files={})  # else the changed recipe is what is said
    with pytest.raises(RunError, match="classes, parts or names of the images"):
        resume(run.path, extend=1)
    recipe.write_text(text)
    run.update(data=replace(run.info.data, assignment=""))  # as in a run of an older version
    assert [row["epoch"] for row in resume(run.path, extend=1).history()] == [1, 2, 3, 4]


def test_a_run_is_trained_by_one_at_a_time(copy: Run) -> None:
    with training_lock(copy), pytest.raises(RunError, match="trained by another process"):
        resume(copy.path, extend=1)
    assert [row["epoch"] for row in resume(copy.path, extend=1).history()] == [1, 2, 3, 4]


def test_a_folder_that_is_taken_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("keep")
    for place, words in ((tmp_path / "taken", "not empty"), (tmp_path / "taken/mine.txt", "file")):
        with pytest.raises(RunError, match=words):  # the images are not even looked for
            train(tmp_path / "no-images", run=place)


def test_one_setting_may_be_given_as_a_text(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.image_size=0"):
        train(tmp_path, recipe="probe", settings="data.image_size=0")


def test_images_that_are_only_decoded_otherwise_are_the_same_images(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an update of Pillow: the pixels' key is new, the files are not."""
    run = train(image_folder(per_class=20), runs=tmp_path, **SCRATCH)
    monkeypatch.setattr("PIL.__version__", "99.0")
    said: list[str] = []

    class Notes(SilentProgress):
        def note(self, sentence: str) -> None:
            said.append(sentence)

    longer = resume(run.path, extend=1, progress=Notes())
    assert [row["epoch"] for row in longer.history()] == [1, 2, 3, 4]
    assert any("are decoded by another version" in sentence for sentence in said)

    # The same files in other parts would be tested on what they were trained on.
    rows = run.images_file.read_text().replace("\ntest,", "\ntrain,", 1)
    run.images_file.write_text(rows)
    info = longer.info  # as in a run of an older version, which has no digests
    longer.update(files={}, data=replace(info.data, assignment=""))
    monkeypatch.setattr("PIL.__version__", "99.1")
    with pytest.raises(RunError, match="divided into other parts"):
        resume(run.path, extend=1)


def test_a_network_can_start_from_an_earlier_run(photos: Path, tmp_path: Path) -> None:
    first = train(photos, runs=tmp_path, **SCRATCH)
    second = train(photos, runs=tmp_path, from_run=first.path, **SCRATCH)
    assert second.info.parent == str(first.path)
    assert second.history()[0]["loss"] < first.history()[0]["loss"]


def test_validation_that_lacks_the_first_class_is_matched_by_name(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder(
        classes=("blue", "green", "red"), parts={"train": 30, "validation": 8, "test": 8}
    )
    shutil.rmtree(folder / "validation" / "blue")
    run = train(folder, runs=tmp_path, **PROBE)
    assert run.classes == ("blue", "green", "red")
    assert run.metrics["validation"]["accuracy"]["value"] > 0.8
    assert run.metrics["validation"]["per_class"]["blue"]["recall"]["value"] is None


def test_leaked_test_images_are_said_and_scored_without(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder(parts={"train": 20, "validation": 8, "test": 8})
    source = sorted((folder / "train" / "red").iterdir())[0]
    shutil.copy(source, folder / "test" / "red" / "again.jpg")
    run = train(folder, runs=tmp_path, **PROBE)
    assert any("also in train" in sentence for sentence in run.info.data.audit)
    assert run.metrics["test"]["images"] <= 16
    assert run.metrics["test_with_leaked"]["images"] == 17


def test_pictures_of_the_same_are_kept_in_one_part(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder(per_class=30, size=(96, 96))
    for source in sorted((folder / "red").iterdir())[:10]:
        with Image.open(source) as image:  # another file of the same picture
            image.resize((80, 80)).save(source.with_name(f"{source.stem}-small.jpg"), quality=80)
    run = train(folder, runs=tmp_path, group_by="near-duplicates", **PROBE)
    assert ta.explain(run, count=1).images
    assert ta.inspect(folder, group_by="near-duplicates", out=tmp_path / "look").report.is_file()
    parts: dict[str, set[str]] = {}
    for part in ("train", "validation", "test"):
        with run.predictions_file(part).open(newline="") as file:
            for row in csv.DictReader(file):
                name = Path(row["path"]).stem.removesuffix("-small") + row["label"]
                parts.setdefault(name, set()).add(part)
    assert len(parts) == 60
    assert all(len(found) == 1 for found in parts.values())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"recipe": "autoo"}, RecipeError, "Did you mean 'auto'"),
        ({"settings": ["training.epoch=3"]}, RecipeError, "Did you mean 'training.epochs'"),
        ({"fit": "stretch"}, RecipeError, "squash"),
        ({"device": "tpu9"}, TellapartError, "tpu9"),
        ({"validation": 1000}, DataError, "validation"),
        ({"classes": ("blue", "rde")}, DataError, "Did you mean 'red'"),
        ({"exclude": "missing.csv"}, DataError, "missing.csv"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing_behind(
    photos: Path,
    tmp_path: Path,
    arguments: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        train(photos, runs=tmp_path / "runs", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "runs").exists()


def test_many_train_images_are_predicted_by_a_sample(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellapart.training.scoring._TRAIN_VIEWS", 20)
    monkeypatch.setattr("tellapart.training.scoring._LEAST_TRAIN_IMAGES", 15)
    folder = image_folder(per_class=40)
    settings = [*SCRATCH["settings"], "training.epochs=1", "test_time=flip"]
    run = train(folder, runs=tmp_path, recipe=SCRATCH["recipe"], settings=settings)
    assert run.metrics["train"]["images"] == 15  # 20 views are 10 images, too few
    with run.predictions_file("train").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["path"] for row in rows}) == 15
    assert all(row["path"].startswith(row["label"] + "/") for row in rows)


def test_json_metrics_have_no_nan(probe_run: Run) -> None:
    constants: list[str] = []  # NaN, Infinity, -Infinity
    text = (probe_run.path / "metrics.json").read_text("utf-8")
    assert json.loads(text, parse_constant=constants.append)["test"]["images"] > 0
    assert constants == []


# --- what a run says of itself, and what is left where something goes wrong -----------------------


@pytest.fixture(scope="module")
def scratch_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(photos, runs=tmp_path_factory.mktemp("runs"), **SCRATCH)


@pytest.fixture
def copy(scratch_run: Run, tmp_path: Path) -> Run:
    return Run(shutil.copytree(scratch_run.path, tmp_path / "copy"))


class Stopping(SilentProgress):
    """Ctrl-C after an epoch."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def note(self, text: str) -> None:
        if text.startswith(f"epoch {self._epoch}:"):
            raise KeyboardInterrupt


def test_each_reading_of_the_test_part_is_counted(copy: Run) -> None:
    assert copy.info.test_evaluations == 1
    longer = resume(copy, extend=1)
    assert longer.info.test_evaluations == 2
    page = longer.report.read_text("utf-8")
    assert "2 times" in page and "read once" not in page


def test_the_machine_and_the_engine_that_predicted_are_written_down(scratch_run: Run) -> None:
    assert scratch_run.info.device == scratch_run.info.machine.device == "cpu"
    predicted = scratch_run.info.prediction
    assert predicted is not None
    assert predicted.engine in ("OpenVINO", "PyTorch")
    assert predicted.precision in ("bf16", "f32")
    assert f"{predicted.engine} {predicted.precision}" in scratch_run.report.read_text("utf-8")


def test_an_interrupted_training_says_so_and_goes_on(
    photos: Path, scratch_run: Run, tmp_path: Path
) -> None:
    run = train(photos, runs=tmp_path, progress=Stopping(2), **SCRATCH)
    assert run.status == "interrupted"
    assert run.interruption == (
        f"stopped at epoch 2 of 3; go on with 'tellapart train --resume {run.path}'"
    )
    assert "stopped at epoch 2 of 3" in run.report.read_text("utf-8")
    whole = resume(run)
    assert (whole.status, whole.interruption) == ("complete", "")
    assert whole.metrics == scratch_run.metrics  # as if it had not been interrupted


def test_relative_paths_hold_from_another_working_folder(
    photos: Path, scratch_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.csv").write_text("path\nred/0000.jpg\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    shutil.copytree(scratch_run.path, tmp_path / "first")
    run = train(
        "photos", runs="runs", exclude="bad.csv", from_run="first", progress=Stopping(1), **SCRATCH
    )
    path = run.path.absolute()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(resume(path).history()) == 3
    assert ta.explain(path, count=1).images


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_before_its_first_epoch_leaves_no_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise failure

    monkeypatch.setattr("tellapart.training.by_fit.build_network", fail)
    with pytest.raises(type(failure)):
        train(photos, run=tmp_path / "run", **SCRATCH)
    assert not list(tmp_path.iterdir())


def test_what_fails_later_can_be_resumed(
    photos: Path, scratch_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tellapart.verbs.scoring.save_classifier", fail)
        with pytest.raises(OSError, match="No space"):
            train(photos, run=tmp_path / "run", **SCRATCH)
    assert resume(tmp_path / "run").metrics == scratch_run.metrics


@pytest.mark.parametrize("lost", ["checkpoint", "parent", "training"])
def test_a_refused_extension_leaves_the_run_as_it_was(
    copy: Run, photos: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    if lost == "checkpoint":
        shutil.rmtree(copy.checkpoint_folder)
        message = "checkpoint of .* is not there"
    elif lost == "parent":
        copy.update(parent=str(copy.path / "gone"))
        message = "no run folder .*gone"
    else:  # what only the training itself can refuse

        def refuse(*arguments: object, **options: object) -> None:
            raise RunError("another network")

        monkeypatch.setattr("tellapart.training.by_fit.build_network", refuse)
        message = "another network"
    before = (copy.path / "run.json").read_bytes()
    with pytest.raises(RunError, match=message):
        resume(copy.path, extend=2)
    assert (copy.path / "run.json").read_bytes() == before
    assert ta.predict(copy, photos / "red" / "0000.jpg")[0].prediction in copy.classes


def test_training_and_choosing_cannot_look_at_the_test_part(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the model is written once, with its temperature."""
    given: list[Task] = []
    saved: list[float] = []

    def spy_train(task: Task) -> Trained:
        given.append(task)
        return train_task(task)

    def spy_score(task: Task, trained: Trained) -> Scored:
        given.append(task)
        return score_validation(task, trained)

    def spy_save(file: Path, state: Any, description: Description) -> str:
        saved.append(description.temperature)
        return save_classifier(file, state, description)

    monkeypatch.setattr("tellapart.verbs.train.train_task", spy_train)
    monkeypatch.setattr("tellapart.verbs.train.score_validation", spy_score)
    monkeypatch.setattr("tellapart.verbs.scoring.save_classifier", spy_save)
    run = train(photos, runs=tmp_path, **SCRATCH)
    assert [sorted(task.rows) for task in given] == [["train", "validation"]] * 2
    assert saved == [load_classifier(run.model_file).description.temperature] != [1.0]
    assert run.info.temperature == saved[0]


def test_a_classifier_in_memory_answers_as_the_one_that_was_saved(
    scratch_run: Run, probe_run: Run
) -> None:
    for run in (scratch_run, probe_run):
        stored = load_classifier(run.model_file)
        held = classifier_in_memory(stored.state(), stored.description)
        size = (5, stored.preprocessing.height, stored.preprocessing.width, 3)
        pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        assert np.array_equal(held.logits(pixels), stored.logits(pixels))
        assert held._network_key == stored._network_key  # one engine serves both
