"""Plant changed copies among the pictures of a folder and see how many the audit finds.

    python benchmarks/audit_changed.py FOLDER [--copies 50] [--others 1000] [--json results.json]

For each kind of ``changed_copies.py`` (mirrored, turned, tilted, framed, written on, ...)
``--copies`` pictures get a copy, and ``--others`` pictures get none. Prints recall a kind, pairs
found that nobody planted, and what is found in all of FOLDER as it is, which is to be looked at by
eye. Images are copied, never changed. Ends with 1 where a pass mark is missed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from changed_copies import KINDS, changed_copy
from tellapart.data.pixels import PixelCache, load_pixels
from tellapart.data.reading import read_table
from tellapart.engines.features import extract_features
from tellapart.models.inputs import preprocessing_for
from tellapart.pixels.measures import measure
from tellapart.pixels.similarity import SimilarPairs, find_similar, principal_directions
from tellapart.progress import TerminalProgress
from tellapart.recipe import BackboneModel, DataSettings

#: Least recall of each kind on photographs, and most pairs that nobody planted.
LEAST_RECALL, MOST_INVENTED = 0.9, 2
SIDE = 192
SUFFIXES = (".jpg", ".jpeg", ".png")


def plant(source: Path, root: Path, copies: int, others: int, seed: int) -> None:
    """Pictures in ``root/a``, their changed copies under the same names in ``root/b``."""
    random = np.random.default_rng(seed)
    files = sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES)
    chosen = iter(random.permutation(len(files)))
    for folder in ("a", "b"):
        (root / folder).mkdir(parents=True)
    for kind in KINDS:
        for number in range(copies):
            file = files[next(chosen)]
            name = f"{kind}-{number:03d}"
            shutil.copyfile(file, root / "a" / f"{name}{file.suffix}")
            with Image.open(file) as picture:
                (root / "b" / f"{name}.jpg").write_bytes(changed_copy(picture, kind, random))
    for number, place in zip(range(others), chosen, strict=False):
        file = files[place]
        shutil.copyfile(file, root / "a" / f"other-{number:04d}{file.suffix}")


def search(folder: Path) -> tuple[PixelCache, SimilarPairs, float]:
    """Pairs found in a folder, as the audit finds them, and the seconds that it took."""
    progress = TerminalProgress()
    model = BackboneModel()
    rule = preprocessing_for(model, DataSettings(image_size=SIDE))
    pixels = load_pixels(read_table(folder), rule, progress=progress)
    features = extract_features(model, rule, pixels, progress=progress)[0]
    grey = measure(pixels.pixels, progress=progress).grey()
    started = perf_counter()
    principal = principal_directions(features)
    found = find_similar(grey, principal, changed=True, progress=progress)
    return pixels, found, perf_counter() - started


def score(pixels: PixelCache, found: SimilarPairs) -> tuple[dict[str, int], list[str]]:
    """Planted pairs found of each kind, and pairs not planted that are called changed."""
    names = [Path(path).stem for path in pixels.table.paths]
    hits: Counter[str] = Counter()
    invented = []
    for first, second, change in _pairs(found):
        if names[first] == names[second]:
            hits[names[first].rsplit("-", 1)[0]] += 1
        elif change:
            invented.append(f"{pixels.table.paths[first]} {pixels.table.paths[second]} {change}")
    return dict(hits), invented


def _pairs(found: SimilarPairs) -> list[tuple[int, int, str]]:
    changes = [""] * len(found.first) if found.changes is None else found.changes.tolist()
    return list(zip(found.first.tolist(), found.second.tolist(), changes, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=50)
    parser.add_argument("--others", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "planted"
        plant(options.folder, root, options.copies, options.others, options.seed)
        pixels, found, seconds = search(root)
        hits, invented = score(pixels, found)
    print(f"Among {len(pixels):,} images, {seconds:.1f} s:")
    for kind in KINDS:
        print(f"  {kind:22s} {hits.get(kind, 0)} of {options.copies}")
    print(f"Not planted: {len(invented)}", *invented, sep="\n  ")
    pixels, found, seconds = search(options.folder)
    changed = [
        f"{pixels.table.paths[first]} {pixels.table.paths[second]} {change}"
        for first, second, change in _pairs(found)
        if change
    ]
    print(f"Changed in all {len(pixels):,} images as they are, {seconds:.1f} s: {len(changed)}")
    print(*changed[:100], sep="\n")
    if options.json:
        result: dict[str, Any] = {
            "copies": options.copies,
            "found": hits,
            "not_planted": invented,
            "images_as_they_are": len(pixels),
            "changed_as_they_are": changed,
            "seconds_as_they_are": seconds,
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    missed = [kind for kind in KINDS if hits.get(kind, 0) < LEAST_RECALL * options.copies]
    if missed or len(invented) > MOST_INVENTED:
        print(f"Pass mark missed: {', '.join(missed) or 'pairs not planted'}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
