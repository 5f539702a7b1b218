"""What the campaigns share: made pictures, a workbench, starts of the command line, verdicts.

The campaigns know the product by its command line and by the files of a run folder, nothing
else. A case is one folder, always at the same path of its worker: ``data`` (images), ``runs``,
``cache``, ``tmp`` (the temporary folder) and ``home``; a *snapshot* of it is laid back before
each case, so that a case begins where the one before began.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
#: What is attacked is the checkout that the campaigns lie in, whatever is installed.
SOURCE = HERE.parent.parent / "src"

#: A pretrained network of 100,000 random weights, which each case holds: quick, and small on disk.
WEIGHTS = "weights.safetensors"
TINY = ("--set", "model.backbone=test_efficientnet", "--set", f"model.weights={WEIGHTS}")
#: Small trainings: what follows ``tellapart train data --run runs/NAME``.
PROBE = ("--recipe", "probe", "--set", "data.image_size=32")
SCRATCH = (
    "--recipe", "scratch-fast", "--set", "data.image_size=16",
    "--set", "model.options.width=4", "--set", "training.epochs=4",
)  # fmt: skip
FINE_TUNING = (
    "--recipe", "finetune", "--set", "data.image_size=32", "--set", "training.epochs=1",
    "--set", "fine_tuning.epochs=2", *TINY,
)  # fmt: skip

#: What of a run folder must be the same bytes, however the run came about.
SAME_BYTES = (
    "metrics.json", "model.safetensors", "unknown.safetensors", "images.csv", "recipe.yaml",
    "predictions/*.csv",
)  # fmt: skip
#: What the cache writes into each whole entry.
SEAL = (".manifest", ".checked")
#: What of run.json must be the same.
SAME_FACTS = ("status", "classes", "preprocessing", "data", "seed")


# --- made pictures --------------------------------------------------------------------------


def picture(colour: Sequence[int], seed: Sequence[int], size: tuple[int, int] = (32, 24)) -> Any:
    """A noisy picture around one colour; ``size`` is (width, height)."""
    random = np.random.default_rng(list(seed))
    width, height = size
    pixels = np.array(colour) + random.normal(0, 40, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def make_data(
    folder: Path, *, per_class: int = 12, classes: Sequence[str] = ("cat", "dog"), seed: int = 0
) -> Path:
    """Class folders of small made pictures; the same call makes the same bytes."""
    random = np.random.default_rng(seed)
    for number, name in enumerate(classes):
        colour = random.integers(30, 226, 3)
        (folder / name).mkdir(parents=True)
        for index in range(per_class):
            file = folder / name / f"{index:03}.{('png', 'jpg')[index % 2]}"
            picture(colour, (seed, number, index)).save(file)
    return folder


# --- starts ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """How a start ended; ``code`` below 0: by this signal."""

    argv: tuple[str, ...]
    code: int
    stopped: str
    seconds: float
    processor_seconds: float
    peak_bytes: int
    out: str
    err: str

    @property
    def traceback(self) -> bool:
        """Whether the user saw Python's own words, or the process crashed."""
        crashed = self.code < 0 and not self.stopped
        return crashed or "Traceback (most recent call last)" in self.err

    @property
    def sentence(self) -> bool:
        """Whether it ended as a user's mistake does: exit code 2 and one sentence."""
        return self.code == 2 and not self.traceback and bool(self.last_line)

    @property
    def last_line(self) -> str:
        return next((line for line in reversed(self.err.splitlines()) if line.strip()), "")

    def told(self) -> str:
        """One line for the results file."""
        end = self.stopped or f"exit {self.code}"
        return f"tellapart {' '.join(self.argv)[:200]}: {end}: {self.last_line[:300]}"


