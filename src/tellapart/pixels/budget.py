"""Memory for all pictures that are being decoded at a time, shared by the decoding threads.

A file of 0.3 MB may hold a picture of 178 megapixels, for which decoding takes 2 GB: one
such picture at a time is fine, one a thread is not. Small pictures need not ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Condition

#: What one pixel takes until it is small: stored, laid on white, converted.
BYTES_A_PIXEL = 12
#: Pictures that need less than this do not wait for one another.
SMALL_BYTES = 48 << 20
#: Larger ones together; one alone may need more.
BUDGET_BYTES = 1 << 30


class Budget:
    """So many bytes, of which each user takes a share while it works.

    A share larger than the whole is given to a user that is alone.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._changed = Condition()

    def share(self, wanted: int) -> AbstractContextManager[None]:
        """Wait until ``wanted`` bytes are free, and hold them."""
        return _FREE if wanted < SMALL_BYTES else self._held(wanted)

    @contextmanager
    def _held(self, wanted: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + wanted <= self._total)
            self._used += wanted
        try:
            yield
        finally:
            with self._changed:
                self._used -= wanted
                self._changed.notify_all()


_FREE = nullcontext()
#: Of this process.
DECODING = Budget(BUDGET_BYTES)
