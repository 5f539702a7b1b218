"""What the report of a run says of thresholds, of handing over, and of the temperature."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, precision_score, recall_score

from tellapart.data.table import ImageTable
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions
from tellapart.number import Number
from tellapart.pixels.thumbnails import make_thumbnail
from tellapart.report import of_run
from tellapart.report.content import Confused
from tellapart.report.of_evaluation import (
    confusion_of,
    confusions_of,
    coverage_rows,
    galleries_of,
    headline_of,
    tables_of,
    temperature_rows,
    threshold_rows,
)
from tellapart.run_info import BorderlinePair, Leaks


def made(part: str, seed: int, images: int = 400, classes: int = 2) -> Predictions:
    """Scores that lean to the truth, with doubts."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    logits = random.normal(0, 1.2, (images, classes))
    logits[np.arange(images), labels] += 2.0
    powers = np.exp(logits)
    names = tuple("abcdefgh"[:classes])
    paths = tuple(f"{part}/{n}.jpg" for n in range(images))
    return Predictions(part, names, paths, labels, powers / powers.sum(axis=1, keepdims=True))


VALIDATION, TEST = made("validation", 1), made("test", 2)


@pytest.mark.parametrize("positive", [0, 1])
def test_thresholds_are_chosen_on_validation_and_shown_on_test(positive) -> None:
    table = threshold_rows(VALIDATION, TEST, VALIDATION.classes[positive])
    assert f"'{VALIDATION.classes[positive]}'" in table.title
    titles = [column.title for column in table.columns]
    assert titles[2:6] == [
        "Validation precision",
        "Validation recall",
        "Test precision",
        "Test recall",
    ]
    rows = {row[0]: row for row in table.rows}
    for wish, row in rows.items():
        threshold = row[1]
        for p, at in ((VALIDATION, 2), (TEST, 4)):
            called = p.probabilities[:, positive] >= threshold
            is_one = p.labels == positive
            assert row[at].value == pytest.approx(precision_score(is_one, called)), wish
            assert row[at + 1].value == pytest.approx(recall_score(is_one, called)), wish
            assert row[at].low < row[at].value <= row[at].high
        called = TEST.probabilities[:, positive] >= threshold
        assert row[6] == int((called & (TEST.labels != positive)).sum())
        assert row[7] == int((~called & (TEST.labels == positive)).sum())
    assert rows["recall at least 0.95"][3].value >= 0.95
    assert rows["precision at least 0.95"][2].value >= 0.95
    # Just so, of validation: a higher threshold finds too few there, a lower one errs too often.
    scores, truth = VALIDATION.probabilities[:, positive], VALIDATION.labels == positive
    high, low = rows["recall at least 0.95"][1], rows["precision at least 0.95"][1]
    assert recall_score(truth, scores > scores[scores >= high].min()) < 0.95
    assert all(precision_score(truth, scores >= other) < 0.95 for other in scores[scores < low])


def test_what_goes_to_a_person() -> None:
    table = coverage_rows(VALIDATION, TEST)
    for wished, limit, answered, handed_over, accuracy, mistakes in table.rows:
        keep = TEST.probabilities.max(axis=1) >= limit
        right = TEST.probabilities.argmax(axis=1) == TEST.labels
        assert answered.value == pytest.approx(keep.mean())
        assert handed_over == int((~keep).sum())
        assert accuracy.value == pytest.approx(right[keep].mean())
        assert mistakes == int((keep & ~right).sum())
        assert abs(answered.value - wished) < 0.1
    accuracies = [row[4].value for row in table.rows]
    assert accuracies[-1] > accuracies[0]


def test_temperature_before_and_after() -> None:
    """Before: the logits as they were, worked out by hand; scikit-learn has the losses."""
    temperature = 1.7
    logits = np.log(TEST.probabilities) * temperature
    as_trained = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = temperature_rows(TEST, temperature)
    titles = [column.title for column in table.columns]
    before, after = (dict(zip(titles, row, strict=True)) for row in table.rows)
    for row, probabilities in ((before, as_trained), (after, TEST.probabilities)):
        brier = brier_score_loss(TEST.labels, probabilities[:, 1])
        assert row["Log loss"].value == pytest.approx(log_loss(TEST.labels, probabilities))
        assert row["Brier score"].value == pytest.approx(brier)
        assert row["Mean confidence"] == pytest.approx(probabilities.max(axis=1).mean())
    assert before["Accuracy"] == after["Accuracy"]  # it never changes an answer
    assert "do not settle it" not in table.reading
    assert "the validation images do not settle it" in temperature_rows(TEST, 10.0).reading


