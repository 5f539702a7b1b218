"""What a log says of long work."""

from __future__ import annotations

import pytest

from tellapart import progress as progress_module
from tellapart.progress import TerminalProgress
from tellapart.wording import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_log_gets_a_line_now_and_then_with_the_time_left(monkeypatch, capsys) -> None:
    clock = iter(range(0, 10_000, 10))  # every look at the clock comes 10 seconds later
    monkeypatch.setattr(progress_module, "perf_counter", lambda: float(next(clock)))
    with TerminalProgress().stage("training", 100, "steps") as stage:
        stage.status("epoch 1: loss 0.5")
        for _ in range(10):
            stage.advance(10)
    lines = capsys.readouterr().err.splitlines()
    # The stage looks at 0 and 10, and after that once a call: 30 seconds are three calls.
    assert lines[0] == "training: 30 of 100 steps, 1 min 10 s left (epoch 1: loss 0.5)"
    assert lines[1] == "training: 60 of 100 steps, 40 s left (epoch 1: loss 0.5)"
    assert len(lines) == 4 and lines[-1].startswith("training (100 steps): ")


def test_short_work_leaves_one_line(capsys) -> None:
    with TerminalProgress().stage("Decoding", 3, "images") as stage:
        stage.advance(3)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Decoding (3 images): ")


def test_a_stage_of_unknown_length_says_what_is_done(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress_module, "LOG_SECONDS", 0.0)
    with TerminalProgress().stage("Listing files", None) as stage:
        stage.advance(1234)
    assert capsys.readouterr().err.splitlines()[0] == "Listing files: 1,234"
