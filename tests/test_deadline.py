"""Work ends when its time is over, by the progress that it reports."""

from __future__ import annotations

import pytest

from tellapart.deadline import OutOfTimeError, UntilDeadline
from tellapart.progress import SILENT, SilentProgress


def test_work_is_ended_once_its_moment_has_passed() -> None:
    now = [0.0]
    progress = UntilDeadline(SILENT, deadline=10.0, now=lambda: now[0])
    with progress.stage("work", 3) as work:
        work.advance()
        now[0] = 10.5
        with pytest.raises(OutOfTimeError):
            work.advance()
    with pytest.raises(OutOfTimeError), progress.stage("more", 1):
        pass


@pytest.mark.parametrize(("notes", "heard"), [(True, ["a word"]), (False, [])])
def test_notes_are_handed_on_where_they_are_wanted(notes: bool, heard: list[str]) -> None:
    told: list[str] = []

    class Listening(SilentProgress):
        def note(self, text: str) -> None:
            told.append(text)

    UntilDeadline(Listening(), 1.0, notes=notes, now=lambda: 0.0).note("a word")
    assert told == heard
