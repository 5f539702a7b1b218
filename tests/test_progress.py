"""What a log says of long work."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from tellapart import progress as progress_module
from tellapart.progress import DEFAULT, TerminalProgress, bar_line
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


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 200])
def test_a_bar_fits_its_line_and_the_time_left_is_never_cut(width: int) -> None:
    line = bar_line(
        "Training", 1200, 4000, "steps", 300.0, "epoch 3: loss 0.51234, accuracy 88.2 %", width
    )
    assert len(line) <= width
    assert "11 min 40 s left" in line  # 300 s for 1,200 steps; 2,800 are left
    assert line.count("━") == {100: 3, 200: 6}.get(width, 0)


def test_a_terminal_shows_one_line_a_stage_that_does_not_wrap() -> None:
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), force_terminal=True, width=50)
    with progress_module._bars(console, "images") as display:
        task = display.add_task("Decoding \x1b[2J", total=10, status="a long status " * 9)
        display.advance(task, 5)
        lines = console.render_lines(display.get_renderable())
    texts = ["".join(segment.text for segment in line).rstrip() for line in lines]
    assert len([text for text in texts if text]) == 1
    assert len(texts[0]) <= 50 and "5 of 10 images" in texts[0] and "left" in texts[0]
    assert "\x1b" not in texts[0]


def test_notes_show_escape_codes_instead_of_sending_them(capsys) -> None:
    TerminalProgress().note("file \x1b[31mred.jpg")
    assert capsys.readouterr().err == "file \\x1b[31mred.jpg\n"


def test_a_script_hears_nothing_and_a_notebook_sees_a_bar(monkeypatch, capsys) -> None:
    DEFAULT.note("to nobody")
    assert capsys.readouterr() == ("", "")

    seen: list[str] = []

    class Handle:
        def update(self, html: str) -> None:
            seen.append(html)

    def display(html: str, display_id: bool) -> Handle:
        seen.append(html)
        return Handle()

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    shows = SimpleNamespace(HTML=lambda text: text, display=display)
    monkeypatch.setitem(sys.modules, "IPython.display", shows)
    monkeypatch.setattr(progress_module, "NOTEBOOK_SECONDS", 0.0)
    with DEFAULT.stage("Training <b>", 4, "steps") as stage:
        stage.status("loss 0.5")
        stage.advance(1)
    DEFAULT.note("done & well")
    assert "<progress max='4' value='1'>" in seen[1] and "1 of 4 steps" in seen[1]
    assert "Training &lt;b&gt; (4 steps): " in seen[2]
    assert "done &amp; well" in seen[3]
