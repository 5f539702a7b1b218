"""The audit's findings in short: one sentence a kind, with the clearest example."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tellapart.audit.finding import DOUBTFUL_LABEL, Finding
from tellapart.audit.observations import Level, Observation
from tellapart.data.listing import shown
from tellapart.data.problems import KINDS as PROBLEM_KINDS
from tellapart.data.table import PARTS
from tellapart.wording import capital, share_of_all

#: kind -> (how bad it is, what several of them are called).
KINDS: dict[str, tuple[Level, str]] = {
    "leak": ("problem", "pictures are in two parts"),
    "two_labels": ("problem", "pictures are there under two labels"),
    DOUBTFUL_LABEL: ("note", "labels are doubtful"),
    "exact_duplicate": ("warning", "pictures are there more than once, byte for byte"),
    "near_duplicate": ("warning", "pictures are there more than once, slightly changed"),
    "shortcut": ("warning", "properties could give classes away"),
    "blank": ("warning", "images are blank"),
    "outlier": ("note", "images are unlike all others of their class"),
    "dark": ("note", "images are very dark"),
    "bright": ("note", "images are very bright"),
    "blurry": ("note", "images are blurred"),
    "odd_size": ("note", "images have an unusual size or shape"),
}
#: Files that were left out are told by the table itself.
TOLD_ELSEWHERE = frozenset(PROBLEM_KINDS)
#: Kinds in which every finding says something of its own.
_EACH_ITS_OWN = frozenset({"shortcut"})


def summarise(
    findings: Iterable[Finding], sizes: Mapping[str, int] = MappingProxyType({})
) -> list[Observation]:
    """One observation a kind; each shortcut is told by itself.

    Args:
        sizes: number of images of each part, of which leaks are told as shares.
    """
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.kind not in TOLD_ELSEWHERE:
            by_kind[finding.kind].append(finding)
    result: list[Observation] = []
    for kind, found in by_kind.items():
        level, name = KINDS.get(kind, ("note", f"findings of the kind {kind.replace('_', ' ')}"))
        if kind == "leak" and (shares := _leaked_shares(found, sizes)):
            first = f"{shares} The clearest: {shown(found[0].sentence)}"
            paths = tuple(path for f in found for path in f.paths)
            result.append(Observation(level, kind, first, shown(found[0].advice), paths))
            continue
        if kind in _EACH_ITS_OWN or len(found) == 1:
            result += [
                Observation(level, kind, shown(f.sentence), shown(f.advice), tuple(f.paths))
                for f in found
            ]
            continue
        result.append(
            Observation(
                level,
                kind,
                f"{len(found):,} {name}. The clearest: {shown(found[0].sentence)}",
                shown(found[0].advice),
                tuple(path for f in found for path in f.paths),
            )
        )
    return result


def _leaked_shares(found: Iterable[Finding], sizes: Mapping[str, int]) -> str:
    """How many images of validation and test an earlier part has; "" where that is not known.

    >>> _leaked_shares([], {})
    ''
    """
    leaked: dict[str, set[str]] = defaultdict(set)
    for finding in found:
        part_of = dict(zip(finding.paths, finding.parts, strict=True))
        for path in finding.exclude:
            leaked[part_of[path]].add(path)
    told = [
        share_of_all(len(leaked[part]), sizes[part], f"{part} image")
        for part in reversed(PARTS)
        if leaked[part] and sizes.get(part)
    ]
    if not told:
        return ""
    are = "is" if sum(map(len, leaked.values())) == 1 else "are"
    return f"{capital(' and '.join(told))} {are} also in an earlier part."
