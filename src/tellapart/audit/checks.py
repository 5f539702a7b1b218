"""What is wrong with a set of images: every check, put together.

Images are only read. What the audit finds goes into a list that ``--exclude`` understands.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.copies import find_copies
from tellapart.audit.finding import Finding
from tellapart.audit.labels import (
    find_doubtful_labels,
    find_outliers,
    out_of_fold_probabilities,
)
from tellapart.audit.quality import (
    blank_rows,
    find_odd_sizes,
    find_poor_pictures,
    find_shortcuts,
)
from tellapart.audit.statistics import read_headers
from tellapart.audit.summary import KINDS
from tellapart.data.pixels import PixelCache
from tellapart.data.problems import Problem, is_fault
from tellapart.files import write_text
from tellapart.pixels.measures import measure
from tellapart.pixels.similarity import Floats, find_similar, group_pairs, principal_directions
from tellapart.progress import SILENT, Progress

__all__ = ["AuditReport", "Finding", "audit"]

FIX_COLUMNS = ("path", "kind", "reason", "label", "suggested_label", "score")
#: Fewer labelled images than this say nothing about labels.
_FEWEST_FOR_LABELS = 20


@dataclass(frozen=True)
class AuditReport:
    """What the audit found: the worst kind first, the clearest of each kind first."""

    findings: tuple[Finding, ...]
    num_images: int

    def counts(self) -> dict[str, int]:
        """Findings of each kind, in their order."""
        return dict(Counter(finding.kind for finding in self.findings))

    def excluded(self) -> tuple[str, ...]:
        """Paths of the images to leave out, each once, in the order of the findings."""
        return tuple(dict.fromkeys(p for finding in self.findings for p in finding.exclude))

    def fix_list(self, earlier: Sequence[Problem] = ()) -> str:
        """CSV text that ``train --exclude`` reads: an image a row, and why.

        A person may delete rows from it, or move images by its column suggested_label.

        Args:
            earlier: images that a list had left out before the audit; they stay out.
        """
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(FIX_COLUMNS)
        for problem in earlier:
            writer.writerow((problem.path, problem.kind, problem.reason, "", "", ""))
        seen: set[str] = set()
        for found in self.findings:
            label_of = dict(zip(found.paths, found.classes, strict=True))
            for path in found.exclude:
                if path not in seen:
                    row = (path, found.kind, found.sentence, label_of[path], found.suggested)
                    writer.writerow((*row, f"{found.score:.4f}"))
                seen.add(path)
        return text.getvalue()

    def write_fix_list(self, file: Path) -> None:
        """Write :meth:`fix_list` to a file, whole or not at all."""
        write_text(file, self.fix_list())


def audit(
    images: PixelCache,
    features: Floats | None = None,
    *,
    probabilities: NDArray[np.float64] | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> AuditReport:
    """Look for everything that is often wrong with a set of images.

    Args:
        images: decoded, with their table.
        features: float32 (N, D) of a network, row i of image i. Without them doubtful labels and
            outliers are not looked for, and near duplicates only where they are hardly cropped,
            mirrored or turned.
        probabilities: float64 (N, num_classes), for each image by a model that was not trained
            on it; None: from a logistic regression on ``features``.
        seed: of the folds of that regression.

    Raises:
        ValueError: features or probabilities do not have one row for each image.
    """
    table = images.table
    for name, given in (("features", features), ("probabilities", probabilities)):
        if given is not None and len(given) != len(table):
            raise ValueError(f"{name} has {len(given)} rows for {len(table)} images")
    measures = measure(images.pixels, progress=progress)
    headers = read_headers(images, progress=progress)
    principal = None if features is None else principal_directions(features)
    similar = find_similar(measures.grey(), principal, changed=True, progress=progress)
    seen = ~blank_rows(measures)
    findings = [
        *_left_out(table.problems),
        *find_copies(table, images.digests, similar),
        *find_poor_pictures(table, measures),
        *find_odd_sizes(table, headers),
        *find_shortcuts(table, headers, measures),
    ]
    labelled = np.flatnonzero(seen & (table.labels >= 0))
    groups = group_pairs(len(table), similar.first, similar.second)
    if probabilities is None and principal is not None:
        probabilities = np.zeros((len(table), len(table.classes)))
        if len(labelled) >= _FEWEST_FOR_LABELS:
            probabilities[labelled] = out_of_fold_probabilities(
                principal[labelled],
                table.labels[labelled],
                len(table.classes),
                groups=groups[labelled],
                seed=seed,
            )
    doubtful: list[Finding] = []
    if probabilities is not None and len(labelled) >= _FEWEST_FOR_LABELS:
        doubtful = find_doubtful_labels(table, labelled.tolist(), probabilities[labelled])
    if principal is not None:
        told = {path for finding in doubtful for path in finding.paths}
        rows = [int(i) for i in np.flatnonzero(seen) if table.paths[i] not in told]
        findings += find_outliers(table, rows, principal[rows])
    return AuditReport(_ordered([*findings, *doubtful]), len(table))


def _left_out(problems: Sequence[Problem]) -> list[Finding]:
    """A finding for each file that should have been an image and cannot be used."""
    return [
        Finding(
            kind=problem.kind,
            paths=(problem.path,),
            classes=("",),
            parts=("",),
            score=1.0,
            sentence=f"{problem.path}: {problem.reason}",
            advice="It is left out already; replace it by a good copy if there is one.",
        )
        for problem in problems
        if is_fault(problem)
    ]


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Kinds in the order of ``KINDS``, files left out first; then by score, then by path."""
    ranks = {kind: rank for rank, kind in enumerate(KINDS)}
    return tuple(sorted(findings, key=lambda f: (ranks.get(f.kind, -1), f.kind, -f.score, f.paths)))
