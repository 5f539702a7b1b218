"""How often ``tellapart drift`` notices foreign images, and how often it is alarmed for nothing.

    python benchmarks/drift.py --cifar FOLDER --pets FOLDER --scans FOLDER [--json results.json]
                               [--stored FILE] [--power 40] [--alarms 300] [--others 0]
                               [--level 0]

The classifiers and the foreign images are those of ``foreign.py``, and photographs of cats and dogs
as another camera would take them. Each trial draws training, validation and new images anew: 500,
100 and 200 of one kind; for the power a fifth of the new ones is replaced by foreign ones, or all
by changed ones. With ``--others`` stand other tests on the same draws beside the one in use, see
:func:`others`. ``--stored`` keeps the features in a file and takes them from there the next time:
then folders are not needed, and a trial is a matter of a fifth of a second. ``--level`` counts
false alarms in many more trials, a fiftieth of a second each, by the tests that decide and nothing
else, on features turned into the 256 principal directions of all images.
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
from tellapart.monitoring.compare import LEVEL, SHARES_PART, compare
from tellapart.monitoring.known import KnownImages
from tellapart.monitoring.two_sample import (
    apart,
    directions,
    draw,
    further_out,
    other_shares,
    p_values,
    together,
)

NEW, FOREIGN = 200, 40
TRAIN, VALIDATION = 500, 100
PERMUTATIONS = 199
#: Images that the classifier of a task is fitted on, and that are used for nothing else.
APART = 400
#: Photographs that each change of the camera is tried on.
CHANGED = 250
#: Directions of the features by which the level is measured.
COMPACT = 256
LEVEL_SEED = 10_000_000


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


def others(asked: Rows, known: Rows, train: Rows, seed: int) -> dict[str, float]:
    """The p of tests that are not in use, of features (N, D), (M, D) and (L, D).

    - MMD: the maximum mean discrepancy, Gaussian kernel of the median distance, of a quarter of
      it, and in whitened directions (Gretton et al. 2012).
    - energy distance (Szekely and Rizzo 2013).
    - neighbours: how many of the ten nearest of a new image are new (Schilling 1986).
    - squares: Hotelling's statistic of the squares in 64 directions, for sets that are wider.
    - KS: Kolmogorov and Smirnov's test of each direction, with Bonferroni's correction.
    - classifier: a logistic regression that is to tell new from known images, cross-validated.
    - tails, weighted as the distances in use are: the length of what lies outside 64 directions
      ("residual", as ViM has it), the length in these ("Mahalanobis"), and the distance from the
      fifth nearest of all images, new ones too ("among all").
    - 128 directions in the place of 64, and both tests in use with one of these.
    """
    from scipy.stats import ks_2samp, mannwhitneyu
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    detector = build_detector(train, known)
    both = np.concatenate([unit(asked), unit(known), detector.reference])
    count = len(both)
    first = np.arange(count) < len(asked)
    draws = draw(len(asked), np.zeros(count, np.int64), permutations=PERMUTATIONS, seed=seed)
    weights = draws.asked / draws.images - (1 - draws.asked) / draws.others

    def pairs(matrix: NDArray[Any]) -> Rows:
        found: Rows = ((weights @ matrix.astype(np.float32)) * weights).sum(axis=1)
        return found

    wide = directions(draws, both, 128)
    white = wide[:, :64]
    squares = _squares_between(both)
    within = _squares_between(white)
    median = np.median(squares)
    centred = draws.within_strata(both)
    lengths = ((white.T @ centred) ** 2).sum(axis=1) / count  # of the directions
    outside = (centred**2).sum(axis=1) - (white**2 @ lengths) / count
    apart_from_itself = squares + 9 * np.eye(count)
    ten = np.zeros((count, count), np.float32)
    np.put_along_axis(ten, np.argpartition(apart_from_itself, 10, axis=1)[:, :10], 1.0, axis=1)
    known_distances = np.concatenate([detector.distances(known), detector.own_distances()])
    unlike = further_out(draws, np.concatenate([detector.distances(asked), known_distances]))
    altogether, altogether_128 = apart(draws, white), apart(draws, wide)
    capped = np.minimum(white**2, 9.0)
    statistics = {
        "MMD": pairs(np.exp(-squares / median)),
        "MMD, narrow": pairs(np.exp(-4 * squares / median)),
        "MMD, whitened": pairs(np.exp(-within / np.median(within))),
        "energy distance": pairs(-np.sqrt(squares)),
        "neighbours": ((draws.asked @ ten) * draws.asked).sum(axis=1),
        "squares": apart(draws, (capped - capped.mean(axis=0)) / capped.std(axis=0)),
        "residual": further_out(draws, outside.astype(np.float64)),
        "Mahalanobis": further_out(draws, (white**2).sum(axis=1).astype(np.float64)),
        "among all": further_out(
            draws, np.partition(apart_from_itself, 4, axis=1)[:, 4].astype(np.float64)
        ),
        "128 directions": altogether_128,
    }
    single = [ks_2samp(column[first], column[~first]).pvalue for column in white.T]
    scores = cross_val_predict(
        LogisticRegression(C=0.1, max_iter=200), white, first, cv=5, method="decision_function",
    )  # fmt: skip
    return {
        **{name: float(p_values(each)[0]) for name, each in statistics.items()},
        "KS": min(1.0, float(min(single)) * len(single)),
        "classifier": float(
            mannwhitneyu(scores[first], scores[~first], alternative="greater").pvalue
        ),
        "in use, 128 directions": together(unlike, altogether_128),
        **{
            f"in use and {name}": together(unlike, altogether, statistics[name])
            for name in ("energy distance", "residual", "neighbours", "MMD, whitened")
        },
    }


def _squares_between(rows: Rows) -> Rows:
    """Squared distances (N, N) between rows (N, D)."""
    lengths = (rows**2).sum(axis=1)
    found: Rows = np.clip(lengths[:, None] + lengths[None] - 2 * rows @ rows.T, 0, None)
    return found


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
            **(others(new, known, train, trial) if with_others else {}),
        }  # fmt: skip


def level(task: Task, number: int) -> dict[str, float]:
    """How often images of the same kind are called drifted, by the tests that decide."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(task.train[:APART])
    classifier = LogisticRegression(C=0.01, max_iter=200).fit(
        scaler.transform(task.train[:APART]), task.labels[:APART]
    )
    rows = np.concatenate([task.train[APART:], task.validation, task.test])
    said = np.eye(len(classifier.classes_), dtype=np.float32)[
        np.searchsorted(classifier.classes_, classifier.predict(scaler.transform(rows)))
    ]
    pool = unit(rows)
    values, vectors = np.linalg.eigh(pool.T @ pool)
    pool = unit(pool @ vectors[:, np.argsort(-values)[:COMPACT]])
    alarms = {"looks": 0, "shares": 0, "in use": 0}
    for trial in range(number):
        random = np.random.default_rng(LEVEL_SEED + trial)
        chosen = random.permutation(len(pool))[: NEW + VALIDATION + TRAIN]
        new, known, train = np.split(pool[chosen], [NEW, NEW + VALIDATION])
        detector = build_detector(train, known)
        looks = np.concatenate([new, known, detector.reference])
        draws = draw(NEW, np.zeros(len(looks), np.int64), permutations=PERMUTATIONS, seed=trial)
        away = np.concatenate(
            [detector.distances(new), detector.distances(known), detector.own_distances()]
        )
        p_looks = together(further_out(draws, away), apart(draws, directions(draws, looks)))
        freely = draw(
            NEW,
            np.zeros(NEW + VALIDATION, np.int64),
            permutations=PERMUTATIONS,
            seed=~trial % 2**32,
        )
        p_shares = p_values(other_shares(freely, said[chosen[: NEW + VALIDATION]]))[0]
        by_looks = p_looks <= LEVEL * (1 - SHARES_PART)
        by_shares = p_shares <= LEVEL * SHARES_PART
        alarms["looks"] += by_looks
        alarms["shares"] += by_shares
        alarms["in use"] += by_looks or by_shares
    return {name: round(float(count) / number, 4) for name, count in alarms.items()} | {
        "trials": number
    }


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """The share of trials in which each test is alarmed."""
    found = {
        name: round(float(np.mean([row[name] <= LEVEL for row in rows if name in row])), 3)
        for name in rows[0] if name != "among the oddest"
    }  # fmt: skip
    found["among the oddest"] = round(float(np.mean([r["among the oddest"] for r in rows])), 3)
    return found | {"trials": len(rows)}


