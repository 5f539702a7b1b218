"""``tellapart ladder``: four ways to train on one split, and what each step bought."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tellapart.comparison.paired import ComparedRun, PairedComparison
from tellapart.data.source import Source
from tellapart.errors import RecipeError, RunError
from tellapart.extras import require_pytorch
from tellapart.files import clear_leftovers, write_json, write_text
from tellapart.folders import make_folder
from tellapart.progress import DEFAULT, Progress
from tellapart.recipe import (
    AugmentationStep,
    EarlyStopping,
    Flip,
    Recipe,
    Rotation,
    ScratchModel,
    TrainingStage,
    Zoom,
)
from tellapart.recipe_reading import apply_settings, load_recipe, recipe_to_yaml
from tellapart.run import Run, open_run, run_name
from tellapart.run_info import COMPLETE
from tellapart.verbs.compare import Comparison, compare_runs
from tellapart.verbs.train import resume, train
from tellapart.wording import texts

#: Pictures whose shorter side is at most this are small, as in CIFAR.
SMALL_PICTURE = 48
EPOCHS = 30
_SETTINGS_FILE = "ladder.json"


@dataclass(frozen=True)
class Rung:
    """One step: its folder, its name on the page, and what it adds to the one before."""

    folder: str
    name: str
    adds: str
    recipe: Recipe


def ladder(
    folder: str | Path,
    *,
    epochs: int | None = None,
    settings: Iterable[str] = (),
    runs: str | Path = "runs",
    run: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    min_images: int = 0,
    progress: Progress = DEFAULT,
) -> Comparison:
    """Train a small CNN, the same with augmentation, frozen features, and fine-tuning.

    All four see the same split. The comparison says what each step bought, whether that is
    more than chance, and what it cost. Called again with the same arguments, it goes on where
    it was: finished rungs are not trained again.

    Args:
        folder: the images, as for ``train``.
        epochs: at most so many epochs a rung; None: the recipes' own.
        settings: ``key=value`` strings laid over every rung's recipe that has the key.
        runs: where the ladder's folder goes; run: this folder exactly.
        seed: of the split and of training.
        device: "auto", "cpu", "cuda", ...
        root, path_column, label_column, min_images: as for ``train``.

    Returns:
        The comparison; its ``lessons`` are what each step bought.

    Raises:
        TellapartError: something in the arguments or in the folder is wrong.
    """
    require_pytorch("'tellapart ladder', which trains networks,")
    rungs = make_rungs(folder, epochs=epochs, settings=[*texts(settings)], seed=seed)
    reading: dict[str, Any] = {
        "root": str(Path(root).resolve()) if root is not None else None,
        "path_column": path_column,
        "label_column": label_column,
        "min_images": min_images,
    }
    place = _place(folder, reading, rungs, Path(runs), Path(run) if run is not None else None)
    finished: dict[str, Run] = {}
    for number, rung in enumerate(rungs, start=1):
        progress.note(f"Rung {number} of {len(rungs)}: {rung.name}")
        made = _climb(folder, reading, rung, place, device, progress)
        if made.status != COMPLETE:  # Ctrl-C ended this rung early
            raise KeyboardInterrupt
        finished[rung.name] = made
    if len({tuple(made.images) for made in finished.values()}) > 1:
        raise RunError(
            f"The images changed between the rungs of {place}; begin anew with --run and "
            "another folder."
        )
    return compare_runs(
        finished,
        lambda: place / "report.html",
        title=f"{Source(Path(folder)).display_name}: what each step bought",
        device=device,
        seed=rungs[0].recipe.seed,
        lessons_of=lambda result: list(lessons(result, rungs)),
        progress=progress,
    )


# --- the rungs ------------------------------------------------------------------------------


def make_rungs(
    folder: str | Path, *, epochs: int | None, settings: list[str], seed: int | None
) -> list[Rung]:
    """The four rungs with their recipes; the small network suits the size of the pictures.

    Raises:
        RecipeError: a setting fits none of the recipes.
    """
    small = _small_cnn(folder)
    steps: tuple[AugmentationStep, ...] = (
        Flip(transform="flip"),
        Rotation(transform="rotation", degrees=15),
        Zoom(transform="zoom", fraction=0.15),
    )
    augmented = small.model_copy(update={
        "name": "ladder-augmented",
        "title": "The same small network, trained on pictures that are never twice the same",
        "teaches": "Random flips, turns and zooms against learning the images by heart.",
        "augmentation": steps,
    })  # fmt: skip
    rungs = [
        Rung("1-small-cnn", "small CNN", "A small network from random weights", small),
        Rung("2-augmented", "augmented CNN", "Augmentation", augmented),
        Rung("3-frozen-features", "frozen features", "A pretrained network's features",
             load_recipe("probe")),
        Rung("4-fine-tuned", "fine-tuning", "Fine-tuning the pretrained network",
             load_recipe("finetune")),
    ]  # fmt: skip
    overlays = [_overlay(rung.recipe, epochs, seed) for rung in rungs]
    rungs = [
        replace(rung, recipe=apply_settings(rung.recipe, overlay))
        for rung, overlay in zip(rungs, overlays, strict=True)
    ]
    for setting in settings:
        rungs = _set_where_it_fits(rungs, setting)
    return rungs


def _small_cnn(folder: str | Path) -> Recipe:
    """A network of document 002's shape for photographs, of document 001's for small pictures."""
    small = _shorter_side(folder) <= SMALL_PICTURE
    recipe = {
        "name": "ladder-small-cnn",
        "title": "A small convolutional network from random weights",
        "teaches": "What the images alone can teach a network that has never seen any.",
        "data": {"image_size": 32 if small else 96, "interpolation": "bilinear"},
    }
    return Recipe(
        **recipe,  # type: ignore[arg-type]  # checked by pydantic
        model=ScratchModel(network="small_cnn" if small else "five_layer_cnn"),
        training=TrainingStage(
            epochs=EPOCHS,
            batch_size=64 if small else 32,
            optimizer="adam",
            learning_rate=1e-3,
            early_stopping=EarlyStopping(patience=6),
        ),
    )


def _shorter_side(folder: str | Path) -> int:
    """The middle of the shorter sides of some pictures; large where none can be read yet."""
    from tellapart.pixels.headers import shorter_sides

    place = Path(folder)
    if not place.is_dir():
        return SMALL_PICTURE + 1
    pictures = (
        file
        for file in place.rglob("*")
        if file.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}
    )
    sides = shorter_sides(pictures, most=25)
    return sorted(sides)[len(sides) // 2] if sides else SMALL_PICTURE + 1


def _overlay(recipe: Recipe, epochs: int | None, seed: int | None) -> list[str]:
    settings = [] if seed is None else [f"seed={seed}"]
    if epochs is not None and recipe.method == "fit":
        settings.append(f"training.epochs={min(epochs, recipe.training.epochs)}")
        if recipe.fine_tuning is not None:
            settings.append(f"fine_tuning.epochs={min(epochs, recipe.fine_tuning.epochs)}")
    return settings


def _set_where_it_fits(rungs: list[Rung], setting: str) -> list[Rung]:
    changed, problems = [], []
    for rung in rungs:
        try:
            changed.append(replace(rung, recipe=apply_settings(rung.recipe, [setting])))
        except RecipeError as error:
            changed.append(rung)
            problems.append(error)
    if len(problems) == len(rungs):
        raise problems[0]
    return changed


# --- climbing -------------------------------------------------------------------------------


def _place(
    folder: str | Path,
    reading: Mapping[str, Any],
    rungs: list[Rung],
    runs: Path,
    exact: Path | None,
) -> Path:
    """The ladder's folder: the one given, one begun with the same arguments, or a new one.

    Raises:
        RunError: the folder given holds another ladder, or something else.
    """
    source = Source(Path(folder))
    wanted = {
        "source": str(source.folder),
        **{key: value for key, value in reading.items() if value},
        "recipes": {rung.folder: recipe_to_yaml(rung.recipe) for rung in rungs},
    }
    if exact is not None:
        clear_leftovers(exact)
        if exact.exists() and any(exact.iterdir()) and _settings(exact) != wanted:
            raise RunError(
                f"{exact} was not made with these images and settings; give --run another folder."
            )
        place = exact
    else:
        begun = [path.parent for path in sorted(runs.glob(f"*-ladder*/{_SETTINGS_FILE}"))]
        same = [path for path in begun if _settings(path) == wanted]
        if same:
            return same[-1]
        place = runs / run_name(source.display_name, "ladder", datetime.now())
    try:
        if exact is None:
            return make_folder(place, lambda new: write_json(new / _SETTINGS_FILE, wanted))
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The folder {place} cannot be made: {error.strerror}; choose another with --runs."
        ) from error
    write_json(place / _SETTINGS_FILE, wanted)
    return place


def _settings(place: Path) -> Mapping[str, Any] | None:
    try:
        content: Mapping[str, Any] = json.loads((place / _SETTINGS_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content


def _climb(
    folder: str | Path,
    reading: Mapping[str, Any],
    rung: Rung,
    place: Path,
    device: str,
    progress: Progress,
) -> Run:
    """The rung's run: as it stands, gone on with, or trained."""
    path = place / rung.folder
    if (path / "run.json").is_file():
        known = open_run(path, complete=False)
        return known if known.status == COMPLETE else resume(path, device=device, progress=progress)
    recipe = place / f"{rung.folder}.yaml"
    write_text(recipe, recipe_to_yaml(rung.recipe))
    return train(folder, recipe=recipe, run=path, device=device, progress=progress, **reading)


