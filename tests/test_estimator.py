"""ImageClassifier keeps scikit-learn's promises, on image files."""

from __future__ import annotations

import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

import tellapart
from tellapart.errors import DataError, RecipeError
from tellapart.estimator import ImageClassifier

QUICK = ["data.image_size=64"]


@pytest.fixture(scope="module")
def files(image_folder: Callable[..., Path]) -> tuple[list[str], np.ndarray[Any, Any]]:
    folder = image_folder(per_class=16)
    paths = sorted(map(str, folder.rglob("*.jpg")))
    return paths, np.array([Path(path).parent.name for path in paths])


@pytest.fixture(scope="module")
def fitted(files: tuple[list[str], Any]) -> ImageClassifier:
    return ImageClassifier(settings=QUICK).fit(*files)


#: Those that need no table of numbers; scikit-learn leaves the others out by the tags.
CHECKS = (
    "check_estimator_cloneable",
    "check_estimator_repr", "check_estimator_tags_renamed", "check_get_params_invariance",
    "check_mixin_order", "check_no_attributes_set_in_init",
    "check_parameters_default_constructible", "check_set_params", "check_valid_tag_types",
)  # fmt: skip


@pytest.mark.parametrize("name", CHECKS)
def test_scikit_learn_s_own_checks(name: str) -> None:
    check = getattr(estimator_checks, name)
    assert check("ImageClassifier", ImageClassifier()) is None


def test_scikit_learn_finds_nothing_by_itself() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Can't test estimator")
        results = estimator_checks.check_estimator(ImageClassifier(), on_fail=None)
    assert [each["status"] for each in results] == ["passed"] * len(results) and results


def test_predictions_are_labels_and_probabilities(
    fitted: ImageClassifier, files: tuple[list[str], Any]
) -> None:
    paths, labels = files
    assert fitted.classes_.tolist() == ["blue", "red"]
    probabilities = fitted.predict_proba(paths)
    assert probabilities.shape == (32, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (fitted.predict(paths) == fitted.classes_[probabilities.argmax(axis=1)]).all()
    assert fitted.score(paths, labels) == np.mean(fitted.predict(paths) == labels) == 1.0
    # The order of the images is that of the answers, paths may be Path, and none is none.
    turned = fitted.predict_proba([Path(path) for path in reversed(paths)])
    np.testing.assert_array_equal(turned, probabilities[::-1])
    assert fitted.predict_proba([]).shape == (0, 2)
    assert "test" not in fitted.run_.metrics and fitted.run_.report.is_file()


@pytest.mark.parametrize("labels", [(0, 1), (10, 9), ("", "b"), (True, False), (1.5, 2.5)])
def test_labels_of_any_kind_come_back(
    labels: tuple[Any, Any], files: tuple[list[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, colours = files
    given = np.where(colours == "blue", labels[0], labels[1])
    if isinstance(labels[0], float):
        with pytest.raises(ValueError, match="Unknown label type"):
            ImageClassifier(settings=QUICK).fit(paths, given)
        return
    found = ImageClassifier(settings=QUICK).fit(paths, given)
    assert found.classes_.dtype == given.dtype
    assert found.classes_.tolist() == sorted(set(given.tolist()))
    assert (found.predict(paths) == given).all()


def test_a_pickle_works_where_the_run_is_gone(files: tuple[list[str], Any], tmp_path: Path) -> None:
    original = ImageClassifier(settings=QUICK).fit(*files)
    expected = original.predict_proba(files[0])
    content = pickle.dumps(original)
    place = original.run_.path
    del original
    shutil.rmtree(place, ignore_errors=True)
    again = pickle.loads(content)  # noqa: S301  made here
    np.testing.assert_array_equal(again.predict_proba(files[0]), expected)
    kept = again.keep(tmp_path / "kept")
    assert (kept.path / "model.safetensors").is_file()


def test_it_goes_into_scikit_learn_s_tools(files: tuple[list[str], Any]) -> None:
    classifier = ImageClassifier(settings=QUICK)
    same = clone(classifier)
    assert same.get_params() == classifier.get_params() and not hasattr(same, "classes_")
    scores = cross_val_score(classifier, *files, cv=2)
    assert scores.shape == (2,) and scores.mean() > 0.9
    pipeline = make_pipeline(FunctionTransformer(list), classifier)
    grid = GridSearchCV(pipeline, {"imageclassifier__seed": [0, 1]}, cv=2)
    grid.fit(np.array(files[0]), files[1])
    assert grid.best_score_ > 0.9
    assert grid.predict_proba(files[0][:3]).shape == (3, 2)


def test_a_folder_of_one_s_own_holds_the_run(files: tuple[list[str], Any], tmp_path: Path) -> None:
    found = ImageClassifier(settings=QUICK, run=tmp_path / "run").fit(*files)
    assert tellapart.open_run(tmp_path / "run").path == found.run_.path


def test_mistakes(files: tuple[list[str], Any], fitted: ImageClassifier, tmp_path: Path) -> None:
    paths, labels = files
    with pytest.raises(NotFittedError):
        ImageClassifier().predict(paths)
    with pytest.raises(ValueError, match="32 images and 31 labels"):
        ImageClassifier().fit(paths, labels[:-1])
    with pytest.raises(ValueError, match="only one class"):
        ImageClassifier().fit(paths, ["same"] * 32)
    with pytest.raises(ValueError, match="not one path"):
        fitted.predict(paths[0])
    with pytest.raises(ValueError, match="received int"):
        fitted.predict([1, 2])
    with pytest.raises(RecipeError, match="Did you mean"):
        ImageClassifier(recipe="prob").fit(paths, labels)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        fitted.predict([tmp_path / "broken.jpg"])
    with pytest.raises(tellapart.TellapartError, match="nowhere"):
        fitted.predict([tmp_path / "nowhere.jpg"])