def test_thresholds_are_for_two_classes_and_need_validation() -> None:
    three = made("test", 3, classes=3)
    titles = [table.title for table in tables_of(made("validation", 4, classes=3), three)]
    assert titles == ["If the uncertain images go to a person"]
    assert tables_of(None, TEST) == []
    titles = [table.title for table in tables_of(VALIDATION, TEST, temperature=1.2)]
    assert len(titles) == 4 and titles[3].startswith("Temperature")


def test_thresholds_are_given_for_both_classes_the_rarer_first() -> None:
    few = VALIDATION.select(np.flatnonzero((VALIDATION.labels == 1) | (np.arange(400) < 60)))
    assert (few.labels == 0).sum() < (few.labels == 1).sum()
    first, second, _ = (table.title for table in tables_of(few, TEST))
    assert first.endswith("say 'a'") and second.endswith("say 'b'")
    few = VALIDATION.select(np.flatnonzero((VALIDATION.labels == 0) | (np.arange(400) < 60)))
    assert tables_of(few, TEST)[0].title.endswith("say 'b'")


def test_new_images_called_validation_are_kept_apart() -> None:
    """A folder's own validation part must not stand in for the run's."""
    new = made("validation", 9)
    row = threshold_rows(VALIDATION, new, "b").rows[0]
    called = new.probabilities[:, 1] >= row[1]
    assert row[4].value == pytest.approx(precision_score(new.labels, called))
    assert row[2].value != row[4].value


def test_images_without_a_label_claim_nothing() -> None:
    blind = Predictions(
        "holiday", TEST.classes, TEST.paths, np.full(len(TEST), -1), TEST.probabilities
    )
    headline = headline_of(evaluate_predictions(blind), "holiday")
    assert headline.number == Number(None, reason="no image has a label")
    assert tables_of(VALIDATION, blind, temperature=1.2) == []
    names = [gallery.name for gallery in galleries_of(blind, Path, "")]
    assert names == ["unsure"]


def test_confusions_of_many_classes_are_listed_the_most_frequent_first() -> None:
    """Two images of each of 120 classes; 5 is called 6 twice and 7 once, 9 is called 8 once."""
    names = tuple(f"kind {i}" for i in range(120))
    labels = np.concatenate([np.repeat(np.arange(120), 2), [7]])
    answers = labels.copy()
    answers[labels == 5] = 6
    answers[np.flatnonzero(labels == 7)[:1]] = 8
    predictions = Predictions(
        "test", names, tuple(f"{i}.jpg" for i in range(len(labels))), labels, np.eye(120)[answers]
    )
    metrics = evaluate_predictions(predictions)
    assert confusion_of(metrics) is None  # 14,400 cells would fill the page
    found = confusions_of(metrics)
    assert found is not None and "3 mistakes in all, in 2 pairs" in found.reading
    assert found.ranked == [Confused("kind 5", "kind 6", 2, 2), Confused("kind 7", "kind 8", 1, 3)]
    assert confusions_of(evaluate_predictions(made("test", 3))) is None
    assert confusion_of(evaluate_predictions(made("test", 3))) is not None


def test_pairs_that_may_be_copies_stand_side_by_side_the_most_alike_first() -> None:
    names = [f"{i}.jpg" for i in range(20)]
    table = ImageTable(
        root=Path(), paths=tuple(names), labels=np.arange(20) % 2,
        parts=np.array(["train"] * 10 + ["test"] * 10), classes=("cat", "dog"),
    )  # fmt: skip
    pairs = tuple(BorderlinePair(f"{i}.jpg", f"{10 + i}.jpg", 0.95 - i / 1000) for i in range(8))
    leaks = Leaks(images=10, borderline=pairs, num_borderline=30)
    run = SimpleNamespace(info=SimpleNamespace(data=SimpleNamespace(leaks={"test": leaks})))
    pixels = np.repeat(np.arange(20, dtype=np.uint8) * 10, 32 * 32 * 3).reshape(20, 32, 32, 3)
    splits, images = SimpleNamespace(table=table), SimpleNamespace(pixels=pixels)
    found = of_run._look_alikes(run, "test", splits, images)
    assert found is not None and found.total == 30 and len(found.pairs) == of_run.PAIRS == 6
    one, other = found.pairs[1]
    assert (one.path, one.true, one.caption) == ("1.jpg", "dog", "train")
    assert (other.path, other.true, other.caption) == (
        "11.jpg", "dog", "test, correlation 0.949"
    )  # fmt: skip
    assert one.image == make_thumbnail(pixels[1]) and other.image == make_thumbnail(pixels[11])
    assert of_run._look_alikes(run, "validation", splits, images) is None
    assert of_run._look_alikes(run, None, splits, images) is None
