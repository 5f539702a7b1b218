"""Monitor: the last answers of a classifier in use, and whether what is asked has drifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.unknown import UnknownDetector, unit_length
from tellapart.monitoring.compare import Compared, compare
from tellapart.monitoring.known import KnownImages

#: Answers that are remembered: some megabytes for a thousand features each.
WINDOW = 500
#: Of a window's test, which is done again and again; its smallest p is 1 / (this + 1).
_PERMUTATIONS = 999
#: A comparison is done anew when this share of the window is new.
_NEW_SHARE = 0.1


@dataclass(frozen=True)
class Reading:
    """What a monitor says of its window.

    Attributes:
        answers: how many answers the window holds.
        unknown_share: of them, further from the training images than nearly all validation
            images; None of none.
        confidence: mean probability of the likeliest class; None of none.
        class_shares: how often each class is the likeliest one.
        compared: the window against the validation images, as it was at most a tenth of the
            window ago; None until there are enough answers to notice anything.
    """

    answers: int
    unknown_share: float | None
    confidence: float | None
    class_shares: dict[str, float]
    compared: Compared | None

    @property
    def drifted(self) -> bool | None:
        """Whether the window differs more than chance; None: too few answers to tell."""
        if self.compared is None or self.compared.outcome == "too few":
            return None
        return self.compared.outcome == "drifted"

    def numbers(self) -> dict[str, float]:
        """What a monitoring system stores, by name; what is not known is left out.

        "drifted" is 1 or 0. Whoever looks every minute sees p below 0.05 by chance in one window
        of twenty: an alarm is better set on p below 0.001, or on several windows one after another.
        """
        compared = self.compared
        values: dict[str, Any] = {
            "window_answers": self.answers,
            "window_unknown_share": self.unknown_share,
            "window_confidence": self.confidence,
            "drift_p": compared.tests.all if compared is not None else None,
            "drift_separation": compared.separation if compared is not None else None,
            "drifted": self.drifted,
        }
        return {name: float(value) for name, value in values.items() if value is not None}


class Monitor:
    """Remembers the last answers, and holds them against the validation images.

    Several threads may use it. It takes no more memory than its window, keeps no picture, and
    compares only when it is read.

    >>> monitor = Monitor(detector, known, ("cat", "dog"))              # doctest: +SKIP
    >>> monitor.add(features, probabilities)                            # doctest: +SKIP
    >>> monitor.reading().numbers()["drift_p"]                          # doctest: +SKIP
    """

    def __init__(
        self,
        detector: UnknownDetector,
        known: KnownImages,
        classes: Sequence[str],
        *,
        window: int = WINDOW,
        least: int = 30,
    ) -> None:
        """Begin with an empty window.

        Args:
            detector, known: of the run that answers.
            classes: in the order of the probabilities.
            window: how many answers are remembered.
            least: answers from which on they are compared.
        """
        self._detector, self._known, self._classes = detector, known, tuple(classes)
        self._features = np.zeros((window, detector.length), np.float16)
        self._probabilities = np.zeros((window, len(self._classes)), np.float32)
        self._least = least
        #: Answers ever, which is also where the next one goes.
        self._seen = 0
        self._lock = Lock()
        #: Held while a comparison is made, which the lock above is not: answers go on.
        self._comparing = Lock()
        self._compared: Compared | None = None
        self._compared_at = 0

    def add(self, features: NDArray[np.float32], probabilities: NDArray[np.float64]) -> None:
        """Take note of answers: features (N, D) and probabilities (N, C)."""
        if not len(features):
            return
        window = len(self._features)
        rows = unit_length(features)[-window:].astype(np.float16)
        with self._lock:
            self._seen += len(features) - len(rows)
            places = (self._seen + np.arange(len(rows))) % window
            self._features[places] = rows
            self._probabilities[places] = probabilities[-window:]
            self._seen += len(rows)

    def reading(self) -> Reading:
        """What the window says now."""
        with self._lock:
            seen = self._seen
            held = min(seen, len(self._features))
            features = self._features[:held].astype(np.float32)
            probabilities = self._probabilities[:held].astype(np.float64)
        if not held:
            return Reading(0, None, None, {}, None)
        shares = np.bincount(probabilities.argmax(axis=1), minlength=len(self._classes)) / held
        return Reading(
            answers=held,
            unknown_share=float(self._detector.is_unknown(features).mean()),
            confidence=float(probabilities.max(axis=1).mean()),
            class_shares=dict(zip(self._classes, shares.tolist(), strict=True)),
            compared=self._comparison(seen, features, probabilities),
        )

    def _comparison(
        self, seen: int, features: NDArray[np.float32], probabilities: NDArray[np.float64]
    ) -> Compared | None:
        """The last one, or another where enough has come since; of several threads one makes it."""
        if len(features) < self._least:
            return None
        new = seen - self._compared_at
        due = self._compared is None or new >= _NEW_SHARE * len(features)
        if due and self._comparing.acquire(blocking=self._compared is None):
            try:
                if self._compared is None or seen > self._compared_at:
                    self._compared = compare(
                        features,
                        probabilities,
                        self._detector,
                        self._known,
                        self._classes,
                        permutations=_PERMUTATIONS,
                    )
                    self._compared_at = seen
            finally:
                self._comparing.release()
        return self._compared
