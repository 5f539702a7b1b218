"""Progressive resizing: how large the training images of an epoch are, and what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from tiny import NUM_CLASSES, tiny_arrays, tiny_network

from tellapart.errors import RecipeError
from tellapart.progress import SilentProgress
from tellapart.recipe import ProgressiveResizing, TrainingStage
from tellapart.training.batches import Arrays
from tellapart.training.fit import fit
from tellapart.training.resizing import shrink, training_image_size

SETTING = ProgressiveResizing(image_size=64, share=0.5)


def sizes(setting: ProgressiveResizing | None, epochs: int, full_size: int) -> list[int]:
    return [training_image_size(setting, e, epochs, full_size) for e in range(1, epochs + 1)]


def test_the_size_grows_evenly_and_the_last_epochs_are_full() -> None:
    # By hand: 64 + 96 * (0, 0.2, 0.4, 0.6, 0.8) = 64, 83, 102, 121, 140, down to 32s.
    assert sizes(SETTING, 10, 160) == [64, 64, 96, 96, 128, 160, 160, 160, 160, 160]


@pytest.mark.parametrize("setting", [None, ProgressiveResizing(image_size=64, share=0.0)])
def test_without_a_share_of_the_epochs_all_are_full(setting) -> None:
    assert sizes(setting, 3, 160) == [160, 160, 160]


def test_images_smaller_than_the_first_size_stay_as_they_are() -> None:
    assert sizes(SETTING, 4, 48) == [48, 48, 48, 48]
    images = torch.rand(2, 3, 48, 48)
    assert shrink(images, 64) is images


def test_shrinking_averages_what_it_leaves_out_and_keeps_the_aspect() -> None:
    """As Pillow's bilinear resampling, which has no aliasing."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    small = shrink(torch.from_numpy(pixels).permute(2, 0, 1)[None].float(), 20)
    expected = np.asarray(Image.fromarray(pixels).resize((30, 20), Image.Resampling.BILINEAR))
    assert small.shape == (1, 3, 20, 30)
    np.testing.assert_allclose(small[0].permute(1, 2, 0), expected.astype(float), atol=1.0)


def test_the_network_trains_on_small_images_first_and_is_validated_on_full_ones() -> None:
    network = tiny_network()
    seen: list[tuple[bool, int]] = []

    def note(module, inputs) -> None:
        if seen[-1:] != [(module.training, inputs[0].shape[2])]:
            seen.append((module.training, inputs[0].shape[2]))

    stage = TrainingStage(
        epochs=4, progressive_resizing=ProgressiveResizing(image_size=32, share=0.5), cutmix=1.0
    )
    parts = tiny_arrays(30, 1, side=64), tiny_arrays(20, 2, side=64)
    network.register_forward_pre_hook(note)
    result = fit(network, *parts, stage, num_classes=NUM_CLASSES, device="cpu")
    seen.remove((False, 32))  # the trial before the first epoch
    heights = [height for training, height in seen if training]
    assert heights == [32, 32, 64, 64]
    assert {height for training, height in seen if not training} == {64}
    assert result.last_epoch == 4


class Counter(SilentProgress):
    """Keeps what the display of the training was told."""

    def __init__(self) -> None:
        self.total, self.unit, self.done = 0, "", list[int]()

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str = "") -> Iterator[Counter]:
        self.total, self.unit = total or 0, unit
        yield self

    def advance(self, amount: int = 1) -> None:
        self.done.append(amount)

    def status(self, text: str) -> None:
        pass


@pytest.mark.parametrize(("share", "expected"), [(0.5, [2, 2, 8, 8]), (0.0, [8, 8, 8, 8])])
def test_the_display_counts_small_images_by_their_pixels(share, expected) -> None:
    """So that the time left is right: eight steps on a quarter of the pixels are two."""
    setting = ProgressiveResizing(image_size=32, share=share)
    stage = TrainingStage(epochs=4, batch_size=4, progressive_resizing=setting)
    parts = tiny_arrays(32, 1, side=64), tiny_arrays(20, 2, side=64)
    counter = Counter()
    options = {"num_classes": NUM_CLASSES, "device": "cpu", "progress": counter}
    fit(tiny_network(), *parts, stage, **options)
    assert counter.unit == "full-size steps"
    assert sum(counter.done) == counter.total == sum(expected)
    # A slow step is shown in between.
    sums = np.cumsum(counter.done)
    assert set(np.cumsum(expected)) <= set(sums)


def test_a_network_with_weights_for_one_size_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 62 * 62, NUM_CLASSES))
    stage = TrainingStage(epochs=2, progressive_resizing=ProgressiveResizing(image_size=32))
    parts = tiny_arrays(30, 1, side=64), tiny_arrays(20, 2, side=64)
    with pytest.raises(RecipeError, match=r"progressive_resizing.image_size=32: .* one size"):
        fit(network, *parts, stage, num_classes=NUM_CLASSES, device="cpu")


def test_features_are_refused() -> None:
    labels = np.arange(12) % NUM_CLASSES
    features = Arrays(np.ones((12, 5), np.float32), labels)
    stage = TrainingStage(epochs=1, progressive_resizing=ProgressiveResizing(image_size=32))
    network = nn.Linear(5, NUM_CLASSES)
    with pytest.raises(RecipeError, match="needs images"):
        fit(network, features, features, stage, num_classes=NUM_CLASSES, device="cpu")
