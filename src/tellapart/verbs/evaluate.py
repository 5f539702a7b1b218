"""``tellapart evaluate``: a run on new images, or what it scored on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart.data.pixels import load_pixels
from tellapart.data.table import read_table
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions, load_predictions
from tellapart.machine import keep_memory, resolve_device
from tellapart.models.classifier import load_classifier
from tellapart.progress import SILENT, Progress
from tellapart.run import open_run, write_json


@dataclass(frozen=True)
class Evaluation:
    """How a run did on some images."""

    run: Path
    #: Metrics of each part, as ``evaluate_predictions`` gives them.
    metrics: Mapping[str, Mapping[str, Any]]
    predictions: Mapping[str, Predictions]
    #: The page about it, if one was written.
    report: Path | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run),
            **({"report": str(self.report)} if self.report else {}),
            **self.metrics,
        }

    def lines(self) -> Iterator[str]:
        """What the command prints."""
        for part, metrics in self.metrics.items():
            accuracy = metrics["accuracy"]
            if accuracy["value"] is None:
                yield f"{part}: {metrics.get('images', 0)} images, none with a label"
                continue
            yield (
                f"{part:<10}  accuracy {accuracy['value']:.2%}  "
                f"(95 %: {accuracy['low']:.2%} to {accuracy['high']:.2%}), "
                f"{metrics['images']:,} images"
            )
        if self.report:
            yield f"report      {self.report}"

    def _repr_html_(self) -> str:
        from html import escape

        return "".join(f"<p>{escape(line)}</p>" for line in self.lines())


def evaluate(
    run: str | Path,
    folder: str | Path | None = None,
    *,
    device: str = "auto",
    ignore_unknown: bool = False,
    root: str | Path | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Score a run on a folder of labelled images; without one, give what is stored.

    Classes are matched by name with the run's; a class of the folder that the run does not
    know stops, unless ``ignore_unknown``. The result is also written into the run folder,
    under ``evaluations/``.

    Raises:
        RunError: the run cannot be used.
        DataError: the folder cannot be read, or its classes are not the run's.
    """
    opened = open_run(run)
    if folder is None:
        predictions = {
            part: load_predictions(opened.predictions_file(part)) for part in opened.parts
        }
        return Evaluation(opened.path, opened.metrics, predictions, opened.report)
    keep_memory()
    classifier = load_classifier(opened.model_file, device=resolve_device(device))
    table = read_table(
        folder, classes=classifier.classes, ignore_unknown=ignore_unknown, root=root,
        progress=progress,
    )
    cache = load_pixels(table, classifier.preprocessing, progress=progress)
    name = Path(folder).resolve().stem
    predictions_new = Predictions(
        part=name,
        classes=classifier.classes,
        paths=cache.table.paths,
        labels=cache.table.labels,
        probabilities=classifier.probabilities(cache.pixels, progress=progress),
    )
    metrics = {name: evaluate_predictions(predictions_new, seed=opened.recipe.seed)}
    place = opened.path / "evaluations" / name
    place.mkdir(parents=True, exist_ok=True)
    predictions_new.save(place / "predictions.csv")
    write_json(place / "metrics.json", metrics)
    from tellapart.report.of_run import write_evaluation_report

    report = write_evaluation_report(opened, predictions_new, metrics[name], cache, place)
    return Evaluation(opened.path, metrics, {name: predictions_new}, report)
