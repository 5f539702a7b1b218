"""What `/metrics` says of the last answers: class shares, confidence, and whether they drift."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[1] / "monitoring"))

from made_features import CLASSES, World

from tellapart.prediction.answers import Answer
from tellapart.service.monitoring import AnswerMetrics


@dataclass(eq=False)
class Served:
    """What the metrics needs of a served model."""

    run: Any
    name: str = "pets"
    predictor: Any = field(default_factory=lambda: SimpleNamespace(classes=CLASSES))
    loaded: datetime = field(default_factory=lambda: datetime.now(UTC))


def run_in(folder: Path, world: World) -> Any:
    detector, known = world.run()
    detector.save(folder / "unknown.safetensors")
    known.save(folder / "known.safetensors")
    return SimpleNamespace(
        unknown_file=folder / "unknown.safetensors", known_file=folder / "known.safetensors",
        intact=lambda file: file,
    )  # fmt: skip


def observe(metrics: AnswerMetrics, served: Any, features: np.ndarray, said: np.ndarray) -> None:
    answers = [
        Answer("a.jpg", CLASSES[int(p.argmax())], dict(zip(CLASSES, p.tolist(), strict=True)))
        for p in said
    ]
    metrics.observe(served, answers, features)


def values(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    from prometheus_client.exposition import generate_latest

    text = generate_latest(registry).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text) for sample in family.samples
    }  # fmt: skip


def test_drift_is_told(tmp_path: Path) -> None:
    world, registry = World.of(1), CollectorRegistry()
    metrics, served = AnswerMetrics(registry), Served(run_in(tmp_path, World.of(0)))
    assert ("tellapart_drifted", "pets") not in values(registry)
    observe(metrics, served, *world.images(150))
    found = values(registry)
    assert found["tellapart_window_answers", "pets"] == 150
    assert found["tellapart_window_class_share", "dog", "pets"] == pytest.approx(0.5, abs=0.02)
    assert found["tellapart_drifted", "pets"] == 0 and found["tellapart_drift_p", "pets"] > 0.05
    observe(metrics, served, *world.images(60, foreign=60))
    found = values(registry)
    assert found["tellapart_drifted", "pets"] == 1 and found["tellapart_drift_p", "pets"] < 0.01
    assert found["tellapart_window_unknown_share", "pets"] == pytest.approx(0.32, abs=0.05)


def test_a_new_version_begins_anew(tmp_path: Path) -> None:
    registry, world = CollectorRegistry(), World.of(0)
    run = run_in(tmp_path, world)
    metrics, old = AnswerMetrics(registry), Served(run)
    observe(metrics, old, *world.images(60, foreign=60))
    new = Served(run)
    observe(metrics, new, *world.images(40))
    assert values(registry)["tellapart_window_answers", "pets"] == 40
    del old
    assert [name for name, _ in metrics.windows()] == ["pets"]


def test_what_cannot_be_watched_is_answered_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry, world = CollectorRegistry(), World.of(0)
    metrics, run = AnswerMetrics(registry), run_in(tmp_path, world)
    features, said = world.images(3)
    observe(metrics, Served(None), features, said)  # an export
    metrics.observe(Served(run), [], None)  # features would have cost time
    run.known_file.write_bytes(b"damaged")
    damaged = Served(run)
    for _ in range(2):
        observe(metrics, damaged, features, said)
    assert caplog.text.count("drift is not watched") == 1
    run.known_file.unlink()
    observe(metrics, Served(run), features, said)  # a run of an older version
    found = values(registry)
    assert sum(v for (name, *_), v in found.items() if name == "tellapart_answers_total") == 12
    assert not [name for name, *_ in found if name.startswith("tellapart_window")]
