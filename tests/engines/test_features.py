from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tellapart.data.pixels import PixelCache
from tellapart.engines import features
from tellapart.engines.features import backbone_key, extract_features, extract_views
from tellapart.engines.parity import check_images, difference
from tellapart.errors import RecipeError
from tellapart.models.backbone import build_backbone
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.views import VIEWS, show
from tellapart.recipe import BackboneModel, Flip, GaussianNoise, Rotation

SIZE = 64
LITE0 = BackboneModel(backbone="tf_efficientnet_lite0")
PREPROCESSING = Preprocessing(SIZE, SIZE, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)


def images(number: int, key: str = "images", size: int = SIZE) -> PixelCache:
    pixels = check_images(size, size, number)
    return PixelCache(range(number), pixels, (), f"{key}-{number}")  # type: ignore[arg-type]


def in_float32(model: BackboneModel, pixels: np.ndarray) -> np.ndarray:
    backbone = build_backbone(model.backbone, model.weights, features=model.features).eval()
    normalised = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        return backbone(normalised).numpy()


def test_features_are_those_of_the_network_in_float32() -> None:
    cache = images(11)
    found = extract_features(LITE0, PREPROCESSING, cache)
    assert (found.shape, found.dtype) == ((1, 11, 1280), np.float32)
    assert difference(found[0], in_float32(LITE0, cache.pixels)).acceptable


def test_views_are_of_the_turned_and_mirrored_picture() -> None:
    cache = images(5)
    found = extract_features(LITE0, PREPROCESSING, cache, views=("original", "flip", "turn_90"))
    assert found.shape == (3, 5, 1280)
    mirrored = np.ascontiguousarray(cache.pixels[:, :, ::-1])
    assert difference(found[1], in_float32(LITE0, mirrored)).acceptable
    anticlockwise = np.ascontiguousarray(cache.pixels.transpose(0, 2, 1, 3)[:, ::-1])
    assert difference(found[2], in_float32(LITE0, anticlockwise)).acceptable


