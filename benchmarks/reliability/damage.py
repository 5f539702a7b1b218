"""Change files of run folders and of the cache, use them, and see whether that was noticed.

    python benchmarks/reliability/damage.py --random 2000 --well-formed 500 --workers 2

The case holds a probe, a training from scratch, one that was killed in its middle, and a cache
that they and an archive filled. Each change hits one file (kinds of files in turn, then kinds of
changes in turn; see ``changes.py``), then one command that reads it runs. Right is the result of
the unchanged case, or a sentence with exit code 2. One time in three the file is put back (a
file of the cache stays) and a probe and a prediction are made again: a damaged file must not
have left anything in the cache.

Results are compared as what the command prints (``--json``) or what the training leaves
(metrics, predictions, model, history without seconds). What two undisturbed runs print
differently, such as seconds, is not compared; the result file lists it.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from changes import RANDOM, Change, kind_of, well_formed_of
from harness import (
    PROBE,
    SCRATCH,
    Bench,
    Outcome,
    Tally,
    arguments,
    campaign_of,
    finish,
    run_result,
    told_result,
)

#: A command that takes longer, or more memory, is a fault.
LIMITS: Mapping[str, Any] = {"limit_seconds": 180.0, "limit_bytes": 4 * 2**30}
#: The change that needs another file: its content instead.
EXCHANGED = "exchanged"
_MISSING = object()


@dataclass(frozen=True)
class Use:
    """A command that reads a kind of files, and where its result is."""

    name: str
    argv: tuple[str, ...]
    #: Beginnings of the kinds that it reads (see ``kind_of``).
    reads: tuple[str, ...]
    #: The run folder that it makes or goes on with; empty: the result is what it prints.
    run: str = ""
    #: How often among the uses of a kind.
    weight: int = 4


USES = (
    Use("evaluate probe", ("evaluate", "runs/probe", "--json"), ("probe:",)),
    Use("evaluate probe on images", ("evaluate", "runs/probe", "data", "--json"),
        ("probe:", "cache:")),
    Use("predict by probe", ("predict", "runs/probe", "data", "--format", "json"),
        ("probe:", "cache: engines")),
    Use("predict unknown by probe", ("predict", "runs/probe", "data", "--format", "json",
        "--unknown"), ("probe: unknown",)),
    Use("explain by probe", ("explain", "runs/probe", "data/cat/000.png", "--json", "--name", "x"),
        ("probe: model", "probe: images", "probe: run", "probe: pred", "cache: features"), "", 1),
    Use("evaluate scratch", ("evaluate", "runs/scratch", "--json"), ("scratch:",)),
    Use("evaluate scratch on images", ("evaluate", "runs/scratch", "data", "--json"),
        ("scratch:",)),
    Use("predict by scratch", ("predict", "runs/scratch", "data", "--format", "json"),
        ("scratch:",)),
    Use("compare", ("compare", "runs/probe", "runs/scratch", "--json", "--out", "comparison"),
        ("probe:", "scratch:"), "", 1),
    Use("resume", ("train", "--resume", "runs/stopped"), ("stopped:",), "runs/stopped"),
    Use("extend", ("train", "--resume", "runs/scratch", "--extend", "1"), ("scratch:",),
        "runs/scratch", 1),
    Use("train again", ("train", "data", *PROBE, "--run", "runs/new"), ("cache:",), "runs/new"),
    Use("audit", ("inspect", "data", "--audit", "--json", "--out", "inspection"), ("cache:",),
        "", 1),
    Use("subset of a zip", ("subset", "data.zip", "out", "--train", "4", "--validation", "2",
        "--test", "2", "--json"), ("cache: archives",)),
    Use("train on a zip", ("train", "data.zip", *PROBE, "--run", "runs/new"),
        ("cache: archives",), "runs/new", 1),
)  # fmt: skip
#: What must still be right after a damaged file was used and put back.
AFTERWARDS = ("train again", "predict by probe")


@dataclass(frozen=True)
class Case:
    """One change of one file, and the command that reads it."""

    number: int
    kind: str
    file: Path
    way: str
    change: Change | None
    use: Use
    random: np.random.Generator


def prepare(bench: Bench) -> None:
    """Runs and cache that are whole, and a snapshot of them."""
    case = bench.case
    shutil.make_archive(str(case / "data"), "zip", case / "data")
    scratch = ("train", "data", *SCRATCH, "--run")
    journal = bench.journal(*scratch, "runs/stopped")
    checkpoints = [i for i, line in enumerate(journal, 1) if "checkpoint" in line]
    if not checkpoints:
        raise RuntimeError("training in epochs wrote no checkpoint")
    shutil.rmtree(case / "runs" / "stopped")
    bench.start(
        *scratch, "runs/stopped", watch=str(case), kill_at=checkpoints[len(checkpoints) // 2] + 1
    )
    bench.must(*scratch, "runs/scratch")
    bench.must("train", "data", *PROBE, "--run", "runs/probe")
    bench.must("train", "data.zip", *PROBE, "--run", "runs/probe-zip")
    shutil.rmtree(case / "runs" / "probe-zip")
    bench.must("predict", "runs/probe", "data", "--format", "json")
    bench.must("predict", "runs/scratch", "data", "--format", "json")
    bench.must("inspect", "data", "--audit", "--out", "inspection")
    shutil.rmtree(case / "inspection")
    bench.keep("whole")


class Attack:
    """The right results are found first, then files are changed."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        prepare(bench)
        self.right: dict[str, dict[str, Any]] = {}
        self.volatile: dict[str, set[str]] = {}
        self.seconds: dict[str, float] = {}
        for use in USES:
            results = []
            for _ in range(2):
                bench.restore("whole")
                started = time.monotonic()
                outcome = bench.start(*use.argv, **LIMITS)
                self.seconds[use.name] = time.monotonic() - started
                if outcome.code == 2 and use.name == "predict unknown by probe":
                    break  # too few images to tell: the run has no such file either
                if outcome.code != 0:
                    raise RuntimeError(f"undisturbed, this must work: {outcome.told()}")
                results.append(self._result(use, outcome))
            if not results:
                continue
            first, second = results
            keys = first.keys() | second.keys()
            self.volatile[use.name] = {
                k for k in keys if first.get(k, _MISSING) != second.get(k, _MISSING)
            }
            if use.run and self.volatile[use.name]:
                raise RuntimeError(f"two quiet runs differ: {use.name} {self.volatile}")
            self.right[use.name] = first
        bench.restore("whole")
        files = sorted(
            p
            for place in ("runs", "cache")
            for p in (bench.case / place).rglob("*")
            if p.is_file() and not p.is_symlink()
        )
        self.by_kind: dict[str, list[Path]] = {}
        for file in files:
            self.by_kind.setdefault(kind_of(file, bench.case), []).append(file)

    def _result(self, use: Use, outcome: Outcome) -> dict[str, Any]:
        if not use.run:
            return told_result(outcome.out)
        return {
            name: value
            for name, value in run_result(self.bench.case / use.run).items()
            # The description may have been what was changed; what it leads to is compared.
            if name not in ("recipe.yaml", "run.json")
        }

    def uses_of(self, kind: str) -> list[Use]:
        """The commands that read a kind of files, as often as their weight says."""
        return [
            use
            for use in USES
            if use.name in self.right and any(kind.startswith(r) for r in use.reads)
            for _ in range(use.weight)
        ]

    def plan(self, numbers: range, well_formed: bool, seed: int) -> Iterator[Case]:
        """Which file is changed how, and what reads it: kinds in turn, then changes in turn."""
        kinds = [k for k in sorted(self.by_kind) if self.uses_of(k)]
        if well_formed:
            kinds = [k for k in kinds if well_formed_of(self.by_kind[k][0])]
        for number in numbers:
            random = np.random.default_rng([seed, well_formed, number])
            kind = kinds[number % len(kinds)]
            file = self.by_kind[kind][int(random.integers(len(self.by_kind[kind])))]
            ways: Mapping[str, Change | None] = (
                well_formed_of(file) if well_formed else {**RANDOM, EXCHANGED: None}
            )
            way = list(ways)[number // len(kinds) % len(ways)]
            uses = self.uses_of(kind)
            use = uses[int(random.integers(len(uses)))]
            yield Case(number, kind, file, way, ways[way], use, random)

    def attack(self, numbers: range, well_formed: bool, seed: int) -> Tally:
        """The changes of these numbers; each is the same whichever others are tried."""
        tally = Tally()
        way_name = "well-formed" if well_formed else "random"
        last: list[Path] = []
        for case in self.plan(numbers, well_formed, seed):
            key = f"{way_name} {seed} {case.number}: {case.kind}, {case.way}, {case.use.name}"

            def one(case: Case = case) -> Tally:
                self.bench.mend("whole", *last)
                last[:] = [case.file]
                return self._one(case, way_name)

            if not self.bench.ledger.once(key, one, tally, not self.bench.in_time()):
                break
        return tally

    def _one(self, case: Case, way_name: str) -> Tally:
        """Change a file of the mended case, use it, and judge."""
        tally = Tally()
        file, random = case.file, case.random
        content = file.read_bytes()
        changed = case.change(content, random) if case.change else self._exchanged(file, random)
        if changed == content:
            tally.counts["unchanged"] += 1
            return tally
        poisons = case.kind.endswith("model.safetensors") and random.integers(2) == 0
        if poisons:  # what is made from a damaged model must not be kept for others
            for folder in (self.bench.case / "cache").iterdir():
                shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
        if changed is None:
            file.unlink()
        else:
            file.write_bytes(changed)
        tally.counts[f"changes {way_name}"] += 1
        outcome = self.bench.start(*case.use.argv, **LIMITS)
        story = {
            "number": case.number, "change": case.way, "then": case.use.name,
            "said": outcome.told(),
        }  # fmt: skip
        kind = f"{way_name}: {case.kind}"
        self._judge(tally, kind, case.use, outcome, story)
        if poisons or random.integers(3) == 0:
            if not case.kind.startswith("cache:"):
                file.write_bytes(content)
            self._afterwards(tally, kind, story)
        return tally

    def _exchanged(self, file: Path, random: np.random.Generator) -> bytes:
        """The content of another file of the same ending."""
        others = [
            other
            for files in self.by_kind.values()
            for other in files
            if other.suffix == file.suffix and other != file
        ]
        if not others:
            return file.read_bytes()
        return others[int(random.integers(len(others)))].read_bytes()

    def _judge(
        self, tally: Tally, kind: str, use: Use, outcome: Outcome, story: dict[str, Any]
    ) -> None:
        if outcome.traceback:
            tally.add(kind, "traceback", story)
        elif outcome.sentence:
            tally.add(kind, "sentence")
        elif outcome.code != 0:
            tally.add(kind, "neither", story)
        else:
            changed = self._changed(use, outcome)
            if changed:
                tally.add(kind, "different", {**story, "where": changed})
            else:
                tally.add(kind, "right")

    def _changed(self, use: Use, outcome: Outcome) -> list[str]:
        found, right = self._result(use, outcome), self.right[use.name]
        keys = (found.keys() | right.keys()) - self.volatile[use.name]
        return sorted(
            k for k in keys if found.get(k, _MISSING) != right.get(k, _MISSING)
        )[:8]  # fmt: skip

    def _afterwards(self, tally: Tally, kind: str, story: dict[str, Any]) -> None:
        shutil.rmtree(self.bench.case / "runs" / "new", ignore_errors=True)
        for use in (u for u in USES if u.name in AFTERWARDS):
            outcome = self.bench.start(*use.argv, **LIMITS)
            changed = [] if outcome.code else self._changed(use, outcome)
            if outcome.code != 0 or changed:
                more = {"afterwards": outcome.told(), "where": changed}
                tally.add(kind, "poisoned", {**story, **more})
                return
        tally.counts["right afterwards"] += 1


def cost_of_checking(attack: Attack) -> dict[str, Any]:
    """Reading and digesting every byte of cache and model, against a warm training."""
    attack.bench.restore("whole")
    files = [p for p in (attack.bench.case / "cache").rglob("*") if p.is_file()]
    files.append(attack.bench.case / "runs" / "probe" / "model.safetensors")
    started = time.monotonic()
    size = 0
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16))
        size += file.stat().st_size
    spent = time.monotonic() - started
    warm = attack.seconds["train again"]
    return {
        "bytes": size, "seconds": round(spent, 4), "warm_training_seconds": round(warm, 3),
        "share_at_most": round(spent / warm, 4),
    }  # fmt: skip


