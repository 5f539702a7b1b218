"""``tellapart explain``: why a run says what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.data.given import Given, files_of
from tellapart.data.pixels import PixelCache
from tellapart.errors import DataError, RunError, TellapartError
from tellapart.evaluation.predictions import Predictions
from tellapart.explanation.embedding import embed
from tellapart.explanation.inside import Inside, layer_named, layer_to_show, look_inside
from tellapart.explanation.neighbours import nearest
from tellapart.explanation.of_image import (
    ImageExplanation,
    Neighbour,
    Subject,
    explain_images,
)
from tellapart.explanation.vectors import vectors_of, vectors_of_all
from tellapart.folders import write_folder
from tellapart.machine import keep_memory
from tellapart.pixels.decode import UnreadableImage, decode
from tellapart.prediction.classifier import Classifier
from tellapart.prediction.joint import JointClassifier
from tellapart.prediction.predictor import Predictor
from tellapart.prediction.stored import AnyClassifier
from tellapart.progress import DEFAULT, Progress
from tellapart.recipe import BackboneModel
from tellapart.report.content import Facts, Figure
from tellapart.report.of_explanation import (
    facts_of_network,
    feature_map_figure,
    file_part,
    kernel_figure,
    map_figure,
    write_explanation_report,
)
from tellapart.report.render import MAXIMUM_EXPLANATIONS
from tellapart.result import DONE, SOME_FAILED, ShortRepr
from tellapart.run import Run, RunGiven, open_run
from tellapart.training.remember import same_contents
from tellapart.wording import did_you_mean, listed, percent, shown

#: Training images shown beside each explained one.
NEIGHBOURS = 6
#: Points on the map of the features: more take long and cover each other.
MAXIMUM_POINTS = 1500
#: Overlays that a notebook shows; the report has them all.
_PICTURES = 24

_METHODS = (
    "Grad-CAM lights up the places whose features raise the score of a class; occlusion those "
    "whose hiding lowers its probability.",
    "The glow shows where the evidence lies, not what it is. Two methods that agree are "
    "better evidence than one; where they disagree, trust neither without looking.",
)


@dataclass(frozen=True, repr=False)
class Explained(ShortRepr):
    """What was found out, and the page that shows it."""

    run: Path
    report: Path
    classes: tuple[str, ...]
    images: tuple[ImageExplanation, ...] = field(repr=False)
    #: For each image, its overlay files by method.
    overlays: tuple[dict[str, str], ...] = field(repr=False)
    #: (path, reason) of images that could not be read.
    problems: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        folder = self.report.parent
        return {
            "run": str(self.run),
            "report": str(self.report),
            "images": [
                {
                    "path": image.subject.path,
                    "label": self._name(image.subject.label),
                    "prediction": self.classes[image.predicted],
                    "probabilities": dict(
                        zip(self.classes, image.probabilities.tolist(), strict=True)
                    ),
                    "explained": self.classes[image.target],
                    "probability": image.hidden.probability,
                    "probability_with_worst_place_hidden": image.hidden.least_probability,
                    "overlays": {k: str(folder / name) for k, name in files.items()},
                    "neighbours": [
                        {"path": n.path, "label": self._name(n.label), "distance": n.distance}
                        for n in image.neighbours
                    ],
                }
                for image, files in zip(self.images, self.overlays, strict=True)
            ],
            "problems": [{"path": path, "error": reason} for path, reason in self.problems],
        }

    def lines(self) -> Iterator[str]:
        """What the command prints."""
        for image in self.images:
            truth = self._name(image.subject.label)
            wrong = truth not in (None, self.classes[image.predicted])
            labelled = f" (labelled {truth})" if wrong else ""
            yield (
                f"{shown(self.classes[image.predicted])} {percent(image.confidence)}"
                f"{shown(labelled)}  {shown(image.subject.path)}"
            )
        for path, reason in self.problems:
            yield f"cannot be read  {shown(path)}: {shown(reason)}"
        yield f"report  {shown(self.report)}"

    @property
    def exit_code(self) -> int:
        return SOME_FAILED if self.problems else DONE

    def _repr_html_(self) -> str:
        from tellapart.notebook import card, pictures

        folder = self.report.parent
        drawn = [
            ((folder / name).read_bytes(), f"{self.classes[image.predicted]}: {method}",
             image.subject.path)
            for image, files in zip(self.images, self.overlays, strict=True)
            for method, name in files.items()
            if (folder / name).is_file()
        ]  # fmt: skip
        sentences = [f"{path} cannot be read: {reason}" for path, reason in self.problems]
        title = f"Why? {self.run.name}"
        return card(title, sentences=sentences, link=self.report) + pictures(drawn[:_PICTURES])

    def _name(self, label: int) -> str | None:
        return self.classes[label] if label >= 0 else None


def explain(
    run: RunGiven,
    images: Given = (),
    *,
    count: int = 8,
    target: str | None = None,
    layer: str | None = None,
    name: str | None = None,
    device: str = "auto",
    progress: Progress = DEFAULT,
) -> Explained:
    """Show why a run gives its answers: overlays, nearest training images, kernels, maps.

    Args:
        run: the run, or its folder.
        images: image files and folders; none: the run's most confident mistakes on its test
            part.
        count: how many mistakes to explain.
        target: the class to explain; None: the one that was answered.
        layer: the layer whose feature maps are shown, for the first image; None: a middle one.
        name: of the folder below ``RUN/explanations``, which is replaced if it is there;
            None: made from the images, with a number behind it where other images have it.

    Raises:
        RunError: the run cannot be used, or has no such class or layer.
        DataError: an image does not exist, or none can be read.
    """
    opened = open_run(run)
    keep_memory()
    whole = opened.classifier(device)
    classifier = whole.heaviest if isinstance(whole, JointClassifier) else whole
    predictor = Predictor(classifier, opened.policy)
    wanted = _class_index(target, classifier.classes) if target is not None else None
    files = files_of(images, progress)
    if not files and count < 1:
        raise DataError(f"--count {count}: explain at least one image.")
    if max(len(files), 0 if files else count) > MAXIMUM_EXPLANATIONS:
        raise DataError(
            f"One page explains at most {MAXIMUM_EXPLANATIONS} images, not "
            f"{len(files) or count}; give fewer."
        )
    inside = look_inside(classifier)
    chosen = (
        layer_named(layer, inside.layers) if layer else layer_to_show(inside.layers, inside.height)
    )
    data, missing = _open_images(opened, classifier, required=not files, progress=progress)
    problems: list[tuple[str, str]] = []
    if files:
        subjects, problems = _given(opened, classifier, files)
        summary = f"{len(subjects)} given {'image' if len(subjects) == 1 else 'images'}."
        place = file_part(files[0].stem) + (f"-and-{len(files) - 1}-more" if files[1:] else "")
    else:
        subjects, summary, place = _mistakes(opened, data, count)
    found = explain_images(
        predictor, inside, subjects, target=wanted, progress=progress,
        answers=_joint_answers(whole, files, problems, subjects, data),
    )  # fmt: skip
    if data is not None:
        found = _with_neighbours(opened, classifier, data, found, progress)
    overlays: list[dict[str, str]] = []

    def write(folder: Path) -> None:
        figures = _network_figures(inside, folder)
        if chosen is not None and found:
            first = found[0].subject
            maps = inside.maps(first.pixels, chosen.name)
            figures.append(feature_map_figure(maps, first.pixels, chosen.name, first.path, folder))
        if data is not None:
            figures.extend(_map(opened, classifier, data, folder, progress))
        overlays.extend(write_explanation_report(
            folder,
            found,
            classifier.classes,
            title=f"Why? {opened.name}",
            summary=summary,
            figures=figures,
            facts=[_facts(opened, classifier, data), facts_of_network(inside)],
            notes=[
                *_METHODS,
                *_of_members(whole),
                *([inside.refusal] if inside.refusal else []),
                *([missing] if missing else []),
                *(f"{path} cannot be read: {reason}" for path, reason in problems),
            ],
            footer=f"tellapart {opened.info.tellapart}",
        ))  # fmt: skip

    folder = write_folder(
        opened.path / "explanations" / file_part(name or place),
        {"images": [str(file.absolute()) for file in files] or place},
        write,
        replace_any=name is not None,
    )
    return Explained(
        opened.path,
        folder / "report.html",
        classifier.classes,
        tuple(found),
        tuple(overlays),
        tuple(problems),
    )


# --- several networks that answer together ----------------------------------------------------


def _of_members(whole: AnyClassifier) -> list[str]:
    """Which of several networks the pictures are about."""
    if not isinstance(whole, JointClassifier):
        return []
    described = whole.description
    model = whole.heaviest.description.model
    name = model.backbone if isinstance(model, BackboneModel) else model.network
    return [
        f"{len(described.members)} networks answer together. Grad-CAM, occlusion, nearest images "
        f"and map are those of the one that counts most, {name} "
        f"({percent(described.weights[described.heaviest], 0)}); the answers are those of all."
    ]


def _joint_answers(
    whole: AnyClassifier,
    files: Sequence[Path],
    problems: Sequence[tuple[str, str]],
    subjects: Sequence[Subject],
    data: _Data | None,
) -> NDArray[np.float64] | None:
    """Probabilities (N, C) where the network that is looked into does not give them itself."""
    if not isinstance(whole, JointClassifier) or not (files or data):
        return None
    if not files and data is not None:
        numbers = np.array([data.rows[subject.path] for subject in subjects], dtype=np.int64)
        return whole.probabilities(whole.rows_of(whole.prepared(data.images), numbers))
    unread = {path for path, _ in problems}
    pixels, reasons = whole.decoded([file for file in files if str(file) not in unread])
    if any(reasons):
        raise DataError(f"An image cannot be read for all networks: {next(filter(None, reasons))}")
    return whole.probabilities(pixels)


# --- which images -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Data:
    """The run's own images: prepared pixels, and the row of each by its path."""

    images: PixelCache
    rows: dict[str, int]

    def subject(self, path: str, label: int) -> Subject:
        return Subject(path, np.asarray(self.images.pixels[self.rows[path]]), label)


