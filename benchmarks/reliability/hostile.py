"""Feed the command line hostile pictures, recipes, tables and archives.

    python benchmarks/reliability/hostile.py --pictures 10000 --texts 1000 --zips 500 --bombs

Nothing may end in a traceback or a crash, write a file outside its folders, take more than 2 GB
of resident memory (the interpreter and its libraries included) or 10 seconds. Pictures go to
``predict`` a batch at a time, which must answer in exit code 0 or 1 with one line for each; one
batch in eight goes to ``inspect`` and one to ``train`` as well, in class folders beside whole
pictures. A batch in which something happens is divided until the one file is found. Bombs go
alone, and two at a time. Recipes go to ``train`` with a folder that is not there, so that none
trains, and into a run folder that ``evaluate`` opens; ``--set`` is tried likewise; tables and
archives go to ``subset``, some to ``inspect``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from harness import (
    PROBE,
    SCRATCH,
    Bench,
    Outcome,
    Tally,
    arguments,
    campaign_of,
    finish,
    make_data,
    names_below,
)
from hostile_inputs import (
    bombs,
    made_archive,
    mutated_picture,
    mutated_recipe,
    mutated_table,
    odd_setting,
    recipe_bombs,
    whole_pictures,
)

MOST_BYTES = 2 * 2**30
MOST_SECONDS = 10.0
BATCH = 100
RUN = "runs/run"


def start(bench: Bench, *argv: str | Path) -> Outcome:
    """A start that is ended beyond the limits. On a busy machine the time is the processor's."""
    return bench.start(*argv, limit_bytes=MOST_BYTES, limit_seconds=8 * MOST_SECONDS)


def complaint(outcome: Outcome, codes: Sequence[int], batch: int = 1) -> str:
    """What is wrong with how it ended; empty: nothing."""
    if outcome.stopped == "memory" or outcome.peak_bytes > MOST_BYTES:
        return "memory"
    if outcome.stopped == "time" or (
        batch == 1 and min(outcome.seconds, outcome.processor_seconds) > MOST_SECONDS
    ):
        return "time"
    if outcome.traceback:
        return "traceback"
    if outcome.code not in codes:
        return "exit code"
    if outcome.code == 2 and not outcome.sentence:
        return "no sentence"
    return ""


