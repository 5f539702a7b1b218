"""Which score tells foreign images best, on the features of a frozen backbone.

    python benchmarks/foreign.py --cifar FOLDER --pets FOLDER --scans FOLDER [--json results.json]

Classifiers (a logistic regression on features) know some classes and are asked about images
of others. Near: four splits of CIFAR-10 into seven known and three foreign classes; cats and dogs,
asked other animals of CIFAR-10; scans of tumours, asked scans without one. Far: brain scans, solar
cells (package elpv-dataset), noise, made pictures (text, gradients), photographs cut into scrambled
squares. For each score: the share of foreign images noticed where 5 % of validation images are
called foreign, the rate of false alarms on test images that come of it, and the area under
the ROC curve. ``--keep FILE.npz`` keeps features for ``foreign_unseen.py``, which asks the scores
that a run can hold about sets that no choice was made on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tellapart.data.pixels import load_pixels
from tellapart.data.reading import read_table
from tellapart.data.solar_cells import images_folder
from tellapart.engines.features import extract_features
from tellapart.models.inputs import preprocessing_for
from tellapart.progress import TerminalProgress
from tellapart.recipe import BackboneModel, DataSettings

Rows = NDArray[np.float32]
Score = Callable[[Rows], NDArray[np.float64]]
FALSE_ALARMS = 0.05
#: Known classes of CIFAR-10 are all but these; the first split is of things that are most alike.
HELD_OUT = ((3, 5, 9), (0, 4, 8), (1, 2, 7), (3, 6, 8))
CIFAR_ANIMALS = (2, 4, 6, 7)
FAR_SET = 400
#: Images of CIFAR-10 of which features are kept.
KEPT = 12_000


@dataclass(frozen=True)
class Task:
    """Features of one classifier's images; ``foreign`` by name, ``near`` names the near ones."""

    name: str
    train: Rows
    labels: NDArray[np.int64]
    validation: Rows
    test: Rows
    foreign: dict[str, Rows]
    near: str


# --- scores: higher is more foreign -----------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Known:
    """What the scores may use: training features, labels, and a linear classifier's logits."""

    rows: Rows
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    validation: Rows

    def logits(self, rows: Rows) -> NDArray[np.float64]:
        return np.asarray(rows @ self.weights.T + self.bias, np.float64)


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def neighbour_distance(reference: Rows, rows: Rows, neighbours: int) -> NDArray[np.float64]:
    squares = np.clip(2 - 2 * (unit(rows) @ unit(reference).T), 0, None)
    near = np.partition(squares, neighbours - 1, axis=1)[:, neighbours - 1]
    return np.sqrt(near.astype(np.float64))


def nearest(known: Known, neighbours: int = 5) -> Score:
    return lambda rows: neighbour_distance(known.rows[:2000], rows, neighbours)


def nearest_centred(known: Known, neighbours: int = 5) -> Score:
    mean = known.rows.mean(axis=0)
    return lambda rows: neighbour_distance(known.rows[:2000] - mean, rows - mean, neighbours)


@cache
def nearest_whitened(known: Known, neighbours: int = 5) -> Score:
    """Neighbours where every direction within the classes weighs the same (shrunk covariance)."""
    covariance, means, _ = _gaussians(known)
    root = _root(covariance)
    mean = means.mean(axis=0)
    white = (known.rows[:2000] - mean) @ root
    return lambda rows: neighbour_distance(white, (rows - mean) @ root, neighbours)


