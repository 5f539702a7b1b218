"""What each head, backbones side by side and an ensemble give against the plain probe.

    python benchmarks/heads.py NAME=FOLDER[@SIZE] ... [--json results.json]

FOLDER is anything that ``tellapart train`` takes, a table of solar cells for "solar-cells" by
itself (the package elpv-dataset); SIZE the height and width for the networks. For the published
numbers see docs/heads.md. Each way is trained on the train part of one and the same split, chosen
on validation, and only then scored on test. Seconds are those of training and scoring on
validation with pixels and features in the cache, so that they tell the ways apart.

An ensemble is of the single ways before it. Ends with 1 where the ensemble is below the plain probe
on test by more than two images of a hundred: the pass mark.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from tellapart.data.pixels import prepared_otherwise
from tellapart.data.solar_cells import images_folder, write_solar_cells
from tellapart.data.source import Source
from tellapart.data.table import PARTS
from tellapart.engines.features import extract
from tellapart.models.inputs import preprocessing_for, preprocessing_of
from tellapart.recipe import BackboneModel, Recipe
from tellapart.recipe_reading import apply_settings, load_recipe
from tellapart.stopwatch import Stopwatch
from tellapart.training.by_ensemble import Candidate, ensemble_of, weigh
from tellapart.training.outcome import Task, Trained
from tellapart.training.scoring import Scored, score_part, score_validation
from tellapart.training.ways import check_trainable, train_task
from tellapart.verbs.preparation import choosing_rows, prepare

SECOND = "tf_efficientnet_lite2"
#: Way -> settings laid over the recipe "probe".
WAYS: dict[str, tuple[str, ...]] = {
    "logistic (the plain probe)": (),
    "discriminant": ("probe.head=discriminant",),
    "network": ("probe.head=network",),
    "neighbours": ("probe.head=neighbours",),
    "logistic, flipped too": ("probe.views=[original, flip]",),
    f"logistic on {SECOND}": (f"model.backbone={SECOND}",),
    f"discriminant on {SECOND}": (f"model.backbone={SECOND}", "probe.head=discriminant"),
    "side by side, logistic": ("joined",),
    "side by side, discriminant": ("joined", "probe.head=discriminant"),
}
JOINED = (
    f"model={{kind: joined, members: [{{backbone: tf_efficientnet_lite0}}, "
    f"{{backbone: {SECOND}}}]}}"
)
ENSEMBLE = "ensemble of the single ones"


def recipe_of(settings: tuple[str, ...], size: int | None) -> Recipe:
    given = [JOINED if setting == "joined" else setting for setting in settings]
    sizes = [f"data.image_size={size}"] if size else []
    recipe = apply_settings(load_recipe("probe"), [*sizes, *given])
    check_trainable(recipe)
    return recipe


def task_of(source: Source, recipe: Recipe) -> Task:
    from tellapart.progress import SILENT

    prepared = prepare(source, recipe, "cpu", Stopwatch(), SILENT)
    table = prepared.splits.table
    rows = {part: np.flatnonzero(table.parts == part) for part in PARTS}
    # Images that an earlier part has too are in no number.
    rows["test"] = rows["test"][prepared.leaked[rows["test"]] == ""]
    return Task(
        recipe=prepared.recipe, images=prepared.images, labels=table.labels, rows=rows,
        classes=table.classes, preprocessing=prepared.preprocessing, device="cpu",
        choosing=choosing_rows(prepared),
    )  # fmt: skip


def fill_cache(task: Task) -> None:
    """Features of every backbone, so that no way pays for them."""
    for model in task.recipe.networks:
        preprocessing = preprocessing_for(model, task.recipe.data)
        images = prepared_otherwise(task.images, preprocessing)
        if isinstance(model, BackboneModel):
            extract(model, preprocessing, images, views=task.recipe.probe.views, device="cpu")


def measured(task: Task, trained: Trained, scored: Scored, seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {"seconds": round(seconds, 2)}
    test = score_part(task, trained, scored, "test")
    for part, predictions in (("validation", scored.validation), ("test", test)):
        if predictions is None:
            continue
        truth = predictions.probabilities[np.arange(len(predictions)), predictions.labels]
        found[part] = {
            "images": len(predictions),
            "accuracy": round(float(predictions.correct.mean()), 4),
            "log_loss": round(float(-np.log(np.maximum(truth, 1e-12)).mean()), 4),
        }
    found["facts"] = {
        key: value for key, value in trained.facts.items() if not key.endswith("log_losses")
    }
    return found


def compare(name: str, folder: str, size: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
    root = None
    if name == "solar-cells" and not folder:
        folder = str(write_solar_cells(Path(tempfile.mkdtemp()) / "cells.csv"))
        root = images_folder()
    source = Source(Path(folder), root=root)
    candidates: list[Candidate] = []
    task = task_of(source, recipe_of((), size))
    for way, settings in WAYS.items():
        recipe = recipe_of(settings, size)
        preprocessing = preprocessing_of(recipe)
        images = prepared_otherwise(task.images, preprocessing)
        own = replace(task, recipe=recipe, images=images, preprocessing=preprocessing)
        fill_cache(own)
        started = perf_counter()
        trained = train_task(own.without_test())
        scored = score_validation(own.without_test(), trained)
        yield way, measured(own, trained, scored, perf_counter() - started)
        if "joined" not in settings:
            candidates.append(Candidate(own, trained, scored))
    started = perf_counter()
    trained = ensemble_of(task, candidates, weigh(task.without_test(), candidates))
    scored = score_validation(task.without_test(), trained)
    yield ENSEMBLE, measured(task, trained, scored, perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", metavar="NAME=FOLDER[@SIZE]")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    for text in given.folders:
        name, _, place = text.partition("=")
        folder, _, size = place.partition("@")
        results[name] = {}
        for way, found in compare(name, folder, int(size) if size else None):
            results[name][way] = found
            told = " ".join(
                f"{part} {100 * found[part]['accuracy']:.2f} % ({found[part]['log_loss']:.3f})"
                for part in ("validation", "test") if part in found
            )  # fmt: skip
            print(f"{name}: {way}: {told} {found['seconds']} s",
                  flush=True)  # fmt: skip
            if given.json is not None:
                given.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    plain = next(iter(WAYS))
    worse = [
        name for name, of_ways in results.items()
        if of_ways[ENSEMBLE]["test"]["accuracy"] < of_ways[plain]["test"]["accuracy"] - 0.02
    ]  # fmt: skip
    for name in worse:
        print(f"{name}: the ensemble is below the plain probe", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
