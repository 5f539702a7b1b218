"""Made predictions for the tests here: Gaussian scores, so that the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tellapart.evaluation.predictions import Predictions


@pytest.fixture
def made() -> Callable[..., Predictions]:
    def make(
        images: int,
        classes: int = 2,
        *,
        seed: int = 0,
        separation: float = 2.0,
        sharpness: float = 1.6,
        shares: list[float] | None = None,
        part: str = "test",
        group_sizes: list[int] | None = None,
        alike: float = 0.0,
    ) -> Predictions:
        """``alike`` is the correlation of the scores within groups, which share their label."""
        generator = np.random.default_rng(seed)
        if group_sizes is None:
            groups = None
            labels = generator.choice(classes, images, p=shares)
            scores = generator.normal(size=(images, classes))
        else:
            groups = np.repeat(np.arange(len(group_sizes)), group_sizes)
            images = len(groups)
            labels = generator.choice(classes, len(group_sizes), p=shares)[groups]
            common = generator.normal(size=(len(group_sizes), classes))[groups]
            own = generator.normal(size=(images, classes))
            scores = np.sqrt(alike) * common + np.sqrt(1.0 - alike) * own
        scores[np.arange(images), labels] += separation
        powers = np.exp(sharpness * (scores - scores.max(axis=1, keepdims=True)))
        return Predictions(
            part=part,
            classes=tuple(f"class {i}" for i in range(classes)),
            paths=tuple(f"images/{i:05d}.jpg" for i in range(images)),
            labels=labels.astype(np.int64),
            probabilities=powers / powers.sum(axis=1, keepdims=True),
            groups=groups,
        )

    return make
