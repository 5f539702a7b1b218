"""Which threshold makes mistakes cheapest on other images: three ways to choose it on validation.

    python benchmarks/decision_costs.py [FOLDER ...] [--json results.json]

The ways: "bayes", 1 / (1 + c) where a miss costs c false alarms, which needs no validation image
beyond those of the temperature; "least on validation", the threshold whose mistakes cost least
there; and "lean", that of ``evaluation.choosing``. Each is chosen on 30, 100 or 300 validation
images and measured on all others, for c from 0.1 to 20, over many draws.

Without folders the images are simulated: right probabilities, overconfident ones, ones as of a
network that was trained with classes made equal, heavy tails. Of a folder (published: Dogs vs. Cats
small at 64 pixels, CIFAR-10's test part at 48, brain scans at 96) the features of the default
backbone are divided anew for each draw and a logistic regression of random strength is fitted.

The number is the cost of 100 images above that of the best threshold for those images, which
nobody can know, in units of the cheaper mistake; 0 is best. Ends with 1 where "lean" costs more
than 0.6 times "least on validation" or than "bayes", on average: the pass marks.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.data.source import Source
from tellapart.data.table import PARTS
from tellapart.engines.features import extract
from tellapart.evaluation.calibration import choose_temperature
from tellapart.evaluation.choosing import least_cost_threshold
from tellapart.models.inputs import preprocessing_for
from tellapart.recipe import BackboneModel, DataSettings

COSTS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
VALIDATION = (30, 100, 300)
#: "lean" may cost so many times the other's.
PASS_MARKS = {"least on validation": 0.6, "bayes": 1.0}

Scores, Truth = NDArray[np.float64], NDArray[np.bool_]
#: Validation and other images: probabilities of the positive class, and whether they are of it.
Draw = tuple[Scores, Truth, Scores, Truth]


def bayes(truth: Truth, scores: Scores, cost_miss: float) -> float:
    return 1.0 / (1.0 + cost_miss)


def least_on_validation(truth: Truth, scores: Scores, cost_miss: float) -> float:
    """Halfway between neighbouring scores; above or below all of them where that is cheapest."""
    ranked = np.sort(scores)
    lines = np.concatenate([[0.0], (ranked[1:] + ranked[:-1]) / 2, [1.5]])
    return float(lines[np.argmin([cost(truth, scores, line, cost_miss) for line in lines])])


def leaning(truth: Truth, scores: Scores, cost_miss: float) -> float:
    return least_cost_threshold(truth, scores, cost_miss=cost_miss, cost_false_alarm=1.0)


WAYS: dict[str, Callable[[Truth, Scores, float], float]] = {
    "bayes": bayes, "least on validation": least_on_validation, "lean": leaning,
}  # fmt: skip


def cost(truth: Truth, scores: Scores, threshold: float, cost_miss: float) -> float:
    called = scores >= threshold
    return float((cost_miss * (truth & ~called).sum() + (~truth & called).sum()) / len(truth))


def measure(draws: Iterator[Draw]) -> dict[str, float]:
    """The cost above the best threshold's, of 100 images, a way; mean of draws and costs."""
    above: dict[str, list[float]] = defaultdict(list)
    for scores, truth, others, others_truth in draws:
        if not 1 < truth.sum() < len(truth) - 1:
            continue
        lines = [*np.quantile(others, np.linspace(0, 1, 60)), 0.0, 1.5]
        for cost_miss in COSTS:
            best = min(cost(others_truth, others, line, cost_miss) for line in lines)
            for name, way in WAYS.items():
                found = cost(others_truth, others, way(truth, scores, cost_miss), cost_miss)
                above[name].append(100 * (found - best) / min(1.0, cost_miss))
    return {name: round(float(np.mean(values)), 2) for name, values in above.items()}


def softened(logits: Scores, labels: NDArray[np.int64], others: Scores) -> tuple[Scores, Scores]:
    """Probabilities of both at the temperature that fits the first."""
    temperature = choose_temperature(logits, labels)

    def softmax(values: Scores) -> Scores:
        powers = np.exp((values - values.max(axis=1, keepdims=True)) / temperature)
        shares: Scores = powers / powers.sum(axis=1, keepdims=True)
        return shares

    return softmax(logits), softmax(others)


