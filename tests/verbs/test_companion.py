"""The process beside the main one: it does what the main one was asked for, and says nothing."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tellapart.errors import DataError
from tellapart.verbs import companion


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, dict[str, Any]]]]:
    """What the verbs were called with; Ctrl-C is given back afterwards."""
    calls: list[tuple[str, str, dict[str, Any]]] = []
    monkeypatch.setattr(companion, "train", lambda at, **rest: calls.append(("train", at, rest)))
    monkeypatch.setattr(companion, "resume", lambda at, **rest: calls.append(("resume", at, rest)))
    before = signal.getsignal(signal.SIGINT)
    yield calls
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("verb", "place"), [("train", "folder"), ("resume", "run")])
def test_it_reads_what_the_main_process_was_asked_for(
    asked: list[tuple[str, str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, verb: str,
    place: str,
) -> None:  # fmt: skip
    given = {place: "cats", "seed": 3, "device": "cpu"}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(given)))

    companion.main()

    assert asked == [(verb, "cats", {"seed": 3, "device": "cpu"})]
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_user_s_mistake_ends_it_without_a_word(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(at: str, **_: Any) -> None:
        raise DataError("There is no folder or file cats; check the spelling.")

    monkeypatch.setattr(companion, "train", refuse)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"folder": "cats"})))

    with pytest.raises(SystemExit) as end:
        companion.main()

    assert end.value.code == 2
    assert capsys.readouterr() == ("", "")
