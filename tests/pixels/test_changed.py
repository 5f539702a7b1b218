"""Mirrored, turned, tilted, framed and written on copies are found, and nothing is invented."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from tests.pixels.test_similarity import pairs, scene, thumbnail

from tellapart.pixels.changed import TURNS, find_changed, find_turned, turned
from tellapart.pixels.similarity import find_similar, principal_directions

Pictures = list[Image.Image]
MIRROR, FLIP = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM


def grey(pictures: Pictures) -> NDArray[np.float32]:
    return np.stack([thumbnail(picture) for picture in pictures]).astype(np.float32)


def features(count: int, copies: dict[int, int]) -> NDArray[np.float32]:
    """Rows of a network's kind: a copy's are near those of its picture."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(count, 64)).astype(np.float32)
    for copy, of in copies.items():
        rows[copy] = rows[of] + 0.3 * rows[copy]
    return principal_directions(rows)


def words(found: object) -> dict[tuple[int, int], str]:
    return dict(zip(sorted(pairs(found)), found.changes.tolist(), strict=True))  # type: ignore[attr-defined]


def test_turns_are_the_eight_of_a_square() -> None:
    one = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    expected = {
        np.rot90(side, times).tobytes()
        for side in (one[0], np.fliplr(one[0]))
        for times in range(4)
    }
    assert {turned(one, turn)[0].tobytes() for turn in range(len(TURNS))} == expected
    assert (turned(one, 1)[0] == np.fliplr(one[0])).all()


@pytest.mark.parametrize("copies_first", [False, True])
def test_mirrored_and_turned_copies_need_no_features(copies_first: bool) -> None:
    pictures = [scene(seed) for seed in range(40)]
    changed = {
        "mirrored": pictures[3].transpose(MIRROR).resize((120, 150)),
        "upside down and mirrored": pictures[4].transpose(FLIP),
        "turned by half": pictures[5].rotate(180),
        "turned by a quarter": pictures[6].rotate(90),
        "turned by a quarter and mirrored": pictures[7].transpose(Image.Transpose.TRANSPOSE),
    }
    extra = [*changed.values(), pictures[8].rotate(-90)]
    together = [*extra, *pictures] if copies_first else [*pictures, *extra]
    found = words(find_changed(grey(together)))
    places = range(6) if copies_first else range(40, 46)
    ways = (*changed, "turned by a quarter")
    assert found == {
        tuple(sorted((place, of + (6 if copies_first else 0)))): way
        for place, of, way in zip(places, range(3, 9), ways, strict=True)
    }


def test_tilted_framed_and_stamped_copies_are_found_with_features() -> None:
    pictures = [scene(seed) for seed in range(40)]
    stamped = pictures[12].copy()
    ImageDraw.Draw(stamped).rectangle((120, 150, 190, 195), fill=(250, 250, 0))  # 8 %
    changed = [
        pictures[3].rotate(8, Image.Resampling.BICUBIC),
        pictures[4].rotate(-11, Image.Resampling.BICUBIC, expand=True, fillcolor=(255, 255, 255)),
        ImageOps.expand(pictures[10], 20, fill=(0, 0, 0)),
        ImageOps.expand(pictures[11], (0, 22), fill=(200, 30, 30)),
        stamped,
        ImageOps.mirror(pictures[13]).crop((6, 4, 194, 198)),
    ]
    of = [3, 4, 10, 11, 12, 13]
    together = grey([*pictures, *changed])
    principal = features(46, dict(zip(range(40, 46), of, strict=True)))
    found = words(find_similar(together, principal, changed=True))
    assert set(found) == {(row, 40 + place) for place, row in enumerate(of)}
    assert found[3, 40] == found[4, 41] == "tilted" and found[13, 45] == "mirrored"
    quick = find_changed(together, principal, thorough=False)
    assert pairs(quick) == {(13, 45)}


