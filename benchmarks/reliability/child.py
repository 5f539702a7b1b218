"""One start of the command line in a process that can be killed, limited and watched.

``python child.py serve`` reads one request a line on standard input, forks for each, waits for
the fork's end and answers in one line. The heavy libraries and the product's modules are imported
before the first fork (nothing of the product has run by then), and charts are not drawn: files of
the usual size stand for them, unless ``drawn`` asks for the real ones. So thousands of starts are
possible.
``python child.py once REQUEST`` does one request in a fresh process.

A request is JSON: ``argv`` (what follows ``tellapart``), ``cwd``, ``env`` (laid over ours),
``stdout`` and ``stderr`` (files), and what is to go wrong:

- ``watch``: folder whose file operations are counted, and written to ``journal`` if given;
- ``kill_at``: SIGKILL before this file operation (1 is the first);
- ``keep``: folder that gets what a kill before each of them would leave (see ``Keeper``);
- ``deletes``: folder of which every opening, listing and change of a file is counted, written to
  ``journal`` too; ``delete_at``: the folder is deleted before this one, as by another process;
- ``torn_at``: SIGXFSZ, which kills, in the middle of writing any file longer than this;
- ``kill_after``: SIGKILL after so many seconds;
- ``limit_seconds``, ``limit_bytes``: the child is ended beyond (processor time, or twenty times as
  long by the clock, since the machine may be busy; resident memory);
- ``user``: number of the user and group who it runs as;
- ``modules``: a file that gets the names of all modules that were imported in the end, or, with
  ``user``, from which they are imported at first: another user may not read the interpreter;
- ``start_at``: ``time.monotonic()`` at which it begins, for starts at the same moment;
- ``plant``: a Python file that is run first, to plant a fault in the product.

``make_weights`` alone makes no start: it writes a file of weights where this names. ``serve`` alone
neither: a fork answers the requests that come by the first of the two pipes that it names.
"""

# An audit hook sees bytes, descriptors and names that are no paths; os.path takes them all and
# follows no link.
# ruff: noqa: PTH100, PTH101, PTH102, PTH103, PTH115, PTH117, PTH118

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import json
import os
import pkgutil
import random
import resource
import runpy
import select
import shutil
import signal
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn, TextIO

#: Imported before forking. OpenVINO only where it is installed; none of them starts work.
HEAVY = (
    "numpy", "PIL.Image", "scipy.stats", "pandas", "sklearn.linear_model", "sklearn.neighbors",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg",
    "torch", "torchvision", "timm", "safetensors.torch", "accelerate", "onnx", "openvino",
    "pydantic", "typer", "jinja2", "yaml", "torch.onnx._internal.torchscript_exporter.utils",
    "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "matplotlib.backends.backend_svg",
)  # fmt: skip

