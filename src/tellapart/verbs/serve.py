"""``tellapart serve``: runs behind HTTP, and a page to try them on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tellapart.errors import TellapartError
from tellapart.machine import keep_memory, resolve_device
from tellapart.predictors import open_predictor
from tellapart.progress import DEFAULT, Progress
from tellapart.result import DONE, ShortRepr, card_of
from tellapart.run import RunGiven
from tellapart.service.settings import ServiceSettings, read_limits, read_token, served_runs
from tellapart.wording import plural, shown

_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


@dataclass(frozen=True, repr=False)
class Served(ShortRepr):
    """That a service has ended."""

    names: tuple[str, ...]
    address: str
    #: How many requests were answered; None where several processes did.
    requests: int | None = None
    exit_code: int = DONE

    def lines(self) -> Iterator[str]:
        answered = f"; {plural(self.requests, 'request')} answered" if self.requests else ""
        yield f"{', '.join(map(shown, self.names))} no longer served at {self.address}{answered}"

    def to_json(self) -> dict[str, Any]:
        return {"runs": list(self.names), "address": self.address, "requests": self.requests}

    def _repr_html_(self) -> str:
        return card_of("Service", self.lines())


def serve(
    runs: Sequence[RunGiven] | RunGiven,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: str | Path | None = None,
    workers: int = 1,
    feedback: str | Path | None = None,
    limits: Iterable[str] = (),
    device: str = "auto",
    progress: Progress = DEFAULT,
) -> Served:
    """Answer requests with one or several runs until the process is told to stop.

    Args:
        runs: run folders or exports, each as ``PATH`` or ``NAME=PATH``; the first answers where a
            request names none.
        host: the address to listen on; by default only programs on this machine get in.
        token_file: a file with the token that requests must bring.
        workers: processes that answer.
        feedback: the folder that corrected pictures are kept in; None: they are refused.
        limits: ``key=number`` strings, laid over :class:`~tellapart.service.settings.Limits`.

    Raises:
        TellapartError: a package is missing, the address cannot be listened to, the token file
            cannot be read, or a limit is none.
        RunError, BundleError: a run or an export cannot be used.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise TellapartError(
            f"'tellapart serve' needs {', '.join(missing)}; run pip install 'tellapart[serve]'."
        )
    from tellapart.service.server import run_server

    given = [runs] if isinstance(runs, str) or not isinstance(runs, Sequence) else runs
    settings = ServiceSettings(
        served_runs([str(getattr(run, "path", run)) for run in given]),
        device=device,
        limits=read_limits(limits),
        token=read_token(Path(token_file)) if token_file is not None else "",
        feedback=Path(feedback).absolute() if feedback is not None else None,
    )
    resolve_device(device)
    for served in settings.runs:  # what can be said of them without opening a network
        open_predictor(served.path)
    keep_memory()
    address = f"http://{host}:{port}"
    names = tuple(run.name for run in settings.runs)
    progress.note(f"Serving {plural(len(names), 'run')} at {address}; Ctrl-C stops it.")
    return Served(names, address, run_server(settings, host=host, port=port, workers=workers))
