"""Batches: every image once, shuffled by image, never by batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tellapart.training.batches import (
    Arrays,
    BatchSource,
    balanced_plan,
    derive_seed,
    ordered_plan,
    shuffled_plan,
    steps_per_epoch,
)

CPU = torch.device("cpu")


def test_images_are_shuffled_not_batches() -> None:
    # Document 000 shuffled whole batches of a table sorted by class: each had one class.
    labels = np.repeat(np.arange(10), 100)
    plan = shuffled_plan(1000, 64, torch.Generator().manual_seed(0))
    assert torch.equal(torch.cat(plan).sort().values, torch.arange(1000))
    assert all(len(np.unique(labels[ids])) >= 6 for ids in plan)
    other = shuffled_plan(1000, 64, torch.Generator().manual_seed(1))
    assert not torch.equal(plan[0], other[0])


@pytest.mark.parametrize(
    ("size", "batch_size", "lengths"),
    [
        (10, 4, [4, 4, 2]),
        (8, 4, [4, 4]),
        (9, 4, [4, 5]),
        (3, 64, [3]),
        (1, 4, [1]),
        (3, 1, [1] * 3),
    ],
)
def test_the_last_batch_is_kept_and_a_single_image_joins_the_one_before(
    size: int, batch_size: int, lengths: list[int]
) -> None:
    plan = shuffled_plan(size, batch_size, torch.Generator().manual_seed(0))
    assert [len(ids) for ids in plan] == lengths
    assert steps_per_epoch(size, batch_size) == len(lengths)


def test_evaluation_goes_in_table_order() -> None:
    assert torch.equal(torch.cat(ordered_plan(10, 4)), torch.arange(10))


def test_batches_are_the_right_pictures_as_floats() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 5, 6, 3), dtype=np.uint8)
    rows = np.array([7, 2, 4])
    source = BatchSource(Arrays(pixels, np.array([1, 0, 1]), rows), CPU)
    images, labels = source.batch(torch.tensor([0, 2]))
    assert images.dtype == torch.float32 and images.shape == (2, 3, 5, 6)
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), pixels[[7, 4]])
    assert labels.tolist() == [1, 1]
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_views_are_drawn_an_image() -> None:
    features = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    source = BatchSource(Arrays(features, np.zeros(4, np.int64)), CPU)
    assert source.num_views == 2
    got, _ = source.batch(torch.tensor([0, 3]), torch.tensor([1, 0, 0, 1]))
    assert np.array_equal(got.numpy(), features[1, [0, 3]])


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="but 3 labels"):
        Arrays(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="2 rows but 3 labels"):
        Arrays(np.zeros((4, 2), np.float32), np.zeros(3, np.int64), np.array([0, 1]))


def test_each_epoch_and_purpose_has_its_own_seed() -> None:
    seeds = {derive_seed(s, p, e) for s in (0, 1) for p in ("dropout", "mixing") for e in range(50)}
    assert len(seeds) == 200


def test_a_balanced_epoch_shows_classes_equally_often_and_rare_images_evenly() -> None:
    labels = torch.tensor([0] * 17 + [2] * 3)  # class 1 has no images
    seen = torch.zeros(20)
    for epoch in range(4):
        generator = torch.Generator().manual_seed(epoch)
        batches = balanced_plan(labels, 8, generator)
        ids = torch.cat(batches)
        assert len(ids) == 20 and [len(batch) for batch in batches] == [8, 8, 4]
        assert (labels[ids] == 0).sum() == 10
        counts = torch.bincount(ids, minlength=20)
        assert counts[:17].max() == 1 and counts[17:].tolist() in ([3, 3, 4], [3, 4, 3], [4, 3, 3])
        seen += counts
    assert (seen > 0).all()
