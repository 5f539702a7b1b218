"""Models: the runs that answer, each in its newest version, exchanged while they are in use.

A request takes hold of a :class:`ServedModel` once and gets all its answers from that one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import numpy as np
from PIL import Image

from tellapart.errors import RunError, TellapartError
from tellapart.machine import num_cores
from tellapart.prediction.answers import Answer
from tellapart.prediction.bundle import ABOUT, is_bundle
from tellapart.prediction.predictor import Predictor
from tellapart.predictors import open_predictor
from tellapart.run import Run, open_run
from tellapart.service.about import about_model
from tellapart.service.gatherer import Features, Gatherer, GivenPicture
from tellapart.service.refusals import Refused
from tellapart.service.settings import ServedRun, ServiceSettings
from tellapart.wording import did_you_mean, listed, shown

_LOG = logging.getLogger("tellapart.service")
#: A folder that is replaced while it is opened is opened again, so often.
_TRIES = 5


#: Told of a model's answers to a batch, and of their features where these cost nothing.
Observe = Callable[["ServedModel", Sequence[Answer], Features | None], None]


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One version of a run, open and warm.

    Attributes:
        served: where it is, and what it is called.
        predictor: what answers.
        about: what it is, see :func:`tellapart.service.about.about_model`.
        run: the run; None for an export.
        gatherer: gathers the pictures of requests for it.
        stamp: what the folder looked like when it was opened.
        loaded: when.
    """

    served: ServedRun
    predictor: Predictor
    about: Mapping[str, Any]
    run: Run | None
    gatherer: Gatherer
    stamp: object
    loaded: datetime

    @property
    def name(self) -> str:
        return self.served.name

    @property
    def version(self) -> str:
        """Names weights and rules."""
        return str(self.about["version"])


class Models:
    """All models of a service, by name; the first answers where none is named.

    Opening them takes seconds, and is done by :meth:`open`; until then there are none.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        check: Callable[[GivenPicture], None] = lambda picture: None,
        observe: Observe = lambda model, answers, features: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Know of the runs; nothing is opened yet.

        Args:
            check: refuses a picture before it is decoded, by an exception.
            observe: told of the answers of each batch, see :class:`Gatherer`.
            on_change: called when all models are open, and when one was exchanged and the old
                version has answered what it took.
        """
        self._settings = settings
        self._check = check
        self._observe = observe
        self._on_change = on_change
        self._current: dict[str, ServedModel] = {}
        self._problems: dict[str, str] = {}
        self._decoders = ThreadPoolExecutor(num_cores(), "tellapart-decode")
        self._stopping = Event()
        self._watcher: Thread | None = None
        self._exchanging = Lock()

    # --- for requests ----------------------------------------------------------------------

    def __iter__(self) -> Iterator[ServedModel]:
        current = dict(self._current)
        return iter([current[run.name] for run in self._settings.runs if run.name in current])

    @property
    def ready(self) -> bool:
        """Whether every model can answer."""
        return len(self._current) == len(self._settings.runs)

    def named(self, name: str | None) -> ServedModel:
        """The newest version of a model; of the first one where no name is given.

        Raises:
            Refused: there is no such model, or it is not open yet.
        """
        names = [run.name for run in self._settings.runs]
        wanted = names[0] if name is None else name
        if wanted not in names:
            hint = did_you_mean(wanted, names) or f" There is: {listed(names, 20)}."
            raise Refused(404, f"There is no model '{shown(wanted)}'.{hint}")
        if wanted not in self._current:
            raise Refused(503, "The model is not loaded yet.", {"Retry-After": "2"})
        return self._current[wanted]

    def problem(self, name: str) -> str:
        """Why a newer version of a model's folder is not in use; "" where none is waiting."""
        return self._problems.get(name, "")

    # --- opening, exchanging, closing --------------------------------------------------------

    def open(self) -> None:
        """Open and warm every model, then look at their folders for new versions.

        Raises:
            TellapartError: one cannot be used.
        """
        for served in self._settings.runs:
            if served.name not in self._current:
                self._current[served.name] = self._opened(served)
        self._on_change()
        self._watcher = Thread(target=self._watch, name="tellapart-watch", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Answer what waits, and stop."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()  # it may be opening a network, which must not be torn down
        for model in self._current.values():
            model.gatherer.retire()
        for model in self._current.values():
            model.gatherer.join()
        self._decoders.shutdown()

    def reload(self) -> None:
        """Exchange those models whose folder has changed; a new one that cannot be used is not."""
        with self._exchanging:
            exchanged = [self._exchanged(name) for name in list(self._current)]
        if any(exchanged):
            self._on_change()

    def _exchanged(self, name: str) -> bool:
        """Whether a newer version has taken over; the old one has answered what it took."""
        old = self._current[name]
        stamp = stamp_of(old.served.path)
        if stamp is None or stamp == old.stamp:
            self._problems.pop(name, None)
            return False
        try:
            new = self._opened(old.served)
        except (TellapartError, OSError) as error:
            if self._problems.get(name) != str(error):
                _LOG.warning("%s: the old version goes on: %s", name, error)
            self._problems[name] = str(error)
            return False
        self._problems.pop(name, None)
        self._current[name] = new
        old.gatherer.retire()
        _LOG.info("%s: version %s in the place of %s", name, new.version, old.version)
        old.gatherer.join()
        return True

    def _watch(self) -> None:
        while not self._stopping.wait(self._settings.check_seconds):
            self.reload()

    def _opened(self, served: ServedRun) -> ServedModel:
        """A version that was not replaced while it was opened."""
        for attempt in range(_TRIES):
            stamp = stamp_of(served.path)
            try:
                predictor, run = _open(served, self._settings.device)
                _warm(predictor, run)
            except (TellapartError, OSError):
                if stamp == stamp_of(served.path) or attempt == _TRIES - 1:
                    raise
                continue
            if stamp == stamp_of(served.path):
                return self._served(served, predictor, run, stamp)
        raise RunError(f"{shown(served.path)} changes all the time; wait until it is finished.")

    def _served(
        self, served: ServedRun, predictor: Predictor, run: Run | None, stamp: object
    ) -> ServedModel:
        opened: list[ServedModel] = []
        gatherer = Gatherer(
            predictor, self._decoders, check=self._check,
            on_batch=lambda answers, features: self._observe(opened[0], answers, features),
        )  # fmt: skip
        now = datetime.now(UTC).replace(microsecond=0)
        about = about_model(served.name, predictor, run)
        model = ServedModel(served, predictor, about, run, gatherer, stamp, now)
        opened.append(model)
        return model


def _open(served: ServedRun, device: str) -> tuple[Predictor, Run | None]:
    if is_bundle(served.path):
        return open_predictor(served.path, device=device), None
    run = open_run(served.path)
    return run.predictor(device), run


def _warm(predictor: Predictor, run: Run | None) -> None:
    """Have all of it read and compiled, so that nothing of the folder is needed later."""
    if run is not None:
        _ = run.info, run.recipe, run.metrics, run.images, run.source
    grey = np.full((64, 64, 3), 128, np.uint8)
    predictor.predict_one(Image.fromarray(grey))


def stamp_of(folder: Path) -> object:
    """Changes when another run stands in the folder, or its rules change; None: there is none."""
    for name in ("run.json", ABOUT):
        try:
            found = (folder / name).stat()
        except OSError:
            continue
        return name, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
    return None
