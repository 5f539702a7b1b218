"""The pictures in the report of a folder of images: samples, extremes, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.observations import Observation
from tellapart.audit.statistics import CROP_LOSS
from tellapart.audit.summary import KINDS
from tellapart.audit.survey import Survey
from tellapart.data.listing import shown
from tellapart.data.table import ImageTable
from tellapart.pixels.decode import UnreadableImage
from tellapart.pixels.thumbnails import make_thumbnail
from tellapart.report.content import Gallery, Picture

#: Sample pictures in all, and of one class at most.
SAMPLES, SAMPLES_OF_A_CLASS = 240, 12
#: Pictures beside a finding, and in a gallery of extremes.
_BESIDE, _EXTREMES = 6, 12
#: Pictures of one finding and of one kind of finding.
_OF_A_FINDING, _OF_A_KIND = 4, 48
#: What pictures say nothing about, or what cannot be shown.
_WITHOUT_PICTURES = frozenset(
    {"left_out", "small", "extension", "turned", "tiny_class", "imbalance", "all_grey"}
)


def pictures_of(found: Observation, table: ImageTable) -> list[Picture]:
    """A few pictures to stand beside a finding; none where pictures say nothing about it."""
    if found.kind in _WITHOUT_PICTURES:
        return []
    row_of = {path: row for row, path in enumerate(table.paths)}
    rows = [row_of[path] for path in found.paths if path in row_of]
    if found.kind in KINDS:  # the clearest first, copies beside each other
        return _pictures(table, rows[:_BESIDE])
    spread = np.linspace(0, len(rows) - 1, min(_BESIDE, len(rows))).round().astype(int)
    return _pictures(table, [rows[i] for i in spread])


def _pictures(
    table: ImageTable, rows: Sequence[int], caption: Callable[[int], str] = lambda row: ""
) -> list[Picture]:
    """Small pictures from the files; one that is gone by now is skipped."""
    pictures = []
    for row in rows:
        try:
            image = make_thumbnail(table.file(row))
        except UnreadableImage:
            continue
        pictures.append(
            Picture(
                image,
                path=shown(table.paths[row]),
                true=_class_of(table, row),
                caption=caption(row),
            )
        )
    return pictures


def _class_of(table: ImageTable, row: int) -> str:
    label = int(table.labels[row])
    return table.classes[label] if label >= 0 else ""


def sample_gallery(table: ImageTable) -> Gallery:
    """A few images of each class, drawn at random."""
    each = max(2, min(SAMPLES_OF_A_CLASS, SAMPLES // max(1, len(table.classes))))
    random = np.random.default_rng(0)
    rows: list[int] = []
    for label in range(min(len(table.classes), SAMPLES // 2)):
        members = np.flatnonzero(table.labels == label)
        rows += random.permutation(members)[:each].tolist()
    return Gallery(
        "samples",
        "Samples",
        _pictures(table, rows),
        reading=f"Up to {each} images of each class, drawn at random from all parts.",
        total=len(table),
    )


def extreme_galleries(survey: Survey) -> list[Gallery]:
    """The darkest, brightest, least sharp and most stretched-out images."""
    looks, headers = survey.looks, survey.headers
    orders: list[tuple[str, str, str, NDArray[Any], Callable[[int], str]]] = [
        (
            "darkest",
            "The darkest images",
            "Can a person still tell what they show?",
            looks.brightness,
            lambda i: f"brightness {looks.brightness[i]:.2f}",
        ),
        (
            "brightest",
            "The brightest images",
            "Over-exposed, or on a white ground?",
            -looks.brightness,
            lambda i: f"brightness {looks.brightness[i]:.2f}",
        ),
        (
            "blurred",
            "The least sharp images",
            "Blurred, blank, or simply of a smooth thing?",
            looks.sharpness,
            lambda i: f"sharpness {looks.sharpness[i]:.1f}",
        ),
    ]
    if float(headers.crop_losses.max(initial=0.0)) > CROP_LOSS:
        orders.append(
            (
                "shapes",
                "The images farthest from square",
                "What training squashes most; is the thing that matters still recognisable?",
                -headers.crop_losses,
                lambda i: f"{headers.widths[i]:,} x {headers.heights[i]:,}",
            )
        )
    galleries = []
    for name, title, reading, values, caption in orders:
        rows = [int(i) for i in np.argsort(values, kind="stable")[:_EXTREMES]]
        galleries.append(
            Gallery(
                name,
                title,
                _pictures(survey.table, rows, caption),
                reading=reading,
                total=len(rows),
            )
        )
    return galleries


def audit_galleries(survey: Survey) -> list[Gallery]:
    """The pictures of each kind of finding, the clearest first."""
    if survey.audit is None:
        return []
    row_of = {path: row for row, path in enumerate(survey.table.paths)}
    galleries = []
    for kind, (_, name) in KINDS.items():
        found = [finding for finding in survey.audit.findings if finding.kind == kind]
        pictures: list[Picture] = []
        for finding in found:
            rows = [row_of[path] for path in finding.paths if path in row_of][:_OF_A_FINDING]
            captions = dict.fromkeys(rows, shown(finding.sentence))
            pictures += _pictures(survey.table, rows, captions.__getitem__)
            if len(pictures) >= _OF_A_KIND:
                break
        if pictures and len(found) > 1:
            galleries.append(
                Gallery(
                    kind,
                    f"{len(found):,} {name}",
                    pictures[:_OF_A_KIND],
                    reading=shown(found[0].advice),
                    total=sum(len(finding.paths) for finding in found),
                    rest="--fix list.csv names them all",
                )
            )
    return galleries
