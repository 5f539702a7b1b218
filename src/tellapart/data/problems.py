"""Files that were left out: the kinds there are, and the one sentence that accounts for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tellapart.errors import DataError
from tellapart.wording import capital, percent, shown, some_of


@dataclass(frozen=True)
class Problem:
    """A file that was left out, and why."""

    #: Relative to the root of the table.
    path: str
    #: A key of :data:`KINDS`.
    kind: str
    #: One sentence.
    reason: str


@dataclass(frozen=True)
class Kind:
    """One reason to leave files out."""

    #: Follows a number: "3 empty".
    words: str
    #: Whether somebody meant the file to be an image of a class: many of these mean that the
    #: folder or the table is not what it is taken for.
    is_fault: bool


KINDS: dict[str, Kind] = {
    "missing": Kind("not there", True),
    "empty": Kind("empty", True),
    "unreadable": Kind("unreadable", True),
    "truncated": Kind("cut off", True),
    "not_an_image": Kind("holding no image", True),
    "unsupported": Kind("in a picture format that is not read", True),
    "too_large": Kind("too large", True),
    "bad_name": Kind("with a name that is not Unicode", True),
    "ambiguous": Kind("named by an id that several files have", True),
    "label_conflict": Kind("listed under two labels", True),
    "bad_label": Kind("with a list, an object or the like for a label", True),
    "no_label": Kind("without a label", False),
    "no_class": Kind("outside the class folders", False),
    "mask": Kind("with a segmentation mask for another image", False),
    "other_file": Kind("not named as images are", False),
    "loop": Kind("leading back to a folder above", False),
    "excluded": Kind("on the list to leave out", False),
}


def left_out_sentence(problems: Sequence[Problem], num_used: int) -> str | None:
    """What was left out and why, by kind, with an example each; None if nothing was.

    Args:
        problems: the files left out.
        num_used: the files that are used.

    Example:
        >>> left_out_sentence([Problem("cat/1.jpg", "empty", "The file is empty (0 bytes).")], 9)
        '1 of 10 files left out: 1 empty (cat/1.jpg).'
    """
    if not problems:
        return None
    total = len(problems) + num_used
    return f"{len(problems):,} of {total:,} files left out: {_by_kind(problems)}."


def is_fault(problem: Problem) -> bool:
    """Whether somebody meant the file to be an image; a kind that is not listed is one."""
    return problem.kind not in KINDS or KINDS[problem.kind].is_fault


def require_few_faults(
    problems: Sequence[Problem], num_used: int, maximum: float, root: Path
) -> None:
    """Stop where too large a share of what should be images cannot be used.

    Missing files, empty ones and labels that are none count as much as damaged pictures;
    files that nobody took for images (notes, masks, a list to leave out) do not.

    Raises:
        DataError: more than ``maximum`` (0 to 1) of them; says how many of which kind.
    """
    faults = [problem for problem in problems if is_fault(problem)]
    total = len(faults) + num_used
    if len(faults) <= maximum * total:
        return
    raise DataError(
        f"{capital(some_of(len(faults), total, 'image'))} in {shown(root)} cannot be used, more "
        f"than {percent(maximum, 0)}; is this the right folder or table? {_by_kind(faults)}; "
        f"{shown(faults[0].path)}: {faults[0].reason}"
    )


def _by_kind(problems: Sequence[Problem]) -> str:
    first: dict[str, str] = {}
    for problem in problems:
        first.setdefault(problem.kind, problem.path)
    return ", ".join(
        f"{count:,} {KINDS[kind].words if kind in KINDS else kind.replace('_', ' ')} "
        f"({shown(first[kind])}{', ...' if count > 1 else ''})"
        for kind, count in Counter(p.kind for p in problems).most_common()
    )