def test_similar_pictures_are_not_called_changed() -> None:
    pictures = [scene(seed) for seed in range(30)]
    crop = pictures[5].crop((4, 4, 196, 196))
    principal = features(31, {30: 5})
    found = find_similar(grey([*pictures, crop]), principal, changed=True)
    assert words(found) == {(5, 30): ""}


def test_equal_frames_do_not_make_one_picture_of_two() -> None:
    frames = [
        ImageOps.expand(scene(seed).point(lambda v: v // 4), 24, fill=(255, 255, 255))
        for seed in range(12)
    ]
    principal = features(12, {row: 0 for row in range(1, 12)})
    assert pairs(find_changed(grey(frames), principal)) == set()


def test_alike_features_do_not_make_one_picture_of_two() -> None:
    pictures = [scene(seed) for seed in range(20)]
    principal = features(20, {row: 0 for row in range(1, 20)})
    assert pairs(find_changed(grey(pictures), principal)) == set()


def cell(seed: int) -> Image.Image:
    """One of many that look alike: a bright regular grid, a little stain somewhere."""
    random = np.random.default_rng(seed)
    pixels = np.full((192, 192), 150.0)
    pixels[::24], pixels[:, ::48] = 40, 60
    y, x = np.mgrid[:192, :192]
    for _ in range(3):
        across, down = random.uniform(20, 170, 2)
        pixels -= 60 * np.exp(-((x - across) ** 2 + (y - down) ** 2) / 200)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def test_pictures_of_one_kind_of_thing_are_no_copies_but_a_mirrored_file_is() -> None:
    cells = [cell(seed) for seed in range(60)]
    principal = features(61, {row: 0 for row in range(1, 61)})
    mirrored = grey([*cells, ImageOps.mirror(cells[9])])
    assert pairs(find_changed(mirrored, principal)) == {(9, 60)}
    assert pairs(find_changed(mirrored[:60], principal[:60])) == set()


def test_blank_pictures_and_few_pictures() -> None:
    blank = np.random.default_rng(0).integers(127, 129, (6, 32, 32)).astype(np.float32)
    assert pairs(find_changed(blank, features(6, {1: 0, 2: 0}))) == set()
    for count in (0, 1):
        some = grey([scene(seed) for seed in range(1)])[:count]
        assert pairs(find_changed(some, features(1, {})[:count])) == set()


# --- before a training --------------------------------------------------------------------------


def blobs(count: int, seed: int) -> np.ndarray:
    """Pictures of smooth random shapes, none like another or like its own mirror image."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    fields = gaussian_filter(random.normal(size=(count, 64, 64)), (0, 3, 3))
    fields += 0.3 * gaussian_filter(random.normal(size=(count, 64, 64)), (0, 1, 1))
    low, high = fields.min(axis=(1, 2), keepdims=True), fields.max(axis=(1, 2), keepdims=True)
    return (255 * (fields - low) / (high - low)).astype(np.float32)


@pytest.mark.parametrize("turn", range(1, 8))
def test_turned_copies_of_what_is_sought_are_found(turn: int) -> None:
    pictures = blobs(40, 0)
    pictures[31] = turned(pictures[4:5], turn)[0]
    sought = np.arange(40) >= 30
    found = find_turned(pictures, sought)
    assert (found.first.tolist(), found.second.tolist()) == ([4], [31])
    assert len(find_turned(pictures, np.arange(40) < 4).first) == 0
    assert len(find_turned(pictures, np.zeros(40, bool)).first) == 0


def test_a_picture_that_is_its_own_mirror_image_is_no_turned_copy_of_one_like_it() -> None:
    """A mirrored look-alike of a symmetric picture is a look-alike, as it is."""
    pictures = blobs(40, 1)
    even = pictures[4] + pictures[4][:, ::-1]
    pictures[4], pictures[31] = even / 2, even / 2 + blobs(1, 2)[0] / 20
    assert len(find_turned(pictures, np.arange(40) >= 30).first) == 0
