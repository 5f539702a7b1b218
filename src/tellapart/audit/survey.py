"""All that is known of a folder of images before any training, in one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.brief import BriefAudit, brief_audit
from tellapart.audit.observations import Observation, observe
from tellapart.audit.statistics import (
    CROP_LOSS,
    Headers,
    Looks,
    counted,
    measure_looks,
    mode_name,
    read_headers,
)
from tellapart.audit.summary import summarise
from tellapart.data.pixels import PixelCache
from tellapart.data.table import PARTS, ImageTable
from tellapart.progress import SILENT, Progress

if TYPE_CHECKING:
    from tellapart.audit.checks import AuditReport

#: Paths of one kind that the JSON names; the report and the lists name them all.
_MOST_PATHS = 100
_MOST_FINDINGS = 1000


@dataclass(frozen=True)
class Survey:
    """What is in a folder; row i of ``headers`` and ``looks`` is image i of ``table``.

    ``observations`` are sentences, the worst first; without an ``audit`` they include
    those of the ``brief`` one.
    """

    table: ImageTable
    headers: Headers = field(repr=False)
    looks: Looks = field(repr=False)
    observations: tuple[Observation, ...]
    brief: BriefAudit = field(repr=False)
    network_size: int
    audit: AuditReport | None = None

    @property
    def has_several_sizes(self) -> bool:
        """Whether not all images have the same width and height."""
        return bool(np.ptp(self.headers.widths) or np.ptp(self.headers.heights))

    def to_json(self) -> dict[str, Any]:
        """The survey as plain data, long lists of paths cut short and counted."""
        table, headers, looks = self.table, self.headers, self.looks
        content: dict[str, Any] = {
            "root": str(table.root),
            "images": len(table),
            "classes": list(table.classes),
            "counts": {part or "unsplit": row for part, row in class_counts(table).items()},
            "num_left_out": len(table.problems),
            "left_out": [asdict(problem) for problem in table.problems[:_MOST_PATHS]],
            "widths": range_of(headers.widths),
            "heights": range_of(headers.heights),
            "sizes": [
                {"width": width, "height": height, "images": count}
                for width, height, count in common_sizes(headers, 10)
            ],
            "aspect_ratios": range_of(headers.aspect_ratios),
            "crop_loses_a_fifth": int((headers.crop_losses > CROP_LOSS).sum()),
            "formats": counted(headers.formats.tolist()),
            "modes": counted(map(mode_name, headers.modes.tolist())),
            "turned": int(headers.turned.sum()),
            "grey": int(looks.grey.sum()),
            "bytes": int(headers.file_bytes.sum()),
            "brightness": range_of(looks.brightness),
            "contrast": range_of(looks.contrast),
            "sharpness": range_of(looks.sharpness),
            "network_size": self.network_size,
            "findings": [
                {
                    **asdict(found),
                    "num_paths": len(found.paths),
                    "paths": list(found.paths[:_MOST_PATHS]),
                }
                for found in self.observations
            ],
            "notes": list(table.notes),
        }
        if self.audit is not None:
            content["audit"] = {
                "counts": counted(found.kind for found in self.audit.findings),
                "findings": [
                    {
                        "kind": found.kind,
                        "paths": list(found.paths),
                        "score": round(float(found.score), 4),
                        "sentence": found.sentence,
                        "advice": found.advice,
                    }
                    for found in self.audit.findings[:_MOST_FINDINGS]
                ],
            }
        return content


def survey(
    pixels: PixelCache,
    *,
    network_size: int,
    audit: AuditReport | None = None,
    progress: Progress = SILENT,
) -> Survey:
    """Look at all images of a table.

    Args:
        pixels: the images at a size that :func:`measure_looks` takes.
        network_size: pixels a side that the network sees.
        audit: what the full audit found, if there was one.
    """
    headers = read_headers(pixels, progress=progress)
    looks = measure_looks(pixels.pixels, progress=progress)
    brief = brief_audit(pixels.table, pixels.digests)
    observations = observe(pixels.table, headers, looks, network_size=network_size)
    observations += (
        brief.observations
        if audit is None
        else summarise(
            audit.findings, {part: int((pixels.table.parts == part).sum()) for part in PARTS}
        )
    )
    order = {"problem": 0, "warning": 1, "note": 2}
    observations.sort(key=lambda found: order[found.level])
    return Survey(pixels.table, headers, looks, tuple(observations), brief, network_size, audit)


def part_names(table: ImageTable) -> Sequence[str]:
    """The parts that hold images, in their order; "" stands for images not split yet."""
    return [part for part in (*PARTS, "") if bool((table.parts == part).any())]


def class_counts(table: ImageTable) -> dict[str, dict[str, int]]:
    """Images of each class in each part that holds any; part "" where they are not split."""
    size = len(table.classes)
    return {
        part: dict(
            zip(
                table.classes,
                np.bincount(table.labels[table.parts == part], minlength=size).tolist(),
                strict=True,
            )
        )
        for part in part_names(table)
    }


def common_sizes(headers: Headers, most: int) -> list[tuple[int, int, int]]:
    """The most frequent sizes: width, height, images."""
    pairs = np.stack([headers.widths, headers.heights], axis=1)
    sizes, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [(int(sizes[i, 0]), int(sizes[i, 1]), int(counts[i])) for i in order]


def range_of(values: NDArray[Any]) -> dict[str, float]:
    """Smallest, 5 %, median, 95 % and largest of some numbers."""
    points = np.percentile(np.asarray(values, np.float64), (0, 5, 50, 95, 100))
    names = ("smallest", "low", "median", "high", "largest")
    return {name: float(f"{value:.4g}") for name, value in zip(names, points, strict=True)}
