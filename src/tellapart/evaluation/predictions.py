"""Predictions: image, true label and probabilities, from one pass, keyed by path.

Nothing joins labels and probabilities by position from two passes: whoever compares two
sets of predictions calls :func:`align`, which goes by path.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError, RunError
from tellapart.evaluation.abstention import Abstention
from tellapart.evaluation.columns import class_columns, classes_of
from tellapart.evaluation.decision import Decision, decided
from tellapart.files import write_csv

_FIXED_COLUMNS = ("path", "label", "prediction")
#: Of a cross-validation. The fold comes second, where no class can stand.
_WITH_FOLDS = ("path", "fold", "label", "prediction")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier said about each image of one part.

    Attributes:
        part: "train", "validation", "test", or any name for other data.
        classes: the run's class map, in order.
        paths: the image ids, unique, in the order of the pass.
        labels: int64 (N,), index into ``classes``; -1 where the truth is not known.
        probabilities: float64 (N, C), each row sums to 1. Rows that miss 1 by less than
            0.001 (float32 or bf16 softmax) are scaled to it.
        groups: int64 (N,), equal numbers for images that belong together (a patient, a burst, near
            copies); None where each image stands alone. Not part of the CSV file.
        decision: how the class is chosen from the probabilities; None: the likeliest. Not part of
            the CSV file, whose column ``prediction`` is what it gave.
        abstention: which of the images are answered "uncertain" instead; None: none. Not part of
            the CSV file, nor of any metric: those are of the answers as if all were given.
        folds: int64 (N,), in which fold of a cross-validation each image was held out, from 1;
            None: one classifier predicted all.
        fold_decisions: of a cross-validation, the rule of each fold, the first one's first; empty:
            ``decision`` holds in all.

    Raises:
        ValueError: shapes disagree, a path comes twice, a label is outside the class map,
            a row is not a probability distribution, or the decision is about another class.
    """

    part: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    groups: NDArray[np.int64] | None = None
    decision: Decision | None = None
    abstention: Abstention | None = None
    folds: NDArray[np.int64] | None = None
    fold_decisions: tuple[Decision, ...] = ()

    def __post_init__(self) -> None:
        probabilities = np.asarray(self.probabilities, dtype=np.float64)
        labels = np.asarray(self.labels, dtype=np.int64)
        images, classes = len(self.paths), len(self.classes)
        if probabilities.shape != (images, classes) or labels.shape != (images,):
            raise ValueError(
                f"{images} paths and {classes} classes do not go with labels of shape "
                f"{labels.shape} and probabilities of shape {probabilities.shape}."
            )
        if self.groups is not None and self.groups.shape != (images,):
            raise ValueError(f"{images} paths do not go with groups of {self.groups.shape}.")
        if self.folds is not None and (
            self.folds.shape != (images,) or (images and self.folds.min() < 1)
        ):
            raise ValueError(f"{images} paths do not go with folds of {self.folds.shape} from 1.")
        if len(set(self.paths)) != images:
            raise ValueError(f"The path {_first_repeated(self.paths)!r} is predicted twice.")
        if images and (labels.min() < -1 or labels.max() >= classes):
            raise ValueError(f"Labels must be -1 (unknown) or 0..{classes - 1}.")
        if self.decision is not None and self.decision.positive not in self.classes:
            raise ValueError(
                f"The decision is about '{self.decision.positive}', which is none of the classes."
            )
        sums = probabilities.sum(axis=1)
        wrong = ~((np.abs(sums - 1.0) < 1e-3) & (probabilities >= 0).all(axis=1))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"The probabilities of {self.paths[row]!r} are no distribution: "
                f"they sum to {sums[row]:.6g} and the smallest is {probabilities[row].min():.6g}."
            )
        # Rows that are exact already stay untouched, so that a CSV comes back bit for bit.
        inexact = np.abs(sums - 1.0) > 1e-12
        if inexact.any():
            probabilities = probabilities.copy()
            probabilities[inexact] /= sums[inexact, None]
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "paths", tuple(self.paths))
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "probabilities", probabilities)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """int64 (N,): the class that the decision gives; without one the likeliest, of equally
        likely ones the first."""
        if self.folds is None or not self.fold_decisions:
            return decided(self.probabilities, self.classes, self.decision)
        answers = np.zeros(len(self), np.int64)
        for fold, decision in enumerate(self.fold_decisions, start=1):
            rows = self.folds == fold
            answers[rows] = decided(self.probabilities[rows], self.classes, decision)
        return answers

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """bool (N,): the prediction is the label; False where the label is not known."""
        right: NDArray[np.bool_] = self.predicted == self.labels
        return right

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """float64 (N,): the probability of the predicted class."""
        return self.probabilities[np.arange(len(self)), self.predicted]

    @cached_property
    def answered(self) -> NDArray[np.bool_]:
        """bool (N,): the answer is given; the others are "uncertain"."""
        if self.abstention is None:
            return np.ones(len(self), dtype=bool)
        return self.abstention.answers(self.confidence)

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """bool (N,): the truth is known."""
        known: NDArray[np.bool_] = self.labels >= 0
        return known

    def select(self, indices: NDArray[np.int64] | NDArray[np.bool_] | Sequence[int]) -> Predictions:
        """The given rows, by number or by mask, in the given order."""
        chosen = np.asarray(indices)
        rows = np.arange(len(self))[chosen if len(chosen) else np.zeros(0, np.int64)]
        return replace(
            self,
            paths=tuple(self.paths[i] for i in rows),
            labels=self.labels[rows],
            probabilities=self.probabilities[rows],
            groups=None if self.groups is None else self.groups[rows],
            folds=None if self.folds is None else self.folds[rows],
        )

    def save(self, path: Path | str) -> None:
        """Write a CSV: path, label, prediction, then one probability column a class, which has
        its name (see :mod:`tellapart.evaluation.columns`). With folds, a column "fold" follows
        the path.

        Labels are class names, empty where not known. Numbers are written so that they
        read back bit for bit. The file appears whole or not at all.
        """
        names = (*self.classes, "")  # index -1 is the empty name
        folds = [()] * len(self) if self.folds is None else [(k,) for k in self.folds.tolist()]
        rows = zip(
            self.paths,
            folds,
            self.labels.tolist(),
            self.predicted.tolist(),
            self.probabilities.tolist(),
            strict=True,
        )
        fixed = _FIXED_COLUMNS if self.folds is None else _WITH_FOLDS
        write_csv(
            path,
            [*fixed, *class_columns(self.classes, fixed)],
            (
                [image, *fold, names[label], names[predicted], *values]
                for image, fold, label, predicted, values in rows
            ),
        )


