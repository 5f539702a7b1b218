"""Groups of images that show the same picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tellapart.data.near_duplicates import near_duplicate_groups
from tellapart.data.pixels import load_pixels
from tellapart.data.reading import read_table
from tellapart.pixels.preprocessing import Preprocessing


def test_groups_of_near_duplicates(image_folder: Callable[..., Path]) -> None:
    root = image_folder(per_class=10, size=(96, 96))
    (root / "red/copy.jpg").write_bytes((root / "red/0000.jpg").read_bytes())
    with Image.open(root / "red/0000.jpg") as picture:
        picture.crop((2, 1, 95, 94)).save(root / "blue/near.png")
    cache = load_pixels(read_table(root), Preprocessing(64, 64))
    groups = near_duplicate_groups(cache)
    of = dict(zip(cache.table.paths, groups.tolist(), strict=True))
    assert of["red/0000.jpg"] == of["red/copy.jpg"] == of["blue/near.png"]
    assert len(set(groups.tolist())) == len(cache) - 2
