"""What a service is told: which runs, what it takes, where feedback goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from tellapart.errors import TellapartError
from tellapart.wording import did_you_mean, listed, shown

MEBIBYTE = 1 << 20
#: Headers of a request, its address among them; beyond it 431.
HEADER_BYTES = 1 << 16
#: From the beginning of a connection, or of its next request, to the end of the headers.
HEADER_SECONDS = 20.0


@dataclass(frozen=True)
class Limits:
    """What one request, and all that wait, may take.

    Attributes:
        request_bytes: the body of a request; beyond it 413.
        pixels: of one picture, as its header says; beyond it 413.
        images: pictures in one request; beyond it 422.
        seconds: from the first byte of a body to its answer; a body that is not there by then is
            answered 408, an answer that is not, 503.
        waiting_images: accepted and not yet answered; beyond it 429.
        waiting_bytes: of all bodies that are in memory; beyond it 429.
        explanations: that wait or are worked on; beyond it 429.
    """

    request_bytes: int = 32 * MEBIBYTE
    pixels: int = 50_000_000
    images: int = 64
    seconds: float = 30.0
    waiting_images: int = 256
    waiting_bytes: int = 256 * MEBIBYTE
    explanations: int = 8


@dataclass(frozen=True)
class ServedRun:
    """A run, or an export, and the name it goes by in requests."""

    name: str
    path: Path


@dataclass(frozen=True)
class ServiceSettings:
    """All that a service is made of; plain data, so that every worker makes the same.

    Attributes:
        runs: the first is the one that answers where a request names none.
        device: see :func:`tellapart.machine.resolve_device`.
        token: what requests must bring; "": nothing.
        feedback: the folder that corrected images are kept in; None: they are refused.
        check_seconds: how often a run's folder is looked at for a new version.
    """

    runs: tuple[ServedRun, ...]
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)
    token: str = field(default="", repr=False)
    feedback: Path | None = None
    check_seconds: float = 1.0


def served_runs(given: Sequence[str | Path]) -> tuple[ServedRun, ...]:
    """Runs as they are named on the command line: ``PATH``, or ``NAME=PATH``.

    >>> [run.name for run in served_runs(["runs/pets", "old=runs/2026-pets"])]
    ['pets', 'old']

    Raises:
        TellapartError: none is given, or two have one name.
    """
    runs: list[ServedRun] = []
    for text in map(str, given):
        name, equals, path = text.partition("=")
        if not equals or not name or "/" in name or Path(text).exists():
            name, path = Path(text).absolute().name, text
        runs.append(ServedRun(name, Path(path).absolute()))
    if not runs:
        raise TellapartError("Which run? Give its folder: 'tellapart serve RUN'.")
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise TellapartError(
                f"Two runs are called '{shown(name)}'; name them: 'tellapart serve first=RUN "
                "second=RUN'."
            )
    return tuple(runs)


def read_limits(given: Iterable[str]) -> Limits:
    """Limits of ``key=number`` strings, laid over the usual ones.

    >>> read_limits(["images=8", "seconds=2.5"]).seconds
    2.5

    Raises:
        TellapartError: one is none.
    """
    usual = Limits()
    changes: dict[str, int | float] = {}
    for text in given:
        key, _, value = text.partition("=")
        if not hasattr(usual, key):
            names = [field.name for field in fields(Limits)]
            raise TellapartError(
                f"--limit {shown(text)}: there is no limit '{shown(key)}'."
                f"{did_you_mean(key, names) or f' There is: {listed(names, 20)}.'}"
            )
        number = float if key == "seconds" else int
        try:
            changes[key] = number(value)
        except ValueError as error:
            raise _no_number(text) from error
        if not 0 < changes[key] < float("inf"):
            raise _no_number(text)
    return replace(usual, **changes)  # type: ignore[arg-type]


def _no_number(text: str) -> TellapartError:
    return TellapartError(
        f"--limit {shown(text)}: give a number above 0, for example images=8 or seconds=2.5."
    )


def read_token(file: Path) -> str:
    """The token that a file holds, without the line end behind it.

    Raises:
        TellapartError: the file cannot be read, or holds no token.
    """
    try:
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise TellapartError(
            f"--token-file {shown(file)} cannot be read: {reason}; put a token into it, for "
            "example that of 'openssl rand -hex 32'."
        ) from error
    if len(token) < 16 or not token.isprintable() or " " in token:
        raise TellapartError(
            f"--token-file {shown(file)} holds no token of 16 characters or more without spaces; "
            "make one with 'openssl rand -hex 32'."
        )
    return token
