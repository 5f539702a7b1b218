"""Where few images choose, probes are judged by folds of all that they know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.search import plan
from tellapart.search.outcome import shared
from tellapart.search.record import read_record
from tellapart.verbs import searching
from tellapart.verbs.train import train


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 30 pictures that differ in colour, by little beside the noise."""
    root = tmp_path_factory.mktemp("few") / "photos"
    random = np.random.default_rng(3)
    for name, shift in (("cold", -6), ("warm", 6)):
        (root / name).mkdir(parents=True)
        for number in range(30):
            pixels = random.normal(110, 30, (48, 48, 3)) + random.normal(0, 8)
            pixels[..., 0] += shift
            pixels = pixels.clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


def test_every_image_that_trains_or_chooses_is_held_out_once_and_no_test_image(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def ended(state: plan.State, costs: object) -> plan.Ended:
        seen.append(state)
        return plan.Ended("That was enough.")

    monkeypatch.setattr("tellapart.search.loop.next_candidate", ended)
    run = train(few, run=tmp_path / "run", time="1h", settings=["data.image_size=64"])
    record, state = read_record(run.path), seen[0]
    assert record is not None and record.by_folds
    judged = state.best.validation
    assert judged is not None
    known = [image.path for image in run.images if image.part in ("train", "validation")]
    assert sorted(judged.paths) == sorted(known)
    assert record.validation_images == len(known)
    assert np.allclose(judged.probabilities.sum(axis=1), 1.0, atol=1e-5)
    # Its own images were learned by heart; what folds say of them is not as good.
    own = run.predictions("train")
    assert (own.probabilities.argmax(axis=1) == own.labels).mean() >= (
        (judged.probabilities.argmax(axis=1) == judged.labels).mean()
    )
    page = run.report.read_text("utf-8")
    assert "Cross-validated accuracy" in page


def test_candidates_that_are_judged_by_other_images_meet_on_those_of_both() -> None:
    from types import SimpleNamespace

    from tellapart.evaluation.predictions import Predictions

    def saying(paths: tuple[str, ...], offset: float) -> SimpleNamespace:
        share = np.array([float(path) / 10 for path in paths]) + offset
        return SimpleNamespace(validation=Predictions(
            "validation", ("a", "b"), paths, np.zeros(len(paths), np.int64),
            np.column_stack([share, 1 - share]),
        ))  # fmt: skip

    of_folds, of_validation = saying(("1", "2", "3", "4"), 0.0), saying(("4", "2"), 0.05)
    first, second = shared([of_folds, of_validation])
    assert first.paths == second.paths == ("2", "4")
    assert first.probabilities[:, 0] == pytest.approx([0.2, 0.4])
    assert second.probabilities[:, 0] == pytest.approx([0.25, 0.45])


def test_with_many_images_validation_judges() -> None:
    from types import SimpleNamespace
    from typing import Any, cast

    parts = np.array(["train"] * 500 + ["validation"] * 150)
    table: Any = SimpleNamespace(parts=parts)
    study = searching.Study(cast(Any, None), table, "cpu", None, table)
    assert not study.by_folds
    fewer: Any = SimpleNamespace(parts=parts[:-1])
    assert searching.Study(cast(Any, None), fewer, "cpu", None, fewer).by_folds
