"""The report of a folder of images: what a survey of it says, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.audit.statistics import CROP_LOSS, SIDE, counted, mode_name
from tellapart.audit.survey import Survey, class_counts
from tellapart.data.listing import shown
from tellapart.files import write_text
from tellapart.number import Number
from tellapart.report.content import Callout, DataReport, Facts, Figure, KeyNumber
from tellapart.report.of_data_pictures import (
    audit_galleries,
    extreme_galleries,
    pictures_of,
    sample_gallery,
)
from tellapart.report.of_data_tables import (
    audit_tables,
    count_table,
    problem_table,
    tables_of_looks,
)
from tellapart.report.render import render_report
from tellapart.wording import percent

if TYPE_CHECKING:
    from PIL import Image

NO_AUDIT = "Near duplicates and doubtful labels were not looked for: --audit does."


def write_data_report(
    survey: Survey,
    folder: Path,
    *,
    title: str,
    source: str,
    command: str,
    augmented: tuple[str, Image.Image, Sequence[str]] | None = None,
    version: str = "",
) -> Path:
    """Draw the figures and write ``report.html`` into ``folder``.

    Args:
        survey: what was found.
        title, source, command: what was looked at, and how.
        augmented: a recipe's name, its sheet of samples, and what the samples are.
        version: of tellapart, for the foot of the page.

    Returns:
        The page.
    """
    table = survey.table
    report = DataReport(
        title=title,
        subtitle="What is in these images, before any training",
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        summary=_summary(survey),
        key_numbers=_key_numbers(survey),
        callouts=_callouts(survey),
        facts=_facts(survey, source, command),
        samples=sample_gallery(table),
        counts=count_table(table),
        figures=[*_figures(survey, folder / "figures"), *_augmented_figure(augmented)],
        tables=[*tables_of_looks(survey), *audit_tables(survey)],
        galleries=[*audit_galleries(survey), *extreme_galleries(survey)],
        problems=problem_table(table),
        notes=list(table.notes),
        footer=f"tellapart {version}".strip() + ".",
    )
    path = folder / "report.html"
    write_text(path, render_report(report))
    return path


# --- the top of the page --------------------------------------------------------------------


def _summary(survey: Survey) -> str:
    levels = [found.level for found in survey.observations]
    serious = sum(level in ("problem", "warning") for level in levels)
    text = "Nothing here needs to be put right before training."
    if serious:
        things = "1 thing" if serious == 1 else f"{serious} things"
        text = f"{things} to look at before training; the sentences below say what to do."
    return text if survey.audit is not None else f"{text} {NO_AUDIT}"


def _key_numbers(survey: Survey) -> list[KeyNumber]:
    table, headers = survey.table, survey.headers
    return [
        KeyNumber("Images", Number(len(table)), "count"),
        KeyNumber("Classes", Number(len(table.classes)), "count"),
        KeyNumber("Left out", Number(len(table.problems)), "count", "files that cannot be used"),
        KeyNumber(
            "Far from square",
            Number(float((headers.crop_losses > CROP_LOSS).mean())),
            "share",
            "a centre crop loses more than a fifth",
        ),
        KeyNumber("On disk", Number(int(headers.file_bytes.sum())), "bytes"),
    ]


def _median_size(survey: Survey) -> str:
    headers = survey.headers
    return f"{np.median(headers.widths):,.0f} x {np.median(headers.heights):,.0f}"


def _facts(survey: Survey, source: str, command: str) -> list[Facts]:
    headers, looks = survey.headers, survey.looks
    smallest, largest = _smallest_and_largest(survey)
    sizes = [("Smallest", smallest), ("Median", _median_size(survey)), ("Largest", largest)]
    if not survey.has_several_sizes:
        sizes = [("Size", f"{smallest}, all of them")]
    return [
        Facts(
            "The files",
            [
                ("Source", source),
                ("Formats", _shares(counted(headers.formats.tolist()), len(headers.formats))),
                (
                    "Colour modes",
                    _shares(counted(map(mode_name, headers.modes.tolist())), len(headers.modes)),
                ),
                ("Turned by EXIF", f"{int(headers.turned.sum()):,}"),
                ("Command", command),
            ],
        ),
        Facts(
            "The pictures",
            [
                *sizes,
                ("Without colour", f"{int(looks.grey.sum()):,}"),
                ("Brightness, median", f"{np.median(looks.brightness):.2f} of 1"),
                (
                    "Sharpness, median",
                    f"{np.median(looks.sharpness):.0f} grey levels at {SIDE} x {SIDE}",
                ),
            ],
        ),
    ]


def _smallest_and_largest(survey: Survey) -> tuple[str, str]:
    area = survey.headers.widths * survey.headers.heights
    ends = (int(area.argmin()), int(area.argmax()))
    texts = [f"{survey.headers.widths[i]:,} x {survey.headers.heights[i]:,}" for i in ends]
    return texts[0], texts[1]


def _shares(counts: Mapping[str, int], total: int) -> str:
    if len(counts) == 1:
        return f"{next(iter(counts))}, all of them"
    shares = {name: f"{count:,} ({percent(count / total)})" for name, count in counts.items()}
    return ", ".join(f"{name} {share}" for name, share in shares.items())


# --- callouts ---------------------------------------------------------------------------------


def _callouts(survey: Survey) -> list[Callout]:
    table = survey.table
    return [
        Callout(found.level, found.sentence, found.advice, pictures_of(found, table))
        for found in survey.observations
    ]


# --- figures --------------------------------------------------------------------------------------


def _figures(survey: Survey, folder: Path) -> list[Figure]:
    from tellapart.evaluation.plots import class_counts as draw_counts
    from tellapart.evaluation.plots.images import aspect_ratios, image_sizes, looks_by_class

    table, headers, looks = survey.table, survey.headers, survey.looks
    counts = {part or "images": list(row.values()) for part, row in class_counts(table).items()}
    drawn = []
    if len(table.classes) <= 100:
        drawn.append(
            (
                "counts",
                "Images of each class",
                _counts_reading(survey),
                draw_counts(counts, table.classes),
            )
        )
    if survey.has_several_sizes:
        drawn.append(
            (
                "sizes",
                "Sizes",
                _sizes_reading(survey),
                image_sizes(headers.widths, headers.heights, survey.network_size),
            )
        )
        lost = float((headers.crop_losses > CROP_LOSS).mean())
        drawn.append(
            (
                "shapes",
                "Shapes",
                f"{percent(lost)} of the images would lose more than "
                f"{percent(CROP_LOSS, 0)} in a square centre crop.",
                aspect_ratios(headers.aspect_ratios, CROP_LOSS),
            )
        )
    drawn.append(
        (
            "looks",
            "Brightness and sharpness",
            "Classes whose curves lie apart can be told apart by light or focus alone, "
            "which is rarely what is wanted.",
            looks_by_class(looks.brightness, looks.sharpness, table.labels, table.classes),
        )
    )
    return [_figure(folder, *one) for one in drawn]


def _figure(folder: Path, name: str, title: str, reading: str, drawing: Any) -> Figure:
    from tellapart.evaluation.plots import save_figure

    svg, png = save_figure(drawing, folder, name, title)
    return Figure(name, title, svg.read_text("utf-8"), reading, png=png.read_bytes())


def _counts_reading(survey: Survey) -> str:
    table = survey.table
    totals = np.bincount(table.labels[table.labels >= 0], minlength=len(table.classes))
    low, high = int(totals.argmin()), int(totals.argmax())
    if totals[low] == totals[high]:
        return f"Every class has {totals[low]:,} images."
    return (
        f"From {totals[low]:,} ('{shown(table.classes[low])}') to {totals[high]:,} "
        f"('{shown(table.classes[high])}')."
    )


def _sizes_reading(survey: Survey) -> str:
    smallest, largest = _smallest_and_largest(survey)
    return f"From {smallest} to {largest}; the median is {_median_size(survey)}."


def _augmented_figure(
    augmented: tuple[str, Image.Image, Sequence[str]] | None,
) -> list[Figure]:
    if augmented is None:
        return []
    recipe, sheet, names = augmented
    buffer = BytesIO()
    sheet.save(buffer, "WEBP", quality=85, method=2)
    return [
        Figure(
            "augmented",
            f"What recipe {recipe} makes of training images",
            buffer.getvalue(),
            "In each square of nine the first is the picture itself, the others are random "
            f"versions that training may see. From top left: {', '.join(names)}.",
            photographic=True,
            wide=True,
            titled=False,
        )
    ]