def jobs(
    random: int, well_formed: int, workers: int, seed: int, costs: list[dict[str, Any]],
) -> Iterator[tuple[str, Callable[[Bench], Tally]]]:  # fmt: skip
    """One job a worker, each with its share of the changes."""
    for worker in range(workers):

        def job(bench: Bench, worker: int = worker) -> Tally:
            attack = Attack(bench)
            if worker == 0:
                volatile = {k: sorted(v)[:20] for k, v in attack.volatile.items() if v}
                costs.append({**cost_of_checking(attack), "not_compared": volatile})
            tally = Tally()
            for count, formed in ((random, False), (well_formed, True)):
                tally.merge(attack.attack(range(worker, count, workers), formed, seed))
            return tally

        yield f"worker {worker + 1}", job


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--random", type=int, default=0, metavar="N")
    parser.add_argument("--well-formed", type=int, default=0, metavar="N")
    given = parser.parse_args()
    started = time.monotonic()
    campaign = campaign_of(given)
    costs: list[dict[str, Any]] = []
    tally = campaign.each(jobs(given.random, given.well_formed, given.workers, given.seed, costs))
    cost = costs[0] if costs else {}
    not_compared = cost.pop("not_compared", {})
    return finish(
        Path(sys.argv[0]).stem, given, campaign, tally, started,
        cost_of_checking=cost, not_compared=not_compared,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