def test_eight_views_are_the_eight_symmetries_of_a_square() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    seen = {show(picture, view).tobytes() for view in VIEWS.values()}
    assert len(seen) == 8
    oblong = replace(images(2), pixels=np.zeros((2, 64, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="square"):
        extract_features(LITE0, PREPROCESSING, oblong, views=("turn_90",))


def test_a_map_is_kept_in_half_precision() -> None:
    model = LITE0.model_copy(update={"features": "map"})
    cache = images(4)
    found = extract_features(model, PREPROCESSING, cache)
    assert (found.shape, found.dtype) == ((1, 4, 1280, 2, 2), np.float16)
    assert difference(found[0].astype(np.float32), in_float32(model, cache.pixels)).acceptable


def test_a_second_call_opens_the_first_ones_result(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = np.array(extract_features(LITE0, PREPROCESSING, images(6)))
    monkeypatch.setattr(features, "build_backbone_engine", None)
    again = extract_features(LITE0, PREPROCESSING, images(6))
    np.testing.assert_array_equal(again, first)
    assert isinstance(again.base, np.memmap) and not again.flags.writeable
    with pytest.raises(TypeError):  # other pixels are not there yet
        extract_features(LITE0, PREPROCESSING, images(6, "others"))


def test_a_second_call_in_another_process_imports_no_torch(fresh_cache: Path) -> None:
    extract_features(LITE0, PREPROCESSING, images(6))
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from tellapart.data.pixels import PixelCache\n"
        "from tellapart.pixels.preprocessing import Preprocessing\n"
        "from tellapart.recipe import BackboneModel\n"
        "from tellapart.engines.features import extract_features\n"
        f"p = Preprocessing({SIZE}, {SIZE}, mean=(127/255,)*3, std=(128/255,)*3)\n"
        f"pixels = np.zeros((6, {SIZE}, {SIZE}, 3), np.uint8)\n"
        "c = PixelCache(range(6), pixels, (), 'images-6')\n"
        "found = extract_features(BackboneModel(backbone='tf_efficientnet_lite0'), p, c)\n"
        "print(found.shape, found.any(), 'torch' in sys.modules, 'timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 6, 1280) True False False"


class CountingEngine:
    """Mean colour of each image; fails after ``limit`` images."""

    name = "counting"

    def __init__(self, limit: int) -> None:
        self.limit, self.seen = limit, 0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        self.seen += len(pixels)
        if self.seen > self.limit:
            raise KeyboardInterrupt
        return pixels.mean((1, 2), dtype=np.float32)


def test_work_that_was_stopped_goes_on_where_it_was(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "_PART", 8)
    monkeypatch.setattr(features, "_BLOCK", 4)
    cache = images(30)
    engines = [CountingEngine(18), CountingEngine(1000)]
    stopped, resumed = engines
    monkeypatch.setattr(features, "build_backbone_engine", lambda *a, **k: engines.pop(0))
    with pytest.raises(KeyboardInterrupt):
        extract_features(LITE0, PREPROCESSING, cache)
    assert stopped.seen > 16
    found = extract_features(LITE0, PREPROCESSING, cache)[0]
    assert resumed.seen == 30 - 16  # two parts of eight were safe
    np.testing.assert_allclose(found, cache.pixels.mean((1, 2)), rtol=1e-5)
    parts = fresh_cache / "feature-parts"
    assert not any(parts.iterdir())  # their space is given back


def test_no_images_have_features_of_the_right_shape() -> None:
    assert extract_features(LITE0, PREPROCESSING, images(0)).shape == (1, 0, 1280)


def test_a_size_that_the_backbone_cannot_take_is_refused() -> None:
    model = BackboneModel(backbone="mixer_s16_224", weights="none")
    with pytest.raises(RecipeError, match=r"cannot take images of 64 x 64 pixels"):
        extract_features(model, PREPROCESSING, images(2))


# --- keys ------------------------------------------------------------------------------


def test_the_key_changes_with_all_that_changes_features(tmp_path: Path) -> None:
    small = BackboneModel(backbone="mobilenetv3_small_050", weights="none")
    state = build_backbone("mobilenetv3_small_050", "none").network.state_dict()
    keys = [backbone_key(small, PREPROCESSING)]
    for number in (1, 2):
        state["conv_stem.weight"] = state["conv_stem.weight"] + 1
        file = tmp_path / f"{number}.safetensors"
        save_file(state, file)
        keys.append(backbone_key(small.model_copy(update={"weights": str(file)}), PREPROCESSING))
    keys.append(backbone_key(small.model_copy(update={"features": "map"}), PREPROCESSING))
    keys.append(backbone_key(small, Preprocessing(SIZE, SIZE, mean=(0.5, 0.5, 0.4))))
    keys.append(backbone_key(LITE0, PREPROCESSING))
    assert len(set(keys)) == len(keys)


def test_the_key_goes_by_the_content_of_the_weights_not_by_their_place(tmp_path: Path) -> None:
    state = build_backbone("mobilenetv3_small_050", "none").network.state_dict()
    models = []
    for name in ("a", "b"):
        save_file(state, tmp_path / f"{name}.safetensors")
        models.append(
            BackboneModel(
                backbone="mobilenetv3_small_050", weights=str(tmp_path / f"{name}.safetensors")
            )
        )
    first, second = (backbone_key(model, PREPROCESSING) for model in models)
    assert first == second


# --- augmented views -------------------------------------------------------------------

STEPS = (Flip(transform="flip"), Rotation(transform="rotation", degrees=20))


def test_augmented_views_differ_and_repeat_with_their_seed() -> None:
    cache = images(6)
    rows = np.array([4, 0, 5])
    found = extract_views(LITE0, PREPROCESSING, cache, STEPS, views=2, rows=rows, seed=3)
    assert (found.shape, found.dtype) == ((2, 3, 1280), np.float32)
    again = extract_views(LITE0, PREPROCESSING, cache, STEPS, views=1, rows=rows, seed=3)
    np.testing.assert_array_equal(again[0], found[0])
    other = extract_views(LITE0, PREPROCESSING, cache, STEPS, views=1, rows=rows, seed=4)
    assert not np.array_equal(other[0], found[0])
    assert not np.array_equal(found[0], found[1])


def test_without_steps_a_view_is_the_picture_itself() -> None:
    cache = images(5)
    rows = np.array([3, 1])
    found = extract_views(LITE0, PREPROCESSING, cache, (), views=1, rows=rows)
    plain = extract_features(LITE0, PREPROCESSING, cache)
    np.testing.assert_array_equal(found[0], plain[0, rows])


def test_a_view_is_the_backbone_on_an_augmented_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flip with probability one half gives the original's features or the mirror's."""
    cache = images(8)
    found = extract_views(LITE0, PREPROCESSING, cache, STEPS[:1], views=1, seed=1)[0]
    both = extract_features(LITE0, PREPROCESSING, cache, views=("original", "flip"))
    nearest = [
        [difference(f[None], b[None]).relative for b in both[:, i]] for i, f in enumerate(found)
    ]
    assert np.min(nearest, axis=1).max() < 1e-6
    assert 0 < np.argmin(nearest, axis=1).sum() < 8


def test_noise_reaches_the_backbone() -> None:
    noise = (GaussianNoise(transform="gaussian_noise", standard_deviation=0.1),)
    cache = images(3)
    found = extract_views(LITE0, PREPROCESSING, cache, noise, views=1)
    plain = extract_features(LITE0, PREPROCESSING, cache)
    assert difference(found[0], plain[0]).relative > 0.05


def test_views_of_one_augmentation_are_not_those_of_another() -> None:
    """Of the same images, seed and rows, and both from the cache: the key names the steps."""
    cache = images(4)

    def views(degrees: float) -> np.ndarray:
        steps = (Rotation(transform="rotation", degrees=degrees),)
        return np.array(extract_views(LITE0, PREPROCESSING, cache, steps, views=1, seed=7))

    little, much, again = views(2), views(90), views(2)
    plain = extract_features(LITE0, PREPROCESSING, cache)
    assert np.array_equal(little, again)
    assert difference(little[0], plain[0]).relative < difference(much[0], plain[0]).relative / 2
