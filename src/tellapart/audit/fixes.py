"""What leaving out the images that an audit names would do, in words for whoever asked for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.audit.finding import DOUBTFUL_LABEL
from tellapart.data.table import PARTS, ImageTable
from tellapart.wording import listed, plural, shown

if TYPE_CHECKING:
    from tellapart.audit.checks import AuditReport

#: kind -> what images are called that are left out for it; others go by their kind.
_CALLED: Mapping[str, str] = {
    "leak": "also in an earlier part",
    "two_labels": "under two labels",
    DOUBTFUL_LABEL: "with a doubtful label, all of them in train",
    "exact_duplicate": "there twice, byte for byte",
    "near_duplicate": "there twice, slightly changed",
    "blank": "blank",
}


@dataclass(frozen=True)
class Fix:
    """What the lists of images to leave out hold, and what training without them would lack.

    Attributes:
        files: the lists that were written; all name the same images.
        kinds: images by the kind of finding that they are left out for.
        doubtful: images with a doubtful label that stay in.
        emptied: (class, part) that would have no image left; part "" before a split.
        command: what trains without them; "" where nothing is left out.
    """

    files: tuple[Path, ...]
    kinds: Mapping[str, int]
    doubtful: int
    emptied: tuple[tuple[str, str], ...]
    command: str

    @property
    def images(self) -> int:
        """How many images are left out."""
        return sum(self.kinds.values())

    def lines(self) -> Iterator[str]:
        """What was written, what that does, and what comes next."""
        names = listed([shown(file) for file in self.files], len(self.files), "and")
        verb = "names" if len(self.files) == 1 else "name"
        if not self.images:
            yield f"{names} {verb} no image: there is nothing to leave out."
        else:
            said = [
                f"{count:,} {_CALLED.get(kind, kind.replace('_', ' '))}"
                for kind, count in self.kinds.items()
            ]
            yield (
                f"{names} {verb} {plural(self.images, 'image')} to leave out: "
                f"{listed(said, len(said), 'and')}."
            )
        if self.doubtful:
            many = self.doubtful != 1
            yield (
                f"{plural(self.doubtful, 'doubtful label')} outside train "
                f"{'are' if many else 'is'} not in it: a score without the images that a network "
                f"finds hard would be too good. Look at {'them' if many else 'it'} and correct "
                "what is wrong."
            )
        for name, part in self.emptied:
            where = f" in {part}" if part else ""
            yield (
                f"Without them class '{shown(name)}' has no image left{where}: look at them first."
            )
        if self.command:
            yield f"Next: {self.command}"

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "files": [str(file) for file in self.files],
            "images": self.images,
            "kinds": dict(self.kinds),
            "doubtful_left_in": self.doubtful,
            "emptied": [{"class": name, "part": part} for name, part in self.emptied],
            "next": self.command,
        }


def describe_fix(
    report: AuditReport, table: ImageTable, files: Sequence[Path], command: str
) -> Fix:
    """What the lists of a report hold and would do.

    Args:
        table: of the images that were audited.
        files: where the lists were written.
        command: what trains without the images.
    """
    left_out = set(report.excluded())
    kinds: Counter[str] = Counter()
    told: set[str] = set()
    for finding in report.findings:
        new = [path for path in finding.exclude if path not in told]
        kinds[finding.kind] += len(new)
        told.update(new)
    doubtful = {
        path for finding in report.findings if finding.kind == DOUBTFUL_LABEL
        for path in finding.paths if path not in left_out
    }  # fmt: skip
    return Fix(
        files=tuple(files),
        kinds={kind: count for kind, count in kinds.items() if count},
        doubtful=len(doubtful),
        emptied=_emptied(table, left_out),
        command=command if left_out else "",
    )


def _emptied(table: ImageTable, left_out: set[str]) -> tuple[tuple[str, str], ...]:
    """Classes of a part that have images, and none without those that are left out."""
    before: Counter[tuple[str, str]] = Counter()
    after: Counter[tuple[str, str]] = Counter()
    for path, label, part in zip(table.paths, table.labels.tolist(), table.parts, strict=True):
        if label >= 0:
            place = table.classes[label], str(part)
            before[place] += 1
            after[place] += path not in left_out
    order = {part: number for number, part in enumerate((*PARTS, ""))}
    gone = [place for place in before if not after[place]]
    return tuple(sorted(gone, key=lambda place: (order.get(place[1], len(order)), place[0])))