# --- what it teaches ------------------------------------------------------------------------


def lessons(result: PairedComparison, rungs: list[Rung]) -> Iterator[str]:
    """A sentence a step: how many points, more than chance or not, at what cost."""
    rows = {row.name: row for row in result.rows}
    first = rows[rungs[0].name]
    accuracy = first.metrics.accuracy
    yield (
        f"{rungs[0].adds} ({rungs[0].name}) is right on {accuracy.percent()} of the "
        f"{result.part} images ({accuracy.limits()}) after "
        f"{_time(first.facts['training_seconds'])} of training."
    )
    for before, rung in pairwise(rungs):
        yield _lesson(result, rows[before.name], rows[rung.name], rung)


def _lesson(result: PairedComparison, before: ComparedRun, now: ComparedRun, rung: Rung) -> str:
    pair = next(
        pair for pair in result.pairs if {pair.first, pair.second} == {before.name, now.name}
    )
    sign = 1 if pair.first == now.name else -1
    difference, *interval = pair.difference.measured()
    points = 100 * sign * difference
    low, high = sorted(100 * sign * limit for limit in interval)
    limits = f"({low:+.1f} to {high:+.1f}, 95 %)".replace("-", "\N{MINUS SIGN}")
    accuracy = now.metrics.accuracy.percent()
    cost = _cost(before.facts, now.facts)
    if points == 0:
        return f"{rung.adds} changed nothing: {accuracy} as before {limits}. {cost}"
    verb = "bought" if points > 0 else "cost"
    chance = "more than chance" if pair.real else "which may be chance"
    return f"{rung.adds} {verb} {abs(points):.1f} points {limits}, {chance}: {accuracy}. {cost}"


def _cost(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The time of training beside that of the rung before, where the two can be compared."""
    took = _time(now["training_seconds"])
    if before.get("time_compared", True) and now.get("time_compared", True):
        return f"Training took {took} instead of {_time(before['training_seconds'])}."
    return f"Training took {took} ({now['time_was']}; before: {before['time_was']})."


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"
