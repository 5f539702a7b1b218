"""Every figure: arrays in, a matplotlib ``Figure`` out; ``save_figure`` writes SVG and PNG.

Importing this package imports matplotlib, so import it where figures are drawn.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tellapart.evaluation.metric_table import Metrics
from tellapart.evaluation.plots.bars import (
    accuracy_against_parameters,
    accuracy_against_seconds,
    class_counts,
    compare_accuracy_bars,
    embedding_map,
    per_class_bars,
)
from tellapart.evaluation.plots.curves import (
    FEWEST_IMAGES,
    calibration_diagram,
    coverage_curve,
    precision_recall_curves,
    probability_histogram,
    roc_curves,
)
from tellapart.evaluation.plots.matrices import confusion_matrix
from tellapart.evaluation.plots.more_images import more_images
from tellapart.evaluation.plots.style import save_figure, to_png, to_svg
from tellapart.evaluation.plots.training import History, learning_curves, overlay_curves
from tellapart.evaluation.predictions import Predictions

__all__ = [
    "accuracy_against_parameters",
    "accuracy_against_seconds",
    "calibration_diagram",
    "class_counts",
    "compare_accuracy_bars",
    "confusion_matrix",
    "coverage_curve",
    "embedding_map",
    "evaluation_figures",
    "learning_curves",
    "more_images",
    "overlay_curves",
    "per_class_bars",
    "precision_recall_curves",
    "probability_histogram",
    "roc_curves",
    "save_figure",
    "to_png",
    "to_svg",
]


def evaluation_figures(
    predictions: Predictions,
    metrics: Metrics,
    history: History = (),
    best_epoch: int | None = None,
) -> dict[str, Figure]:
    """All figures of one evaluated part by name, in the order of a report.

    ``metrics`` are those of ``evaluate_predictions(predictions)``. Names are the keys of
    :func:`tellapart.evaluation.figure_readings.describe_figures`. Empty without labelled images.
    """
    from tellapart.evaluation.calibration import coverage_curve as coverage

    scored = predictions.select(predictions.labelled)
    figures: dict[str, Figure] = {}
    if len(scored):
        part, classes = scored.part, scored.classes
        kept, accuracy, _ = coverage(scored)
        figures["confusion_matrix"] = confusion_matrix(metrics.confusion_matrix, classes, part)
        if len(classes) > 2:
            figures["per_class"] = per_class_bars(metrics.per_class, part)
        images = np.bincount(scored.labels, minlength=len(classes))
        if ((images >= FEWEST_IMAGES) & (len(scored) - images >= FEWEST_IMAGES)).any():
            figures["roc"] = roc_curves(scored.labels, scored.probabilities, classes, part)
            figures["precision_recall"] = precision_recall_curves(
                scored.labels, scored.probabilities, classes, part
            )
        figures["calibration"] = calibration_diagram(scored.confidence, scored.correct, part)
        figures["confidence"] = probability_histogram(scored.confidence, scored.correct, part)
        figures["coverage"] = coverage_curve(kept, accuracy, part, len(scored))
    if len(history) > 1:
        figures["learning_curves"] = learning_curves(history, best_epoch)
    return figures
