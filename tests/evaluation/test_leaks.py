"""The metrics with and without leaked images, of four images worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.evaluation.leaks import WITH, WITHOUT, leak_sentence, metrics_of
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions


def predictions(images: int = 4) -> Predictions:
    """Images of class a: the first half right, the second wrong."""
    right = np.arange(images) < (images + 1) // 2
    return Predictions(
        "test", ("a", "b"), tuple(f"{i}.jpg" for i in range(images)), np.zeros(images, np.int64),
        np.where(right[:, None], [[0.9, 0.1]], [[0.2, 0.8]]),
    )  # fmt: skip


def test_without_a_leak_there_is_one_number() -> None:
    found = metrics_of(predictions(), ["elsewhere.jpg"])
    assert found == {"test": evaluate_predictions(predictions())}
    assert leak_sentence(found) == ""


@pytest.mark.parametrize(("keep", "names", "accuracies"), [
    (False, ["test", "test_with_leaked"], [1 / 3, 0.5]),
    (True, ["test", "test_without_leaked"], [0.5, 1 / 3]),
])  # fmt: skip
def test_the_headline_is_of_the_clean_images_unless_leaks_are_kept(
    keep: bool, names: list[str], accuracies: list[float]
) -> None:
    found = metrics_of(predictions(), {"1.jpg"}, keep_leaks=keep)
    assert list(found) == names
    assert [metrics.accuracy.value for metrics in found.values()] == pytest.approx(accuracies)
    assert [metrics.part for metrics in found.values()] == ["test", "test"]
    assert leak_sentence(found) == (
        "Test: 50.00 % of all 4 are right, and without the one that was seen in training "
        "33.33 % of the other 3."
    )


def test_several_and_thousands_are_counted() -> None:
    found = metrics_of(predictions(4_000), [f"{i}.jpg" for i in range(1_500)])
    assert leak_sentence(found) == (
        "Test: 50.00 % of all 4,000 are right, and without the 1,500 images that were seen in "
        "training 20.00 % of the other 2,500."
    )
    few = metrics_of(predictions(3_000), [f"{i}.jpg" for i in range(1_000, 1_003)])
    assert leak_sentence(few).endswith("without the 3 images that were seen in training "
                                       "49.95 % of the other 2,997.")  # fmt: skip


@pytest.mark.parametrize(("images", "reason"), [
    (4, "all 4 test images were seen in training"),
    (2, "both test images were seen in training"),
    (1, "the only test image was seen in training"),
])  # fmt: skip
@pytest.mark.parametrize("keep", [False, True])
def test_where_no_clean_image_is_left_the_reason_stands_there(
    images: int, reason: str, keep: bool
) -> None:
    made = predictions(images)
    found = metrics_of(made, made.paths, keep_leaks=keep)
    clean = found["test_without_leaked" if keep else "test"]
    everything = found["test" if keep else "test_with_leaked"]
    assert clean.accuracy.value is None and clean.accuracy.reason == reason
    assert clean.images == 0 and everything.images == images
    assert everything == evaluate_predictions(made)


def test_a_part_that_was_all_seen_says_nothing() -> None:
    made = predictions(4)
    expected = "Test: 50.00 % of all 4 images are right, but all were seen in training, so it says"
    for keep in (False, True):
        assert leak_sentence(metrics_of(made, made.paths, keep_leaks=keep)) == (
            f"{expected} nothing."
        )


def test_the_seed_reaches_the_draws_of_both() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1.0, 300)
    right = random.random(300) < confidence - 0.15
    made = Predictions(
        "test", ("a", "b"), tuple(map(str, range(300))), np.where(right, 0, 1),
        np.column_stack([confidence, 1 - confidence]),
    )  # fmt: skip
    clean = made.select(np.arange(1, 300))
    for seed in (0, 1):
        found = metrics_of(made, {"0"}, seed=seed)
        assert found["test"] == evaluate_predictions(clean, seed=seed)
        assert found["test_with_leaked"] == evaluate_predictions(made, seed=seed)
    # The limit that is drawn for lies on a grid: seeds near each other may come to one point.
    default, other = metrics_of(made, {"0"}), metrics_of(made, {"0"}, seed=4)
    assert default["test"] == evaluate_predictions(clean) != other["test"]
    assert default["test_with_leaked"] != other["test_with_leaked"]
    assert metrics_of(made, set()) == {"test": evaluate_predictions(made)}
    assert metrics_of(made, set(), seed=1) == {"test": evaluate_predictions(made, seed=1)}


def test_the_names_in_the_file() -> None:
    assert (WITH, WITHOUT) == ("_with_leaked", "_without_leaked")
