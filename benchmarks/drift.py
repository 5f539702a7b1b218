"""How often ``tellapart drift`` notices foreign images, and how often it is alarmed for nothing.

    python benchmarks/drift.py --cifar FOLDER --pets FOLDER --scans FOLDER [--json results.json]
                               [--stored FILE] [--power 40] [--alarms 300] [--others 0]

The classifiers and the foreign images are those of ``foreign.py``, and photographs of cats and dogs
as another camera would take them. Each trial draws training, validation and new images anew: 500,
100 and 200 of one kind; for the power a fifth of the new ones is replaced by foreign ones, or all
by changed ones. With ``--others`` stand other tests on the same draws beside the one in use, see
:func:`others`. ``--stored`` keeps the features in a file and takes them from there the next time:
then folders are not needed, and a trial is a matter of a fifth of a second.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from foreign import Rows, Task, features_of, tasks, unit
from tellapart.evaluation.unknown import build_detector
from tellapart.monitoring.compare import LEVEL, compare
from tellapart.monitoring.known import KnownImages
from tellapart.monitoring.two_sample import directions, draw, p_values

NEW, FOREIGN = 200, 40
TRAIN, VALIDATION = 500, 100
PERMUTATIONS = 199
#: Images that the classifier of a task is fitted on, and that are used for nothing else.
APART = 400
#: Photographs that each change of the camera is tried on.
CHANGED = 250


# --- what another camera does -------------------------------------------------------------------


def _jpeg(picture: Image.Image) -> Image.Image:
    kept = io.BytesIO()
    picture.save(kept, "JPEG", quality=8)
    return Image.open(io.BytesIO(kept.getvalue())).convert("RGB")


def _noisy(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture, np.float32)
    random = np.random.default_rng(int(pixels.sum()) % 2**32)
    return _picture(pixels + random.normal(0, 25, pixels.shape))


def _warm(picture: Image.Image) -> Image.Image:
    return _picture(np.asarray(picture, np.float32) * (1.15, 1.0, 0.75))


def _picture(pixels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "a little blurred": lambda p: p.filter(ImageFilter.GaussianBlur(p.width / 130)),
    "dark": lambda p: ImageEnhance.Brightness(p).enhance(0.4),
    "pale": lambda p: ImageEnhance.Contrast(p).enhance(0.5),
    "JPEG quality 8": _jpeg,
    "noisy": _noisy,
    "grey": lambda p: ImageOps.grayscale(p).convert("RGB"),
    "warm light": _warm,
}


def changed(files: list[Path], folder: Path, change: Callable[[Image.Image], Image.Image]) -> Path:
    """A folder with changed copies of files."""
    for number, file in enumerate(files):
        place = folder / "ab"[number % 2] / f"{number:04d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as picture:
            change(picture.convert("RGB")).save(place, compress_level=1)
    return folder


def changed_photographs(pets: Path) -> dict[str, Rows]:
    """Features of photographs after each change."""
    random = np.random.default_rng(5)
    files = sorted(pets.rglob("*.jpg"))
    files = [files[i] for i in np.sort(random.choice(len(files), CHANGED, replace=False))]
    with tempfile.TemporaryDirectory() as temporary:
        return {
            kind: features_of(changed(files, Path(temporary) / kind, change), 192)[0]
            for kind, change in CHANGES.items()
        }


# --- other tests --------------------------------------------------------------------------------


def others(asked: Rows, known: Rows, seed: int) -> dict[str, float]:
    """The p of tests that are not in use, of features (N, D) and (M, D)."""
    from scipy.stats import ks_2samp, mannwhitneyu
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    both = np.concatenate([unit(asked), unit(known)])
    first = np.arange(len(both)) < len(asked)
    draws = draw(len(asked), np.zeros(len(both), int), permutations=PERMUTATIONS, seed=seed)
    squares = np.clip(2 - 2 * both @ both.T, 0, None)
    kernel = np.exp(-squares / np.median(squares)).astype(np.float32)
    means = draws.asked @ kernel
    weights = draws.asked / draws.images - (1 - draws.asked) / draws.others
    rest = kernel.sum(axis=0) - means
    discrepancy = ((means / draws.images - rest / draws.others) * weights).sum(axis=1)
    coordinates = directions(draws, both)
    single = [ks_2samp(column[first], column[~first]).pvalue for column in coordinates.T]
    scores = cross_val_predict(
        LogisticRegression(C=0.1, max_iter=200), coordinates, first, cv=5,
        method="decision_function",
    )  # fmt: skip
    return {
        "MMD": float(p_values(discrepancy)[0]),
        "KS of each direction": min(1.0, float(min(single)) * len(single)),
        "classifier": float(
            mannwhitneyu(scores[first], scores[~first], alternative="greater").pvalue
        ),
    }


# --- trials ---------------------------------------------------------------------------------------


def trials(
    task: Task, foreign: Rows | None, number: int, *, share: int, with_others: bool, frozen: bool
) -> Iterator[dict[str, float]]:
    """The p of every test, a trial each.

    Args:
        foreign: features of foreign images; None: there are none.
        share: how many of the new images are foreign.
        frozen: whether the training images count as known ones.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(number)
    scaler = StandardScaler().fit(task.train[:APART])
    classifier = LogisticRegression(C=0.01, max_iter=200).fit(
        scaler.transform(task.train[:APART]), task.labels[:APART]
    )
    classes = tuple(map(str, classifier.classes_))

    def probabilities(rows: Rows) -> NDArray[np.float64]:
        return np.asarray(classifier.predict_proba(scaler.transform(rows)), np.float64)

    # All drawn from one pool, anew each time: parts that were fixed once differ by chance, and
    # each trial would meet that same difference.
    pool = np.concatenate([task.train[APART:], task.validation, task.test])
    for trial in range(number):
        rows = random.permutation(len(pool))[: NEW + VALIDATION + TRAIN]
        new, known, train = np.split(pool[rows], [NEW, NEW + VALIDATION])
        if foreign is not None:
            new[:share] = foreign[random.choice(len(foreign), share, replace=False)]
        detector = build_detector(train, known)
        kept = KnownImages.of(known, probabilities(known), np.full(TRAIN, frozen))
        found = compare(
            new, probabilities(new), detector, kept, classes, permutations=PERMUTATIONS,
            seed=trial,
        )  # fmt: skip
        tests = found.tests
        odd = found.odd_first[:share]
        yield {
            "in use": tests.all, "looks": tests.looks, "unlike": tests.unlike,
            "altogether": tests.altogether, "shares": tests.shares,
            "among the oddest": float((odd < share).mean()) if foreign is not None else 0.0,
            **(others(new, np.concatenate([known, train]), trial)
               if with_others else {}),
        }  # fmt: skip


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """The share of trials in which each test is alarmed."""
    found = {
        name: round(float(np.mean([row[name] <= LEVEL for row in rows if name in row])), 3)
        for name in rows[0] if name != "among the oddest"
    }  # fmt: skip
    found["among the oddest"] = round(float(np.mean([r["among the oddest"] for r in rows])), 3)
    return found | {"trials": len(rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("cifar", "pets", "scans"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--power", type=int, default=40, help="trials for each kind")
    parser.add_argument("--alarms", type=int, default=300, help="trials without foreign images")
    parser.add_argument("--others", type=int, default=0, help="trials with the other tests as well")
    parser.add_argument("--tasks", type=int, nargs="*", help="only these")
    parser.add_argument("--skip", nargs="*", default=(), help="leave out these foreign images")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = tasks(options.cifar, options.pets, options.scans)
    changes = changed_photographs(options.pets)
    results: dict[str, dict[str, Any]] = {}

    def tell(task: Task, kind: str, foreign: Rows | None, number: int, share: int, frozen: bool,
             with_others: bool = False) -> None:  # fmt: skip
        rows = list(trials(task, foreign, number, share=share, with_others=with_others,
                           frozen=frozen))  # fmt: skip
        results.setdefault(task.name, {})[kind] = summary(rows)
        print(f"{task.name}: {kind}: {results[task.name][kind]}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")

    for number, task in enumerate(found):
        if options.tasks and number not in options.tasks:
            continue
        for kind, rows in task.foreign.items():
            if kind in options.skip:
                continue
            tell(task, kind, rows, options.power, FOREIGN, True)
        if task.name == "cats and dogs":
            for kind, rows in changes.items():
                tell(task, kind, rows, options.power, FOREIGN, True)
                tell(task, f"all {kind}", rows, options.power, NEW, True)
        for kind in (task.near, "solar cells"):
            tell(task, f"{kind}, without the training images", task.foreign[kind], options.power,
                 FOREIGN, False)  # fmt: skip
        tell(task, "none", None, options.alarms, FOREIGN, True)
        tell(task, "none, without the training images", None, options.alarms // 2, FOREIGN, False)
        if options.others:
            kinds: dict[str, Rows | None] = {task.near: task.foreign[task.near], "none": None}
            if task.name == "cats and dogs":
                kinds |= {kind: changes[kind] for kind in ("a little blurred", "dark")}
            for kind, rows in kinds.items():
                tell(task, f"{kind}, other tests", rows, options.others, FOREIGN, True, True)


if __name__ == "__main__":
    main()
