"""Pictures that end the process that reads them: which they are, so that work goes on without.

A decoder that crashes, or a picture that needs more memory than there is, takes its process with
it, and what was being done is done again, by another process, which ends in its turn. So whoever
hands out the work keeps a :class:`Ledger`: work that is begun for the second time is done one
picture at a time, each written down before it is touched, and a picture on which processes ended
:data:`DEATHS` times is not touched any more.
"""

from __future__ import annotations

from collections import Counter

#: So often may a process end on one picture, or while it opens the model: processes also end for
#: reasons of their own, and rarely twice at the same place.
DEATHS = 2
#: So many pictures of one batch may do it; more, and it is not the pictures.
MOST_KILLERS = 8


class Ledger:
    """What was begun and not ended; all of it plain values, so that it can be asked from afar.

    Args:
        workers: processes that work at the same time.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        #: Processes that began to open the model and did not say that they have: those that still
        #: do, at most as many as there are workers, and those that ended.
        self._opening = 0
        self._begun: Counter[str] = Counter()
        #: Of each batch, the picture that is being read.
        self._at: dict[str, str] = {}
        self._deaths: dict[str, Counter[str]] = {}

    def opening(self) -> bool:
        """A process opens the model; False where too many have ended while they did."""
        self._opening += 1
        return self._opening <= self._workers + DEATHS

    def opened(self) -> None:
        """It has; those that ended before are forgotten."""
        self._opening = min(self._opening - 1, self._workers)

    def begin(self, batch: str) -> tuple[bool, list[str]]:
        """A batch is begun.

        Returns:
            Whether to go one picture at a time, and the pictures not to touch.
        """
        self._begun[batch] += 1
        deaths = self._deaths.setdefault(batch, Counter())
        if batch in self._at:
            deaths[self._at.pop(batch)] += 1
        killers = [picture for picture, times in deaths.items() if times >= DEATHS]
        return self._begun[batch] > 1, killers

    def touch(self, batch: str, picture: str) -> None:
        """A picture of a batch is read next."""
        self._at[batch] = picture

    def end(self, batch: str) -> None:
        """A batch is done."""
        self._at.pop(batch, None)
        self._begun.pop(batch, None)
        self._deaths.pop(batch, None)
