"""Kill the command line at any moment, go on as it says, and compare with a quiet run.

    python benchmarks/reliability/kills.py --random 300 --systematic --workers 2

Three ways of killing: at a random time (``--random N`` kills, shared among the scenarios; the
going on is killed as well, one time in three); before each operation on the file system, one
after the other (``--systematic``; opening for writing, renaming, deleting, making and removing
folders, links); and in the middle of writing each file (``--torn``, at half of each length that
a file of the scenario has). Nothing is told of what native code writes by itself between these;
the random and the torn kills fall there too.

For the systematic ones the command runs once: before each operation it is stopped with all its
threads, and what lies on the disk is copied, which is what SIGKILL at that moment would leave
(with ``--killed`` it is started again and killed for each of them, which takes twice as long and
comes to the same, as a test shows). An operation before which the disk is as before the last one
shares its state, which is gone on from once.

After a kill: where the run folder has a ``run.json`` that does not say "complete",
``train --resume``, else the same command again. Then metrics, predictions, model, history but
for its seconds, images and recipe must be the bytes of an uninterrupted run, the same names must
be there, and neither the cache nor the temporary folder holds anything more than after a quiet
run (where it does, one more command that uses the cache may remove it).

Two quiet runs come first: where these differ already, the campaign stops.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from harness import (
    FINE_TUNING,
    PROBE,
    SCRATCH,
    TINY,
    Bench,
    Outcome,
    Tally,
    arguments,
    campaign_of,
    digest,
    finish,
    hidden_below,
    names_below,
    remove,
    run_result,
)

RUN = "runs/run"
EXTENDED_EPOCHS = 2


def again(bench: Bench, command: tuple[str, ...]) -> tuple[str, ...] | None:
    """How a user goes on after a kill of anything but training."""
    return command


def unless_there(bench: Bench, command: tuple[str, ...]) -> tuple[str, ...] | None:
    """How one goes on with a subset: what has its name is whole, which the bytes must bear out."""
    return None if (bench.case / "out").exists() else command


def go_on(bench: Bench, command: tuple[str, ...]) -> tuple[str, ...] | None:
    """How a user goes on with a training: None, where it was finished."""
    facts = bench.case / RUN / "run.json"
    if not facts.is_file():
        return command
    try:
        status = json.loads(facts.read_text("utf-8"))["status"]
    except (ValueError, KeyError, TypeError):
        status = "damaged"
    if status != "complete":
        return ("train", "--resume", RUN)
    if "--extend" in command and epochs_of(bench) < epochs_wanted(command):
        return command
    return None


def epochs_of(bench: Bench) -> int:
    history = bench.case / RUN / "history.csv"
    return len(history.read_text("utf-8").splitlines()) - 1 if history.is_file() else 0


def epochs_wanted(command: tuple[str, ...]) -> int:
    return 4 + int(command[command.index("--extend") + 1])


def nothing(bench: Bench) -> None:
    """A scenario that starts from data and an empty cache."""


def warm(bench: Bench, command: tuple[str, ...]) -> None:
    """The cache as it is after the command."""
    bench.must(*command)
    for folder in (bench.case / "runs").iterdir():
        shutil.rmtree(folder)


def stopped(bench: Bench) -> None:
    """A training that was killed in its middle: after its first checkpoint, before its end."""
    command = ("train", "data", *SCRATCH, "--run", RUN)
    journal = bench.journal(*command)
    checkpoints = [i for i, line in enumerate(journal, 1) if "checkpoint" in line]
    if not checkpoints:
        raise RuntimeError("training in epochs wrote no checkpoint")
    bench.fresh()
    bench.start(*command, watch=str(bench.case), kill_at=checkpoints[len(checkpoints) // 2] + 1)


def finished(bench: Bench) -> None:
    bench.must("train", "data", *SCRATCH, "--run", RUN)


@dataclass(frozen=True)
class Scenario:
    """One command that is killed: what is there before, the command, how one goes on."""

    name: str
    command: tuple[str, ...]
    before: Callable[[Bench], None] = nothing
    after: Callable[[Bench, tuple[str, ...]], tuple[str, ...] | None] = again
    #: Files of the case whose bytes count, besides those of run folders.
    files: tuple[str, ...] = ()
    #: Standard output goes to this file of the case.
    stdout: str = ""


LADDER = (
    "ladder", "data", "--epochs", "1", "--set", "data.image_size=32", *TINY, "--run", "runs/ladder",
)  # fmt: skip
SCENARIOS = (
    Scenario("train probe", ("train", "data", *PROBE, "--run", RUN), after=go_on),
    Scenario("train scratch", ("train", "data", *SCRATCH, "--run", RUN), after=go_on),
    Scenario(
        "train fine-tuning", ("train", "data", *FINE_TUNING, "--run", RUN), after=go_on,
        before=partial(warm, command=("train", "data", *FINE_TUNING, "--run", RUN)),
    ),
    Scenario("train resumed", ("train", "--resume", RUN), before=stopped, after=go_on),
    Scenario(
        "train extended", ("train", "--resume", RUN, "--extend", str(EXTENDED_EPOCHS)),
        before=finished, after=go_on,
    ),
    Scenario(
        "inspect",
        ("inspect", "data", "--fix", "fix.csv", "--quarantine", "list.txt", "--out", "inspection"),
        files=("fix.csv", "list.txt"),
    ),
    Scenario(
        "subset",
        ("subset", "data", "out", "--train", "4", "--validation", "2", "--test", "2"),
        files=("out/**/*.png", "out/**/*.jpg", "out/**/*.csv"), after=unless_there,
    ),
    Scenario("ladder", LADDER, before=partial(warm, command=LADDER)),
    Scenario(
        "predict to a file", ("predict", RUN, "data", "--format", "csv"),
        before=finished, files=("answers.csv",), stdout="answers.csv",
    ),
)  # fmt: skip


@dataclass
class Quiet:
    """What an uninterrupted run leaves."""

    result: dict[str, str]
    names: set[str]
    cache: set[str]
    temporary: set[str]
    seconds: float
    operations: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)


class Attack:
    """One scenario on one bench: what is right is found first, then it is killed."""

    def __init__(self, scenario: Scenario, bench: Bench) -> None:
        self.scenario = scenario
        self.bench = bench
        self.command = scenario.command
        if scenario.stdout:
            told = bench.start(scenario.command[0], "--help").out
            if " --out " in told:
                self.command = (*scenario.command, "--out", scenario.stdout)
        scenario.before(bench)
        bench.keep("before")
        self.quiet = self._quiet()
        second = self._quiet()
        if (self.quiet.result, self.quiet.names) != (second.result, second.names):
            changed = [k for k, v in self.quiet.result.items() if second.result.get(k) != v]
            raise RuntimeError(f"{scenario.name}: two quiet runs differ in {changed}")

    def _start(self, command: tuple[str, ...], **wrong: Any) -> Outcome:
        if self.scenario.stdout and "--out" not in command:
            wrong["stdout"] = str(self.bench.case / self.scenario.stdout)
        return self.bench.start(*command, **wrong)

    def _quiet(self) -> Quiet:
        bench = self.bench
        bench.restore("before")
        before = {p: p.stat().st_mtime_ns for p in bench.case.rglob("*") if p.is_file()}
        journal = bench.folder / "journal"
        journal.unlink(missing_ok=True)
        outcome = self._start(self.command, watch=str(bench.case), journal=str(journal))
        if outcome.code != 0:
            raise RuntimeError(f"undisturbed, this must work: {outcome.told()}\n{outcome.err}")
        lengths = {
            p.stat().st_size
            for p in bench.case.rglob("*")
            if p.is_file() and before.get(p) != p.stat().st_mtime_ns
        }
        return Quiet(
            *self._state(), outcome.seconds,
            journal.read_text("utf-8", "surrogateescape").splitlines(),
            sorted({length // 2 for length in lengths if length > 1}),
        )  # fmt: skip

    def _state(self) -> tuple[dict[str, str], set[str], set[str], set[str]]:
        case = self.bench.case
        result = {}
        for facts in sorted((case / "runs").rglob("run.json")):
            run = facts.parent
            for name, value in run_result(run).items():
                result[f"{run.relative_to(case)}/{name}"] = value
        for pattern in self.scenario.files:
            for file in sorted(case.glob(pattern)):
                result[file.relative_to(case).as_posix()] = digest(file.read_bytes())
        apart = ("cache", "tmp", "home", "data")
        names = {n for n in names_below(case) if n.split("/")[0] not in apart}
        return result, names, hidden_below(case / "cache"), names_below(case / "tmp")

    # --- the kills ----------------------------------------------------------------------

    def random(self, kills: int, seed: int) -> Tally:
        """Kills at random times, until there were so many."""
        tally = Tally()
        for attempt in range(6 * kills):
            if tally.counts["kills"] >= kills:
                break
            case = partial(self._random, attempt, np.random.default_rng([seed, attempt]))
            key = f"{self.scenario.name}: random {seed} {attempt}"
            if not self.bench.ledger.once(key, case, tally, not self.bench.in_time()):
                break
        return tally

    def _random(self, attempt: int, random: np.random.Generator) -> Tally:
        """One start that is killed, and perhaps the going on too."""
        tally = Tally()
        self.bench.restore("before")
        times: list[float] = []
        command: tuple[str, ...] | None = self.command
        while command is not None:
            after = float(random.uniform(0, self.quiet.seconds * (1.1 if not times else 0.6)))
            outcome = self._start(command, kill_after=after)
            if outcome.stopped != "killed":
                break
            times.append(round(after, 3))
            command = self.scenario.after(self.bench, self.command)
            if random.uniform() > 1 / 3:
                break
        if times:
            self._judge(tally, "random", {"attempt": attempt, "seconds": times}, len(times))
        return tally

    def systematic(self, every: int, first: int = 1, *, killed: bool = False) -> Tally:
        """A kill before each file operation."""
        tally = Tally()
        states = {} if killed else self.states()
        judged: dict[Path, Tally] = {}
        for number in range(first, len(self.quiet.operations) + 1, every):

            def one(number: int = number) -> Tally:
                found = Tally()
                story = {"number": number, "before": self.quiet.operations[number - 1]}
                if not killed:
                    if states[number] in judged:
                        again = judged[states[number]]
                        found.counts["kills that share a state"] = 1
                        for kind, counts in again.by_kind.items():
                            found.by_kind[kind] = type(counts)(counts)
                        found.counts.update(again.counts)
                        return found
                    self.bench.lay(states[number])
                    judged[states[number]] = found
                else:
                    self.bench.restore("before")
                    outcome = self._start(self.command, watch=str(self.bench.case), kill_at=number)
                    if outcome.code == 0:
                        return found  # fewer operations than in the quiet run
                self._judge(found, "systematic", story)
                return found

            operation = steady(self.quiet.operations[number - 1])
            key = f"{self.scenario.name}: systematic {number} {operation}"
            if not self.bench.ledger.once(key, one, tally, not self.bench.in_time()):
                break
        if not killed:
            remove(self.bench.folder / "states")
        return tally

    def states(self) -> dict[int, Path]:
        """What a kill before each operation leaves: number -> a copy of the case."""
        bench = self.bench
        folder = bench.folder / "states"
        remove(folder)
        folder.mkdir()
        bench.restore("before")
        journal = bench.folder / "journal"
        journal.unlink(missing_ok=True)
        outcome = self._start(
            self.command, watch=str(bench.case), journal=str(journal), keep=str(folder)
        )
        if outcome.code != 0:
            raise RuntimeError(f"undisturbed, this must work: {outcome.told()}")
        lines = journal.read_text("utf-8", "surrogateescape").splitlines()
        self.quiet.operations = lines
        states: dict[int, Path] = {}
        for number in range(1, len(lines) + 1):
            made = folder / str(number)
            states[number] = made if made.is_dir() else states[number - 1]
        return states

    def torn(self, every: int) -> Tally:
        """A kill in the middle of writing a file of each length."""
        tally = Tally()
        for length in self.quiet.lengths[::every]:
            key = f"{self.scenario.name}: torn {length}"
            case = partial(self._torn, length)
            if not self.bench.ledger.once(key, case, tally, not self.bench.in_time()):
                break
        return tally

    def _torn(self, length: int) -> Tally:
        tally = Tally()
        self.bench.restore("before")
        outcome = self._start(self.command, torn_at=length)
        if outcome.code == 0:
            return tally
        if outcome.code > 0:  # the product was told that it may not write, and said so
            tally.add(f"{self.scenario.name} torn", "not killed")
        self._judge(tally, "torn", {"after bytes": length})
        return tally

    def _judge(self, tally: Tally, way: str, story: dict[str, Any], kills: int = 1) -> None:
        """Go on after a kill, and compare."""
        kind = f"{self.scenario.name} {way}"
        tally.counts["kills"] += kills
        tally.counts[f"kills {way}"] += kills
        bench = self.bench
        if "--extend" in self.command and epochs_of(bench) < epochs_wanted(self.command):
            used = bench.start("predict", RUN, "data/cat/000.png")
            if used.code != 0 and epochs_of(bench) == 4:
                tally.add(kind, "finished model unusable", {**story, "said": used.told()})
        for _ in range(3):
            command = self.scenario.after(bench, self.command)
            if command is None:
                break
            outcome = self._start(command)
            if outcome.code != 0:
                verdict = "traceback" if outcome.traceback else "refused"
                tally.add(kind, verdict, {**story, "said": outcome.told()})
                return
            if self.scenario.after is not go_on:
                break
        result, names, cache, temporary = self._state()
        if result != self.quiet.result:
            keys = result.keys() | self.quiet.result.keys()
            changed = sorted(k for k in keys if result.get(k) != self.quiet.result.get(k))
            tally.add(kind, "different", {**story, "files": changed[:20]})
        elif extra := self._extra(names, cache, temporary):
            # A leftover may wait for the next use of that place: of the cache, the run, the folder.
            bench.must("inspect", "data", "--audit", "--out", "next-use")
            shutil.rmtree(bench.case / "next-use")
            if (bench.case / RUN).is_dir():
                bench.must("evaluate", RUN)
            else:
                self._start(self.command)
            extra = self._extra(*self._state()[1:])
            if extra:
                tally.add(kind, "left behind", {**story, "names": extra[:20]})
            else:
                tally.add(kind, "same")
        else:
            tally.add(kind, "same")

    def _extra(self, names: set[str], cache: set[str], temporary: set[str]) -> list[str]:
        """Names that a quiet run does not leave, or that are missing."""
        extra = names ^ self.quiet.names
        return sorted(extra | (cache - self.quiet.cache) | (temporary - self.quiet.temporary))


def steady(operation: str) -> str:
    """An operation without the numbers and digests in its names."""
    return re.sub(r"[0-9a-z_]{8}(?=\.tmp)|[0-9a-f]{6,}|\d+", "#", operation)


def jobs(
    scenarios: tuple[Scenario, ...],
    kills: int,
    systematic: int,
    torn: int,
    seed: int,
    killed: bool = False,
) -> Iterator[tuple[str, Callable[[Bench], Tally]]]:
    """One job a scenario; ``systematic`` and ``torn`` are steps, 0: not at all."""
    for index, scenario in enumerate(scenarios):
        share = kills // len(scenarios) + (index < kills % len(scenarios))

        def job(
            bench: Bench, scenario: Scenario = scenario, index: int = index, share: int = share
        ) -> Tally:
            attack = Attack(scenario, bench)
            tally = Tally()
            tally.by_kind[scenario.name] = type(tally.counts)(
                operations=len(attack.quiet.operations), lengths=len(attack.quiet.lengths)
            )
            if share:
                tally.merge(attack.random(share, seed * 1000 + index))
            if systematic:
                tally.merge(attack.systematic(systematic, killed=killed))
            if torn:
                tally.merge(attack.torn(torn))
            return tally

        yield scenario.name, job


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="random kills")
    parser.add_argument("--systematic", action="store_true", help="before each operation")
    parser.add_argument("--killed", action="store_true", help="each by a start that is killed")
    parser.add_argument("--torn", action="store_true", help="in the middle of each file")
    parser.add_argument("--every", type=int, default=1, help="only each so-manieth of these")
    parser.add_argument("--scenarios", default="", help="names, separated by commas; none: all")
    given = parser.parse_args()
    wanted = [name.strip() for name in given.scenarios.split(",") if name.strip()]
    chosen = tuple(s for s in SCENARIOS if not wanted or s.name in wanted)
    if not chosen:
        parser.error(f"--scenarios takes {', '.join(s.name for s in SCENARIOS)}")
    started = time.monotonic()
    campaign = campaign_of(given)
    tally = campaign.each(
        jobs(
            chosen, given.random, given.every * given.systematic, given.every * given.torn,
            given.seed, given.killed,
        )
    )  # fmt: skip
    path = Path(sys.argv[0]).stem
    return finish(path, given, campaign, tally, started, every=given.every)


if __name__ == "__main__":
    sys.exit(main())