#: Audit events of operations that change the file system -> which arguments are paths, and
#: which say the folder that a relative path starts from (a descriptor).
_CHANGES = {
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Operations:
    """Counts what changes files below a folder; an audit hook, called before each change."""

    def __init__(
        self, watch: str, kill_at: int | None, journal: str | None, keeper: Keeper | None = None
    ) -> None:
        self.watch = os.path.realpath(watch)
        self.keeper = keeper
        self.kill_at = kill_at
        self.journal = os.open(journal, os.O_WRONLY | os.O_CREAT, 0o666) if journal else None
        self.count = 0
        self.lock = threading.Lock()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & _WRITING:
                return
            paths = [_place(path, None)]
        elif event in _CHANGES:
            paths = [
                _place(arguments[where], arguments[base] if base is not None else None)
                for where, base in _CHANGES[event]
            ]
        else:
            return
        if not any(path.startswith(self.watch + os.sep) for path in paths):
            return
        with self.lock:
            self.count += 1
            if self.journal is not None:
                names = " ".join(os.path.relpath(path, self.watch) for path in paths)
                os.write(self.journal, f"{event} {names}\n".encode("utf-8", "surrogateescape"))
            if self.keeper is not None:
                self.keeper.keep(self.count)
            if self.count == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


class Keeper:
    """Keeps what a kill at a moment would leave of a folder, without killing.

    A process of its own stops this one with all its threads, copies the folder and lets it go
    on. What SIGKILL leaves is just this: all that was handed to the system, and nothing that
    still lies in the process. A file that is as it was in the state before is a hard link to
    that state's copy, so nobody may write to a state.
    """

    def __init__(self, folder: str, states: str) -> None:
        asked, ask = os.pipe()
        self._told, tell = os.pipe()
        self._ask = ask
        watched = os.getpid()
        if os.fork() == 0:
            os.close(ask)
            os.close(self._told)
            before: dict[str, tuple[tuple[int, ...], str]] = {}
            while number := os.read(asked, 8):
                stop(watched)
                before = copy_state(folder, f"{states}/{int(number)}", before)
                os.kill(watched, signal.SIGCONT)
                os.write(tell, b"1")
            os._exit(0)
        os.close(asked)
        os.close(tell)

    def keep(self, number: int) -> None:
        """The state before the operation of this number."""
        os.write(self._ask, f"{number:8}".encode())
        os.read(self._told, 1)


def stop(process: int) -> None:
    """Stop a process; returns when all of its threads stand still."""
    os.kill(process, signal.SIGSTOP)
    for task in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            while (task / "stat").read_text().rpartition(")")[2].split()[0] not in "TtZX":
                time.sleep(0.0002)


def copy_state(
    folder: str, target: str, before: dict[str, tuple[tuple[int, ...], str]]
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Copy a folder, linking what has not changed; path -> (its facts, the copy) for next time.

    Where nothing at all has changed no copy is made.
    """
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for place, names, files in os.walk(folder):
        inside = os.path.relpath(place, folder)
        for name in [*names, *files]:
            path = os.path.normpath(os.path.join(inside, name))
            facts = os.lstat(os.path.join(folder, path))
            folded = stat.S_ISDIR(facts.st_mode)
            state = (facts.st_mode, facts.st_ino) if folded else (
                facts.st_mode, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
            )  # fmt: skip
            found[path] = (state, os.path.join(target, path))
    if {p: f for p, (f, _) in found.items()} == {p: f for p, (f, _) in before.items()}:
        return before
    os.makedirs(target)
    for path, (state, copied) in found.items():
        source = os.path.join(folder, path)
        if stat.S_ISDIR(state[0]):
            os.mkdir(copied)
            os.chmod(copied, stat.S_IMODE(state[0]))
        elif stat.S_ISREG(state[0]) and path in before and before[path][0] == state:
            os.link(before[path][1], copied)
        else:
            shutil.copy2(source, copied, follow_symlinks=False)
    return found


class Deletion:
    """Deletes a folder before the so-manieth use of it; an audit hook."""

    def __init__(self, folder: str, delete_at: int | None, journal: str | None) -> None:
        self.folder = os.path.realpath(folder)
        self.delete_at = delete_at
        self.journal = os.open(journal, os.O_WRONLY | os.O_CREAT, 0o666) if journal else None
        self.count = 0
        self.lock = threading.RLock()
        self.deleting = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir"):
            paths = [_place(arguments[0], None)]
        elif event in _CHANGES:
            paths = [
                _place(arguments[where], arguments[base] if base is not None else None)
                for where, base in _CHANGES[event]
            ]
        else:
            return
        if self.deleting or not any((p + os.sep).startswith(self.folder + os.sep) for p in paths):
            return
        with self.lock:
            self.count += 1
            if self.journal is not None:
                names = " ".join(os.path.relpath(path, self.folder) for path in paths)
                os.write(self.journal, f"{event} {names}\n".encode("utf-8", "surrogateescape"))
            if self.count == self.delete_at:
                self.deleting = True
                shutil.rmtree(self.folder, ignore_errors=True)
                self.deleting = False


def _place(path: Any, base: Any) -> str:
    """The absolute path of an argument; a descriptor is no new file, so it is nowhere."""
    if isinstance(path, int) or path is None:
        return ""
    text = os.fsdecode(path)
    if os.path.isabs(text) or not isinstance(base, int) or base < 0:
        return os.path.abspath(text)
    with contextlib.suppress(OSError):
        return os.path.join(os.readlink(f"/proc/self/fd/{base}"), text)
    return os.path.abspath(text)


def run(request: dict[str, Any]) -> NoReturn:
    """Become the command line as the request says."""
    if "make_weights" in request:
        make_weights(request["make_weights"])
        os._exit(0)
    os.umask(request.get("umask", 0o022))
    for stream, number in (("stdout", 1), ("stderr", 2)):
        file = os.open(request[stream], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(file, number)
        os.close(file)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    import tempfile

    tempfile.tempdir = None  # asked again: TMPDIR is the request's
    if not request.get("drawn"):
        stand_ins_for_charts()
    if request.get("plant"):
        runpy.run_path(request["plant"])
    if "torn_at" in request:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["torn_at"], request["torn_at"]))
    if request.get("user"):
        for name in Path(request["modules"]).read_text().split():
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
    from tellapart.cli import main

    if request.get("watch"):
        watched = request["watch"]
        keeper = Keeper(watched, request["keep"]) if request.get("keep") else None
        sys.addaudithook(
            Operations(watched, request.get("kill_at"), request.get("journal"), keeper)
        )
    if request.get("deletes"):
        sys.addaudithook(
            Deletion(request["deletes"], request.get("delete_at"), request.get("journal"))
        )
    if request.get("start_at"):
        time.sleep(max(0.0, request["start_at"] - time.monotonic()))
    sys.argv = ["tellapart", *request["argv"]]
    status = 0
    try:
        main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    if request.get("modules") and not request.get("user"):
        Path(request["modules"]).write_text("\n".join(sys.modules))
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError as error:  # as Python itself does at its end
        print(f"Exception ignored in stdout: {error}", file=sys.stderr)
        status = 120
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)


def stand_ins_for_charts() -> None:
    """Charts are not drawn, which takes a quarter of a small training and touches no file."""
    from matplotlib.figure import Figure
    from PIL import Image

    noise = random.Random(0)
    png = io.BytesIO()
    Image.frombytes("L", (160, 160), noise.randbytes(160 * 160)).save(png, "PNG")
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><!--{noise.randbytes(15_000).hex()}--></svg>'

    def savefig(self: Figure, target: Any, format: str = "png", **_: Any) -> None:
        target.write(svg if format == "svg" else png.getvalue())

    Figure.savefig = savefig  # type: ignore[method-assign, assignment]


def make_weights(file: str) -> None:
    """A small network with weights drawn from a seed, as a safetensors file."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("test_efficientnet", pretrained=False).state_dict(), file)


def watch(process: int, request: dict[str, Any]) -> dict[str, Any]:
    """Wait for a child, ending it where the request says; what became of it."""
    started = time.monotonic()
    waiting = os.pidfd_open(process)
    kill_after = request.get("kill_after")
    limit = request.get("limit_seconds", 600.0)
    stopped = ""
    while not stopped:
        spent = time.monotonic() - started
        ends = min(20 * limit, kill_after if kill_after is not None else 20 * limit)
        if spent >= ends:
            stopped = "killed" if kill_after is not None and spent >= kill_after else "time"
        elif spent > limit and _processor_seconds(process) > limit:
            stopped = "time"
        elif "limit_bytes" in request and _resident(process) > request["limit_bytes"]:
            stopped = "memory"
        elif select.select([waiting], [], [], min(0.05, max(0.0, ends - spent)))[0]:
            break
        if stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    _, status, usage = os.wait4(process, 0)
    os.close(waiting)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)  # what it started itself
    code = os.waitstatus_to_exitcode(status)
    return {
        "code": code,
        # A kill that came after the end was none.
        "stopped": stopped if code < 0 else "",
        "seconds": time.monotonic() - started,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def _processor_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def serve() -> None:
    """Answer requests until standard input ends."""
    import tellapart

    modules = [m.name for m in pkgutil.walk_packages(tellapart.__path__, "tellapart.")]
    for name in (*HEAVY, *modules):
        if name != "tellapart.__main__":
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    answer(sys.stdin, sys.stdout)


def answer(requests: TextIO, answers: TextIO) -> None:
    """One fork a request, one after the other; ``serve`` alone makes a fork that answers others."""
    for line in requests:
        request = json.loads(line)
        process = os.fork()
        if process == 0 and "serve" in request:
            to, back = request["serve"]
            with Path(to).open() as own_requests, Path(back).open("w") as own_answers:
                answer(own_requests, own_answers)
            os._exit(0)
        if process == 0:
            os.setsid()
            run(request)
        told = {} if "serve" in request else watch(process, request)
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        run(json.loads(sys.argv[2]))
