"""The server: uvicorn around the application, in one process or several."""

from __future__ import annotations

import gc
import logging
import os
import socket
import tempfile
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from typing import Any

from tellapart.errors import TellapartError
from tellapart.service.settings import ServiceSettings

#: Of what is being answered when the service is told to stop, beyond the time of one answer.
_GRACE_SECONDS = 5
#: A worker that does not say for so long that it lives is replaced; opening models takes a while.
_LIFE_SECONDS = 120


def run_server(settings: ServiceSettings, *, host: str, port: int, workers: int) -> int | None:
    """Answer requests until SIGTERM or Ctrl-C; what was accepted by then is answered.

    Returns:
        How many were answered; None where several processes did.

    Raises:
        TellapartError: the address cannot be listened to, or (with one worker) a model cannot be
            opened.
    """
    listening = _listening(host, port)
    try:
        if workers > 1:
            _run_workers(settings, listening, workers)
            return None
        return _run_one(settings, listening)
    finally:
        listening.close()


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a taken port is said before models are opened."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    try:
        if os.name == "posix":  # elsewhere it would let two services share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise TellapartError(
            f"{host}:{port} cannot be listened to: {error.strerror or error}; choose another port "
            "with --port, or an address of this machine with --host."
        ) from error
    listening.setblocking(False)
    return listening


def _config(app: Any, settings: ServiceSettings, workers: int) -> Any:
    import uvicorn

    return uvicorn.Config(
        app, factory=workers > 1, workers=workers, http=_protocol(), ws="none", lifespan="on",
        log_level="error", access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=round(settings.limits.seconds) * 2
        + _GRACE_SECONDS, timeout_worker_healthcheck=_LIFE_SECONDS,
    )  # fmt: skip


def _protocol() -> Any:
    """Limited connections; where httptools is not here, h11's, which limits headers itself."""
    if find_spec("httptools") is None:
        return "h11"
    from tellapart.service.protocol import LimitedProtocol

    return LimitedProtocol


def _write_log() -> None:
    """What operators should know goes to standard error; no picture, and no name of one."""
    log = logging.getLogger("tellapart.service")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # quotes damaged bodies


def _settle() -> None:
    """Have the collector of cycles leave alone what is here to stay: libraries and models.

    It would look through all of that every few hundred requests, which cost half of the time
    that HTTP takes, and held every answer up meanwhile. What an exchanged model leaves is freed.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _run_one(settings: ServiceSettings, listening: socket.socket) -> int:
    import uvicorn

    from tellapart.service.app import create_app

    _write_log()
    failures: list[Exception] = []

    def fail(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(settings, on_failure=fail, on_change=_settle)
    server = uvicorn.Server(_config(app, settings, 1))
    # Once it has stopped, uvicorn raises the signal again, for whoever comes next.
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    if failures:
        raise failures[0]
    return server.server_state.total_requests


def _run_workers(settings: ServiceSettings, listening: socket.socket, workers: int) -> None:
    from uvicorn.supervisors import Multiprocess

    with tempfile.TemporaryDirectory(prefix="tellapart-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # before anything imports the package
        try:
            app = partial(_worker_app, settings)
            Multiprocess(_config(app, settings, workers), sockets=[listening]).run()
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def _worker_app(settings: ServiceSettings) -> Any:
    from tellapart.service.app import create_app

    _write_log()
    return create_app(settings, on_change=_settle)