def with_source() -> dict[str, str]:
    """Our environment, in which Python finds the product in this checkout."""
    path = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    # As the product sets it before it imports PyTorch, which the server of forks has done.
    # One thread: such small work takes longer with two, and waits for the other on a busy machine.
    return {"GOMP_SPINCOUNT": "5000", "OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}


class Starter:
    """Starts the command line; one at a time. ``cold``: a fresh process each time.

    With ``root`` the server of forks is a fork of that starter's, which has imported everything:
    a campaign's workers wait for that once, and share its memory.
    """

    def __init__(
        self, *, cold: bool = False, plant: Path | None = None, drawn: bool = False,
        root: Starter | None = None,
    ) -> None:  # fmt: skip
        self.cold = cold
        self.drawn = drawn
        self.plant = str(plant.resolve()) if plant else None
        self.root = root
        self._lock = threading.Lock()
        self._server: subprocess.Popen[str] | None = None
        self._pipes: tuple[TextIO, TextIO] | None = None
        self._outputs = Path(tempfile.mkdtemp(prefix="tellapart-reliability-output-"))
        self._outputs.chmod(0o777)

    def start(
        self, argv: Sequence[str | Path], cwd: Path, env: Mapping[str, str], **wrong: Any
    ) -> Outcome:
        """Run ``tellapart ARGV`` to its end; ``wrong`` is what ``child.py`` can do to it."""
        words = tuple(str(word) for word in argv)
        out = Path(wrong.pop("stdout", self._outputs / "out"))
        err = self._outputs / "err"
        if wrong.get("user"):
            for file in (out, err):
                file.touch()
                file.chmod(0o666)
        request = {
            "argv": words, "cwd": str(cwd), "env": dict(env), "stdout": str(out),
            "stderr": str(err), "plant": self.plant, "drawn": self.drawn, **wrong,
        }  # fmt: skip
        answer = self._once(request) if self.cold else self._ask(request)
        return Outcome(
            argv=words,
            out=out.read_text("utf-8", "replace") if out.is_file() else "",
            err=err.read_text("utf-8", "replace"),
            **answer,
        )

    def make_weights(self, file: Path) -> None:
        """What ``TINY`` names; by a process that has PyTorch already."""
        request = {"make_weights": str(file)}
        answer = self._once(request) if self.cold else self._ask(request)
        if answer["code"] != 0:
            raise RuntimeError("the small network's weights could not be made")

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._pipes is None:
                self._pipes = self._served()
            to, back = self._pipes
            to.write(json.dumps(request) + "\n")
            to.flush()
            answer = back.readline()
        if not answer:
            raise RuntimeError("the server of child processes ended")
        return dict(json.loads(answer))

    def _served(self) -> tuple[TextIO, TextIO]:
        """Pipes to a server of forks: a new one, or a fork of the root's."""
        if self.root is not None:
            names = [str(self._outputs / name) for name in ("to", "back")]
            for name in names:
                os.mkfifo(name)
            self.root._ask({"serve": names})
            return Path(names[0]).open("w"), Path(names[1]).open()
        self._server = subprocess.Popen(
            [sys.executable, str(HERE / "child.py"), "serve"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=with_source(),
        )  # fmt: skip
        if self._server.stdin is None or self._server.stdout is None:
            raise RuntimeError("the server has no pipes")
        return self._server.stdin, self._server.stdout

    def _once(self, request: Mapping[str, Any]) -> dict[str, Any]:
        import child

        started = subprocess.Popen(
            [sys.executable, str(HERE / "child.py"), "once", json.dumps(request)],
            start_new_session=True, env=with_source(),
        )  # fmt: skip
        answer = child.watch(started.pid, dict(request))
        started.returncode = answer["code"]  # it is waited for already
        return answer

    def close(self) -> None:
        if self._pipes is not None:
            for pipe in self._pipes:
                pipe.close()
        if self._server is not None:
            self._server.wait()
        shutil.rmtree(self._outputs, ignore_errors=True)


# --- the workbench --------------------------------------------------------------------------


class Bench:
    """A case folder at a fixed path, its snapshots, and starts in it."""

    def __init__(
        self, folder: Path, starter: Starter, weights: Path, deadline: float = math.inf,
        ledger: Ledger | None = None,
    ) -> None:  # fmt: skip
        self.deadline = deadline
        self.ledger = ledger or Ledger()
        self.folder = folder
        self.weights = weights
        self.case = folder / "case"
        self.starter = starter
        self.snapshots: dict[str, Path] = {}
        #: Of a snapshot that is mended: path -> number, size and times of what lies in the case.
        self._states: dict[str, dict[str, tuple[int, ...]]] = {}
        #: ``time.monotonic()`` after which no further case is begun.
        self.ends = math.inf
        self.fresh()

    def in_time(self) -> bool:
        """Whether a further case may be begun; with ``--minutes``, what was run is told."""
        return time.monotonic() < self.ends

    def fresh(self) -> None:
        """An empty case with made data."""
        remove(self.case)
        for name in ("runs", "cache", "tmp", "home"):
            (self.case / name).mkdir(parents=True)
        make_data(self.case / "data")
        shutil.copyfile(self.weights, self.case / WEIGHTS)

    @property
    def is_late(self) -> bool:
        """Whether no further case is to begin; counts then say how many there were."""
        return time.monotonic() > self.deadline

    def keep(self, name: str) -> None:
        """Remember the case as it is."""
        self.snapshots[name] = self.folder / f"snapshot-{name}"
        shutil.copytree(self.case, self.snapshots[name], symlinks=True)

    def restore(self, name: str) -> None:
        """The case as it was when it was kept."""
        self.lay(self.snapshots[name])

    def lay(self, state: Path) -> None:
        """The case as this copy of it."""
        remove(self.case)
        shutil.copytree(state, self.case, symlinks=True)

    def mend(self, name: str, *changed: Path) -> None:
        """The case as it was kept, by putting back only what differs: quicker than restoring.

        What is as it was keeps its number and its times, as on a disk that is in use. That the
        cache was found whole (``.checked``) is put back only where it is missing or named in
        ``changed``: it says nothing of files that were put back.
        """
        kept = self.snapshots[name]
        states = self._states.setdefault(name, {})
        there = names_below(self.case)
        for path in sorted(there - names_below(kept), reverse=True):  # the deepest first
            gone = self.case / path
            gone.rmdir() if gone.is_dir() and not gone.is_symlink() else gone.unlink()
        for source in sorted(kept.rglob("*")):
            path = source.relative_to(kept).as_posix()
            target = self.case / path
            if source.is_dir():
                target.mkdir(exist_ok=True)
                continue
            same = target.is_file() and states.get(path) == _state(target)
            if same or (target.is_file() and source.name == SEAL[1] and target not in changed):
                continue
            shutil.copy2(source, target)
            states[path] = _state(target)

    def env(self) -> dict[str, str]:
        return {
            "TELLAPART_CACHE_DIR": str(self.case / "cache"),
            "TMPDIR": str(self.case / "tmp"),
            "HOME": str(self.case / "home"),
            "XDG_CACHE_HOME": str(self.case / "home"),
            "MPLCONFIGDIR": str(self.folder / "matplotlib"),
            "COLUMNS": "200",
        }

    def start(self, *argv: str | Path, **wrong: Any) -> Outcome:
        env = {**self.env(), **wrong.pop("env", {})}
        return self.starter.start(argv, wrong.pop("cwd", self.case), env, **wrong)

    def must(self, *argv: str | Path, **wrong: Any) -> Outcome:
        """A start that is no part of the attack; that it fails ends the campaign."""
        outcome = self.start(*argv, **wrong)
        if outcome.code != 0:
            raise RuntimeError(f"undisturbed, this must work: {outcome.told()}\n{outcome.err}")
        return outcome

    def journal(self, *argv: str | Path, **wrong: Any) -> list[str]:
        """The file operations of a start that nobody disturbs."""
        journal = self.folder / "journal"
        journal.unlink(missing_ok=True)
        self.must(*argv, watch=str(self.case), journal=str(journal), **wrong)
        return journal.read_text("utf-8", "surrogateescape").splitlines()


def _state(file: Path) -> tuple[int, ...]:
    facts = file.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


# --- comparing ------------------------------------------------------------------------------


def names_below(folder: Path) -> set[str]:
    """Relative paths of all files and folders."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def hidden_below(folder: Path) -> set[str]:
    """Those of them that are temporary by their look; digests and numbers are made one."""
    found = set()
    for name in names_below(folder):
        last = name.rpartition("/")[2]
        if last in SEAL:
            continue
        if last.startswith(".") or last.endswith((".tmp", ".part")):
            found.add(re.sub(r"[0-9a-f]{6,}|\d+", "#", name))
    return found


def run_result(run: Path) -> dict[str, str]:
    """What must be the same in a run folder, however it came about: name -> digest."""
    found: dict[str, str] = {}
    for pattern in SAME_BYTES:
        for file in sorted(run.glob(pattern)):
            found[file.relative_to(run).as_posix()] = digest(file.read_bytes())
    history = run / "history.csv"
    if history.is_file():
        lines = [line.split(",") for line in history.read_text("utf-8").splitlines()]
        columns = [i for i, name in enumerate(lines[0]) if name != "seconds"] if lines else []
        kept = [[line[i] if i < len(line) else "" for i in columns] for line in lines]
        found["history.csv"] = digest(json.dumps(kept).encode())
    facts = run / "run.json"
    if facts.is_file():
        try:
            content = json.loads(facts.read_text("utf-8"))
            kept_facts = {name: content.get(name) for name in SAME_FACTS}
        except (ValueError, AttributeError):
            kept_facts = {"damaged": True}
        found["run.json"] = digest(json.dumps(kept_facts, sort_keys=True).encode())
    return found


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a JSON value with the path to each."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{place}.{key}")
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from flat(inner, f"{place}[{index}]")
    else:
        yield place, value


def json_lines(text: str) -> list[Any]:
    """The values of a text that is JSON, or JSON lines; else its lines as they are."""
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return list(text.splitlines())


def told_result(text: str) -> dict[str, Any]:
    """A result on standard output as flat places and values."""
    return dict(flat(json_lines(text)))


# --- counting -------------------------------------------------------------------------------


class Ledger:
    """What was tried in earlier starts of a campaign, so that a long one can be done in parts.

    One line of JSON a case: its key, and the counts and faults that it came to.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {}
        if file is not None and file.is_file():
            for line in file.read_text("utf-8").splitlines():
                row = json.loads(line)
                self._known[row["key"]] = row

    def once(self, key: str, case: Callable[[], Tally], tally: Tally, is_late: bool) -> bool:
        """Count a case: as it was found before, else by trying it; False: it is too late to."""
        row = self._known.get(key)
        if row is not None:
            kinds = {kind: Counter(counts) for kind, counts in row["by_kind"].items()}
            tally.merge(Tally(Counter(row["counts"]), kinds, list(row["faults"])))
            return True
        if is_late:
            return False
        found = case()
        tally.merge(found)
        if self.file is not None:
            line = json.dumps({"key": key, **found.to_json()})
            with self._lock, self.file.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        return True


@dataclass
class Tally:
    """Counts of a campaign and, of what must not happen, the cases with their story."""

    counts: Counter[str] = field(default_factory=Counter)
    by_kind: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, verdict: str, fault: Mapping[str, Any] | None = None) -> None:
        self.counts[verdict] += 1
        self.by_kind.setdefault(kind, Counter())[verdict] += 1
        if fault is not None:
            self.faults.append({"kind": kind, "verdict": verdict, **fault})
            print(f"  {verdict}: {kind}: {json.dumps(fault, ensure_ascii=True)[:600]}", flush=True)

    def merge(self, other: Tally) -> None:
        self.counts.update(other.counts)
        for kind, counts in other.by_kind.items():
            self.by_kind.setdefault(kind, Counter()).update(counts)
        self.faults += other.faults

    def to_json(self) -> dict[str, Any]:
        return {
            "counts": dict(sorted(self.counts.items())),
            "by_kind": {k: dict(sorted(c.items())) for k, c in sorted(self.by_kind.items())},
            "faults": self.faults[:200],
            "num_faults": len(self.faults),
        }


# --- running a campaign ---------------------------------------------------------------------


def arguments(text: str) -> argparse.ArgumentParser:
    """The options that every campaign has."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes at a time")
    parser.add_argument("--minutes", type=float, help="begin no case later than this")
    parser.add_argument("--work", type=Path, help="where cases are made; none: a temporary folder")
    parser.add_argument("--json", type=Path, help="write the counts here as well")
    parser.add_argument(
        "--ledger", type=Path, help="go on with the cases that this file does not hold yet"
    )
    parser.add_argument("--drawn", action="store_true", help="draw the charts, which takes time")
    parser.add_argument("--cold", action="store_true", help="a fresh interpreter for each start")
    parser.add_argument("--plant", type=Path, help="a Python file that plants a fault")
    return parser


@dataclass(frozen=True)
class Campaign:
    """Where a campaign works, and how it starts the command line."""

    work: Path
    workers: int = 1
    cold: bool = False
    plant: Path | None = None
    seed: int = 0
    #: ``time.monotonic()`` after which no case begins.
    deadline: float = math.inf
    drawn: bool = False
    ledger: Ledger = field(default_factory=Ledger)

    def each(self, jobs: Iterable[tuple[str, Callable[[Bench], Tally]]]) -> Tally:
        """Do the jobs, ``workers`` at a time, each on a bench of its own."""
        tally = Tally()
        root = Starter(cold=self.cold)

        def one(job: tuple[str, Callable[[Bench], Tally]]) -> Tally:
            name, work = job
            folder = self.work / re.sub(r"\W+", "-", name)
            folder.mkdir(parents=True)
            starter = Starter(cold=self.cold, plant=self.plant, drawn=self.drawn, root=root)
            weights = folder / WEIGHTS
            try:
                starter.make_weights(weights)
                started = time.monotonic()
                bench = Bench(folder, starter, weights, self.deadline, self.ledger)
                bench.ends = self.deadline
                try:
                    done = work(bench)
                except RuntimeError as error:  # the other jobs' results are not lost for it
                    done = Tally()
                    done.add(name, "not run", {"said": str(error)})
                spent = time.monotonic() - started
                print(f"{name}: {dict(done.counts)} ({spent:.0f} s)", flush=True)
                return done
            finally:
                starter.close()
                shutil.rmtree(folder, ignore_errors=True)

        try:
            with ThreadPoolExecutor(max_workers=self.workers) as pool:
                for done in pool.map(one, jobs):
                    tally.merge(done)
        finally:
            root.close()
        return tally


def campaign_of(given: argparse.Namespace) -> Campaign:
    if given.work is not None:
        given.work.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="tellapart-reliability-", dir=given.work))
    work.chmod(0o755)
    deadline = time.monotonic() + 60 * given.minutes if given.minutes else math.inf
    return Campaign(
        work, given.workers, given.cold, given.plant, given.seed, deadline, given.drawn,
        Ledger(given.ledger),
    )  # fmt: skip


def finish(
    name: str, given: argparse.Namespace, campaign: Campaign, tally: Tally, started: float,
    **more: Any,
) -> int:  # fmt: skip
    """Print and write the results; 1 where something happened that must not."""
    shutil.rmtree(campaign.work, ignore_errors=True)
    result = {
        "campaign": name,
        "command": " ".join(["python", *sys.argv]),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}",
        "minutes": round((time.monotonic() - started) / 60, 1),
        "seed": given.seed,
        **more,
        **tally.to_json(),
    }
    text = json.dumps(result, indent=1, ensure_ascii=True)
    if given.json is not None:
        given.json.write_text(text + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in result.items() if k != "faults"}, indent=1))
    print("FAULTS" if tally.faults else "no fault")
    return 1 if tally.faults else 0
