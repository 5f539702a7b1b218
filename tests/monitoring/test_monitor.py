"""The monitor: the last answers only, from any number of threads, and what they say."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_features import CLASSES, World

from tellapart.monitoring import monitor as monitor_module
from tellapart.monitoring.monitor import Monitor


def new_monitor(world: World, **how: int) -> Monitor:
    return Monitor(*world.run(), CLASSES, **how)


def test_nothing_is_said_of_nothing() -> None:
    monitor = new_monitor(World.of(0))
    monitor.add(np.zeros((0, 24), np.float32), np.zeros((0, 2)))
    reading = monitor.reading()
    assert reading.numbers() == {"window_answers": 0}
    assert reading.drifted is None and reading.class_shares == {}


def test_the_window_is_what_was_asked_last() -> None:
    world = World.of(0)
    monitor = new_monitor(world, window=100)
    monitor.add(*world.images(300, dogs=1.0))
    assert monitor.reading().class_shares == {"cat": 0, "dog": 1}
    for _ in range(7):
        monitor.add(*world.images(10, dogs=0.0))
    reading = monitor.reading()
    assert reading.answers == 100
    assert reading.class_shares == pytest.approx({"cat": 0.7, "dog": 0.3})


def test_drift_is_seen_and_so_is_its_end() -> None:
    world = World.of(2)
    monitor = new_monitor(world, window=200)
    monitor.add(*world.images(200))
    assert monitor.reading().drifted is False
    monitor.add(*world.images(60, foreign=60))
    reading = monitor.reading()
    numbers = reading.numbers()
    assert reading.drifted is True and numbers["drifted"] == 1 and numbers["drift_p"] < 0.01
    assert numbers["window_unknown_share"] == pytest.approx(0.3, abs=0.04)
    monitor.add(*world.images(200))
    assert monitor.reading().drifted is False


def test_few_answers_are_too_few() -> None:
    world = World.of(0)
    monitor = new_monitor(world, least=5)
    monitor.add(*world.images(4))
    assert monitor.reading().compared is None
    monitor.add(*world.images(4))
    reading = monitor.reading()
    assert reading.compared is not None and reading.compared.outcome == "too few"
    assert reading.drifted is None and "drifted" not in reading.numbers()


def test_a_comparison_is_kept_until_a_tenth_of_the_window_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World.of(0)
    monitor = new_monitor(world, window=100)
    made = []
    compare = monitor_module.compare
    monkeypatch.setattr(monitor_module, "compare",
                        lambda *a, **k: made.append(1) or compare(*a, **k))  # fmt: skip
    monitor.add(*world.images(100))
    for _ in range(3):
        monitor.reading()
    assert len(made) == 1
    monitor.add(*world.images(9))
    monitor.reading()
    assert len(made) == 1
    monitor.add(*world.images(1))
    monitor.reading()
    assert len(made) == 2


def test_many_threads_lose_nothing() -> None:
    world = World.of(0)
    monitor = new_monitor(world, window=4000)
    batches = [world.images(5, dogs=1.0 if number % 2 else 0.0) for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(monitor.add, *batch) for batch in batches]:
            done.result()
        readings = [pool.submit(monitor.reading) for _ in range(4)]
        for reading in readings:
            assert reading.result().answers == 1000
            assert reading.result().class_shares == {"cat": 0.5, "dog": 0.5}


def test_memory_is_that_of_the_window() -> None:
    world = World.of(0)
    monitor = new_monitor(world, window=50)
    features, probabilities = world.images(20)
    for _ in range(100):
        monitor.add(features, probabilities)
    held = sum(value.nbytes for value in vars(monitor).values() if isinstance(value, np.ndarray))
    assert held == 50 * (24 * 2 + 2 * 4)
