"""A picture that ends the process that reads it is found, and work goes on without it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tellapart.errors import TellapartError
from tellapart.prediction import killers, on_ray
from tellapart.prediction.answers import Answer
from tellapart.prediction.killers import DEATHS, MOST_KILLERS, Ledger


class Death(BaseException):
    """The end of a process."""


@dataclass
class Reader:
    """A predictor whose process ends on some pictures; what it reads is counted."""

    kills: frozenset[str]
    read: list[str]

    def batches(self, images: list[Path]) -> Iterator[list[Path]]:
        for image in images:
            if image.name in self.kills:
                raise Death
        self.read += [image.name for image in images]
        yield images

    def answers(self, batch: list[Path]) -> Iterator[Answer]:
        for image in batch:
            yield Answer(str(image), "cat", {"cat": 1.0})


def answered(names: list[str], kills: set[str], ledger: Ledger, most: int = 60) -> Any:
    """What comes back, and how many processes ended."""

    def ask(method: str, *given: str) -> Any:
        return getattr(ledger, method)(*given)

    reader = Reader(frozenset(kills), [])
    for deaths in range(most):
        try:
            worker = on_ray.Worker(lambda: reader, "/photos", ask)  # type: ignore[arg-type, return-value]
            told = worker({"file": [name.encode() for name in names]})["answer"]
            return [json.loads(content) for content in told], deaths
        except Death:
            continue
    raise AssertionError("it goes on for ever")


NAMES = [f"{number}.jpg" for number in range(20)]


def test_a_killer_is_found_and_the_others_are_answered() -> None:
    found, deaths = answered(NAMES, {"7.jpg", "12.jpg"}, Ledger(1))
    assert [answer["path"] for answer in found] == NAMES
    assert [answer["path"] for answer in found if answer["error"]] == ["7.jpg", "12.jpg"]
    assert "ended the process that read it" in found[7]["error"]
    assert deaths == 1 + 2 * DEATHS  # all at once, then so often on each


def test_a_worker_that_is_killed_from_outside_costs_no_picture() -> None:
    ledger = Ledger(1)
    assert ledger.begin("a") == (False, [])
    assert ledger.begin("a") == (True, [])  # the first one ended
    ledger.touch("a", "3.jpg")
    assert ledger.begin("a") == (True, [])  # ended beside it, once
    ledger.end("a")
    assert ledger.begin("a") == (False, [])


def test_where_every_picture_kills_the_job_ends() -> None:
    with pytest.raises(TellapartError, match=f"{MOST_KILLERS + 1} files of one batch.*0.jpg"):
        answered(NAMES, set(NAMES), Ledger(1))


def test_processes_that_end_while_they_open_the_model_are_not_replaced_for_ever() -> None:
    ledger = Ledger(3)
    assert all(ledger.opening() for _ in range(3 + killers.DEATHS))
    assert not ledger.opening()


def test_many_workers_that_open_the_model_in_one_moment_are_no_deaths() -> None:
    ledger = Ledger(40)
    assert all(ledger.opening() for _ in range(40))
    for _ in range(40):
        ledger.opened()
    for _ in range(100):  # replaced now and then
        assert ledger.opening()
        ledger.opened()


def test_the_sentence_of_a_worker_is_found_in_what_ray_makes_of_it() -> None:
    inner = RuntimeError(
        "ray::MapWorker.__init__() (pid=1)\n  File x\ntellapart.errors.TellapartError: No memory."
    )
    outer = RuntimeError("something in Ray")
    outer.__cause__ = inner
    assert on_ray._root_of(outer) == "No memory"
    assert on_ray._root_of(RuntimeError("The disk is full: 3 files")) == "The disk is full: 3 files"
