"""The report of a folder of images: what a survey of it says, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.data.audit_summary import KINDS, TOLD_ELSEWHERE
from tellapart.data.decode import UnreadableImage
from tellapart.data.listing import listed, shown
from tellapart.data.observations import Observation
from tellapart.data.statistics import CROP_LOSS, SIDE, counted, mode_name
from tellapart.data.survey import Survey, class_counts, common_sizes
from tellapart.data.table import ImageTable
from tellapart.report.content import (
    Column,
    DataReport,
    Facts,
    Figure,
    Finding,
    Gallery,
    KeyNumber,
    Number,
    Picture,
    Table,
)
from tellapart.report.data import render_data_report
from tellapart.report.page import write_report
from tellapart.report.thumbnails import make_thumbnail
from tellapart.wording import percent

if TYPE_CHECKING:
    from PIL import Image

#: Sample pictures in all, and of one class at most.
SAMPLES, SAMPLES_OF_A_CLASS = 240, 12
#: Pictures beside a finding, and in a gallery of extremes.
_BESIDE, _EXTREMES = 6, 12
#: Pictures of one finding and of one kind of finding.
_OF_A_FINDING, _OF_A_KIND = 4, 48
NO_AUDIT = "Near duplicates and wrong labels were not looked for: --audit does."
#: What pictures say nothing about, or what cannot be shown.
_WITHOUT_PICTURES = frozenset(
    {"left_out", "small", "extension", "turned", "tiny_class", "imbalance", "all_grey"}
)


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
        findings=_findings(survey),
        facts=_facts(survey, source, command),
        samples=_samples(table),
        counts=_counts(table),
        figures=[*_figures(survey, folder / "figures"), *_augmented_figure(augmented)],
        tables=[*_tables(survey), *_audit_table(survey)],
        galleries=[*_audit_galleries(survey), *_extremes(survey)],
        problems=_problems(table),
        notes=list(table.notes),
        footer=f"tellapart {version}".strip() + ".",
    )
    path = folder / "report.html"
    write_report(render_data_report(report), path)
    return path


# --- the top of the page --------------------------------------------------------------------


def _summary(survey: Survey) -> str:
    levels = [found.level for found in _findings_without_pictures(survey)]
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
    if not _several_sizes(survey):
        sizes = [("Size", f"{smallest}, all of them")]
    return [
        Facts(
            "The files",
            [
                ("Source", source),
                ("Formats", _shares(counted(headers.formats.tolist()), len(headers.formats))),
                (
                    "Colour modes",
                    _shares(
                        counted(map(mode_name, headers.modes.tolist())), len(headers.modes)
                    ),
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


def _several_sizes(survey: Survey) -> bool:
    return bool(np.ptp(survey.headers.widths) or np.ptp(survey.headers.heights))


def _shares(counts: Mapping[str, int], total: int) -> str:
    if len(counts) == 1:
        return f"{next(iter(counts))}, all of them"
    shares = {name: f"{count:,} ({percent(count / total)})" for name, count in counts.items()}
    return ", ".join(f"{name} {share}" for name, share in shares.items())


# --- findings ---------------------------------------------------------------------------------


def _findings(survey: Survey) -> list[Finding]:
    table = survey.table
    return [
        Finding(found.level, found.sentence, found.advice, _pictures_of(found, table))
        for found in _findings_without_pictures(survey)
    ]


def _findings_without_pictures(survey: Survey) -> Sequence[Observation]:
    return survey.observations


def _pictures_of(found: Observation, table: ImageTable) -> list[Picture]:
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


# --- samples and extremes -----------------------------------------------------------------------


def _samples(table: ImageTable) -> Gallery:
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


def _extremes(survey: Survey) -> list[Gallery]:
    """The darkest, brightest, least sharp and most stretched-out images."""
    looks, headers = survey.looks, survey.headers
    orders: list[tuple[str, str, str, NDArray[Any], Callable[[int], str]]] = [
        ("darkest", "The darkest images", "Can a person still tell what they show?",
         looks.brightness, lambda i: f"brightness {looks.brightness[i]:.2f}"),
        ("brightest", "The brightest images", "Over-exposed, or on a white ground?",
         -looks.brightness, lambda i: f"brightness {looks.brightness[i]:.2f}"),
        ("blurred", "The least sharp images", "Blurred, blank, or simply of a smooth thing?",
         looks.sharpness, lambda i: f"sharpness {looks.sharpness[i]:.1f}"),
    ]
    if float(headers.crop_losses.max(initial=0.0)) > CROP_LOSS:
        orders.append(
            ("shapes", "The images farthest from square",
             "What training squashes most; is the thing that matters still recognisable?",
             -headers.crop_losses,
             lambda i: f"{headers.widths[i]:,} x {headers.heights[i]:,}")
        )
    galleries = []
    for name, title, reading, values, caption in orders:
        rows = [int(i) for i in np.argsort(values, kind="stable")[:_EXTREMES]]
        galleries.append(
            Gallery(name, title, _pictures(survey.table, rows, caption), reading=reading,
                    total=len(rows))
        )
    return galleries


# --- the audit --------------------------------------------------------------------------------


def _audit_galleries(survey: Survey) -> list[Gallery]:
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


def _audit_table(survey: Survey) -> list[Table]:
    if survey.audit is None:
        return []
    found = [one for one in survey.audit.findings if one.kind not in TOLD_ELSEWHERE]
    return [
        Table(
            "Everything that the audit found",
            [Column("What"), Column("Files"), Column("How"), Column("Score", "score")],
            [
                (
                    finding.kind.replace("_", " "),
                    listed(list(finding.paths), 3),
                    shown(finding.sentence),
                    float(finding.score),
                )
                for finding in found
            ],
            reading="The score says how clear a finding is, 1 being clearest.",
            empty="It found nothing.",
        )
    ]


# --- tables ---------------------------------------------------------------------------------------


def _counts(table: ImageTable) -> Table:
    counts = class_counts(table)
    parts = list(counts)
    total = {name: sum(row[name] for row in counts.values()) for name in table.classes}
    several = len(parts) > 1
    headings = [Column(part.capitalize() or "Images", "count") for part in parts]
    columns = [Column("Class"), *headings]
    if several:
        columns.append(Column("In all", "count"))
    columns.append(Column("Share", "share", "of all images"))
    return Table(
        "Images of each class" + (" in each part" if several else ""),
        columns,
        [
            (
                name,
                *(counts[part][name] for part in parts),
                *((total[name],) if several else ()),
                total[name] / max(1, len(table)),
            )
            for name in table.classes
        ],
        reading="Train teaches, validation chooses, test is read once, at the end."
        if several
        else "Not split into parts yet: training will do that, the same way for one seed.",
    )


def _tables(survey: Survey) -> list[Table]:
    several = [_common_sizes(survey)] if _several_sizes(survey) else []
    return [_by_class(survey), *several]


def _by_class(survey: Survey) -> Table:
    table, headers, looks = survey.table, survey.headers, survey.looks
    rows = []
    for label, name in enumerate(table.classes):
        chosen = np.flatnonzero(table.labels == label)
        if not len(chosen):
            continue
        rows.append(
            (
                name,
                round(float(np.median(headers.widths[chosen]))),
                round(float(np.median(headers.heights[chosen]))),
                float((headers.crop_losses[chosen] > CROP_LOSS).mean()),
                round(float(np.median(headers.file_bytes[chosen]))),
                round(float(np.median(looks.brightness[chosen])), 3),
                round(float(np.median(looks.sharpness[chosen])), 1),
                float(looks.grey[chosen].mean()),
            )
        )
    return Table(
        "What each class's images are like",
        [
            Column("Class"),
            Column("Width", "count", "median, pixels"),
            Column("Height", "count", "median, pixels"),
            Column("Far from square", "share", "a centre crop loses more than a fifth"),
            Column("File", "bytes", "median size of the file"),
            Column("Brightness", "score", "median; 0 black, 1 white"),
            Column("Sharpness", "count", f"median, grey levels at {SIDE} x {SIDE}"),
            Column("Grey", "share", "images without colour"),
        ],
        rows,
        reading="A column in which one class differs from the others is something that a network "
        "may take for the answer.",
    )


def _common_sizes(survey: Survey) -> Table:
    sizes = common_sizes(survey.headers, 12)
    distinct = len({*zip(survey.headers.widths.tolist(), survey.headers.heights.tolist(),
                         strict=True)})
    return Table(
        "The most frequent sizes",
        [Column("Width x height"), Column("Images", "count"), Column("Share", "share")],
        [(f"{w:,} x {h:,}", count, count / len(survey.table)) for w, h, count in sizes],
        reading=f"{distinct:,} different sizes in all.",
    )


def _problems(table: ImageTable) -> Table | None:
    if not table.problems:
        return None
    return Table(
        "Files that were left out",
        [Column("File"), Column("Why")],
        [(shown(problem.path), shown(problem.reason)) for problem in table.problems],
    )


# --- figures --------------------------------------------------------------------------------------


def _figures(survey: Survey, folder: Path) -> list[Figure]:
    from tellapart.evaluation.plots import class_counts as draw_counts
    from tellapart.evaluation.plots.images import aspect_ratios, image_sizes, looks_by_class

    table, headers, looks = survey.table, survey.headers, survey.looks
    counts = {
        part or "images": list(row.values()) for part, row in class_counts(table).items()
    }
    drawn = []
    if len(table.classes) <= 100:
        drawn.append(("counts", "Images of each class", _counts_reading(survey),
                      draw_counts(counts, table.classes)))
    if _several_sizes(survey):
        drawn.append(("sizes", "Sizes", _sizes_reading(survey),
                      image_sizes(headers.widths, headers.heights, survey.network_size)))
        lost = float((headers.crop_losses > CROP_LOSS).mean())
        drawn.append(("shapes", "Shapes",
                      f"{percent(lost)} of the images would lose more than "
                      f"{percent(CROP_LOSS, 0)} in a square centre crop.",
                      aspect_ratios(headers.aspect_ratios, CROP_LOSS)))
    drawn.append(("looks", "Brightness and sharpness",
                  "Classes whose curves lie apart can be told apart by light or focus alone, "
                  "which is rarely what is wanted.",
                  looks_by_class(looks.brightness, looks.sharpness, table.labels, table.classes)))
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
        )
    ]
