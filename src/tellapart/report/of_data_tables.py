"""The tables in the report of a folder of images."""

from __future__ import annotations

import numpy as np

from tellapart.audit.statistics import CROP_LOSS, SIDE
from tellapart.audit.summary import TOLD_ELSEWHERE
from tellapart.audit.survey import Survey, class_counts, common_sizes
from tellapart.data.listing import listed, shown
from tellapart.data.table import ImageTable
from tellapart.report.content import Column, Table


def count_table(table: ImageTable) -> Table:
    """How many images each class has, part by part, and its share of all."""
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


def tables_of_looks(survey: Survey) -> list[Table]:
    """What each class's images are like and, where sizes differ, the most frequent ones."""
    several = [_common_sizes(survey)] if survey.has_several_sizes else []
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
    distinct = len(
        {*zip(survey.headers.widths.tolist(), survey.headers.heights.tolist(), strict=True)}
    )
    return Table(
        "The most frequent sizes",
        [Column("Width x height"), Column("Images", "count"), Column("Share", "share")],
        [(f"{w:,} x {h:,}", count, count / len(survey.table)) for w, h, count in sizes],
        reading=f"{distinct:,} different sizes in all.",
    )


def problem_table(table: ImageTable) -> Table | None:
    """The files that were left out and why; None if there are none."""
    if not table.problems:
        return None
    return Table(
        "Files that were left out",
        [Column("File"), Column("Why")],
        [(shown(problem.path), shown(problem.reason)) for problem in table.problems],
    )


def audit_tables(survey: Survey) -> list[Table]:
    """All findings of the audit that are told nowhere else, in one table; none without an audit."""
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