def simulated(kind: str, images: int, draws: int) -> Iterator[Draw]:
    random = np.random.default_rng(0)
    share = {"rare": 0.1, "classes made equal": 0.3}.get(kind, 0.5)

    def drawn(number: int) -> tuple[Scores, NDArray[np.int64]]:
        labels = (random.random(number) < share).astype(np.int64)
        tails = kind == "heavy tails"
        noise = random.standard_t(3, number) if tails else random.normal(size=number)
        log_odds = 2 * (noise + np.where(labels, 1.0, -1.0)) + np.log(share / (1 - share))
        log_odds -= np.log(share / (1 - share)) if kind == "classes made equal" else 0.0
        log_odds *= 3 if kind == "overconfident" else 1
        return np.column_stack([np.zeros(number), log_odds]), labels

    for _ in range(draws):
        (logits, labels), (others, others_labels) = drawn(images), drawn(5000)
        scores, of_others = softened(logits, labels, others)
        yield scores[:, 1], labels == 1, of_others[:, 1], others_labels == 1


def of_folder(
    features: NDArray[np.float32], labels: NDArray[np.int64], positive: int, images: int, draws: int
) -> Iterator[Draw]:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(1)
    train, held = min(1000, len(labels) // 4), max(VALIDATION)
    for _ in range(draws):
        order = random.permutation(len(labels))
        strength = 10.0 ** random.choice([-4, -3, -2, 0])
        model = LogisticRegression(C=strength, max_iter=200)
        model.fit(features[order[:train]], labels[order[:train]])
        rest = order[train:]
        logits = model.decision_function(features[rest])
        if logits.ndim == 1:
            logits = np.column_stack([np.zeros_like(logits), logits])
        chosen, tested = slice(0, images), slice(held, None)
        scores, others = softened(logits[chosen], labels[rest][chosen], logits[tested])
        truth = labels[rest] == positive
        yield scores[:, positive], truth[chosen], others[:, positive], truth[tested]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="*", help="FOLDER:PIXELS of labelled images")
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")  # 200 iterations are enough here
    results: dict[str, dict[str, dict[str, float]]] = {}

    def tell(name: str, images: int, found: dict[str, float]) -> None:
        results.setdefault(name, {})[str(images)] = found
        print(f"{name}, {images} validation images: {found}", flush=True)

    for kind in ("right", "rare", "overconfident", "classes made equal", "heavy tails"):
        for images in VALIDATION:
            tell(f"simulated, {kind}", images, measure(simulated(kind, images, arguments.draws)))
    for given in arguments.folder:
        folder, _, pixels = given.partition(":")
        source, model = Source(folder=Path(folder)), BackboneModel()
        name = Path(folder).name
        name = Path(folder).parent.name if name in PARTS else name
        preprocessing = preprocessing_for(model, DataSettings(image_size=int(pixels or 96)))
        images = source.pixels(source.read(), preprocessing, group=False)
        values = np.asarray(extract(model, preprocessing, images).values[0])
        values = (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-6)
        classes = images.table.classes
        for positive in (0, len(classes) - 1) if len(classes) > 2 else (1,):
            for number in VALIDATION:
                draws = of_folder(values, images.table.labels, positive, number, arguments.draws)
                tell(f"{name}, {classes[positive]}", number, measure(draws))
    every = [found for rows in results.values() for found in rows.values()]
    mean = {name: float(np.mean([found[name] for found in every])) for name in WAYS}
    print("mean", {name: round(value, 2) for name, value in mean.items()})
    failed = [name for name, most in PASS_MARKS.items() if mean["lean"] > most * mean[name]]
    for name in failed:
        print(f"missed: lean costs more than {PASS_MARKS[name]} times {name}")
    if arguments.json:
        content = {"above_the_best": results, "mean": mean, "draws": arguments.draws}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
