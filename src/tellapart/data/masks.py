"""Segmentation masks that lie beside the images they belong to, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_COMPANIONS = frozenset(
    {
        *("mask", "masks", "binarymask", "binarymasks", "segmentation", "segmentations"),
        *("segmentationmask", "segmentationmasks", "gt", "groundtruth", "groundtruths"),
        *("label", "labels", "annotation", "annotations", "bbox", "bboxes"),
    }
)
_IMAGE_FOLDERS = frozenset(
    {
        *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures"),
        *("original", "originals", "input", "inputs", "raw", "scan", "scans", "xray", "xrays"),
    }
)
_MASK_NAME = re.compile(
    r"(.+?)[ _.-]+(?:masks?|segmentations?|ground[ _-]?truth)(?:[ _-]?[0-9]+)?\.\w+"
)
#: Short words say it of formats only that masks come in: ``ford_gt.jpg`` is a car.
_SHORT_MASK_NAME = re.compile(r"(.+?)[ _.-]+(?:seg|gt)(?:[ _-]?[0-9]+)?\.(?:png|bmp|tiff?|gif)")
_WORDS = ("mask", "seg", "truth", "gt")


def is_folder_of_images(name: str) -> bool:
    """Whether a folder's name says that it holds images, and no more: ``images``, ``photos``."""
    return re.sub(r"[^a-z]", "", name.lower()) in _IMAGE_FOLDERS


def without_companions(names: Sequence[str]) -> list[str]:
    """Sibling folders without those for masks or labels, where ``images`` stands beside them."""
    plain = {name: re.sub(r"[^a-z]", "", name.lower()) for name in names}
    if not any(p in _IMAGE_FOLDERS for p in plain.values()):
        return list(names)
    return [name for name in names if plain[name] not in _COMPANIONS]


def find_masks(paths: Iterable[str], start: int) -> set[str]:
    """Those of ``paths`` that are masks of others of them.

    A mask lies in ``masks/`` (or the like) with ``images/`` (or pictures) beside it, below a
    class folder; or it is named after an image in the same folder: ``x_mask.png`` beside
    ``x.png``.

    Args:
        start: length of the paths' common prefix, after which the class folder's name comes.
    """
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        by_folder.setdefault(path.rpartition("/")[0], []).append(path)
    below: dict[str, set[str]] = {}
    for folder in by_folder:
        pieces = folder.split("/")
        for depth in range(1, len(pieces)):
            below.setdefault("/".join(pieces[:depth]), set()).add(pieces[depth])
    found: set[str] = set()
    for folder, members in by_folder.items():
        if _in_mask_folder(folder, start, by_folder, below):
            found.update(members)
            continue
        named = {path: stem for path in members if (stem := _stem_of_image(path))}
        if named:
            stems = {member.rpartition("/")[2].rpartition(".")[0].lower() for member in members}
            found.update(path for path, stem in named.items() if stem in stems)
    return found


def _stem_of_image(path: str) -> str | None:
    """What the image's name is if this is the name of its mask, in lower case."""
    name = path.rpartition("/")[2].lower()
    if not any(word in name for word in _WORDS):  # spares the expressions for most
        return None
    match = _MASK_NAME.fullmatch(name) or _SHORT_MASK_NAME.fullmatch(name)
    return match[1] if match else None


def _in_mask_folder(
    folder: str, start: int, by_folder: dict[str, list[str]], below: dict[str, set[str]]
) -> bool:
    pieces = folder.split("/")
    for depth in range(1, len(pieces)):
        above = "/".join(pieces[:depth])
        if len(above) <= start:  # a folder beside the class folders is a class
            continue
        siblings = sorted(below[above])
        has_images = above in by_folder or siblings != without_companions(siblings)
        if has_images and pieces[depth] not in without_companions([*siblings, "images"]):
            return True
    return False
