"""Which words mean train, validation or test, in names of folders and in tables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

PARTS = ("train", "validation", "test")
#: A new word is a row here.
PART_NAMES = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "validate": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
#: One word, or train and validation together.
_WORDS = {part: "|".join(w for w, p in PART_NAMES.items() if p == part) for part in PARTS}
_WORD = f"(?:{_WORDS['train']})(?:and)?(?:{_WORDS['validation']})|{'|'.join(PART_NAMES)}"
#: Words beside the part's name that say nothing more: ``training_set``, ``seg_test``.
_FILLERS = (
    r"(?:sets?|seg|data|datasets?|images?|imgs?|pics?|pictures?|photos?|folder|split|part|samples?"
    r"|public|private)*"
)
_NAME = re.compile(f"{_FILLERS}({_WORD}){_FILLERS}")
_PLAIN = re.compile(r"[a-z0-9 _.()-]+")
_SEPARATED = re.compile(r"[ _.-]+")


def part_of_name(name: str) -> str | None:
    """The part that a name means: ``Train``, ``test_set``, ``val2017``, ``train_images``.

    Example:
        >>> [part_of_name(n) for n in ("seg_train", "trainval", "TEST-2", "trains", "contest")]
        ['train', 'train', 'test', None, None]
    """
    lower = name.strip().lower()
    match = _NAME.fullmatch(re.sub(r"[^a-z]", "", lower)) if _PLAIN.fullmatch(lower) else None
    return _meaning(match[1]) if match else None


def stem_of(name: str) -> str:
    """A part folder's name without numbers and separators: ``train-1`` and ``train2`` share it."""
    return re.sub(r"[^a-z]", "", name.lower())


def _meaning(word: str) -> str:
    return PART_NAMES.get(word, "train")


def paired_parts(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Names that differ in a part only: ``xray_train xray_test`` -> xray: {name: part}.

    Returns:
        For each rest that is left when the part's word is taken away, and under which names
        for at least two parts are there, the names and their parts.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        pieces = _SEPARATED.split(name.lower())
        parts = [PART_NAMES[p] for p in pieces if p in PART_NAMES]
        if len(parts) == 1 and len(pieces) > 1:
            found[" ".join(p for p in pieces if p not in PART_NAMES)][name] = parts[0]
    return {rest: group for rest, group in found.items() if len(set(group.values())) > 1}