def load_predictions(path: Path | str, part: str | None = None) -> Predictions:
    """Read what :meth:`Predictions.save` wrote; ``part`` defaults to the file's name.

    Raises:
        RunError: the file is missing or is not such a table (the line is named).
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"The predictions {path} cannot be read: {error}.") from error
    fixed = _WITH_FOLDS if rows and tuple(rows[0][:4]) == _WITH_FOLDS else _FIXED_COLUMNS
    width = len(fixed)
    if not rows or tuple(rows[0][:width]) != fixed or len(rows[0]) <= width:
        raise RunError(
            f"{path} is not a table of predictions: its first line must be "
            "path,label,prediction and then the classes."
        )
    classes = classes_of(rows[0][width:])
    index = {name: number for number, name in enumerate(classes)} | {"": -1}
    labels: list[int] = []
    values: list[list[float]] = []
    folds: list[int] = []
    for line, row in enumerate(rows[1:], start=2):
        try:
            if len(row) != width + len(classes):
                raise ValueError(f"{len(row)} columns instead of {width + len(classes)}")
            labels.append(index[row[width - 2]])
            values.append([float(text) for text in row[width:]])
            folds += [int(row[1])] if width == len(_WITH_FOLDS) else []
        except KeyError:
            raise RunError(
                f"{path}, line {line}: '{row[width - 2]}' is not one of its classes."
            ) from None
        except ValueError as error:
            raise RunError(f"{path}, line {line}: {error}.") from error
    try:
        return Predictions(
            part=part if part is not None else path.stem,
            classes=classes,
            paths=tuple(row[0] for row in rows[1:]),
            labels=np.array(labels, dtype=np.int64),
            probabilities=np.array(values, dtype=np.float64).reshape(len(values), len(classes)),
            folds=np.array(folds, np.int64) if width == len(_WITH_FOLDS) else None,
        )
    except ValueError as error:
        raise RunError(f"The predictions {path} are damaged. {error}") from error


def align(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Both on the images that they share, in the order of ``first``, joined by path.

    Columns of ``second`` are brought into the class order of ``first``, by name.

    Raises:
        DataError: the classes differ, no image is shared, or an image carries two labels.
    """
    if set(first.classes) != set(second.classes):
        only = sorted(set(first.classes) ^ set(second.classes))
        raise DataError(
            f"The predictions know different classes ({', '.join(only)}); "
            "only classifiers of the same classes can be compared."
        )
    rows = {path: row for row, path in enumerate(second.paths)}
    shared = [path for path in first.paths if path in rows]
    if not shared:
        raise DataError(
            "The predictions share no image, so they cannot be compared; "
            "evaluate both runs on the same folder."
        )
    mine = first.select(np.array([path in rows for path in first.paths]))
    theirs = _reorder_classes(second.select([rows[path] for path in shared]), first.classes)
    known = (mine.labels >= 0) & (theirs.labels >= 0)
    differs = np.flatnonzero(known & (mine.labels != theirs.labels))
    if len(differs):
        path = shared[int(differs[0])]
        raise DataError(
            f"{len(differs)} images carry different labels in the two sets of predictions, "
            f"first '{path}'; evaluate both runs on the same labelled folder."
        )
    return mine, theirs


def _reorder_classes(predictions: Predictions, classes: tuple[str, ...]) -> Predictions:
    if predictions.classes == classes:
        return predictions
    old = {name: number for number, name in enumerate(predictions.classes)}
    columns = np.array([old[name] for name in classes])
    new = np.append(np.argsort(columns), -1)  # old index -> new index; -1 stays -1
    return replace(
        predictions,
        classes=classes,
        labels=new[predictions.labels],
        probabilities=predictions.probabilities[:, columns],
    )


def _first_repeated(paths: Sequence[str]) -> str:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            return path
        seen.add(path)
    return ""