def store(file: Path, found: list[Task], changes: dict[str, Rows]) -> None:
    """Keep features in float16, which is what a run keeps of them."""
    arrays: dict[str, NDArray[Any]] = {f"changed/{kind}": rows for kind, rows in changes.items()}
    for number, task in enumerate(found):
        arrays[f"{number}/labels"] = task.labels
        arrays[f"{number}/words"] = np.array([task.name, task.near])
        parts = {"train": task.train, "validation": task.validation, "test": task.test}
        for part, rows in (
            parts | {f"foreign/{kind}": r for kind, r in task.foreign.items()}
        ).items():
            arrays[f"{number}/{part}"] = rows
    np.savez(file, **{name: array.astype(np.float16) if array.dtype == np.float32 else array
                      for name, array in arrays.items()})  # fmt: skip


def read_stored(file: Path) -> tuple[list[Task], dict[str, Rows]]:
    """What :func:`store` kept."""
    with np.load(file) as kept:
        arrays = {name: kept[name].astype(np.float32) if kept[name].dtype == np.float16
                  else kept[name] for name in kept.files}  # fmt: skip
    changes = {name.removeprefix("changed/"): rows for name, rows in arrays.items()
               if name.startswith("changed/")}  # fmt: skip
    found = []
    for number in range(sum(name.endswith("/words") for name in arrays)):
        own = {name.removeprefix(f"{number}/"): rows for name, rows in arrays.items()
               if name.startswith(f"{number}/")}  # fmt: skip
        name, near = map(str, own["words"])
        foreign = {kind.removeprefix("foreign/"): rows for kind, rows in own.items()
                   if kind.startswith("foreign/")}  # fmt: skip
        found.append(Task(name, own["train"], own["labels"], own["validation"], own["test"],
                          foreign, near))  # fmt: skip
    return found, changes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("cifar", "pets", "scans"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--stored", type=Path, help="where features are kept")
    parser.add_argument("--level", type=int, default=0, help="trials for the level alone")
    parser.add_argument("--power", type=int, default=40, help="trials for each kind")
    parser.add_argument("--alarms", type=int, default=300, help="trials without foreign images")
    parser.add_argument("--others", type=int, default=0, help="trials with the other tests as well")
    parser.add_argument("--tasks", type=int, nargs="*", help="only these")
    parser.add_argument("--skip", nargs="*", default=(), help="leave out these foreign images")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.stored is not None and options.stored.exists():
        found, changes = read_stored(options.stored)
    elif None in (options.cifar, options.pets, options.scans):
        parser.error("give --cifar, --pets and --scans, or --stored with a file that is there")
    else:
        found = tasks(options.cifar, options.pets, options.scans)
        changes = changed_photographs(options.pets)
        if options.stored is not None:
            store(options.stored, found, changes)
    results: dict[str, dict[str, Any]] = {}

    def keep(task: Task, kind: str, found: dict[str, float]) -> None:
        results.setdefault(task.name, {})[kind] = found
        print(f"{task.name}: {kind}: {found}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")

    def tell(task: Task, kind: str, foreign: Rows | None, number: int, share: int, frozen: bool,
             with_others: bool = False) -> None:  # fmt: skip
        rows = list(trials(task, foreign, number, share=share, with_others=with_others,
                           frozen=frozen))  # fmt: skip
        keep(task, kind, summary(rows))

    for number, task in enumerate(found):
        if options.tasks and number not in options.tasks:
            continue
        if options.level:
            keep(task, "level", level(task, options.level))
        for kind, rows in task.foreign.items():
            if kind in options.skip or not options.power:
                continue
            tell(task, kind, rows, options.power, FOREIGN, True)
        if task.name == "cats and dogs" and options.power:
            for kind, rows in changes.items():
                tell(task, kind, rows, options.power, FOREIGN, True)
                tell(task, f"all {kind}", rows, options.power, NEW, True)
        for kind in (task.near, "solar cells") if options.power else ():
            tell(task, f"{kind}, without the training images", task.foreign[kind], options.power,
                 FOREIGN, False)  # fmt: skip
        if options.alarms:
            tell(task, "none", None, options.alarms, FOREIGN, True)
            tell(task, "none, without the training images", None, options.alarms // 2, FOREIGN,
                 False)  # fmt: skip
        if options.others:
            kinds: dict[str, Rows] = {}
            if task.name != "cats and dogs":  # all tests notice other animals there
                kinds[task.near] = task.foreign[task.near]
            if task.name == "cats and dogs":
                kinds |= {kind: changes[kind] for kind in ("a little blurred", "dark")}
            for kind, rows in kinds.items():
                tell(task, f"{kind}, other tests", rows, options.others, FOREIGN, True, True)


if __name__ == "__main__":
    main()