def _gaussians(
    known: Known,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of the classes the covariance within them, shrunk as Ledoit and Wolf (2004) do, their means,
    and their shares."""
    from sklearn.covariance import ledoit_wolf

    classes, counts = np.unique(known.labels, return_counts=True)
    features = known.rows.astype(np.float64)
    means = np.stack([features[known.labels == label].mean(axis=0) for label in classes])
    within = features - means[np.searchsorted(classes, known.labels)]
    covariance = ledoit_wolf(within, assume_centered=True)[0]
    return covariance, means, counts / counts.sum()


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A matrix after which this covariance is that of the identity."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors / np.sqrt(np.maximum(values, 1e-9)))


@cache
def mahalanobis(known: Known) -> Score:
    """Lee et al. 2018, with a shrunk covariance."""
    covariance, means, _ = _gaussians(known)
    root = _root(covariance)
    centres = means @ root

    def score(rows: Rows) -> NDArray[np.float64]:
        white = rows @ root
        squares = [((white - centre) ** 2).sum(axis=1) for centre in centres]
        return np.asarray(np.min(squares, axis=0), np.float64)

    return score


@cache
def relative_mahalanobis(known: Known) -> Score:
    """Ren et al. 2021: less the distance to one Gaussian of all training images.

    Its covariance is that within the classes, as shrunk, and that between them. With a shrinkage
    of its own the floors of both differ in the many directions without content, and the
    difference of the distances is about these: foreign images then come out as the nearer ones.
    """
    near = mahalanobis(known)
    covariance, means, shares = _gaussians(known)
    mean = shares @ means
    between = ((means - mean).T * shares) @ (means - mean)
    root = _root(covariance + between)
    return lambda rows: near(rows) - (((rows - mean) @ root) ** 2).sum(axis=1)


@cache
def of_unit_length(known: Known) -> Known:
    """Features of length 1; those of pictures with little in them are short, so near the mean."""
    return replace(known, rows=unit(known.rows), validation=unit(known.validation))


def mahalanobis_unit(known: Known) -> Score:
    """Mueller and Hein 2025 (Mahalanobis++)."""
    score = mahalanobis(of_unit_length(known))
    return lambda rows: score(unit(rows))


def relative_unit(known: Known) -> Score:
    score = relative_mahalanobis(of_unit_length(known))
    return lambda rows: score(unit(rows))


def unsure(known: Known) -> Score:
    """1 less the probability of the likeliest class (Hendrycks and Gimpel 2017)."""
    return lambda rows: 1 - _softmax(known.logits(rows)).max(axis=1)


def energy(known: Known) -> Score:
    """Liu et al. 2020."""
    from scipy.special import logsumexp

    return lambda rows: np.asarray(-logsumexp(known.logits(rows), axis=1))


def largest_logit(known: Known) -> Score:
    """Hendrycks et al. 2022."""
    return lambda rows: -known.logits(rows).max(axis=1)


@cache
def vim(known: Known, directions: int = 256) -> Score:
    """Wang et al. 2022: what lies outside the principal directions, as one more logit."""
    from scipy.special import logsumexp

    origin = -np.linalg.pinv(known.weights) @ known.bias
    centred = known.rows - origin
    _, vectors = np.linalg.eigh(centred.T @ centred)
    outside = vectors[:, : max(1, vectors.shape[1] - min(directions, len(centred) // 2))]

    def residual(rows: Rows) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm((rows - origin) @ outside, axis=1), np.float64)

    scale = known.logits(known.rows).max(axis=1).mean() / residual(known.rows).mean()
    return lambda rows: scale * residual(rows) - logsumexp(known.logits(rows), axis=1)


def together(*makers: Callable[[Known], Score]) -> Callable[[Known], Score]:
    """Sum of scores, each as its number of standard deviations among validation images."""

    def make(known: Known) -> Score:
        scores = [maker(known) for maker in makers]
        values = [score(known.validation) for score in scores]
        facts = [(value.mean(), value.std()) for value in values]
        return lambda rows: np.sum(
            [(score(rows) - mean) / std for score, (mean, std) in zip(scores, facts, strict=True)],
            axis=0,
        )

    return make


def either(*makers: Callable[[Known], Score]) -> Callable[[Known], Score]:
    """The largest of scores, each as its rank among validation images."""

    def make(known: Known) -> Score:
        scores = [maker(known) for maker in makers]
        known_scores = [np.sort(score(known.validation)) for score in scores]

        def score(rows: Rows) -> NDArray[np.float64]:
            ranks = [
                np.searchsorted(ordered, one(rows)) / len(ordered)
                + 1e-6 * (one(rows) - ordered[0]) / (ordered[-1] - ordered[0])
                for one, ordered in zip(scores, known_scores, strict=True)
            ]
            return np.asarray(np.max(ranks, axis=0))

        return score

    return make


SCORES: dict[str, Callable[[Known], Score]] = {
    "5 nearest (in use)": nearest,
    "nearest": lambda known: nearest(known, 1),
    "20 nearest": lambda known: nearest(known, 20),
    "5 nearest, centred": nearest_centred,
    "5 nearest, whitened": nearest_whitened,
    "Mahalanobis": mahalanobis,
    "relative Mahalanobis": relative_mahalanobis,
    "Mahalanobis, unit length": mahalanobis_unit,
    "relative Mahalanobis, unit length": relative_unit,
    "1 - probability": unsure,
    "energy": energy,
    "largest logit": largest_logit,
    "ViM": vim,
    "nearest + 1 - probability": together(nearest, unsure),
    "nearest + energy": together(nearest, energy),
    "centred + energy": together(nearest_centred, energy),
    "nearest + relative Mahalanobis": together(nearest, relative_mahalanobis),
    "nearest + Mahalanobis, unit length": together(nearest, mahalanobis_unit),
    "nearest or Mahalanobis, unit length": either(nearest, mahalanobis_unit),
    "centred + relative + energy": together(nearest_centred, relative_mahalanobis, energy),
    "nearest or energy": either(nearest, energy),
    "centred or energy": either(nearest_centred, energy),
}


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


# --- tasks ------------------------------------------------------------------------------------


def made_pictures(folder: Path, kind: str, count: int, photographs: list[Path]) -> None:
    """Pictures that no camera took: noise, text and gradients, photographs scrambled."""
    random = np.random.default_rng(0)
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    for number in range(count):
        if kind == "noise":
            grid = random.integers(0, 256, (int(random.choice([8, 64, 192])),) * 2 + (3,))
            picture = Image.fromarray(grid.astype(np.uint8)).resize((192, 192))
        elif kind == "made":
            ends = random.integers(0, 256, (2, 3))
            share = np.linspace(0, 1, 192)[:, None, None]
            shades = np.broadcast_to(ends[0] * (1 - share) + ends[1] * share, (192, 192, 3))
            picture = Image.fromarray(shades.astype(np.uint8))
            if number % 2:
                draw = ImageDraw.Draw(picture)
                for line in range(10, 180, 16):
                    text = "".join(random.choice(list("abcdefgh iklmno rstu"), 28))
                    draw.text((8, line), text, fill=(0, 0, 0))
        else:
            with Image.open(photographs[number % len(photographs)]) as file:
                pixels = np.asarray(file.convert("RGB").resize((192, 192)))
            squares = pixels.reshape(6, 32, 6, 32, 3).swapaxes(1, 2).reshape(36, 32, 32, 3)
            squares = squares[random.permutation(36)].reshape(6, 6, 32, 32, 3).swapaxes(1, 2)
            picture = Image.fromarray(np.ascontiguousarray(squares.reshape(192, 192, 3)))
        picture.save(folder / ("a" if number % 2 else "b") / f"{number:04d}.png")


def features_of(folder: Path, side: int) -> tuple[Rows, NDArray[np.int64]]:
    progress = TerminalProgress()
    model = BackboneModel()
    rule = preprocessing_for(model, DataSettings(image_size=side))
    pixels = load_pixels(read_table(folder), rule, progress=progress)
    rows = extract_features(model, rule, pixels, progress=progress)[0]
    return rows.reshape(len(rows), -1), pixels.table.labels


def tasks(cifar: Path, pets: Path, scans: Path, keep: Path | None = None) -> list[Task]:
    random = np.random.default_rng(0)
    photographs = sorted(pets.rglob("*.jpg"))
    cells = sorted(images_folder().rglob("*.png"))
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for kind in ("noise", "made", "scrambled"):
            made_pictures(root / kind, kind, FAR_SET, photographs)
        for number, place in enumerate(random.permutation(len(cells))[:FAR_SET]):
            folder = root / "solar cells" / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / cells[place].name).symlink_to(cells[place])
        far: dict[int, dict[str, Rows]] = {}
        scan_features = {}
        for side in (96, 192):
            kinds = ("noise", "made", "scrambled", "solar cells")
            far[side] = {kind: features_of(root / kind, side)[0] for kind in kinds}
            scan_features[side] = features_of(scans, side)
            far[side]["brain scans"] = scan_features[side][0][
                random.permutation(len(scan_features[side][0]))[:FAR_SET]
            ]
        small, small_labels = features_of(cifar, 96)
        if keep is not None:
            rows = np.sort(np.random.default_rng(1).permutation(len(small))[:KEPT])
            sets = {f"{kind} {side}": rows for side, kinds in far.items()
                    for kind, rows in kinds.items()}  # fmt: skip
            np.savez(
                keep, cifar=small[rows], cifar_labels=small_labels[rows],
                scans=scan_features[192][0], scan_labels=scan_features[192][1], **sets,
            )  # fmt: skip
        animals = _some_of(cifar, root / "animals", CIFAR_ANIMALS)
        other_animals = features_of(animals, 192)[0]
    pet_rows, pet_labels = features_of(pets, 192)
    result = []
    for held_out in HELD_OUT:
        foreign = np.isin(small_labels, held_out)
        name = f"CIFAR-10 without {held_out}"
        rows = random.permutation(np.flatnonzero(~foreign))[:5000]
        asked = {"held-out classes": small[random.permutation(np.flatnonzero(foreign))[:1500]]}
        result.append(
            _task(name, small[rows], small_labels[rows], {**asked, **far[96]}, "held-out classes")
        )
    rows = random.permutation(len(pet_rows))
    asked = {"other animals": other_animals}
    foreign_sets = {**asked, **far[192]}
    result.append(
        _task("cats and dogs", pet_rows[rows], pet_labels[rows], foreign_sets, "other animals")
    )
    scan_rows, scan_labels = scan_features[192]
    without = sorted(p.name for p in (scans / "Training").iterdir()).index("no_tumor")
    known = random.permutation(np.flatnonzero(scan_labels != without))
    asked = {"without a tumour": scan_rows[scan_labels == without]}
    others = {kind: rows for kind, rows in far[192].items() if kind != "brain scans"}
    foreign_sets = {**asked, **others}
    result.append(
        _task("tumours", scan_rows[known], scan_labels[known], foreign_sets, "without a tumour")
    )
    return result


def _some_of(cifar: Path, folder: Path, classes: tuple[int, ...]) -> Path:
    for number, place in enumerate(sorted((cifar / "test").iterdir())):
        if number in classes:
            (folder / place.name).mkdir(parents=True)
            for file in sorted(place.iterdir())[:200]:
                (folder / place.name / file.name).symlink_to(file.resolve())
    return folder


def _task(
    name: str, rows: Rows, labels: NDArray[np.int64], foreign: dict[str, Rows], near: str
) -> Task:
    """The first 60 % of rows train, then 20 % validation, 20 % test."""
    first, second = round(0.6 * len(rows)), round(0.8 * len(rows))
    return Task(
        name, rows[:first], labels[:first], rows[first:second], rows[second:], foreign, near
    )


def judge(task: Task) -> dict[str, dict[str, Any]]:
    """Of each score: noticed and area under the curve a foreign set, false alarms on test."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(task.train)
    fitted = LogisticRegression(C=0.01, max_iter=300).fit(scaler.transform(task.train), task.labels)
    weights, bias = fitted.coef_, fitted.intercept_
    if len(weights) == 1:
        weights, bias = np.concatenate([-weights, weights]) / 2, np.array([-1, 1]) * bias / 2
    weights = weights / scaler.scale_
    bias = bias - weights @ scaler.mean_
    known = Known(task.train, task.labels, weights, bias, task.validation)
    table: dict[str, dict[str, Any]] = {}
    for name, maker in SCORES.items():
        score = maker(known)
        ordered = np.sort(score(task.validation))
        rank = int(np.ceil((len(ordered) + 1) * (1 - FALSE_ALARMS)))
        threshold = ordered[min(rank, len(ordered)) - 1]
        test = score(task.test)
        row: dict[str, Any] = {"false_alarms": round(float((test > threshold).mean()), 4)}
        for kind, rows in task.foreign.items():
            found = score(rows)
            truth = np.repeat([0, 1], [len(test), len(found)])
            row[kind] = {
                "noticed": round(float((found > threshold).mean()), 4),
                "auroc": round(float(roc_auc_score(truth, np.concatenate([test, found]))), 4),
            }
        table[name] = row
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("cifar", "pets", "scans"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="a file for foreign_unseen.py")
    options = parser.parse_args()
    found = tasks(options.cifar, options.pets, options.scans, options.keep)
    tables = {}
    for task in found:
        tables[task.name] = judge(task)
        print(f"{task.name}: done", flush=True)
    near_kind = {task.name: task.near for task in found}
    titles = "  ".join(f"{name[-16:]:16s}" for name in tables)
    print(f"{'score':36s}  {titles}  far   least far  alarms")
    summary: dict[str, Any] = {}
    for score in SCORES:
        near = [tables[name][score][near_kind[name]] for name in tables]
        far = [
            row["noticed"]
            for name in tables
            for kind, row in tables[name][score].items()
            if kind not in (near_kind[name], "false_alarms")
        ]
        alarms = float(np.mean([tables[name][score]["false_alarms"] for name in tables]))
        summary[score] = {
            "near": float(np.mean([row["noticed"] for row in near])),
            "near_auroc": float(np.mean([row["auroc"] for row in near])),
            "far": float(np.mean(far)),
            "least_far": min(far),
            "false_alarms": alarms,
        }
        cells = "  ".join(f"{row['noticed']:5.1%} ({row['auroc']:.3f}) " for row in near)
        print(f"{score:36s}  {cells}  {np.mean(far):.1%}  {min(far):.1%}  {alarms:.1%}")
    if options.json:
        result = {"summary": summary, "tasks": tables}
        options.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
