"""Cross-validated runs: every image predicted by a model that did not see it, nor a copy of it."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tellapart as ta
from tellapart.cli import app
from tellapart.errors import DataError, RecipeError, RunError, TellapartError
from tellapart.progress import SilentProgress
from tellapart.run import Run
from tellapart.verbs.train import resume, train

sys.path.insert(0, str(Path(__file__).parent))

from trained import quick_run

PROBE = {"recipe": "probe", "settings": ["data.image_size=64"]}


@pytest.fixture(scope="module")
def photos(image_folder: Callable[..., Path]) -> Path:
    return image_folder(per_class=30)


@pytest.fixture(scope="module")
def probe_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(photos, runs=tmp_path_factory.mktemp("runs"), cross_validate=5, **PROBE)


@pytest.fixture(scope="module")
def fit_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick_run(photos, tmp_path_factory.mktemp("runs") / "run", cross_validate=3)


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.predictions_file("test").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["probe_run", "fit_run"])
def test_the_numbers_are_those_of_all_images(
    name: str, photos: Path, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(name)
    number = 5 if name == "probe_run" else 3
    rows = rows_of(run)
    assert sorted(row["path"] for row in rows) == sorted(
        file.relative_to(photos).as_posix() for file in photos.rglob("*.jpg")
    )
    assert {row["fold"] for row in rows} == {str(fold + 1) for fold in range(number)}
    right = [row["label"] == row["prediction"] for row in rows]
    assert run.metrics["test"]["images"] == 60
    assert run.metrics["test"]["cross_validated"] == number
    assert run.accuracy("test").value == pytest.approx(np.mean(right))
    assert "validation" not in run.metrics
    assert "cross_validated" not in run.metrics["train"]
    validated = run.info.cross_validation
    assert validated is not None and sum(fold.images for fold in validated.folds) == 60
    assert sum(fold.right for fold in validated.folds) == sum(right)
    assert {image.part for image in run.images} == {"train"}
    assert run.status == "complete" and not run.checkpoint_folder.exists()


@pytest.mark.parametrize("name", ["probe_run", "fit_run"])
def test_it_says_so_wherever_the_number_is_read(name: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    said = "very image was predicted by a model that did not see it; the model in this folder was "
    assert said in run.report.read_text("utf-8")
    assert "Cross-validated accuracy" in run.report.read_text("utf-8")
    assert any(said in line for line in run.lines())
    assert len(run.to_json()["cross_validation"]["folds"]) >= 3
    json.dumps(run.to_json())


def test_the_classifier_has_what_the_folds_chose(probe_run: Run, fit_run: Run) -> None:
    folds = probe_run.info.cross_validation.folds
    strengths = sorted(fold.strength for fold in folds)
    assert probe_run.info.facts["strength"] == strengths[2]
    assert probe_run.info.facts["strength_chosen_by"] == "given"
    epochs = sorted(fold.epochs[0] for fold in fit_run.info.cross_validation.folds)
    assert fit_run.info.stages[0].best_epoch == fit_run.info.stages[0].last_epoch == epochs[1]
    for run in (probe_run, fit_run):
        assert sum(run.info.data.counts["train"].values()) == 60
        assert run.recipe.data.cross_validate in (3, 5)  # the recipe repeats it
        assert any("Trained on all images" in note for note in run.info.notes)


def test_other_verbs_take_such_a_run(
    probe_run: Run, fit_run: Run, photos: Path, tmp_path: Path
) -> None:
    shown = ta.evaluate(probe_run)
    assert shown.metrics["test"].accuracy == probe_run.accuracy("test")
    assert shown.predictions["test"].folds is not None
    assert "60 " in " ".join(ta.compare([probe_run, fit_run], out=tmp_path / "compared").lines())
    answers = probe_run.predict([photos / "red" / "0000.jpg"], unknown=True)
    assert len(list(answers.lines())) >= 1
    again = ta.evaluate(probe_run, photos)  # it was trained on all of them
    assert "seen in training" in again.metrics[again.part].accuracy.reason
    before = probe_run.report.read_bytes()
    ta.write_report(probe_run)
    assert (
        probe_run.report.read_bytes().count(b"Cross-validated accuracy")
        == before.count(b"Cross-validated accuracy")
        > 0
    )
    assert ta.explain(probe_run, count=1).images


def test_a_cross_validated_run_beside_a_plain_one(
    probe_run: Run, photos: Path, tmp_path: Path
) -> None:
    plain = train(photos, runs=tmp_path, **PROBE)
    compared = ta.compare([probe_run, plain], out=tmp_path / "compared", shared_only=True)
    shared = plain.metrics["test"]["images"]
    assert any(f"{shared} " in line for line in compared.lines())


def test_nothing_is_learned_from_copies_of_noise_with_random_labels(tmp_path: Path) -> None:
    """If copies, which have one label, were on both sides of a fold, nearly all would be right."""
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(30):
        pixels = random.integers(0, 256, (48, 48, 3), dtype=np.uint8)
        name = "heads" if number % 2 else "tails"
        for copy in range(2):
            file = tmp_path / "photos" / name / f"{number}-{copy}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    run = train(tmp_path / "photos", run=tmp_path / "run", cross_validate=5, **PROBE)
    assert run.metrics["train"]["accuracy"]["value"] > 0.95
    assert run.accuracy("test").value < 0.75
    fold = {row["path"]: row["fold"] for row in rows_of(run)}
    for path, number in fold.items():
        assert fold[path.replace("-0.", "-1.")] == number
    page = run.report.read_text("utf-8")
    assert "Nothing was learned" in page or "Too few images to tell it from guessing" in page
    assert "copies kept together" in " ".join(run.info.data.notes)


def test_other_heads_choose_once_more_on_all_images(photos: Path, tmp_path: Path) -> None:
    settings = [*PROBE["settings"], "probe.head=discriminant"]
    run = train(photos, run=tmp_path / "run", recipe="probe", settings=settings, cross_validate=3)
    assert run.metrics["test"]["images"] == 60 and run.learning_curve is None
    assert run.info.facts["shrinkage_chosen_by"] == "cross-validation"
    assert run.info.cross_validation.procedure is None


def test_what_more_images_would_buy_stands_in_the_run(probe_run: Run) -> None:
    curve = probe_run.learning_curve
    assert curve is not None and curve.images == 60 and curve.points[-1].images == 48
    assert "learning_curve.json" in probe_run.info.files
    assert "What more images would buy" in probe_run.report.read_text("utf-8")
    validated = probe_run.info.cross_validation
    assert validated.repeats == 10 and validated.procedure["low"] <= validated.procedure["value"]


def test_a_changed_curve_is_found_out(probe_run: Run, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(probe_run.path, tmp_path / "copy"))
    text = copy.curve_file.read_text("utf-8").replace('"images": 60', '"images": 61')
    copy.curve_file.write_text(text)
    with pytest.raises(RunError, match=r"learning_curve\.json was changed"):
        _ = copy.learning_curve


def test_groups_stay_together(photos: Path, tmp_path: Path) -> None:
    run = quick_run(photos, tmp_path / "run", epochs=1, cross_validate=3, group_by=r"/(\d\d\d)\d")
    fold = {row["path"]: row["fold"] for row in rows_of(run)}
    for path, number in fold.items():  # 0000 to 0009 of both classes
        tens = path.split("/")[1][:3]
        assert {f for p, f in fold.items() if p.split("/")[1][:3] == tens} == {number}
    assert run.info.cross_validation is not None
    with pytest.raises(DataError, match="3 groups of images that belong together"):
        quick_run(photos, tmp_path / "more", cross_validate=5, group_by=r"/(\d\d\d)\d")
    assert not (tmp_path / "more").exists()


def test_the_folds_decide_each_by_its_own_images(photos: Path, tmp_path: Path) -> None:
    run = train(photos, run=tmp_path / "run", cross_validate=3, positive="red", cost_miss=3,
                **PROBE)  # fmt: skip
    folds = run.info.cross_validation.folds
    thresholds = [fold.decision["threshold"] for fold in folds]
    assert run.decision is not None and run.decision.positive == "red"
    for row in rows_of(run):
        called = float(row["red"]) >= thresholds[int(row["fold"]) - 1]
        assert row["prediction"] == ("red" if called else "blue")
    stored = run.predictions("test")
    assert [stored.classes[k] for k in stored.predicted] == [
        row["prediction"] for row in rows_of(run)
    ]


class StopsInFold:
    """Ctrl-C when the training of a fold begins."""

    def __init__(self, fold: int) -> None:
        self._inner, self._name = SilentProgress(), f"Fold {fold} of "

    def stage(self, name: str, total: int | None, unit: str = "") -> object:
        if name.startswith(self._name):
            raise KeyboardInterrupt
        return self._inner.stage(name, total, unit)

    def note(self, text: str) -> None:
        return None


def test_ctrl_c_keeps_the_folds_that_are_done(
    fit_run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        quick_run(photos, tmp_path / "run", cross_validate=3, progress=StopsInFold(3))
    run = Run(tmp_path / "run")
    assert run.status == "running"
    assert {p.name for p in run.checkpoint_folder.glob("fold-*.json")} == {
        "fold-1.json", "fold-2.json"
    }  # fmt: skip
    shutil.copytree(run.path, tmp_path / "damaged")
    trained: list[int] = []
    from tellapart.verbs import cross_validation

    whole = cross_validation.train_fold
    monkeypatch.setattr(
        cross_validation, "train_fold", lambda task, fold: trained.append(fold) or whole(task, fold)
    )
    done = resume(run)
    assert trained == [3]
    assert done.metrics == fit_run.metrics  # as if it had not been interrupted
    assert done.status == "complete"

    (tmp_path / "damaged" / "checkpoint" / "fold-2.json").write_text("{}")
    with pytest.raises(RunError, match=r"fold-2\.json is damaged; delete it"):
        resume(tmp_path / "damaged")
    (tmp_path / "damaged" / "checkpoint" / "fold-2.json").unlink()
    assert resume(tmp_path / "damaged").metrics == fit_run.metrics


def test_ctrl_c_before_a_fold_is_done_leaves_no_run(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        quick_run(photos, tmp_path / "run", cross_validate=3, progress=StopsInFold(1))
    assert not (tmp_path / "run").exists()


def test_given_test_images_are_left_alone(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder(parts={"train": 9, "validation": 6, "test": 5})
    run = quick_run(folder, tmp_path / "run", epochs=1, cross_validate=3)
    assert run.metrics["test"]["images"] == 30
    assert not any(row["path"].startswith("test/") for row in rows_of(run))
    assert any("10 test images of the folder are left alone" in n for n in run.info.data.notes)
    assert ta.evaluate(run, folder).metrics["test"].images == 10


def test_what_does_not_go_together_is_refused(photos: Path, fit_run: Run, tmp_path: Path) -> None:
    for options, error, message in (
        ({"cross_validate": 1}, RecipeError, "--cross-validate 1: give 2 folds or more"),
        ({"cross_validate": 31}, DataError, "class 'blue' has 30 images.*31th|30 or less"),
        ({"cross_validate": 3, "from_run": fit_run}, RecipeError, "--from with --cross-validate"),
        ({"cross_validate": 3, "devices": 2}, RecipeError, "leave --devices out"),
    ):
        with pytest.raises(error, match=message):
            quick_run(photos, tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RunError, match=r"was cross-validated.*none can be added"):
        resume(fit_run, extend=2)
    with pytest.raises(RunError, match="is finished"):
        resume(fit_run)


def test_a_tuning_has_one_validation_part(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cross-validate the recipe that wins"):
        ta.tune(photos, recipe="probe", settings=["data.cross_validate=3"], run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cross-validate", "5", "--test", "0.2"], "--test has no effect beside --cross-val"),
        (["--cross-validate", "5", "--tensorboard"], "--tensorboard has no effect beside"),
    ],
)
def test_options_without_effect_are_named(
    words: list[str], message: str, photos: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["train", str(photos), "--runs", str(tmp_path), *words])
    assert isinstance(done.exception, TellapartError) and message in str(done.exception)
