"""Gatherer: pictures of many requests go through the network together.

While the network is busy, pictures are decoded and wait; when it is free, all that wait go
through it together. So nothing waits for others to come, and the more come the larger batches are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tellapart.pixels.sets import PixelSets
from tellapart.prediction.answers import Answer
from tellapart.prediction.predictor import Batch, Predictor

Features = NDArray[np.float32]


class Retired(Exception):
    """A newer version of the model has taken over: ask that one."""


class GivenPicture(NamedTuple):
    """A picture of a request: what it is called, and the bytes of its file."""

    name: str
    content: bytes


class _Waiting(NamedTuple):
    """A decoded picture, and where its answer goes."""

    name: str
    pixels: Any
    answer: Future[Answer]


class Gatherer:
    """Answers pictures of any number of callers, in batches.

    Args:
        predictor: what answers.
        decoders: decodes pictures; may be shared with others.
        check: refuses a picture before it is decoded, by an exception that its caller gets.
        on_batch: told of the answers to pictures that went through the network together, and of
            their features (N, D) where these cost nothing.
    """

    def __init__(
        self,
        predictor: Predictor,
        decoders: ThreadPoolExecutor,
        *,
        check: Callable[[GivenPicture], None] = lambda picture: None,
        on_batch: Callable[[Sequence[Answer], Features | None], None] = lambda answers, seen: None,
    ) -> None:
        self._predictor = predictor
        self._decoders = decoders
        self._check = check
        self._on_batch = on_batch
        self._decoded: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._lock = Lock()
        self._undecoded = 0
        self._retired = False
        self._thread = Thread(target=self._work, name="tellapart-network", daemon=True)
        self._thread.start()

    def submit(self, pictures: Sequence[GivenPicture]) -> list[Future[Answer]]:
        """An answer for each picture, when it is there; all by this gatherer, or none.

        One that is cancelled before its picture is decoded costs nothing more.

        Raises:
            Retired: it takes no more.
        """
        with self._lock:
            if self._retired:
                raise Retired
            self._undecoded += len(pictures)
        answers: list[Future[Answer]] = []
        for picture in pictures:
            answers.append(Future())
            self._decoders.submit(self._decode, picture, answers[-1])
        return answers

    def retire(self) -> None:
        """Take no more; what was taken is answered, then the thread ends."""
        with self._lock:
            if self._retired:
                return
            self._retired = True
            if not self._undecoded:
                self._decoded.put(None)

    def join(self) -> None:
        """Wait until all is answered that was taken before :meth:`retire`."""
        self._thread.join()

    def _decode(self, picture: GivenPicture, answer: Future[Answer]) -> None:
        try:
            if not answer.set_running_or_notify_cancel():
                return  # nobody waits for it any more
            self._check(picture)
            pixels, (reason,) = self._predictor.decoded([picture.content])
            if reason:
                answer.set_result(Answer(picture.name, "", {}, reason))
            else:
                self._decoded.put(_Waiting(picture.name, pixels, answer))
        except BaseException as error:
            answer.set_exception(error)
        finally:
            with self._lock:
                self._undecoded -= 1
                if self._retired and not self._undecoded:
                    self._decoded.put(None)

    def _work(self) -> None:
        ending = False
        while not ending:
            taken = [self._decoded.get()]
            while len(taken) < self._predictor.batch_images and not self._decoded.empty():
                taken.append(self._decoded.get())
            ending = None in taken
            batch = [waiting for waiting in taken if waiting is not None]
            if batch:
                self._answer(batch)

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            pixels = _together([waiting.pixels for waiting in batch])
            judged, features = self._predictor.judge_and_features(pixels)
            told = Batch(tuple(waiting.name for waiting in batch), ("",) * len(batch), judged)
            answers = list(self._predictor.answers(told))
            for waiting, answer in zip(batch, answers, strict=True):
                waiting.answer.set_result(answer)
            self._on_batch(answers, features)
        except BaseException as error:
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)


def _together(prepared: Sequence[Any]) -> Any:
    """Prepared pictures, one each, as one batch."""
    if len(prepared) == 1:
        return prepared[0]
    if isinstance(prepared[0], PixelSets):
        arrays = zip(*(one.arrays for one in prepared), strict=True)
        return PixelSets(tuple(np.concatenate(ways) for ways in arrays))
    return np.concatenate(prepared)
