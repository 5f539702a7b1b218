from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from tellapart.errors import DataError, RunError
from tellapart.evaluation.unknown import (
    NOTICED_FAR,
    NOTICED_NEAR,
    UnknownDetector,
    build_detector,
    load_unknown,
)
from tellapart.models.tensors import write_tensors


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


def test_what_pages_say_is_what_the_benchmark_found() -> None:
    """Shares noticed, over classifiers and sets that no choice was made on."""
    root = Path(__file__).parents[2]
    results = root / "benchmarks" / "results" / "foreign_unseen.json"
    rows = json.loads(results.read_text("utf-8"))["5 nearest (in use)"].values()
    assert len(rows) == 12
    far = [kind["noticed"] for row in rows for name, kind in row.items()
           if name not in ("near", "false_alarms")]  # fmt: skip
    near = [row["near"]["noticed"] for row in rows]
    assert (round(np.mean(far), 2), round(np.mean(near), 2)) == (NOTICED_FAR, NOTICED_NEAR)
    page = (root / "docs" / "foreign-images.md").read_text("utf-8")
    assert f"| 5 nearest (in use) | {100 * np.mean(near):.1f}% |" in page


# --- by hand ------------------------------------------------------------------------------------


def unit(*degrees: float) -> np.ndarray:
    """Directions in a plane: two of them are 2 sin(angle / 2) apart."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def apart(degrees: float) -> float:
    return 2 * math.sin(math.radians(degrees) / 2)


def test_the_threshold_by_hand() -> None:
    """Ten validation images at 1 to 10 degrees from the only training image.

    A rate of 0.2 leaves ceil(11 * 0.8) = 9 below: the ninth distance is the threshold.
    """
    detector = build_detector(unit(0), 3 * unit(*range(1, 11)), false_alarm_rate=0.2, neighbours=3)
    assert detector.threshold == pytest.approx(apart(9), abs=1e-3)
    assert (detector.neighbours, detector.false_alarm_rate) == (1, 0.2)
    assert detector.is_unknown(unit(8.5, 9.5, -9.5)).tolist() == [False, True, True]
    assert detector.is_unknown(unit(9)).tolist() == [False]  # at the threshold is not beyond it


def test_as_many_validation_images_as_it_takes() -> None:
    """A rate of 0.1 needs nine: then the farthest of them is the threshold."""
    detector = build_detector(unit(0), unit(*range(1, 10)), false_alarm_rate=0.1)
    assert detector.threshold == pytest.approx(apart(9), abs=1e-3)
    with pytest.raises(DataError) as error:
        build_detector(unit(0), unit(*range(1, 9)), false_alarm_rate=0.1)
    assert str(error.value) == (
        "A false-alarm rate of 0.1 needs at least 9 validation images; there are 8. Ask for a "
        "higher rate or add validation images."
    )
    with pytest.raises(DataError, match="needs at least 19 validation images; there are 18"):
        build_detector(unit(0), unit(*range(18)))  # 5 %, if nobody says otherwise


def test_the_neighbour_that_counts_is_the_fifth_unless_told() -> None:
    train, validation = unit(0, 10, 20, 30, 40, 50), unit(*np.linspace(0, 50, 40))
    usual = build_detector(train, validation)
    assert usual.neighbours == 5
    assert usual.distances(unit(0)) == pytest.approx([apart(40)], abs=2e-3)
    second = build_detector(train, validation, neighbours=2)
    assert second.distances(unit(0, 21)) == pytest.approx([apart(10), apart(9)], abs=2e-3)
    assert usual.length == 2


def test_of_many_training_images_a_sample_in_their_order_is_kept() -> None:
    degrees = np.arange(2001) / 10
    validation = unit(*np.linspace(0, 200, 40))
    kept = build_detector(unit(*degrees), validation).reference
    assert len(kept) == 2000 and len(np.unique(kept, axis=0)) > 1900
    angles = np.degrees(np.arctan2(kept[:, 1], kept[:, 0])) % 360
    assert (np.diff(angles) > -0.2).all()
    whole = build_detector(unit(*degrees[:2000]), validation).reference
    assert whole == pytest.approx(unit(*degrees[:2000]), abs=1e-3)
    three = build_detector(unit(*degrees), validation, maximum_reference=3, seed=0).reference
    same = build_detector(unit(*degrees), validation, maximum_reference=3).reference
    other = build_detector(unit(*degrees), validation, maximum_reference=3, seed=1).reference
    assert len(three) == 3 and (three == same).all() and (three != other).any()


def test_very_many_images_are_measured_in_blocks() -> None:
    detector = build_detector(unit(0), unit(*range(1, 40)), neighbours=1)
    degrees = np.linspace(0, 90, 9000)
    assert detector.distances(unit(*degrees)) == pytest.approx(
        2 * np.sin(np.radians(degrees) / 2), abs=1e-3
    )
    assert detector.distances(np.zeros((0, 2), np.float32)).tolist() == []
    # An image without any feature is at right angles to all.
    assert detector.distances(np.zeros((1, 2), np.float32)) == pytest.approx([math.sqrt(2)])


def test_maps_count_as_rows() -> None:
    flat = features(60, 0)
    detector = build_detector(flat.reshape(60, 8, 2, 2), features(40, 1).reshape(40, 8, 2, 2))
    assert detector.length == 32
    assert detector.distances(flat[:3].reshape(3, 8, 2, 2)) == pytest.approx(
        detector.distances(flat[:3])
    )


def test_features_of_another_network_are_refused() -> None:
    detector = build_detector(features(60, 0), features(40, 1))
    with pytest.raises(RunError) as error:
        detector.distances(np.ones((4, 2, 3), np.float32))
    assert str(error.value) == (
        "What this run keeps of its training images has 32 numbers an image, its model makes 6: "
        "its unknown.safetensors is of another run; train again."
    )


def test_the_file_says_the_same_and_what_it_is(tmp_path: Path) -> None:
    detector = build_detector(features(60, 0), features(40, 1), neighbours=3)
    file = tmp_path / "unknown.safetensors"
    detector.save(file)
    loaded = load_unknown(file)
    assert (loaded.neighbours, loaded.threshold) == (3, detector.threshold)
    assert loaded.false_alarm_rate == 0.05 and loaded.reference.dtype == np.float32
    assert (loaded.reference == detector.reference).all()
    with pytest.raises(RunError) as error:
        load_unknown(tmp_path / "none" / "unknown.safetensors")
    assert str(error.value) == (
        f"{tmp_path / 'none'} cannot answer 'unknown': it has no unknown.safetensors. Runs with at "
        "least 19 validation images get one when they are trained."
    )
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(RunError, match=r"unknown.safetensors"):
        load_unknown(file)


GOOD = {"reference": np.ones((3, 2), np.float16), "settings": np.array([1.0, 0.0, 0.05])}


@pytest.mark.parametrize("wrong", [
    {"settings": np.array([1.0, 0.5])}, {"settings": np.array([[1.0, 0.5, 0.05]])},
    {"reference": np.ones(3, np.float16)}, {"reference": np.ones((3, 2), np.float32)},
    {"settings": np.array([0.0, 0.5, 0.05])}, {"settings": np.array([4.0, 0.5, 0.05])},
    {"settings": np.array([1.0, -0.1, 0.05])}, {"settings": np.array([1.0, 0.5, 0.0])},
    {"settings": np.array([1.0, 0.5, 1.0])}, {"settings": np.array([1.0, np.nan, 0.05])},
    {"reference": np.full((3, 2), np.nan, np.float16)},
    {"reference": np.full((3, 2), np.inf, np.float16)},
])  # fmt: skip
def test_arrays_that_are_no_detector_are_refused(wrong: dict[str, np.ndarray]) -> None:
    found = UnknownDetector.from_arrays(GOOD)
    assert (found.neighbours, found.threshold, found.false_alarm_rate) == (1, 0.0, 0.05)
    last = UnknownDetector.from_arrays({**GOOD, "settings": np.array([3.0, 0.5, 0.05])})
    assert last.neighbours == 3
    with pytest.raises(ValueError, match=r"settings|reference|no numbers"):
        UnknownDetector.from_arrays({**GOOD, **wrong})


def test_a_damaged_file_names_itself_and_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "unknown.safetensors"
    for wrong, said in (
        ({"settings": np.array([0.0, 0.5, 0.05])}, r"settings \[0.0, 0.5, 0.05\]"),
        ({"reference": np.full((3, 2), np.nan, np.float16)}, "values that are no numbers"),
    ):
        write_tensors(file, {**GOOD, **wrong}, "what tells images unlike the training ones")
        with pytest.raises(RunError, match=rf"{file.name} is damaged: {said}\."):
            load_unknown(file)
