"""How often the light is right, on simulated counts; benchmarks/verdict_light.py has the whole.

Classes, sizes and accuracies as there; a classifier's answers are drawn, nothing is trained.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator

sys.path.insert(0, str(Path(__file__).parent))

from made import metrics

from tellapart.evaluation.metric_table import Metrics
from tellapart.verdict.evidence import Evidence, Leak
from tellapart.verdict.reach import reach_verdict
from tellapart.verdict.verdict import Verdict

EACH = 200
STORED = Path(__file__).parents[2] / "benchmarks" / "results" / "verdict_light.json"


def drawn(
    random: Generator, part: str, images: int, classes: int, accuracy: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """A confusion matrix of even classes, mistakes spread evenly."""
    labels = random.integers(0, classes, images)
    wrong = random.random(images) >= accuracy
    answers = np.where(wrong, (labels + random.integers(1, classes, images)) % classes, labels)
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (labels, answers), 1)
    return matrix


def named(matrix: np.ndarray[tuple[int, ...], np.dtype[np.int64]], part: str = "test") -> Metrics:
    return metrics(matrix.tolist(), part, classes=[f"c{i}" for i in range(len(matrix))])


def verdict_of(random: Generator, kind: str) -> Verdict:
    classes = int(random.choice([2, 3, 4, 10]))
    images = int(random.choice([300, 500, 1000, 2000]))
    accuracy = 1 / classes if kind == "shuffled" else float(random.uniform(0.75, 0.99))
    shown, leak = drawn(random, "test", images, classes, accuracy), None
    if kind == "leaked":  # a fifth of the images, of which nine in ten are found
        found = int(random.binomial(round(0.2 * images), 0.9))
        shown = drawn(random, "test", images - found, classes, accuracy)
        leaked = np.diag(random.multinomial(found, np.full(classes, 1 / classes)))
        leak = Leak(images=found, of=images, copies=found, with_them=named(shown + leaked),
                    without_them=named(shown))  # fmt: skip
    train_accuracy = 0.97 if kind == "shuffled" else (1 + accuracy) / 2
    return reach_verdict(Evidence(
        shown=named(shown), test=named(shown), leak=leak, leaks_sought=True,
        train=named(drawn(random, "train", 1000, classes, train_accuracy), "train"),
        validation=named(drawn(random, "validation", images, classes, accuracy), "validation"),
    ))  # fmt: skip


@pytest.mark.parametrize(("kind", "least", "most"), [
    ("clean", 0, 4), ("leaked", 190, 200), ("shuffled", 190, 200),
])  # fmt: skip
def test_the_light_is_red_where_it_should_be(kind: str, least: int, most: int) -> None:
    random = np.random.default_rng(7)
    verdicts = [verdict_of(random, kind) for _ in range(EACH)]
    red = [verdict for verdict in verdicts if verdict.light == "red"]
    assert least <= len(red) <= most
    if kind == "leaked":
        assert all(verdict.reasons[0].kind == "leak" for verdict in red)
    if kind == "shuffled":
        nothing = sum("learned" in {r.kind for r in verdict.reasons} for verdict in red)
        assert nothing >= 0.95 * EACH


def test_the_stored_results_are_above_their_marks() -> None:
    found = json.loads(STORED.read_text("utf-8"))
    assert {row["results"] for row in found.values()} == {200}
    assert found["clean"]["lights"].get("red", 0) <= 4
    assert min(found[f"leaked, {how}"]["lights"]["red"] for how in ("left out", "counted")) >= 190
    assert found["shuffled"]["nothing_was_learned"] >= 190
