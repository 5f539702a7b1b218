"""Images held against those of training: three outcomes, why, and which are the odd ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_features import CLASSES, LENGTH, World

from tellapart.errors import RunError
from tellapart.monitoring.compare import FOREIGN_SHARE, Compared, compare
from tellapart.monitoring.words import headline, sentences


def compared(seed: int = 1, number: int = 200, **how: float) -> Compared:
    world = World.of(seed)
    detector, known = world.run()
    features, probabilities = world.images(number, **how)
    return compare(features, probabilities, detector, known, CLASSES)


def test_images_of_the_same_kind_are_alike() -> None:
    found = compared()
    assert found.outcome == "alike"
    assert found.noticeable is not None and found.noticeable < FOREIGN_SHARE
    assert headline(found) == (
        "These 200 images show no sign of looking other than those of training."
    )
    assert not found.pictures_differ and not found.shares_differ


def test_a_fifth_of_foreign_images_is_drift_and_they_are_the_odd_ones() -> None:
    found = compared(foreign=40)
    assert found.outcome == "drifted" and found.pictures_differ
    assert found.far[:40].all() and found.far[40:].mean() < 0.1
    assert set(found.odd_first[:35]) < set(range(40))
    assert headline(found) == "These 200 images look other than those of training."
    assert any("are far from every training image" in sentence for sentence in sentences(found))


def test_other_class_shares_are_said_to_be_that() -> None:
    found = compared(dogs=0.9)
    assert found.outcome == "drifted" and found.shares_differ and not found.pictures_differ
    assert headline(found) == (
        "These 200 images look like those of training, but the classes come in other shares."
    )
    (told,) = [s for s in sentences(found) if s.startswith("Other classes are frequent")]
    assert "cat 10 % (validation 50 %)" in told and "dog 90 % (validation 50 %)" in told


def test_a_change_of_all_images_is_noticed_though_none_is_far() -> None:
    found = compared(blurred=0.5)
    assert found.outcome == "drifted" and found.pictures_differ
    assert found.unknown.value is not None and found.unknown.value < 0.15
    assert found.separation is not None and found.separation > 0.6


@pytest.mark.parametrize("number", [1, 2, 10])
def test_few_images_are_too_few(number: int) -> None:
    found = compared(number=number)
    assert found.outcome == "too few" and found.separation is None
    assert "too few to tell" in headline(found)
    assert any("takes more images" in sentence for sentence in sentences(found))


def test_one_clearly_foreign_image_is_drift_all_the_same() -> None:
    found = compared(number=1, foreign=1)
    assert found.outcome == "drifted" and found.far.all()
    assert headline(found) == "This one image looks other than those of training."


def test_training_images_count_beside_few_validation_images() -> None:
    """On a frozen backbone: they help to notice foreign images, and give no false alarm."""
    world = World.of(4)
    detector, known = world.run(validation=30, frozen=True)
    alike = [compare(*world.images(100), detector, known, CLASSES, permutations=199, seed=seed)
             for seed in range(20)]  # fmt: skip
    assert alike[0].known == 230 and alike[0].validation == 30
    assert sum(found.outcome == "drifted" for found in alike) <= 4  # 1 is expected
    apart = np.linalg.norm(detector.reference[:, None] - detector.reference[None], axis=2)
    np.fill_diagonal(apart, np.inf)  # an image is no neighbour of its own
    assert alike[0].known_distances[30:] == pytest.approx(np.sort(apart, axis=1)[:, 4], abs=2e-3)
    without = compare(*world.images(100), *world.run(validation=30), CLASSES)
    assert alike[0].noticeable is not None and without.noticeable is not None
    assert alike[0].noticeable < without.noticeable
    assert compare(*world.images(100, foreign=20), detector, known, CLASSES).outcome == "drifted"


def test_few_validation_images_are_too_few() -> None:
    world = World.of(0)
    detector, known = world.run(validation=19)
    found = compare(*world.images(8), detector, known, CLASSES)
    assert found.outcome == "too few"


@pytest.mark.slow
def test_the_share_that_is_noticed_is_noticed_so_often() -> None:
    """As many clearly foreign images as promised, 100 times: nine times in ten at least."""
    world = World.of(5)
    detector, known = world.run()
    base = compare(*world.images(50), detector, known, CLASSES)
    assert base.noticeable is not None
    foreign = round(base.noticeable * 50)
    noticed = 0
    for seed in range(100):
        features, probabilities = world.images(50, foreign=foreign)
        features[:foreign] *= np.where(np.arange(LENGTH) % 2, -1, 1)  # far from everything
        found = compare(
            features, probabilities, detector, known, CLASSES, permutations=199, seed=seed
        )
        noticed += found.outcome == "drifted"
    assert noticed >= 85  # 90 less one and a half standard errors


def test_the_same_images_give_the_same_numbers() -> None:
    first, second = compared(seed=3), compared(seed=3)
    assert first.to_json() == second.to_json()
    assert (first.oddness == second.oddness).all()


def test_of_very_many_images_all_have_an_oddness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellapart.monitoring.compare.MOST_COMPARED", 50)
    found = compared(foreign=40)
    assert found.images == len(found.oddness) == 200
    assert set(found.odd_first[:30]) < set(range(40))


def test_features_of_another_length_are_refused() -> None:
    world = World.of(0)
    detector, known = world.run()
    with pytest.raises(RunError, match=r"24 numbers an image, its model makes 7"):
        compare(np.ones((3, 7), np.float32), np.full((3, 2), 0.5), detector, known, CLASSES)
