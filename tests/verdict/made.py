"""Made evidence: metrics put together from counts, without images and without a bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tellapart.evaluation.averages import Matrix, averages
from tellapart.evaluation.calibration import ReliabilityBin
from tellapart.evaluation.intervals import proportion
from tellapart.evaluation.metric_table import Averages, ClassMetrics, Metrics
from tellapart.number import Number, undefined
from tellapart.verdict.evidence import Evidence, Origin, Training
from tellapart.verdict.reach import reach_verdict
from tellapart.verdict.verdict import Conclusion, Verdict

NAMES = ("cat", "dog", "fox", "owl", "elk", "hen")
ORIGIN = Origin(run="runs/pets", folder="/data/pets")


def metrics(
    matrix: Sequence[Sequence[int]],
    part: str = "test",
    *,
    classes: Sequence[str] = (),
    sure: float | None = None,
    calibration: tuple[float, float, float] = (0.02, 0.0, 0.05),
    reliability: tuple[ReliabilityBin, ...] = (),
    log_loss: float = 0.3,
) -> Metrics:
    """Metrics of a confusion matrix (rows true); mean confidence is the accuracy, or ``sure``."""
    counts = np.array(matrix, dtype=np.int64)
    size = len(counts)
    names = tuple(classes) or tuple(NAMES[:size])
    support, predicted, right = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    images = int(counts.sum())
    no = undefined("there are no labelled images")
    none = np.zeros(0, dtype=np.int64)  # without groups the counts alone are asked
    balanced = averages(Matrix(counts, names, none, none, None), weighted=False).recall

    def f1(i: int) -> Number:
        if not support[i]:
            return no
        total = int(support[i] + predicted[i] - right[i])
        share = proportion(int(right[i]), total, "")
        return Number(*(2 * x / (1 + x) for x in share.measured()), "wilson")

    accuracy = proportion(int(right.sum()), images, "there are no labelled images")
    loss = Number(log_loss, log_loss - 0.02, log_loss + 0.02, "bootstrap") if images else no
    return Metrics(
        part=part, images=images, unlabelled=0, classes=names,
        accuracy=accuracy, balanced_accuracy=balanced, top_5=None,
        macro=Averages(no, balanced, no), weighted=Averages(no, no, no),
        roc_auc=no, average_precision=no, log_loss=loss, brier=no,
        calibration_error=Number(*calibration, "bootstrap") if images else no,
        mean_confidence=(accuracy.value if sure is None else sure) if images else None,
        per_class={
            name: ClassMetrics(
                support=int(support[i]), predicted=int(predicted[i]),
                precision=proportion(int(right[i]), int(predicted[i]), "never predicted"),
                recall=proportion(int(right[i]), int(support[i]), "no images"),
                f1=f1(i), roc_auc=no, average_precision=no,
            )
            for i, name in enumerate(names)
        },
        confusion_matrix=counts.tolist(), reliability=reliability,
        majority_class=names[int(support.argmax())] if images else None,
        majority_share=float(support.max() / images) if images else None,
        predicted_classes=int((predicted > 0).sum()),
    )  # fmt: skip


def two(right: int, wrong: int, part: str = "test") -> Metrics:
    """Two even classes, so many of each right and wrong."""
    return metrics([[right, wrong], [wrong, right]], part)


GOOD = two(970, 30)
"""2,000 images, 97.0 % right."""


def evidence(shown: Metrics = GOOD, **more: object) -> Evidence:
    """A healthy run: frozen, 4,000 training images, equally good on train and validation."""
    counts = {"train": dict.fromkeys(shown.classes, 2000)}
    given: dict[str, object] = {
        "shown": shown,
        "train": two(975, 25, "train"),
        "validation": two(970, 30, "validation"),
        "test": shown if shown.part == "test" else None,
        "counts": counts,
        "origin": ORIGIN,
    }
    return Evidence(**(given | more))  # type: ignore[arg-type]


def verdict(shown: Metrics = GOOD, **more: object) -> Verdict:
    return reach_verdict(evidence(shown, **more))


def told(found: Verdict) -> dict[str, Conclusion]:
    """All that is said, by kind."""
    return {c.kind: c for c in (*found.reasons, *found.findings)}


def said(shown: Metrics = GOOD, **more: object) -> dict[str, str]:
    """``judgement: sentence`` of all that is said, by kind."""
    return {
        kind: f"{c.judgement}: {c.sentence}" for kind, c in told(verdict(shown, **more)).items()
    }


def trained(**facts: object) -> Training:
    return replace(Training(), **facts)


def history(
    validation: Sequence[float], rates: Sequence[float] | None = None
) -> tuple[dict[str, float], ...]:
    return tuple(
        {
            "epoch": i + 1,
            "loss": 0.9**i,
            "validation_loss": loss,
            "learning_rate": rates[i] if rates else 0.001,
        }
        for i, loss in enumerate(validation)
    )
