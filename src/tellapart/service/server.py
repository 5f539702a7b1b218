"""The server: uvicorn around the application, in one process or several."""

from __future__ import annotations

from functools import partial

from tellapart.service.app import create_app
from tellapart.service.settings import ServiceSettings


def run_server(settings: ServiceSettings, *, host: str, port: int, workers: int) -> None:
    """Answer requests until SIGTERM or Ctrl-C; what was accepted by then is answered."""
    import uvicorn

    config = uvicorn.Config(
        partial(create_app, settings), factory=True, host=host, port=port, workers=workers,
        log_level="warning", access_log=False, server_header=False, lifespan="on",
    )  # fmt: skip
    uvicorn.Server(config).run()
