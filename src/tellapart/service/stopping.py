"""A graceful stop: answers say that their connection ends, then no more are taken, then the end.

A client that keeps its connection open may send its next request in the very moment in which the
server closes it. So for a short time after the signal everything is still answered, and each answer
closes its connection: then none is open and idle when the server stops listening.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Seconds between a signal and the end of listening.
DRAIN_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def draining(on_stop: Callable[[], None], seconds: float = DRAIN_SECONDS) -> Iterator[None]:
    """While inside, what a signal to stop does, it does ``seconds`` later; a second one, at once.

    Inside a running loop. In another thread than the first, where no signals come, nothing is
    changed.

    Args:
        on_stop: called at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    usual = {number: signal.getsignal(number) for number in _SIGNALS}
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        handler = usual[signal.Signals(number)]
        if not callable(handler):
            return
        if stopping:
            handler(number, frame)
            return
        stopping = True
        on_stop()
        loop.call_soon_threadsafe(loop.call_later, seconds, handler, number, None)

    for number, handler in usual.items():
        if callable(handler):
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
