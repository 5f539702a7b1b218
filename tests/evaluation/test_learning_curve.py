"""What more images would buy, from accuracies at ever more of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tellapart.errors import RunError
from tellapart.evaluation.learning_curve import (
    class_sentence,
    curve_of,
    doubling_sentence,
    gain_of_doubling,
    read_curve,
    save_curve,
    sentences_of,
)
from tellapart.evaluation.plots import more_images

SIZES = (24, 60, 120, 240)


def accuracies(rest: float, slope: float, noise: float, splits: int = 10) -> np.ndarray:
    """Errors of rest + slope / sqrt(images), with a noise of each split and size."""
    random = np.random.default_rng(0)
    errors = rest + slope / np.sqrt(np.array(SIZES))
    return 1.0 - errors + noise * random.normal(size=(splits, len(SIZES)))


def made(rest: float, slope: float, noise: float, **costs: float):
    random = np.random.default_rng(1)
    return curve_of(
        SIZES, accuracies(rest, slope, noise), images=300, tested=60, ratio=0.25,
        costs={name: cost + 0.004 * random.normal(size=10) for name, cost in costs.items()},
    )  # fmt: skip


def test_a_power_law_is_gone_on_with() -> None:
    value, low, high = gain_of_doubling(SIZES, accuracies(0.02, 0.8, 0.0), 300, 0.25).measured()
    assert value == pytest.approx(0.8 / np.sqrt(300) - 0.8 / np.sqrt(600))
    # Other exponents: what 1/n and n^-1/4 laws through the same points gain, so 0 is never in it.
    assert 0 < low < value < high


def test_what_twice_the_images_bring_lies_in_the_interval() -> None:
    """Laws of exponents from -0.3 to -0.8, none of them the one that is fitted."""
    random = np.random.default_rng(2)
    held = []
    for _ in range(300):
        exponent, slope = random.uniform(-0.8, -0.3), random.uniform(0.2, 1.0)
        errors = 0.02 + slope * np.array(SIZES, float) ** exponent
        found = 1 - errors + random.normal(size=(10, 4)) * 0.03 + 0.01 * random.normal(size=(1, 4))
        _, low, high = gain_of_doubling(SIZES, found, 300, 0.25).measured()
        held.append(low <= slope * (300**exponent - 600**exponent) <= high)
    assert np.mean(held) > 0.93


def test_it_never_promises_more_than_all() -> None:
    value, low, high = gain_of_doubling(SIZES, accuracies(-0.05, 0.9, 0.005), 300, 0.25).measured()
    room = 1 - accuracies(-0.05, 0.9, 0.005)[:, -1].mean()
    assert max(value, low, high) <= room + 1e-12


@pytest.mark.parametrize(
    ("rest", "slope", "noise", "said"),
    [
        (0.02, 1.5, 0.003, "Twice as many images would probably bring"),
        (0.02, 0.0, 0.001, "Twice as many images would hardly help: they would bring at most"),
        (0.02, 0.4, 0.08, "cannot be told from these: between"),
    ],
)
def test_three_answers(rest: float, slope: float, noise: float, said: str) -> None:
    assert said in doubling_sentence(made(rest, slope, noise))


def test_two_sizes_are_too_few() -> None:
    number = gain_of_doubling((24, 60), accuracies(0.02, 0.8, 0.0)[:, :2], 300, 0.25)
    assert not number.known
    curve = curve_of((24, 60), accuracies(0.0, 0.8, 0.01)[:, :2], images=300, tested=60,
                     ratio=0.25, costs={})  # fmt: skip
    assert "cannot be told: there are too few images" in doubling_sentence(curve)


def test_the_class_whose_images_are_missed_most_is_next() -> None:
    curve = made(0.02, 1.5, 0.003, cat=0.03, dog=0.001, owl=0.0)
    assert curve.next_class == curve.classes[0].name == "cat"
    assert class_sentence(curve).startswith("The next images should be of 'cat': with half of its")
    alike = made(0.02, 1.5, 0.003, cat=0.001, dog=0.001)
    assert alike.next_class is None
    assert "Which class should get the next images cannot be told" in " ".join(sentences_of(alike))


def test_the_file_comes_back_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    curve = made(0.02, 1.5, 0.003, cat=0.03, dog=0.0)
    file = tmp_path / "learning_curve.json"
    save_curve(file, curve)
    content = json.loads(file.read_text("utf-8"))
    assert read_curve(file, content) == curve
    for wrong in ({}, {**content, "points": 3}, {**content, "doubled": {"value": "much"}}):
        with pytest.raises(RunError, match=r"learning_curve\.json is damaged"):
            read_curve(file, wrong)


def test_it_can_be_drawn_with_and_without_a_future() -> None:
    for curve in (made(0.02, 1.5, 0.003), made(0.0, 0.0, 0.0)):
        axes = more_images(curve).axes[0]
        assert axes.get_xlim()[1] > 2 * SIZES[-1]
