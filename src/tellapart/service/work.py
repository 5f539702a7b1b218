"""Work: from the pictures of a request to their answers, within the limits of the service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from tellapart.errors import RunError, TellapartError
from tellapart.pixels.decode import UnreadableImage
from tellapart.pixels.headers import read_header
from tellapart.prediction.answers import Answer
from tellapart.service.bodies import Memory
from tellapart.service.explaining import Explainer
from tellapart.service.gatherer import GivenPicture, Retired
from tellapart.service.models import Models, Observe, ServedModel
from tellapart.service.refusals import Refused, busy
from tellapart.service.settings import Limits, ServiceSettings
from tellapart.wording import plural

_LOG = logging.getLogger("tellapart.service")
#: What one answer took lately counts this much in the estimate of how long others will wait.
_NEWEST = 0.1
#: An explanation needs files of the run, which may be another by then; it is tried so often.
_TRIES = 3


class Work:
    """What a service does for its requests; everything here runs in the loop's one thread.

    Attributes:
        settings: of the service.
        models: those that answer.
        memory: bytes of bodies.
        waiting: pictures that were accepted and are not answered.
        stopping: whether the service has been told to stop.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        observe: Observe,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.models = Models(
            settings, check=self._check_pixels, observe=observe, on_change=on_change
        )
        self.memory = Memory(settings.limits.waiting_bytes)
        self.waiting = 0
        self.stopping = False
        self._explaining = 0
        self._seconds_an_image = 0.01
        self._explainers: WeakKeyDictionary[ServedModel, Explainer] = WeakKeyDictionary()
        self._explanations = ThreadPoolExecutor(1, "tellapart-explain")

    def stop(self) -> None:
        """Take note that the service has been told to stop; it still answers."""
        self.stopping = True

    def close(self) -> None:
        """Answer what was accepted, then stop."""
        self.models.close()
        self._explanations.shutdown()

    async def answers(
        self, name: str | None, pictures: Sequence[GivenPicture]
    ) -> tuple[ServedModel, list[Answer]]:
        """All pictures answered by one version of a model.

        Raises:
            Refused: no such model, too many wait, a picture is too large, or it takes too long.
        """
        self.models.named(name)  # before anything waits
        with self._among_the_waiting(len(pictures)):
            started = monotonic()
            while True:
                model = self.models.named(name)
                try:
                    submitted = model.gatherer.submit(pictures)
                    break
                except Retired:  # between these two lines a newer version has taken over
                    continue
            try:
                async with asyncio.timeout(self.settings.limits.seconds):
                    answers = await asyncio.gather(*map(asyncio.wrap_future, submitted))
            except TimeoutError as error:
                raise Refused(
                    503, "The answer took too long; send fewer pictures, or try again later.",
                    {"Retry-After": "10"},
                ) from error  # fmt: skip
            taken = (monotonic() - started) / max(self.waiting, len(pictures))
            self._seconds_an_image += _NEWEST * (taken - self._seconds_an_image)
        return model, answers

    async def explanation(
        self, name: str | None, picture: GivenPicture, target: str | None, overlays: int
    ) -> tuple[ServedModel, Answer, dict[str, Any]]:
        """The answer for a picture, and what speaks for it; see :meth:`Explainer.explain`.

        Raises:
            Refused: as :meth:`answers`; the picture cannot be read, or there is no such class.
        """
        limits = self.settings.limits
        if self._explaining >= limits.explanations:
            raise busy("Too many explanations are waiting.", 2)
        self._explaining += 1
        try:
            for _ in range(_TRIES):
                model, (answer,) = await self.answers(name, [picture])
                if answer.error:
                    raise Refused(422, f"{picture.name} cannot be read: {answer.error}")
                try:
                    found = await asyncio.get_running_loop().run_in_executor(
                        self._explanations, self._explainer(model).explain,
                        picture, answer, target, overlays,
                    )  # fmt: skip
                    return model, answer, found
                except RunError:  # another version stands in its folder: take that one
                    await asyncio.to_thread(self.models.reload)
        finally:
            self._explaining -= 1
        raise Refused(503, "The run is being changed; try again.", {"Retry-After": "5"})

    def prepare_explanations(self) -> None:
        """Begin to open what explanations of the first model need; for when one is likely."""
        model = next(iter(self.models), None)
        if model is not None and model.run is not None and not (self._explaining or self.stopping):
            self._explanations.submit(_prepare, self._explainer(model))

    def _explainer(self, model: ServedModel) -> Explainer:
        explainer = self._explainers.get(model)
        if explainer is None:
            explainer = self._explainers[model] = Explainer(model)
        return explainer

    @contextmanager
    def _among_the_waiting(self, images: int) -> Iterator[None]:
        most = self.settings.limits.waiting_images
        if self.waiting and self.waiting + images > most:
            raise busy(
                f"{plural(self.waiting, 'picture')} are waiting already.",
                self.waiting * self._seconds_an_image,
            )
        self.waiting += images
        try:
            yield
        finally:
            self.waiting -= images

    def _check_pixels(self, picture: GivenPicture) -> None:
        check_pixels(picture, self.settings.limits)


def _prepare(explainer: Explainer) -> None:
    try:
        explainer.prepare()
    except (TellapartError, OSError) as error:  # who asks for an explanation is told, too
        _LOG.warning("%s: explanations are not prepared: %s", explainer.name, error)


def check_pixels(picture: GivenPicture, limits: Limits) -> None:
    """Refuse a picture that is too large, before it is decoded; what is none is said later.

    Raises:
        Refused: its header says more pixels than the limit.
    """
    try:
        header = read_header(picture.content)
    except UnreadableImage as error:
        if error.kind == "too_large":
            raise Refused(413, f"{picture.name}: {error.reason}") from error
        return
    if header.width * header.height > limits.pixels:
        raise Refused(
            413,
            f"{picture.name} has {header.width} x {header.height} pixels, more than "
            f"{limits.pixels / 10**6:g} megapixels; send a smaller picture.",
        )
