"""Refits on features: the same probe as training fits, over sizes and classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tellapart.data.table import ImageTable
from tellapart.recipe import ProbeSettings
from tellapart.training.growth import measure_growth
from tellapart.training.probe import train_probe
from tellapart.training.procedure import refit_procedure
from tellapart.training.refits import Refits, near_strengths


def table_of(labels: np.ndarray, groups: np.ndarray | None = None) -> ImageTable:
    return ImageTable(
        Path("photos"), tuple(f"{i:04}" for i in range(len(labels))), labels,
        np.full(len(labels), "", "<U10"), tuple("abcd"[: labels.max() + 1]), groups,
    )  # fmt: skip


def clouds(
    sizes: tuple[int, ...], width: int, apart: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = random.normal(size=(len(sizes), width)) * apart
    features = centres[labels] + random.normal(size=(len(labels), width))
    return features.astype(np.float32)[None], labels


def refits_of(features: np.ndarray, labels: np.ndarray, *strengths: float) -> Refits:
    return Refits(features, labels, ProbeSettings(), strengths, int(labels.max()) + 1)


@pytest.mark.parametrize("width", [12, 600])  # as it is, and in the space of the images
def test_a_refit_is_the_probe_that_training_fits(width: int) -> None:
    features, labels = clouds((30, 30, 30), width, 0.4)
    trained, tested = np.arange(0, 90, 2), np.arange(1, 90, 2)
    probe = train_probe(
        features[:, trained], labels[trained], features[:, tested], labels[tested],
        ProbeSettings(strengths=(0.01,), cross_validate_below=0), num_classes=3,
    )  # fmt: skip
    found = refits_of(features, labels, 0.01).logits(trained, tested)[0.01]
    expected = probe.logits(features[0, tested])
    assert found - found.mean(axis=1, keepdims=True) == pytest.approx(
        expected - expected.mean(axis=1, keepdims=True), abs=5e-3
    )


def test_near_strengths_are_the_chosen_one_and_its_neighbours() -> None:
    assert near_strengths((0.1, 0.01, 1.0), 0.1) == (0.01, 0.1, 1.0)
    assert near_strengths((0.1, 0.01, 1.0), 1.0) == (0.1, 1.0)


def test_the_procedure_knows_chance_from_skill() -> None:
    features, labels = clouds((40, 40), 8, 0.0)
    by_chance = refit_procedure(
        refits_of(features, labels, 0.01), table_of(labels), folds=4, repeats=3, validation=0.2
    )
    assert by_chance.measured()[1] < 0.5 < by_chance.measured()[2]
    features, labels = clouds((40, 40), 8, 3.0)
    skilled = refit_procedure(
        refits_of(features, labels, 0.01), table_of(labels), folds=4, repeats=3, validation=0.2
    )
    assert skilled.measured()[1] > 0.85


def test_images_of_a_group_are_on_one_side() -> None:
    """Five copies of noise with random labels: only torn groups could be told apart."""
    random = np.random.default_rng(0)
    features = np.repeat(random.normal(size=(40, 50)), 5, axis=0).astype(np.float32)[None]
    labels = np.repeat(np.arange(40) % 2, 5)
    groups = np.repeat(np.arange(40), 5)
    refits = refits_of(features, labels, 1.0)
    number = refit_procedure(refits, table_of(labels, groups), folds=4, repeats=2, validation=0.2)
    assert number.measured()[0] < 0.65
    curve = measure_growth(refits, table_of(labels, groups), folds=4)
    assert all(point.accuracy.measured()[0] < 0.65 for point in curve.points)


def test_a_scarce_class_should_get_the_next_images() -> None:
    features, labels = clouds((50, 200, 200), 80, 0.3, seed=3)
    curve = measure_growth(refits_of(features, labels, 0.003, 0.03), table_of(labels))
    assert curve.next_class == "a"
    assert [p.images for p in curve.points] == sorted({p.images for p in curve.points})
    assert curve.points[-1].images == round(0.8 * 450)


def test_where_all_is_told_apart_more_images_hardly_help() -> None:
    features, labels = clouds((100, 100), 10, 4.0)
    curve = measure_growth(refits_of(features, labels, 0.01), table_of(labels))
    assert curve.hardly_helps and curve.next_class is None


def test_more_images_help_where_the_curve_still_rises() -> None:
    features, labels = clouds((150, 150), 150, 0.22, seed=1)
    curve = measure_growth(refits_of(features, labels, 0.001, 0.01), table_of(labels))
    values = [p.accuracy.measured()[0] for p in curve.points]
    assert values == sorted(values) and curve.helps


def test_sizes_that_lack_a_class_or_come_twice_are_left_out() -> None:
    features, labels = clouds((4, 40), 10, 1.0)
    curve = measure_growth(refits_of(features, labels, 0.01), table_of(labels), folds=4)
    assert len({p.images for p in curve.points}) == len(curve.points) >= 3
