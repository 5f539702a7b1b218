"""ImageClassifier: training and prediction in the form of scikit-learn's estimators.

>>> from tellapart import ImageClassifier
>>> classifier = ImageClassifier(recipe="probe").fit(paths, labels)     # doctest: +SKIP
>>> classifier.predict_proba(["a.jpg"]).round(2)                         # doctest: +SKIP
array([[0.03, 0.97]])
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from tellapart.errors import DataError
from tellapart.files import write_csv
from tellapart.run import Run, open_run
from tellapart.wording import plural

#: What a fitted estimator keeps of its run when it is pickled.
_KEPT = ("run.json", "recipe.yaml", "metrics.json", "images.csv", "model.safetensors",
         "unknown.safetensors", "known.safetensors", "history.csv", "predictions")  # fmt: skip


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of image files, for pipelines, cross-validation and grid search.

    ``X`` is a sequence of paths of image files; ``y`` their labels, of any kind that can be
    sorted. No test part is split off: scikit-learn's own tools measure.

    Args:
        recipe: name of a recipe, or a YAML file.
        settings: ``key=value`` strings laid over it.
        validation: share of the images that choose (strength, epoch, temperature).
        seed: of the split and of training.
        device: "auto", "cpu", "cuda", ...
        run: the folder of the run; None: a temporary one that goes with the estimator.

    Attributes:
        classes_: the labels, sorted.
        run_: the run that was trained; ``run_.report`` is its page.
    """

    def __init__(
        self,
        *,
        recipe: str = "probe",
        settings: Sequence[str] = (),
        validation: float = 0.15,
        seed: int = 0,
        device: str = "auto",
        run: str | Path | None = None,
    ) -> None:
        self.recipe = recipe
        self.settings = settings
        self.validation = validation
        self.seed = seed
        self.device = device
        self.run = run

    def fit(self, X: Iterable[str | Path], y: Sequence[Any]) -> ImageClassifier:
        """Train on image files.

        Args:
            X: N paths.
            y: N labels.

        Raises:
            ValueError: paths and labels are not as many, or there is one class only.
            TellapartError: the files cannot be used, or the recipe is wrong.
        """
        from tellapart.verbs.train import train

        paths = _paths_of(X)
        check_classification_targets(y)
        labels = column_or_1d(y)
        if len(paths) != len(labels):
            raise ValueError(f"{plural(len(paths), 'image')} and {len(labels):,} labels")
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"Classifier can't train when only one class is present: {self.classes_.tolist()}"
            )
        names = _names_of(self.classes_)
        self._folder = tempfile.TemporaryDirectory(prefix="tellapart-")
        table = Path(self._folder.name) / "images.csv"
        files = [os.path.abspath(path) for path in paths]  # noqa: PTH100  keeps links
        try:
            root = os.path.commonpath([Path(file).parent for file in files])
        except ValueError as error:
            raise DataError("The images lie on several drives; bring them to one.") from error
        write_csv(table, ("path", "label"), [
            (os.path.relpath(file, root), names[number])
            for file, number in zip(files, numbers.tolist(), strict=True)
        ])  # fmt: skip
        self.run_: Run = train(
            table, recipe=self.recipe, settings=self.settings, seed=self.seed,
            device=self.device, validation=self.validation, test=0, classes=names, root=root,
            run=self.run if self.run is not None else Path(self._folder.name) / "run",
        )  # fmt: skip
        return self

    def predict_proba(self, X: Iterable[str | Path]) -> NDArray[np.float64]:
        """Probabilities (N, C) of image files, calibrated; columns as in ``classes_``.

        Raises:
            NotFittedError: nothing was trained yet.
            DataError: a file cannot be read.
        """
        check_is_fitted(self)
        paths = _paths_of(X)
        if not paths:
            return np.zeros((0, len(self.classes_)))
        answers = self.run_.predict(paths, device=self.device)
        for answer in answers:
            if answer.error:
                raise DataError(f"{answer.path}: {answer.error}")
        names = self.run_.classes
        return np.array([[a.probabilities[name] for name in names] for a in answers])

    def predict(self, X: Iterable[str | Path]) -> NDArray[Any]:
        """The likeliest label (N,) of each image file."""
        probabilities = self.predict_proba(X)
        predicted: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return predicted

    # --- what scikit-learn asks ---------------------------------------------------------

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.non_deterministic = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """The folder goes along as bytes, so that a copy works elsewhere."""
        state = dict(super().__getstate__())
        state.pop("_folder", None)
        if "run_" in state:
            place = state.pop("run_").path
            files = [file for name in _KEPT for file in sorted(_files_below(place / name))]
            state["_files"] = {
                file.relative_to(place).as_posix(): file.read_bytes() for file in files
            }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.pop("_files", None)
        super().__setstate__(state)
        if files is not None:
            self._folder = tempfile.TemporaryDirectory(prefix="tellapart-")
            place = Path(self._folder.name) / "run"
            for name, content in files.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(content)
            self.run_ = open_run(place)

    def keep(self, folder: str | Path) -> Run:
        """Copy the run to a folder that stays, and give it back.

        Raises:
            FileExistsError: there is one already.
        """
        check_is_fitted(self)
        return open_run(Path(shutil.copytree(self.run_.path, folder)))


def _files_below(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _paths_of(images: Iterable[str | Path]) -> list[str | Path]:
    """Paths, whatever they come in.

    Raises:
        ValueError: it is one text, or no sequence of paths.
    """
    if isinstance(images, str | Path):
        raise ValueError("X is a sequence of paths, not one path; write [path].")
    paths = list(np.asarray(images, dtype=object).ravel()) if hasattr(
        images, "shape") else list(images)  # fmt: skip
    wrong = [type(path).__name__ for path in paths if not isinstance(path, str | Path)]
    if wrong:
        raise ValueError(f"X is a sequence of paths of image files; received {wrong[0]}.")
    return paths


def _names_of(classes: NDArray[Any]) -> list[str]:
    """A name for every label, each its own."""
    names = [str(value) for value in classes.tolist()]
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        return [f"class-{number}" for number in range(len(names))]
    return names