class Outside:
    """What lies outside of where the command line may write, as it was."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.folder = bench.folder / "outside"
        self.folder.mkdir(exist_ok=True)
        (self.folder / "precious").write_text("as it was")
        self.before = self._seen()

    def _seen(self) -> dict[str, bytes]:
        """Names beside the case, and in it outside the cache and what was asked for."""
        case = self.bench.case
        seen = {name: b"" for name in names_below(case / "data")}
        seen |= {p.name: p.read_bytes() for p in self.folder.iterdir()}
        seen |= {p.name: b"" for p in self.bench.folder.iterdir()}
        seen |= {p.name: b"" for p in case.iterdir() if p.name not in ("out", "inspection", "in")}
        above = ("/evil.png", "/tmp/evil.png", os.path.expanduser("~/evil.png"))  # noqa: PTH111
        return seen | {p: b"" for p in above if Path(p).exists()}

    def changed(self) -> list[str]:
        """Names of what came, went or changed."""
        now = self._seen()
        names = now.keys() | self.before.keys()
        return sorted(n for n in names if now.get(n, 0) != self.before.get(n, 0))


def prepared(bench: Bench) -> None:
    """A small run, and a cache that it filled."""
    bench.must("train", "data", *SCRATCH, "--run", RUN)
    (bench.case / "in").mkdir()
    bench.start("predict", RUN, "data")


def cleared(bench: Bench) -> Path:
    """The folder for hostile files, empty; results of the start before are gone."""
    for name in ("in", "out", "inspection"):
        shutil.rmtree(bench.case / name, ignore_errors=True)
    for place in (bench.case / "runs").iterdir():
        if place.name != "run":
            shutil.rmtree(place)
    (bench.case / "in").mkdir()
    return bench.case / "in"


# --- pictures -------------------------------------------------------------------------------


class Pictures:
    """Batches of files, divided where something happens until the one file is found."""

    def __init__(self, bench: Bench, tally: Tally) -> None:
        self.bench = bench
        self.tally = tally

    def predict(self, files: dict[str, bytes], kind: str = "pictures") -> None:
        folder = cleared(self.bench)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        outcome = start(self.bench, "predict", RUN, "in", "--format", "json")
        wrong = complaint(outcome, (0, 1), len(files))
        if not wrong and not self._all_answered(outcome, files):
            wrong = "answers missing"
        slow = outcome.processor_seconds > MOST_SECONDS and len(files) > 1
        if (wrong or slow) and len(files) > 1:
            self._halves(files, kind, self.predict)
        elif wrong:
            self._keep(kind, wrong, files, outcome)
        else:
            self.tally.counts[kind] += len(files)
            self.tally.add(f"{kind} to predict", "right")

    def train(self, files: dict[str, bytes], verb: Sequence[str], kind: str) -> None:
        """As part of a data folder, beside whole pictures."""
        folder = cleared(self.bench)
        make_data(folder / "data", per_class=6)
        for number, (name, content) in enumerate(files.items()):
            (folder / "data" / ("cat", "dog")[number % 2] / name).write_bytes(content)
        outcome = start(self.bench, *verb)
        wrong = complaint(outcome, (0, 2), len(files) + 12)
        if wrong and len(files) > 1:
            self._halves(files, kind, lambda half, kind: self.train(half, verb, kind))
        elif wrong:
            self._keep(kind, wrong, files, outcome)
        else:
            self.tally.add(f"{kind} to {verb[0]}", "right")

    def _halves(
        self, files: dict[str, bytes], kind: str, go_on: Callable[[dict[str, bytes], str], None]
    ) -> None:
        names = list(files)
        for half in (names[: len(names) // 2], names[len(names) // 2 :]):
            go_on({name: files[name] for name in half}, kind)

    def _all_answered(self, outcome: Outcome, files: dict[str, bytes]) -> bool:
        try:
            answers = [json.loads(line) for line in outcome.out.splitlines()]
        except ValueError:
            return False
        answered = {Path(a["path"]).name for a in answers if "prediction" in a or a.get("error")}
        # A folder in which no file is an image ends in a sentence.
        return answered >= {n for n in files if not n.startswith(".")}

    def _keep(self, kind: str, wrong: str, files: dict[str, bytes], outcome: Outcome) -> None:
        self.tally.counts[kind] += len(files)
        (name, content), *_ = files.items()
        story = {"file": name, "bytes": len(content), "said": outcome.told(), **cost(outcome)}
        if len(content) <= 6000:
            story["content"] = content.hex()
        self.tally.add(kind, wrong, story)


def cost(outcome: Outcome) -> dict[str, float]:
    return {
        "seconds": round(outcome.seconds, 1), "megabytes": round(outcome.peak_bytes / 2**20),
    }  # fmt: skip


def attack_pictures(bench: Bench, count: int, seed: int) -> Tally:
    tally = Tally()
    prepared(bench)
    outside = Outside(bench)
    random = np.random.default_rng([seed, 1])
    whole = whole_pictures(seed)
    attack = Pictures(bench, tally)
    attack.predict(whole, "whole pictures")
    for number, first in enumerate(range(0, count, BATCH)):
        if bench.is_late:
            break
        files = {}
        for index in range(first, min(count, first + BATCH)):
            name, content = mutated_picture(whole, random)
            files[f"{index:06}-{name}"] = content
        attack.predict(files)
        if number % 8 == 3:
            verb = ("inspect", "in/data", "--audit", "--out", "inspection")
            attack.train(files, verb, "pictures")
        if number % 8 == 7:
            verb = ("train", "in/data", *PROBE, "--set", "data.image_size=16", "--run", "runs/new")
            attack.train(files, verb, "pictures")
        if changed := outside.changed():
            tally.add("pictures", "outside", {"names": changed})
            outside = Outside(bench)
    return tally


def attack_bombs(bench: Bench) -> Tally:
    tally = Tally()
    prepared(bench)
    attack = Pictures(bench, tally)
    for name, make in bombs().items():
        content = make()
        attack.predict({name: content}, "bombs")
        # Two at once: memory is for all decoding threads together.
        folder = cleared(bench)
        for copy in range(2):
            (folder / f"{copy}-{name}").write_bytes(content)
        outcome = start(bench, "predict", RUN, "in", "--format", "json")
        wrong = complaint(outcome, (0, 1), 2)
        tally.counts["bombs"] += 1
        if wrong:
            tally.add("bombs twice", wrong, {"file": name, "said": outcome.told(), **cost(outcome)})
        else:
            tally.add("bombs twice", "right")
        attack.train({name: content}, ("train", "in/data", *PROBE, "--run", "runs/new"), "bombs")
    return tally


# --- recipes and tables ---------------------------------------------------------------------


def attack_texts(bench: Bench, count: int, seed: int, bombs_too: bool = False) -> Tally:
    """Recipes, settings and tables, in turn; with ``bombs_too`` all large recipes before."""
    tally = Tally()
    prepared(bench)
    random = np.random.default_rng([seed, 2])
    names = [row["name"] for row in json.loads(bench.must("recipes", "--json").out)]
    recipes = [bench.must("recipes", name).out.encode() for name in names]
    own = (bench.case / RUN / "recipe.yaml").read_bytes()
    outside = Outside(bench)
    large = [make for make in recipe_bombs(own) for _ in range(2)] if bombs_too else []
    for number in range(-len(large), count):
        if bench.is_late:
            break
        folder = cleared(bench)
        turn = number % 5 if number >= 0 else number % 2
        if turn in (0, 1):
            kind = "recipes"
            content = large[number]() if number < 0 else mutated_recipe([*recipes, own], random)
            file = folder / "recipe.yaml"
            file.write_bytes(content)
            argv: tuple[str | Path, ...] = ("train", "not-there", "--recipe", "in/recipe.yaml")
            codes: tuple[int, ...] = (2,)
            if turn == 1:
                kind = "recipes of runs"
                shutil.copytree(bench.case / RUN, folder / "run")
                file.replace(folder / "run" / "recipe.yaml")
                argv, codes = ("evaluate", "in/run", "--json"), (0, 2)
        elif turn == 2:
            kind, content = "settings", odd_setting(random).encode("utf-8", "replace")
            argv = ("train", "not-there", "--recipe", "scratch-fast", "--set", content.decode())
            codes = (2,)
        else:
            ending, content = mutated_table(bench.case / "data", random)
            kind = "tables"
            (folder / f"table.{ending}").write_bytes(content)
            argv = ("subset", f"in/table.{ending}", "out", "--train", "2", "--validation", "1",
                    "--test", "1")  # fmt: skip
            if turn == 4:
                argv = ("inspect", f"in/table.{ending}", "--root", "data", "--out", "inspection")
            (folder / "cat").symlink_to(bench.case / "data" / "cat")
            (folder / "dog").symlink_to(bench.case / "data" / "dog")
            codes = (0, 2)
        outcome = start(bench, *argv)
        wrong = complaint(outcome, codes)
        tally.counts["texts"] += 1
        if not wrong and len(outcome.err) > 20_000:
            wrong = "long message"
        if not wrong and "\x1b" in outcome.err + outcome.out:
            wrong = "escape codes"
        if not wrong and (changed := outside.changed()):
            wrong = "outside"
            outside = Outside(bench)
            tally.counts[f"outside: {changed[:3]}"] += 1
        if wrong:
            shown = content[:3000].decode("utf-8", "backslashreplace")
            story = {"content": shown, "bytes": len(content), "said": outcome.told()}
            tally.add(kind, wrong, {**story, **cost(outcome)})
        else:
            tally.add(kind, "sentence" if outcome.code else "right")
    return tally


# --- archives -------------------------------------------------------------------------------


def attack_archives(bench: Bench, count: int, seed: int) -> Tally:
    tally = Tally()
    prepared(bench)
    random = np.random.default_rng([seed, 3])
    outside = Outside(bench)
    for number in range(count):
        if bench.is_late:
            break
        folder = cleared(bench)
        content = made_archive(random, outside.folder)
        (folder / "images.zip").write_bytes(content)
        argv: tuple[str, ...] = (
            "subset", "in/images.zip", "out", "--train", "2", "--validation", "1", "--test", "1",
        )  # fmt: skip
        if number % 8 == 7:
            argv = ("inspect", "in/images.zip", "--out", "inspection")
        outcome = start(bench, *argv)
        wrong = complaint(outcome, (0, 2))
        tally.counts["archives"] += 1
        story: dict[str, Any] = {"number": number, "said": outcome.told(), **cost(outcome)}
        if changed := outside.changed():
            wrong, story["names"] = "outside", changed
            outside = Outside(bench)
        links = [n for n in ("out", "cache") for p in (bench.case / n).rglob("*") if p.is_symlink()]
        if links:
            wrong = "link kept"
        if not wrong and "\x1b" in outcome.err + outcome.out:
            wrong = "escape codes"
        if wrong:
            tally.add("archives", wrong, story)
        else:
            tally.add("archives", "sentence" if outcome.code else "right")
    return tally


def shares(count: int, workers: int) -> Iterator[tuple[int, int]]:
    """(worker, how many)."""
    for worker in range(workers):
        share = count // workers + (worker < count % workers)
        if share:
            yield worker, share


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--pictures", type=int, default=0, metavar="N")
    parser.add_argument("--texts", type=int, default=0, metavar="N", help="recipes and tables")
    parser.add_argument("--zips", type=int, default=0, metavar="N")
    parser.add_argument("--bombs", action="store_true")
    given = parser.parse_args()
    started = time.monotonic()
    campaign = campaign_of(given)
    jobs: list[tuple[str, Callable[[Bench], Tally]]] = []
    for name, count, attack in (
        ("pictures", given.pictures, attack_pictures),
        ("texts", given.texts, attack_texts),
        ("archives", given.zips, attack_archives),
    ):
        for worker, share in shares(count, given.workers):

            def job(
                bench: Bench,
                attack: Callable[[Bench, int, int], Tally] = attack,
                share: int = share,
                seed: int = given.seed * 100 + worker,
            ) -> Tally:
                return attack(bench, share, seed)

            jobs.append((f"{name} {worker + 1}", job))
    if given.bombs:
        jobs.append(("bombs", attack_bombs))
        large = partial(attack_texts, count=0, seed=given.seed, bombs_too=True)
        jobs.append(("large recipes", large))
    tally = campaign.each(jobs)
    return finish(Path(sys.argv[0]).stem, given, campaign, tally, started)


if __name__ == "__main__":
    sys.exit(main())
