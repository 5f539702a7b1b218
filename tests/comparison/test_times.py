"""Which times can be held against each other."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tellapart.comparison.times import COLD, FEATURES, NETWORK, UNKNOWN, how_timed, with_like_times
from tellapart.machine import Machine
from tellapart.run_info import RunInfo

HERE = Machine("EPYC", 2, 8, "Linux", "3.11", "cpu", "EPYC", True, {})


def info(from_cache: dict[str, bool] | None, machine: Machine = HERE) -> RunInfo:
    """Of a run's description only what is read here."""
    return cast(RunInfo, SimpleNamespace(from_cache=from_cache, machine=machine))


@pytest.mark.parametrize(("found", "words"), [
    (None, UNKNOWN), ({}, COLD), ({"features": False, "network": False}, COLD),
    ({"features": True}, FEATURES), ({"features": True, "network": True}, FEATURES),
    ({"features": False, "network": True}, NETWORK), ({"network": True}, NETWORK),
    ({"pixels": True}, COLD),  # decoding is no part of the time of training
])  # fmt: skip
def test_what_a_time_was_of(found: dict[str, bool] | None, words: str) -> None:
    assert how_timed(info(found)) == words


def test_the_words() -> None:
    assert (COLD, NETWORK, FEATURES, UNKNOWN) == (
        "cold", "network cached", "features cached", "not known"
    )  # fmt: skip


COLD_RUN: dict[str, Any] = {"features": False, "network": False}
NETWORK_RUN: dict[str, Any] = {"features": False, "network": True}
WARM_RUN: dict[str, Any] = {"features": True, "network": True}
WARM_ONLY_FEATURES: dict[str, Any] = {"features": True, "network": False}
SCRATCH_RUN: dict[str, Any] = {}  # it needs neither


def like(**found: dict[str, Any] | None) -> tuple[str, ...]:
    return with_like_times({name: info(each) for name, each in found.items()})


def test_cold_goes_with_cold_and_the_same_of_the_cache_with_the_same() -> None:
    assert like(a=COLD_RUN, b=WARM_RUN, c=COLD_RUN) == ("a", "c")
    assert like(a=COLD_RUN, b=WARM_RUN, c=WARM_RUN) == ("b", "c")
    assert like(a=COLD_RUN, b=NETWORK_RUN, c=NETWORK_RUN) == ("b", "c")
    assert like(a=WARM_ONLY_FEATURES, b=WARM_ONLY_FEATURES, c=WARM_RUN) == ("a", "b")


def test_the_largest_set_is_taken_and_of_equal_ones_the_cold_one() -> None:
    assert like(a=WARM_RUN, b=WARM_RUN, c=COLD_RUN, d=COLD_RUN) == ("c", "d")
    assert like(a=WARM_RUN, b=WARM_RUN, e=WARM_RUN, c=COLD_RUN, d=COLD_RUN) == ("a", "b", "e")
    assert like(a=NETWORK_RUN, b=NETWORK_RUN, c=COLD_RUN, d=COLD_RUN) == ("a", "b")


def test_what_needs_no_converted_network_goes_with_either() -> None:
    assert like(a=SCRATCH_RUN, b=COLD_RUN) == ("a", "b")
    assert like(a=SCRATCH_RUN, b=NETWORK_RUN) == ("a", "b")
    assert like(a=SCRATCH_RUN, b=NETWORK_RUN, c=COLD_RUN) == ("a", "b")  # b and c never together
    assert like(a=SCRATCH_RUN, b=WARM_RUN) == ()


def test_one_alone_and_what_is_not_known_are_no_comparison() -> None:
    assert like(a=COLD_RUN) == like(a=COLD_RUN, b=WARM_RUN) == ()
    assert like(a=None, b=None) == like() == ()
    assert like(a=COLD_RUN, b=None, c=COLD_RUN) == ("a", "c")


@pytest.mark.parametrize("other", [
    {"processor": "Xeon"}, {"cores": 4}, {"device": "cuda"}, {"device_name": "H100"},
])  # fmt: skip
def test_only_times_of_one_machine_are_compared(other: dict[str, Any]) -> None:
    there = replace(HERE, **other)
    infos = {"a": info(COLD_RUN), "b": info(COLD_RUN, there)}
    assert with_like_times(infos) == ()
    infos |= {"c": info(COLD_RUN, there)}
    assert with_like_times(infos) == ("b", "c")


def test_memory_system_and_versions_do_not_make_another_machine() -> None:
    other = replace(HERE, memory_bytes=16, python="3.12", packages={"numpy": "3"})
    infos = {"a": info(COLD_RUN), "b": info(COLD_RUN, other)}
    assert with_like_times(infos) == ("a", "b")
