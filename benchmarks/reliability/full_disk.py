"""Full and read-only disks, shared caches, and starts at the same moment.

    python benchmarks/reliability/full_disk.py --steps --read-only --users --pairs 20 --four 5

``--steps``: the place that a command writes to is a disk (tmpfs) with one page left, then 64 KB,
then 128, and so on until it has enough: run folders, cache, reports. Each time the command must
end in one sentence and exit code 2 (or work: not everything needs the cache); then the disk
grows, one goes on as after a kill, and the result must be that of a quiet run. ``--read-only``:
the same with a disk that cannot be written. ``--users``: three users, one of them root, use one
cache in turn. ``--pairs N``: two trainings of other seeds start at the same moment with default
folders; two with one ``--run``; two resume one run. ``--four N``: four at once with a cache of
50 KB. ``--deleted N``: the cache is deleted during a training, at N times and before all that is
done in it (each so-manieth, with ``--every``).

Mounting and changing users need root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from harness import (
    PROBE,
    SCRATCH,
    TINY,
    Bench,
    Outcome,
    Starter,
    Tally,
    arguments,
    campaign_of,
    digest,
    finish,
    names_below,
    run_result,
    told_result,
)
from kills import RUN, go_on, stopped

STEP = 64 * 1024
SMALL_PROBE = (*PROBE, *TINY)
#: A second run, which a comparison needs.
OTHER = "runs/other"
#: Users that are nobody's; the second stands for a colleague of the first.
USERS = (65534, 54321)
#: Steps with enough room before a command is taken to have all it needs.
ENOUGH = 3


# --- disks ----------------------------------------------------------------------------------


@contextmanager
def disk(folder: Path, free: int) -> Iterator[Callable[..., None]]:
    """What is in ``folder``, on a disk of its own with so many bytes free; gives ``remount``."""
    kept = folder.with_name(f"{folder.name}-kept")
    folder.mkdir(exist_ok=True)
    shutil.copytree(folder, kept, symlinks=True)
    page = os.sysconf("SC_PAGE_SIZE")
    used = sum(-(-p.stat().st_size // page) * page for p in kept.rglob("*") if p.is_file())
    _mount("-t", "tmpfs", "-o", f"size={used + free},mode=0777", "tmpfs", str(folder))
    try:
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)

        def remount(options: str) -> None:
            _mount("-o", f"remount,{options}", str(folder))

        yield remount
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(kept)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@dataclass(frozen=True)
class Writing:
    """A command and the folder of the case that it writes to."""

    name: str
    argv: tuple[str, ...]
    place: str
    before: str = "empty"
    #: The run folder whose content is the result; empty: that it works is enough.
    run: str = ""
    #: How one goes on: as with a training, or by the same command.
    after: Callable[[Bench, tuple[str, ...]], tuple[str, ...] | None] | None = None
    #: It may do without the place, and then must have the right result.
    may_work: bool = False
    #: Standard output goes to this file of the case.
    stdout: str = ""
    #: Files of the case whose bytes are the result.
    files: str = ""


TRAIN_PROBE = ("train", "data", *SMALL_PROBE, "--run", RUN)
TRAIN_SCRATCH = ("train", "data", *SCRATCH, "--run", RUN)
WRITINGS = (
    Writing("train probe: run", TRAIN_PROBE, "runs", "warm", RUN, go_on),
    Writing("train probe: cache", TRAIN_PROBE, "cache", "empty", RUN, go_on, may_work=True),
    Writing("train scratch: run", TRAIN_SCRATCH, "runs", "warm", RUN, go_on),
    Writing("train resumed: run", ("train", "--resume", RUN), "runs", "stopped", RUN, go_on),
    Writing(
        "train extended: run", ("train", "--resume", RUN, "--extend", "2"), "runs", "finished",
        RUN, go_on,
    ),
    Writing("inspect: report", ("inspect", "data", "--out", "out/inspection"), "out", "warm"),
    Writing(
        "inspect: lists",
        ("inspect", "data", "--fix", "out/a.csv", "--quarantine", "out/b.txt", "--out", "report"),
        "out", "warm", files="out/*.*",
    ),
    Writing(
        "subset",
        ("subset", "data", "out/subset", "--train", "4", "--validation", "2", "--test", "2"),
        "out", "warm", files="out/subset/**/*.*",
    ),
    Writing("evaluate", ("evaluate", RUN, "data"), "runs", "finished", may_work=True),
    Writing("explain", ("explain", RUN, "data/cat/000.png"), "runs", "finished"),
    Writing("compare", ("compare", RUN, OTHER, "--out", "out/page"), "out", "finished"),
    Writing(
        "predict to a file", ("predict", RUN, "data", "--format", "csv"), "out", "finished",
        stdout="out/answers.csv", files="out/answers.csv",
    ),
)  # fmt: skip


def prepared(bench: Bench, before: str) -> None:
    """Keep the snapshot ``empty``, ``warm`` (full cache), ``finished`` or ``stopped`` (a run)."""
    if before == "stopped":
        stopped(bench)
    elif before != "empty":
        bench.must(*TRAIN_PROBE)
        shutil.rmtree(bench.case / RUN)
        bench.must("inspect", "data", "--audit", "--out", "report")
        shutil.rmtree(bench.case / "report")
        bench.must(*TRAIN_SCRATCH)
        bench.must("predict", RUN, "data")
        if before == "warm":
            shutil.rmtree(bench.case / RUN)
        else:
            bench.must(*TRAIN_SCRATCH[:-1], OTHER, "--seed", "1")
            bench.must("explain", RUN, "data/cat/000.png", "--name", "before")
            shutil.rmtree(bench.case / RUN / "explanations", ignore_errors=True)
    (bench.case / "out").mkdir()
    bench.keep(before)


class Disks:
    """One command after the other on a disk that is too small or cannot be written."""

    def __init__(self, bench: Bench, writing: Writing) -> None:
        self.bench = bench
        self.writing = writing
        bench.restore(writing.before)
        self._start_or_fail()
        self.right = self._state()

    def _start(self, argv: tuple[str, ...]) -> Outcome:
        wrong: dict[str, Any] = {}
        if self.writing.stdout:
            wrong["stdout"] = str(self.bench.case / self.writing.stdout)
        return self.bench.start(*argv, **wrong)

    def _start_or_fail(self) -> None:
        outcome = self._start(self.writing.argv)
        if outcome.code != 0:
            raise RuntimeError(f"undisturbed, this must work: {outcome.told()}\n{outcome.err}")

    def _state(self) -> tuple[dict[str, str], set[str]]:
        case = self.bench.case
        result = run_result(case / self.writing.run) if self.writing.run else {}
        for file in sorted(case.glob(self.writing.files)) if self.writing.files else ():
            result[file.relative_to(case).as_posix()] = digest(file.read_bytes())
        for page in [*(case / "runs").rglob("*.html"), *(case / "out").rglob("*.html")]:
            whole = page.read_bytes().rstrip().endswith(b"</html>")
            result[page.relative_to(case).as_posix()] = "whole" if whole else "cut off"
        return result, names_below(case / "runs") | names_below(case / "out")

    def steps(self, every: int) -> Tally:
        tally, enough, step = Tally(), 0, 0
        had_room = tally.by_kind.setdefault(f"{self.writing.name}: full", Counter())
        while enough < ENOUGH:
            before = had_room["with enough room"]
            free = max(os.sysconf("SC_PAGE_SIZE"), step * STEP)
            key = f"{self.writing.name}: full {free}"
            if not self.bench.ledger.once(
                key, partial(self._step, free), tally, not self.bench.in_time()
            ):
                break
            enough = enough + 1 if had_room["with enough room"] > before else 0
            step += every
            if free > 400 * 2**20:
                raise RuntimeError(f"{self.writing.name} never has enough room")
        return tally

    def _step(self, free: int) -> Tally:
        """One start with so many bytes free."""
        tally = Tally()
        self.bench.restore(self.writing.before)
        with disk(self.bench.case / self.writing.place, free) as remount:
            outcome = self._start(self.writing.argv)
            tally.counts["steps"] += 1
            kind = tally.by_kind.setdefault(f"{self.writing.name}: full", Counter())
            kind["steps"] += 1
            kind["with enough room"] += outcome.code == 0
            self._judge(tally, outcome, f"{free // 1024} KB left", lambda: remount("size=1G"))
        return tally

    def read_only(self) -> Tally:
        tally = Tally()
        self.bench.restore(self.writing.before)
        with disk(self.bench.case / self.writing.place, 2**30) as remount:
            if self.writing.stdout:
                return tally  # the shell opens that file
            remount("ro")
            outcome = self._start(self.writing.argv)
            self._judge(tally, outcome, "read-only", lambda: remount("rw"))
        return tally

    def _judge(self, tally: Tally, outcome: Outcome, what: str, mend: Callable[[], None]) -> None:
        """Mend the disk, go on, and compare."""
        kind = f"{self.writing.name}: {'read-only' if what == 'read-only' else 'full'}"
        story = {"disk": what, "said": outcome.told()}
        if outcome.traceback:
            tally.add(kind, "traceback", story)
        elif outcome.code != 0 and not outcome.sentence:
            tally.add(kind, "neither", story)
        elif outcome.code == 0 and self._state() != self.right:
            tally.add(kind, "different", story)
            return
        else:
            tally.add(kind, "sentence" if outcome.code else "right")
        mend()
        again: tuple[str, ...] | None = None
        if outcome.code != 0:
            after = self.writing.after
            again = after(self.bench, self.writing.argv) if after else self.writing.argv
            if self.writing.name == "subset" and (self.bench.case / "out/subset").exists():
                again = None
        elif self.writing.place == "cache":  # what a full cache kept must not be wrong for good
            shutil.rmtree(self.bench.case / RUN)
            again = self.writing.argv
        if again is not None:
            outcome = self._start(again)
            if outcome.code != 0:
                tally.add(kind, "refused afterwards", {**story, "afterwards": outcome.told()})
                return
        result, names = self._state()
        if result != self.right[0]:
            keys = result.keys() | self.right[0].keys()
            changed = sorted(k for k in keys if result.get(k) != self.right[0].get(k))
            tally.add(kind, "different afterwards", {**story, "files": changed})
        elif names != self.right[1]:
            extra = sorted(names ^ self.right[1])
            tally.add(kind, "left behind", {**story, "names": extra[:20]})
        else:
            tally.counts["right afterwards"] += 1


# --- users ----------------------------------------------------------------------------------


def users(bench: Bench) -> Tally:
    """Three users with one cache, in every order of two; each must come to the same result."""
    tally = Tally()
    orders = [(0, USERS[0]), (USERS[0], 0), USERS, (USERS[1], USERS[0])]
    runs = bench.case / "runs"
    modules = str(bench.folder / "modules")
    for command in (TRAIN_PROBE, TRAIN_SCRATCH):
        bench.fresh()
        bench.must(*command, modules=modules)
        right = _models(run_result(bench.case / RUN))
        for order in orders:
            bench.fresh()
            for folder in ("runs", "cache", "tmp", "home"):
                (bench.case / folder).chmod(0o1777)
            for user in order:
                home = bench.case / f"home-{user}"
                home.mkdir()
                os.chown(home, user, user)
                run = runs / f"of-{user}"
                env = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "MPLCONFIGDIR": str(home)}
                wrong = {"user": user, "modules": modules} if user else {}
                outcome = bench.start(*command[:-1], run, env=env, **wrong)
                kind = f"{command[3]} by {['root', 'a user'][bool(user)]}"
                kind += " first" if user == order[0] else " second"
                story = {"users": order, "said": outcome.told()}
                if outcome.traceback:
                    tally.add(kind, "traceback", story)
                elif outcome.sentence:
                    tally.add(kind, "sentence")
                elif outcome.code != 0:
                    tally.add(kind, "neither", story)
                elif _models(run_result(run)) != right:
                    tally.add(kind, "different", story)
                else:
                    tally.add(kind, "right")
    return tally


def _models(result: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in result.items() if k not in ("run.json", "recipe.yaml")}


# --- at the same moment ---------------------------------------------------------------------


class Together:
    """Several starters on one case."""

    def __init__(self, bench: Bench, number: int) -> None:
        self.bench = bench
        more = [
            Starter(cold=bench.starter.cold, drawn=bench.starter.drawn, root=bench.starter.root)
            for _ in range(number - 1)
        ]
        for starter in more:
            starter.plant = bench.starter.plant
        self.starters = [bench.starter, *more]
        for starter in self.starters:  # servers that are up begin at the same moment
            starter.start(("--help",), bench.case, bench.env())

    def start(self, commands: list[tuple[str, ...]], **wrong: Any) -> list[Outcome]:
        """All commands at the same moment."""
        at = time.monotonic() + (15.0 if self.starters[0].cold else 0.3)
        env = {**self.bench.env(), **wrong.pop("env", {})}

        def one(pair: tuple[Starter, tuple[str, ...]]) -> Outcome:
            starter, command = pair
            return starter.start(command, self.bench.case, env, start_at=at, **wrong)

        with ThreadPoolExecutor(len(commands)) as pool:
            return list(pool.map(one, zip(self.starters, commands, strict=False)))

    def close(self) -> None:
        for starter in self.starters[1:]:
            starter.close()


def pairs(bench: Bench, count: int) -> Tally:
    """Two at the same moment: in default folders, in one folder, resuming one run."""
    tally = Tally()
    seeds = ("0", "1")
    commands = [("train", "data", *SCRATCH, "--seed", seed) for seed in seeds]
    rights = []
    for command in commands:
        bench.fresh()
        bench.must(*command, "--run", RUN)
        rights.append(_models(run_result(bench.case / RUN)))
    bench.fresh()
    stopped(bench)
    bench.keep("stopped")
    bench.must("train", "--resume", RUN)
    resumed = run_result(bench.case / RUN)
    names = names_below(bench.case / "runs")
    together = Together(bench, 2)
    for number in range(count):
        # In default folders, whose names have the minute.
        bench.fresh()
        outcomes = together.start(commands)
        kind = "pair in default folders"
        made = sorted(p.parent for p in (bench.case / "runs").glob("*/run.json"))
        found = [_models(run_result(run)) for run in made]
        story = {"pair": number, "said": [o.told() for o in outcomes]}
        if any(o.code != 0 for o in outcomes):
            tally.add(kind, "failed", story)
        elif len(found) != 2 or any(right not in found for right in rights):
            tally.add(kind, "lost or mixed", {**story, "runs": [p.name for p in made]})
        else:
            tally.add(kind, "right")
        # In one folder: one of them has it, the other says so.
        bench.fresh()
        outcomes = together.start([(*command, "--run", RUN) for command in commands])
        kind = "pair in one folder"
        story = {"pair": number, "said": [o.told() for o in outcomes]}
        right = [r for r, o in zip(rights, outcomes, strict=True) if o.code == 0]
        if sorted(o.code for o in outcomes) != [0, 2] or any(o.traceback for o in outcomes):
            tally.add(kind, "failed", story)
        elif _models(run_result(bench.case / RUN)) != right[0]:
            tally.add(kind, "lost or mixed", story)
        else:
            tally.add(kind, "right")
        # Both go on with one run.
        bench.restore("stopped")
        outcomes = together.start([("train", "--resume", RUN)] * 2)
        kind = "pair resuming one run"
        story = {"pair": number, "said": [o.told() for o in outcomes]}
        codes = sorted(o.code for o in outcomes)
        if codes != [0, 2] or any(o.traceback for o in outcomes):
            tally.add(kind, "failed", story)
        elif run_result(bench.case / RUN) != resumed or names_below(bench.case / "runs") != names:
            tally.add(kind, "lost or mixed", story)
        else:
            tally.add(kind, "right")
    together.close()
    return tally


def four(bench: Bench, count: int) -> Tally:
    """Four at once, whose cache holds less than any of them needs."""
    tally = Tally()
    commands = [
        ("train", "data", *way, "--seed", seed, "--run", f"runs/{name}-{seed}")
        for name, way in (("probe", SMALL_PROBE), ("scratch", SCRATCH))
        for seed in ("0", "1")
    ]
    rights = []
    for command in commands:
        bench.must(*command)
        rights.append(_models(run_result(bench.case / command[-1])))
    together = Together(bench, 4)
    for number in range(count):
        bench.fresh()
        outcomes = together.start(commands, env={"TELLAPART_CACHE_LIMIT": "50KB"})
        for command, right, outcome in zip(commands, rights, outcomes, strict=True):
            story = {"round": number, "said": outcome.told()}
            if outcome.code != 0:
                tally.add("four at once", "failed", story)
            elif _models(run_result(bench.case / command[-1])) != right:
                tally.add("four at once", "lost or mixed", story)
            else:
                tally.add("four at once", "right")
    together.close()
    return tally


#: What reads and fills the cache: command, the snapshot it starts from, and the run it makes.
USING = (
    ("train probe", TRAIN_PROBE, "empty", RUN),
    ("train probe again", TRAIN_PROBE, "warm", RUN),
    ("train scratch", TRAIN_SCRATCH, "empty", RUN),
    ("inspect", ("inspect", "data", "--audit", "--json", "--out", "report"), "warm", ""),
    ("evaluate", ("evaluate", RUN, "data", "--json"), "finished", ""),
    ("predict", ("predict", RUN, "data", "--format", "json"), "finished", ""),
)


def deleted(bench: Bench, count: int, every: int, seed: int) -> Tally:
    """The cache goes while a command runs: at random times, then before each use of it."""
    tally = Tally()
    random = np.random.default_rng([seed, 9])
    bench.keep("empty")
    for before in ("warm", "finished"):
        bench.fresh()
        prepared(bench, before)
    cache = str(bench.case / "cache")
    journal = bench.folder / "journal"
    for name, command, before, run in USING:
        bench.restore(before)
        journal.unlink(missing_ok=True)
        quiet = bench.must(*command, deletes=cache, journal=str(journal))
        right = _of(bench, run, quiet)
        uses = journal.read_text("utf-8", "surrogateescape").splitlines()
        bench.restore(before)
        other = _of(bench, run, bench.must(*command))
        volatile = {k for k in right.keys() | other.keys() if right.get(k) != other.get(k)}
        if run and volatile:
            raise RuntimeError(f"{name}: two quiet runs differ in {sorted(volatile)}")
        tally.by_kind[f"{name}: cache deleted"] = type(tally.counts)(uses=len(uses))

        def judge(
            outcome: Outcome, story: dict[str, Any], name: str = name, run: str = run,
            right: dict[str, Any] = right, volatile: set[str] = volatile,
        ) -> None:  # fmt: skip
            story["said"] = outcome.told()
            if outcome.code != 0:
                tally.add(f"{name}: cache deleted", "failed", story)
                return
            found = _of(bench, run, outcome)
            keys = (right.keys() | found.keys()) - volatile
            if changed := sorted(k for k in keys if right.get(k) != found.get(k)):
                tally.add(f"{name}: cache deleted", "different", {**story, "where": changed[:8]})
            else:
                tally.add(f"{name}: cache deleted", "right")

        for _ in range(count):
            if not bench.in_time():
                break
            bench.restore(before)
            after = float(random.uniform(0, quiet.seconds))
            with ThreadPoolExecutor(1) as pool:
                running = pool.submit(bench.start, *command)
                time.sleep(after)
                subprocess.run(["rm", "-rf", cache], check=False)
                outcome = running.result()
            judge(outcome, {"after seconds": round(after, 2)})
        for number in range(1, len(uses) + 1, every):
            if not bench.in_time():
                break
            bench.restore(before)
            outcome = bench.start(*command, deletes=cache, delete_at=number)
            judge(outcome, {"number": number, "before": uses[number - 1]})
    return tally


def _of(bench: Bench, run: str, outcome: Outcome) -> dict[str, Any]:
    """The result of a command: the run folder that it made, or what it printed."""
    return dict(run_result(bench.case / run)) if run else told_result(outcome.out)


def disks(bench: Bench, writings: Sequence[Writing], every: int, read_only: bool) -> Tally:
    """Commands that start from one snapshot, which is made once."""
    prepared(bench, writings[0].before)
    tally = Tally()
    for writing in writings:
        if not bench.in_time():
            break
        attack = Disks(bench, writing)
        done = attack.steps(every) if every else Tally()
        if read_only:
            done.merge(attack.read_only())
        print(f"  {writing.name}: {dict(done.counts)}", flush=True)
        tally.merge(done)
    return tally


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--steps", action="store_true", help="every 64 KB of a small disk")
    parser.add_argument("--every", type=int, default=1, help="only each so-manieth of these")
    parser.add_argument("--writings", default="", help="names, separated by commas; none: all")
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--users", action="store_true")
    parser.add_argument("--pairs", type=int, default=0, metavar="N")
    parser.add_argument("--four", type=int, default=0, metavar="N")
    parser.add_argument("--deleted", type=int, default=0, metavar="N")
    given = parser.parse_args()
    if (given.steps or given.read_only or given.users) and os.geteuid() != 0:
        parser.error("mounting and changing users need root")
    wanted = [name.strip() for name in given.writings.split(",") if name.strip()]
    started = time.monotonic()
    campaign = campaign_of(given)
    jobs: list[tuple[str, Callable[[Bench], Tally]]] = []
    if given.steps or given.read_only:
        every = given.every * given.steps
        chosen = [w for w in WRITINGS if not wanted or w.name in wanted]
        for before in dict.fromkeys(w.before for w in chosen):
            group = [w for w in chosen if w.before == before]
            work = partial(disks, writings=group, every=every, read_only=given.read_only)
            jobs.append((f"disks, {before}", work))
    if given.users:
        jobs.append(("users", users))
    if given.pairs:
        jobs.append(("pairs", partial(pairs, count=given.pairs)))
    if given.four:
        jobs.append(("four", partial(four, count=given.four)))
    if given.deleted:
        wrong = partial(deleted, count=given.deleted, every=given.every, seed=given.seed)
        jobs.append(("deleted", wrong))
    tally = campaign.each(jobs)
    return finish(
        Path(sys.argv[0]).stem, given, campaign, tally, started, step_bytes=STEP, every=given.every
    )


if __name__ == "__main__":
    sys.exit(main())
