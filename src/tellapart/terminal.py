"""How a command ends: its result on standard output, its sentence on standard error, its code."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from tellapart.errors import FileError, TellapartError
from tellapart.extras import TRAIN
from tellapart.files import write_problem
from tellapart.result import INTERRUPTED, MISTAKE
from tellapart.wording import shown

#: What else ends a command as Ctrl-C does, where the system has it.
_SIGNALS = ("SIGTERM", "SIGHUP")


class Signalled(KeyboardInterrupt):
    """A signal that asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def say(lines: Iterable[str]) -> None:
    """Print lines to standard output, in its encoding; what that lacks is shown as an escape.

    Raises:
        FileError: standard output takes nothing: the disk is full, or it is closed.
    """
    out = sys.stdout
    try:
        # On a terminal nothing that a name holds may move the cursor; a file gets it unchanged.
        obeys = out.isatty()
        for line in lines:
            out.write((shown(line) if obeys else line) + "\n")
        out.flush()
    except OSError as error:
        _drop_output()
        raise FileError(write_problem(error, "Standard output")) from error


def say_json(content: Any, indent: int | None = 1) -> None:
    """Print JSON to standard output; as ASCII where its encoding is not UTF-8.

    Raises:
        FileError: standard output takes nothing.
    """
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    say([json.dumps(content, indent=indent, ensure_ascii=plain)])


def complain(sentence: str) -> None:
    """Print a sentence to standard error, if anybody can still read it."""
    with suppress(OSError, ValueError, AttributeError):
        for line in f"tellapart: {sentence}".splitlines():
            sys.stderr.write(shown(line) + "\n")
        sys.stderr.flush()


def run_command(command: Callable[[], Any]) -> NoReturn:
    """Run a command and end the process with its exit code; a user never sees a traceback.

    0: done. 1: done, but some of what was given could not be read. 2: a mistake or a full disk;
    the sentence says what to do. 128 + n: stopped by signal n, 130 for Ctrl-C.
    """
    received = _listen()
    code: Any = 0
    try:
        _prepare_output()
        command()
        sys.stdout.flush()
    except SystemExit as end:
        code = end.code
        if code == INTERRUPTED and received:
            code = 128 + received[-1]
    except TellapartError as error:
        complain(str(error))
        code = MISTAKE
    except ModuleNotFoundError as error:
        # What needs PyTorch says so before it begins; this is for what was not thought of.
        if (error.name or "").partition(".")[0] not in TRAIN:
            raise
        complain(
            f"This needs {error.name}, which is not installed: run pip install 'tellapart[train]'."
        )
        code = MISTAKE
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Signalled) else int(signal.SIGINT)
        complain(
            "interrupted."
            if number == signal.SIGINT
            else f"stopped by {signal.Signals(number).name}."
        )
        code = 128 + number
    except OSError as error:
        if not _is_of_a_place(error):
            raise
        complain(write_problem(error, error.filename or "Standard output"))
        code = MISTAKE
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        complain(write_problem(error, "Standard output"))
        _drop_output()
        code = MISTAKE
    sys.exit(code)


def _prepare_output() -> None:
    """Names that an encoding lacks are escaped; a closed output is said before any work."""
    if sys.stdout is None:
        raise FileError(
            "Standard output is closed, so the result would be lost; send it somewhere, for "
            "example to /dev/null."
        )
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    warnings.formatwarning = _warning


def _warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    line: str | None = None,
) -> str:  # fmt: skip
    """A warning as a sentence: whoever reads a terminal has no use for the line of code."""
    return f"tellapart: {shown(str(message))}\n"


def _listen() -> list[int]:
    """Let SIGTERM and SIGHUP end as Ctrl-C does; the list gets each number that comes."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise Signalled(number)

    for name in _SIGNALS:
        number = getattr(signal, name, None)
        # What a parent told us to ignore stays ignored: that is how nohup works.
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `tellapart predict ... | head` is no error
    return received


def _is_of_a_place(error: OSError) -> bool:
    """Whether a user can do something about it: no room, no right, no such place."""
    return error.errno in {
        errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EBADF,
        errno.EIO, errno.EFBIG, errno.EPIPE, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
        errno.EEXIST,
    }  # fmt: skip


def _drop_output() -> None:
    """Send what is left in the buffer nowhere, so that the end of Python does not fail on it."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