def _open_images(
    run: Run, classifier: Classifier, *, required: bool, progress: Progress
) -> tuple[_Data | None, str]:
    """The images that the run was made with, or None and a sentence on why they are missing."""
    source = run.source
    try:
        images = source.pixels(
            source.read(progress), classifier.preprocessing, group=False, progress=progress
        )
    except TellapartError as error:
        if required:
            raise DataError(
                f"The images of {run.path} cannot be read any more, so its mistakes cannot be "
                f"shown; give images to explain. ({error})"
            ) from error
        return None, f"Nearest images and the map are left out: {error}"
    changed = images.key != run.info.data.fingerprint and not same_contents(
        run.images, images.table.paths, images.digests
    )
    note = "The images have changed since the run was made." if changed else ""
    return _Data(images, {path: row for row, path in enumerate(images.table.paths)}), note


def _given(
    run: Run, classifier: Classifier, files: Sequence[Path]
) -> tuple[list[Subject], list[tuple[str, str]]]:
    """Decoded images, with their class where the run knows them; and what cannot be read."""
    root = Path(run.info.data.root).resolve()
    labels = {
        path: int(label) for part in run.parts for path, label in _pairs(run.predictions(part))
    }
    subjects, problems = [], []
    for file in files:
        resolved = file.resolve()
        own = resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else ""
        try:
            pixels = decode(file, classifier.preprocessing)
        except UnreadableImage as error:
            problems.append((str(file), error.reason))
            continue
        known = own in labels
        subjects.append(Subject(own if known else str(file), pixels, labels.get(own, -1)))
    if not subjects:
        told = "; ".join(f"{shown(path)}: {reason.rstrip('.')}" for path, reason in problems)
        raise DataError(f"None of the images can be read: {told}.")
    return subjects, problems


