from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from tellapart.errors import DataError
from tellapart.evaluation.unknown import UnknownDetector, build_detector


def features(count: int, seed: int, centre: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    middle = np.zeros(32)
    middle[centre : centre + 4] = 6.0
    return (generator.normal(size=(count, 32)) + middle).astype(np.float32)


def test_distances_are_scikit_learns() -> None:
    detector = build_detector(features(300, 0), features(200, 1), neighbours=5)
    search = NearestNeighbors(n_neighbors=5).fit(detector.reference)
    new = features(50, 2)
    unit = new / np.linalg.norm(new, axis=1, keepdims=True)
    expected = search.kneighbors(unit)[0][:, 4]
    assert detector.distances(new) == pytest.approx(expected, abs=1e-3)


def test_known_images_raise_few_alarms_and_others_are_found() -> None:
    detector = build_detector(features(500, 0), features(400, 1), false_alarm_rate=0.05)
    assert detector.is_unknown(features(4000, 2)).mean() == pytest.approx(0.05, abs=0.025)
    assert detector.is_unknown(features(500, 3, centre=20)).mean() > 0.99


def test_stored_and_loaded_it_says_the_same() -> None:
    detector = build_detector(features(2500, 0), features(100, 1))
    assert len(detector.reference) == 2000  # a sample of the training images
    loaded = UnknownDetector.from_arrays(detector.to_arrays())
    new = features(100, 2)
    assert np.array_equal(loaded.distances(new), detector.distances(new))
    assert np.array_equal(loaded.is_unknown(new), detector.is_unknown(new))


def test_too_few_validation_images_for_the_rate() -> None:
    with pytest.raises(DataError, match="needs at least 99 validation images; there are 50"):
        build_detector(features(100, 0), features(50, 1), false_alarm_rate=0.01)
