"""Pictures of many callers go through the network together, and each gets its own answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import monotonic, sleep

import pytest
from fakes import RedModel, picture

from tellapart.prediction.predictor import Predictor
from tellapart.service.gatherer import Gatherer, GivenPicture, Retired


@pytest.fixture
def decoders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def wait_until(happened: Callable[[], bool]) -> None:
    until = monotonic() + 60
    while not happened():
        assert monotonic() < until
        sleep(0.005)


def test_what_comes_while_the_network_is_busy_goes_through_it_together(
    decoders: ThreadPoolExecutor,
) -> None:
    model = RedModel()
    gatherer = Gatherer(Predictor(model), decoders)
    reds = [0, 51, 102, 153, 204, 255]
    first = gatherer.submit([GivenPicture("first", picture(255))])
    wait_until(lambda: model.batches == [1])  # it is in the network, which waits
    others = [gatherer.submit([GivenPicture(str(red), picture(red))])[0] for red in reds]
    wait_until(lambda: gatherer._decoded.qsize() == len(reds))
    model.go.set()
    answers = [answer.result(60) for answer in others]
    assert model.batches == [1, len(reds)]
    assert first[0].result().prediction == "red"
    assert [answer.path for answer in answers] == [str(red) for red in reds]
    assert [answer.probabilities["red"] for answer in answers] == [red / 255 for red in reds]


def test_a_picture_that_cannot_be_read_is_told_so_and_disturbs_no_other(
    decoders: ThreadPoolExecutor,
) -> None:
    model = RedModel()
    model.go.set()
    gatherer = Gatherer(Predictor(model), decoders)
    bad, good = gatherer.submit([GivenPicture("a", b"no picture"), GivenPicture("b", picture(255))])
    assert bad.result(60).error and not bad.result().probabilities
    assert good.result(60).prediction == "red"


def test_a_failing_network_tells_every_caller_and_answers_the_next(
    decoders: ThreadPoolExecutor,
) -> None:
    model = RedModel(failure=RuntimeError("no memory"))
    model.go.set()
    gatherer = Gatherer(Predictor(model), decoders)
    for answer in gatherer.submit([GivenPicture("a", picture(0)), GivenPicture("b", picture(0))]):
        with pytest.raises(RuntimeError, match="no memory"):
            answer.result(60)
    model.failure = None
    assert gatherer.submit([GivenPicture("c", picture(255))])[0].result(60).prediction == "red"


def test_who_retires_answers_what_it_has_and_takes_no_more(decoders: ThreadPoolExecutor) -> None:
    model = RedModel()
    gatherer = Gatherer(Predictor(model), decoders)
    taken = gatherer.submit([GivenPicture(str(red), picture(red)) for red in (0, 255)])
    gatherer.retire()
    with pytest.raises(Retired):
        gatherer.submit([GivenPicture("late", picture(0))])
    model.go.set()
    gatherer.join()
    assert [answer.result(0).prediction for answer in taken] == ["blue", "red"]


def test_a_picture_that_is_refused_is_never_decoded(decoders: ThreadPoolExecutor) -> None:
    class TooLarge(Exception):
        pass

    def check(given: GivenPicture) -> None:
        if given.name == "large":
            raise TooLarge

    model = RedModel()
    model.go.set()
    gatherer = Gatherer(Predictor(model), decoders, check=check)
    large, small = gatherer.submit([GivenPicture("large", b""), GivenPicture("s", picture(255))])
    with pytest.raises(TooLarge):
        large.result(60)
    assert small.result(60).prediction == "red"


def test_who_gives_up_costs_nothing_and_disturbs_no_other(decoders: ThreadPoolExecutor) -> None:
    model, opened = RedModel(), Event()
    gatherer = Gatherer(Predictor(model), decoders, check=lambda given: opened.wait(60) and None)
    busy = gatherer.submit([GivenPicture(name, picture(255)) for name in ("a", "b")])
    wait_until(lambda: all(answer.running() for answer in busy))  # both decoders are at work
    (given_up,) = gatherer.submit([GivenPicture("c", picture(0))])
    assert given_up.cancel() and not busy[0].cancel()
    opened.set()
    model.go.set()
    assert [answer.result(60).prediction for answer in busy] == ["red", "red"]
    gatherer.retire()
    gatherer.join()
    assert sum(model.batches) == 2