def _mistakes(run: Run, data: _Data | None, count: int) -> tuple[list[Subject], str, str]:
    """The most confident mistakes, or where there are none the least certain images."""
    part = _held_out(run)
    if part is None or data is None:
        raise RunError(f"{run.path} has no predictions on held-out images; give images to explain.")
    predictions = run.predictions(part)
    there = np.array([path in data.rows for path in predictions.paths], dtype=bool)
    wrong = np.flatnonzero(there & predictions.labelled & ~predictions.correct)
    if len(wrong):
        rows = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:count]
        what = f"The {len(rows)} most confident of {len(wrong):,} mistakes"
        if len(rows) == len(wrong):
            what = "The only mistake" if len(wrong) == 1 else f"All {len(wrong)} mistakes"
        place = f"mistakes-{part}"
    else:
        known = np.flatnonzero(there)
        rows = known[np.argsort(predictions.confidence[known], kind="stable")][:count]
        what, place = f"No mistakes, so the {len(rows)} least certain answers", f"unsure-{part}"
    subjects = [data.subject(predictions.paths[r], int(predictions.labels[r])) for r in rows]
    return subjects, f"{what} on the {len(predictions):,} {part} images.", place


def _held_out(run: Run) -> str | None:
    return next((part for part in ("test", "validation") if part in run.parts), None)


