"""Copies of a picture are found, pictures that only resemble each other are not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.pixels.similarity import find_similar, group_pairs, principal_directions


def scene(seed: int, size: int = 200) -> Image.Image:
    """A picture of its own: random colours on coarse and on finer grids."""
    random = np.random.default_rng(seed)
    picture = np.zeros((size, size, 3))
    for cells, strength in ((4, 120), (9, 80), (25, 50)):
        grid = random.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        layers = [
            np.asarray(Image.fromarray(grid[..., c]).resize((size, size), Image.Resampling.BICUBIC))
            for c in range(3)
        ]
        picture += strength * np.stack(layers, axis=2)
    return Image.fromarray(np.clip(picture + 128, 0, 255).astype(np.uint8))


def thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX))


def pairs(found: object) -> set[tuple[int, int]]:
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True))  # type: ignore[attr-defined]


def test_changed_copies_are_found_among_others() -> None:
    pictures = [scene(seed) for seed in range(60)]
    copies = [
        pictures[3].crop((8, 4, 192, 198)),  # cropped by up to 4 %
        pictures[4].resize((90, 70)),
        pictures[5].point(lambda v: int(0.6 * v + 60)),  # flatter and brighter
        pictures[6].crop((0, 0, 196, 200)),
    ]
    found = find_similar(np.stack([thumbnail(p) for p in (*pictures, *copies)]))
    assert pairs(found) == {(3, 60), (4, 61), (5, 62), (6, 63)}
    assert (found.scores > 0.955).all() and (found.scores <= 1.0001).all()


def test_features_help_with_larger_crops() -> None:
    pictures = [scene(seed) for seed in range(40)]
    crop = pictures[7].crop((22, 18, 180, 184))  # a tenth is gone on every side
    thumbnails = np.stack([thumbnail(p) for p in (*pictures, crop)])
    features = np.random.default_rng(0).normal(size=(41, 64)).astype(np.float32)
    features[40] = features[7] + 0.1 * features[40]
    assert pairs(find_similar(thumbnails, principal_directions(features))) == {(7, 40)}


def test_equal_features_alone_are_not_enough() -> None:
    thumbnails = np.stack([thumbnail(scene(seed)) for seed in range(10)])
    features = np.repeat(np.eye(2, 8, dtype=np.float32), 5, axis=0)
    assert pairs(find_similar(thumbnails, principal_directions(features))) == set()


def test_pictures_that_resemble_each_other_are_not_copies() -> None:
    blends = [Image.blend(scene(0), scene(seed), 0.25) for seed in range(1, 9)]
    thumbnails = np.stack([thumbnail(picture) for picture in blends])
    alike = np.corrcoef(thumbnails.reshape(8, -1))[np.triu_indices(8, 1)]
    assert alike.min() > 0.7  # they have most in common
    features = np.ones((8, 4), np.float32) + np.eye(8, 4, dtype=np.float32) * 1e-3
    for principal in (None, features / np.linalg.norm(features, axis=1, keepdims=True)):
        assert pairs(find_similar(thumbnails, principal)) == set()


def test_blank_pictures_are_like_nothing() -> None:
    thumbnails = np.random.default_rng(0).integers(127, 129, (6, 32, 32)).astype(np.uint8)
    thumbnails[3:] = 0
    assert pairs(find_similar(thumbnails)) == set()


def test_many_blocks_give_what_one_gives(monkeypatch) -> None:
    from tellapart.pixels import similarity

    pictures = [thumbnail(scene(seed)) for seed in range(150)]
    thumbnails = np.stack([*pictures, *pictures[:100:9]])
    expected = pairs(find_similar(thumbnails))
    assert len(expected) == 12
    monkeypatch.setattr(similarity, "_BLOCK_NUMBERS", 100)  # the smallest blocks: 64 rows
    assert pairs(find_similar(thumbnails)) == expected


def test_groups_follow_chains() -> None:
    first, second = np.array([1, 3]), np.array([3, 4])
    assert group_pairs(6, first, second).tolist() == [0, 1, 2, 1, 1, 3]
    assert group_pairs(3, first[:0], second[:0]).tolist() == [0, 1, 2]


def test_principal_directions_keep_cosines_of_centred_rows() -> None:
    rows = np.random.default_rng(0).normal(3, 1, (50, 20)).astype(np.float32)
    centred = rows - rows.mean(axis=0)
    expected = centred @ centred.T
    lengths = np.linalg.norm(centred, axis=1)
    expected = expected / np.outer(lengths, lengths)
    for count in (20, 64):
        found = principal_directions(rows, count)
        assert np.allclose(found @ found.T, expected, atol=1e-4)
    # All variance in two directions: two are enough.
    flat = np.random.default_rng(1).normal(size=(50, 2)) @ np.random.default_rng(2).normal(
        size=(2, 30)
    )
    narrow = principal_directions(flat.astype(np.float32), 2)
    wide = principal_directions(flat.astype(np.float32), 64)
    assert narrow.shape == (50, 2)
    assert np.allclose(narrow @ narrow.T, wide @ wide.T, atol=1e-3)
