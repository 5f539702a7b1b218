"""How often is the light of a verdict right? Simulated results whose truth is known.

Three kinds of result, 200 of each, with 2 to 10 classes, even or uneven, and 300 to 2,000 test
images, a classifier that is right on 75 to 99 % of new images:

* clean: nothing is wrong. The light may be red in at most 2 %.
* leaked: a fifth of the test images were used in training, and the search finds nine in ten of
  them (``docs/audit.md``); once left out of the numbers, once counted. Red in at least 95 %.
* shuffled: the labels have nothing to do with the images, and training knows its own by heart.
  "Nothing was learned" (or one answer for all) in at least 95 %.

    python benchmarks/verdict_light.py

Writes ``benchmarks/results/verdict_light.json``.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tellapart.evaluation.metric_table import Metrics
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions
from tellapart.verdict.evidence import Evidence, Leak
from tellapart.verdict.reach import reach_verdict
from tellapart.verdict.verdict import Verdict

RESULTS = Path(__file__).parent / "results" / "verdict_light.json"
EACH = 200
LEAKED, FOUND = 0.2, 0.9


def predictions(
    random: Generator, part: str, labels: NDArray[np.int64], accuracy: NDArray[np.float64],
    classes: int,
) -> Predictions:  # fmt: skip
    """Answers that are right with these chances (N,), and about as sure as they are right."""
    wrong = random.random(len(labels)) >= accuracy
    answers = np.where(wrong, (labels + random.integers(1, classes, len(labels))) % classes, labels)
    sure = np.clip(random.normal(accuracy, 0.03), 1 / classes + 0.05, 0.995)
    rows = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    rows[np.arange(len(labels)), answers] = sure
    return Predictions(
        part, tuple(f"class {i}" for i in range(classes)),
        tuple(f"{part}/{i}.jpg" for i in range(len(labels))), labels,
        rows / rows.sum(axis=1, keepdims=True),
    )  # fmt: skip


def setting(random: Generator) -> tuple[int, NDArray[np.float64], int, float]:
    """Classes, their shares, test images and the accuracy on new images."""
    classes = int(random.choice([2, 3, 4, 10]))
    even = random.random() < 0.5
    shares = np.full(classes, 1 / classes) if even else random.dirichlet(np.full(classes, 5.0))
    images = int(random.choice([300, 500, 1000, 2000]))
    return classes, shares, images, float(random.uniform(0.75, 0.99))


def metrics(
    random: Generator, part: str, count: int, classes: int, shares: NDArray[np.float64],
    accuracy: float,
) -> Metrics:  # fmt: skip
    labels = random.choice(classes, count, p=shares)
    return evaluate_predictions(
        predictions(random, part, labels, np.full(count, accuracy), classes)
    )


def result(random: Generator, kind: str) -> Verdict:
    classes, shares, images, accuracy = setting(random)
    labels = random.choice(classes, images, p=shares)
    chances = np.full(images, accuracy)
    leaked = np.zeros(images, dtype=bool)
    if kind.startswith("leaked"):
        leaked[random.permutation(images)[: round(LEAKED * images)]] = True
        chances[leaked] = 1.0
    shown = predictions(random, "test", labels, chances, classes)
    if kind == "shuffled":
        shown = predictions(random, "test", labels, chances, classes)
        truth = random.permutation(labels)
        shown = Predictions("test", shown.classes, shown.paths, truth, shown.probabilities)
    found = leaked & (random.random(images) < FOUND)
    everything, leak = evaluate_predictions(shown), None
    headline = everything
    if found.any():
        clean = evaluate_predictions(shown.select(~found))
        counted = kind == "leaked, counted"
        leak = Leak(images=int(found.sum()), of=images, copies=int(found.sum()),
                    with_them=everything, without_them=clean, counted=counted)  # fmt: skip
        headline = everything if counted else clean
    on_new = 1 / classes if kind == "shuffled" else accuracy
    return reach_verdict(Evidence(
        shown=headline,
        test=headline,
        train=metrics(random, "train", 1000, classes, shares, 0.5 + accuracy / 2),
        validation=metrics(random, "validation", images, classes, shares, on_new),
        leak=leak,
        leaks_sought=True,
    ))  # fmt: skip


def simulate(kind: str, count: int = EACH, seed: int = 0) -> dict[str, Any]:
    """How often each light comes up, and the weightiest reason of those that are not green."""
    random = np.random.default_rng([seed, len(kind)])
    lights: Counter[str] = Counter()
    first: Counter[str] = Counter()
    nothing = 0
    for _ in range(count):
        verdict = result(random, kind)
        lights[verdict.light] += 1
        kinds = {reason.kind for reason in verdict.reasons if reason.judgement != "good"}
        if verdict.light != "green":
            first[verdict.reasons[0].kind] += 1
        nothing += bool({"learned", "single_prediction"} & kinds)
    return {
        "results": count,
        "lights": dict(lights),
        "first_reason": dict(first),
        "nothing_was_learned": nothing,
    }


def passes(kind: str, counts: dict[str, Any]) -> bool:
    """The marks of the docstring above."""
    red, results = counts["lights"].get("red", 0), counts["results"]
    if kind == "clean":
        return bool(red <= 0.02 * results)
    right = counts["nothing_was_learned"] if kind == "shuffled" else red
    return bool(right >= 0.95 * results)


def main() -> None:
    kinds = ("clean", "leaked, left out", "leaked, counted", "shuffled")
    found = {kind: simulate(kind) for kind in kinds}
    for kind, counts in found.items():
        print(f"{kind:<18}{counts}")
    failed = [kind for kind, counts in found.items() if not passes(kind, counts)]
    if failed:
        raise SystemExit(f"below the mark: {', '.join(failed)}")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