def _pairs(predictions: Predictions) -> Iterator[tuple[str, int]]:
    yield from zip(predictions.paths, predictions.labels.tolist(), strict=True)


def _class_index(name: str, classes: Sequence[str]) -> int:
    if name in classes:
        return list(classes).index(name)
    hint = did_you_mean(name, classes) or f" It knows: {listed(classes, 20)}."
    raise RunError(f"--target: the run does not know the class '{shown(name)}'.{hint}")


# --- what is drawn ------------------------------------------------------------------------------


def _with_neighbours(
    run: Run,
    classifier: Classifier,
    data: _Data,
    found: Sequence[ImageExplanation],
    progress: Progress,
) -> list[ImageExplanation]:
    if "train" not in run.parts or not found:
        return list(found)
    train = [image.path for image in run.images if image.part == "train"]
    rows = np.array([data.rows[path] for path in train if path in data.rows], dtype=np.int64)
    vectors = vectors_of_all(classifier, data.images, progress=progress)
    queries = vectors_of(classifier, np.stack([e.subject.pixels for e in found]))
    order, distances = nearest(queries, vectors[rows], NEIGHBOURS)
    paths, labels = data.images.table.paths, data.images.table.labels
    return [
        replace(
            explanation,
            neighbours=[
                Neighbour(paths[row], np.asarray(data.images.pixels[row]), int(labels[row]), far)
                for row, far in zip(rows[near].tolist(), away.tolist(), strict=True)
            ],
        )
        for explanation, near, away in zip(found, order, distances, strict=True)
    ]


def _network_figures(inside: Inside, folder: Path) -> list[Figure]:
    try:
        return [kernel_figure(inside.kernels(), folder)]
    except RunError:  # its first layer is no convolution over colours: nothing to draw
        return []


def _map(
    run: Run, classifier: Classifier, data: _Data, folder: Path, progress: Progress
) -> list[Figure]:
    """The held-out images as points, a random choice of them where there are many."""
    part = _held_out(run)
    if part is None:
        return []
    predictions = run.predictions(part)
    there = np.flatnonzero([path in data.rows for path in predictions.paths])
    if len(there) > MAXIMUM_POINTS:
        random = np.random.default_rng(run.recipe.seed)
        there = np.sort(random.permutation(there)[:MAXIMUM_POINTS])
    if len(there) < 3:
        return []
    drawn = predictions.select(there)
    rows = [data.rows[path] for path in drawn.paths]
    vectors = vectors_of_all(classifier, data.images, progress=progress)
    with progress.stage("Map of the features", len(rows), "images"):
        points: NDArray[np.float64] = embed(vectors[rows], seed=run.recipe.seed)
    wrong = drawn.labelled & ~drawn.correct
    return [map_figure(points, drawn.labels, classifier.classes, part, wrong, folder)]


def _facts(run: Run, classifier: Classifier, data: _Data | None) -> Facts:
    preprocessing = classifier.preprocessing
    images = f"{len(data.images):,}" if data else "not there any more"
    return Facts(
        "The run",
        [
            ("Run", run.name),
            ("Recipe", run.recipe.name),
            *([("Decision", run.policy.rule)] if run.policy.rule else []),
            ("Classes", re.sub(r"^(.{160}).+$", r"\1 …", ", ".join(run.classes))),
            ("Size for the network", f"{preprocessing.height} x {preprocessing.width}"),
            ("Images of the run", images),
            ("Hidden at a time", "a square of 22 % of the side, in the image's mean colour"),
            ("Distance", "1 - cosine of the vectors before the last layer"),
        ],
    )
