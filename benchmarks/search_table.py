"""What ``tellapart train --time`` gives on several sets of images, beside other ways.

    python benchmarks/search_table.py 'NAME=TRAIN ARGUMENTS' ... --work FOLDER
        [--times 1m 5m 20m] [--recipe NAME=RECIPE ...] [--fastai PYTHON] [--seeds 0]

Each set is what ``tellapart train`` takes, for example 'cells=cells.csv --root photos'. Each is
searched for each time, with empty caches; beside it stand the first answer (``--time 0``), the
best single recipe (``--recipe NAME=RECIPE``), and fastai on the same images, parts and weights for
the same times (``peers/fastai_fit.py``, by the Python of an environment that has it). FOLDER keeps
what was made: a run that stands there is not made again, so that the script can be ended and gone
on with. The table has accuracy on test with its interval, seconds, validation minus test, and p of
the exact McNemar test beside the search of the same time, or of 5 minutes for ways that were given
none.

Ends with 1 where a search of 5 minutes and more is below another way by more than chance (p below
0.05 on the same test images), or has overrun its time by more than a tenth and ten seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from tellapart.comparison.differences import mcnemar_exact
from tellapart.evaluation.intervals import proportion
from tellapart.run import open_run
from tellapart.search.budget import read_time
from tellapart.search.record import read_record

FASTAI = Path(__file__).parent / "peers" / "fastai_fit.py"


@dataclass(frozen=True)
class Row:
    """One way on one set of images."""

    set_name: str
    way: str
    seed: int
    #: Seconds that were given; 0: as long as it takes.
    given: float
    seconds: float
    #: Whether each test image is right, by path.
    right: dict[str, bool]
    chosen: str = ""
    trials: int = 0
    validation: float | None = None


def made(work: Path, name: str, way: str, seed: int) -> Path:
    return work / f"{name}--{way.replace(' ', '-')}--{seed}"


def train(folder: Path, arguments: list[str], more: list[str], seed: int) -> float:
    """Train in a process of its own with an empty cache; seconds."""
    caches = folder.with_suffix(".cache")
    shutil.rmtree(caches, ignore_errors=True)
    started = perf_counter()
    command = [sys.executable, "-m", "tellapart", "train", *arguments, *more,
               "--seed", str(seed), "--run", str(folder)]  # fmt: skip
    environment = {**os.environ, "TELLAPART_CACHE_DIR": str(caches)}
    subprocess.run(command, check=True, env=environment)
    shutil.rmtree(caches, ignore_errors=True)
    return perf_counter() - started


def images_csv(folder: Path) -> list[dict[str, str]]:
    """A row for each image of a run."""
    with (folder / "images.csv").open(newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


def of_run(folder: Path, name: str, way: str, seed: int, given: float) -> Row:
    run = open_run(folder)
    test, validation = run.predictions("test"), run.predictions("validation")
    found = test.probabilities.argmax(axis=1) == test.labels
    record = read_record(folder)
    right = validation.probabilities.argmax(axis=1) == validation.labels
    seconds = json.loads((folder / "wall.json").read_text())["seconds"]
    leaked = {row["path"] for row in images_csv(folder) if row["leaked"]}
    clean = {
        path: hit
        for path, hit in zip(test.paths, found.tolist(), strict=True)
        if path not in leaked
    }
    return Row(
        name, way, seed, given, seconds, clean,
        record.best.description if record else run.recipe.name,
        len(record.trials) if record else 1, float(right.mean()),
    )  # fmt: skip


def run_of(
    work: Path, name: str, way: str, seed: int, arguments: list[str], more: list[str], given: float
) -> Row:
    folder = made(work, name, way, seed)
    if not (folder / "wall.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        seconds = train(folder, arguments, more, seed)
        (folder / "wall.json").write_text(json.dumps({"seconds": round(seconds, 1)}))
    return of_run(folder, name, way, seed, given)


def images_of(work: Path, name: str, arguments: list[str], first: Path) -> Path:
    """A table of the images of a run: file, path, label, part."""
    out = work / f"{name}.csv"
    if out.exists():
        return out
    run = open_run(first)
    if "--root" in arguments:
        root, table = Path(arguments[arguments.index("--root") + 1]), Path(arguments[0])
        with table.open(newline="", encoding="utf-8") as file:
            labels = {row["path"]: row["label"] for row in csv.DictReader(file)}
    else:
        root, labels = Path(arguments[0]), {}
    rows = [row for row in images_csv(first) if not row["leaked"]]
    known = {*run.classes}
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "path", "label", "part"])
        for row in rows:
            path = row["path"]
            label = labels.get(path) or next(p for p in Path(path).parts[::-1] if p in known)
            writer.writerow([str((root / path).resolve()), path, label, row["part"]])
    return out


def fastai(work: Path, python: str, name: str, seed: int, given: float, images: Path) -> Row | None:
    out = made(work, name, f"fastai {given:.0f} s", seed).with_suffix(".csv")
    said = out.with_suffix(".json")
    if not said.exists():
        command = [python, "-W", "ignore", str(FASTAI), str(images), str(given), str(out),
                   "--seed", str(seed)]  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            return None  # its sentence stands in the output
        said.write_text(done.stdout.splitlines()[-1])
    facts = json.loads(said.read_text())
    with out.open(newline="", encoding="utf-8") as file:
        right = {row["path"]: row["label"] == row["prediction"] for row in csv.DictReader(file)}
    chosen = f"fine_tune, {facts['epochs']} epochs"
    return Row(name, "fastai", seed, given, facts["seconds"], right, chosen)


def p_beside(one: Row, other: Row) -> tuple[float, float]:
    """Difference in accuracy on the shared test images, and its p."""
    shared = sorted(one.right.keys() & other.right.keys())
    a = np.array([one.right[path] for path in shared])
    b = np.array([other.right[path] for path in shared])
    return float(a.mean() - b.mean()), mcnemar_exact(int((a & ~b).sum()), int((b & ~a).sum()))


def shown(rows: list[Row]) -> bool:
    """Print the table; whether every search keeps its marks."""
    good = True
    columns = ("images", "way", "seconds", "test accuracy", "validation - test", "of", "chosen",
               "beside it")  # fmt: skip
    print("|", " | ".join(columns), "|")
    print("|", " | ".join("---" for _ in columns), "|")
    for row in rows:
        right = [*row.right.values()]
        number = proportion(sum(right), len(right), "no test images")
        gap = "" if row.validation is None else f"{100 * (row.validation - np.mean(right)):+.1f}"
        beside = ""
        if not row.way.startswith("search"):
            searches = [
                r for r in rows
                if r.set_name == row.set_name and r.seed == row.seed and r.way.startswith("search")
                and r.given >= 300 and (not row.given or r.given == row.given)
            ]  # fmt: skip
            for search in searches[:1]:
                difference, p = p_beside(search, row)
                beside = f"{search.way} {100 * difference:+.1f}, p {p:.3f}"
                good = good and not (difference < 0 and p < 0.05)
        elif row.seconds > row.given + max(10.0, 0.1 * row.given):
            good, beside = False, "overran"
        print(
            f"| {row.set_name} | {row.way} | {row.seconds:.0f} | {number.with_limits(1)} | {gap} | "
            f"{row.trials} | {row.chosen} | {beside} |"
        )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--times", nargs="*", default=["1m", "5m", "20m"])
    parser.add_argument("--recipe", action="append", default=[])
    parser.add_argument("--fastai", default="")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    recipes = dict(text.split("=", 1) for text in given.recipe)
    rows: list[Row] = []
    for text in given.sets:
        name, words = text.split("=", 1)
        arguments = shlex.split(words)
        for seed in given.seeds:
            own: list[Row] = []
            for time in ["0", *given.times]:
                way = f"search {time}" if time != "0" else "first answer"
                own.append(run_of(given.work, name, way, seed, arguments, ["--time", time],
                                  read_time(time)))  # fmt: skip
            if name in recipes:
                own.append(run_of(given.work, name, recipes[name], seed, arguments,
                                  ["--recipe", recipes[name]], 0.0))  # fmt: skip
            images = images_of(given.work, name, arguments, made(given.work, name, "first answer",
                                                                 seed))  # fmt: skip
            for time in given.times if given.fastai else []:
                found = fastai(given.work, given.fastai, name, seed, read_time(time), images)
                own += [found] if found is not None else []
            rows += own
            (given.work / "rows.json").write_text(json.dumps([asdict(row) for row in rows]))
    return 0 if shown(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
