"""Which times of training can be held against each other: those of like work on one machine."""

from __future__ import annotations

from collections.abc import Mapping

from tellapart.machine import Machine
from tellapart.run_info import RunInfo

COLD, NETWORK, FEATURES, UNKNOWN = (
    "cold", "network cached", "features cached", "not known"
)  # fmt: skip


def how_timed(info: RunInfo) -> str:
    """Whether a training made everything itself: :data:`COLD`, :data:`FEATURES`, ...

    Decoded pixels do not matter here: decoding is no part of the time of training.
    """
    found = info.from_cache
    if found is None:
        return UNKNOWN
    if found.get("features"):
        return FEATURES
    return NETWORK if found.get("network") else COLD


def with_like_times(infos: Mapping[str, RunInfo]) -> tuple[str, ...]:
    """The largest set of runs whose times can be compared, cold ones first; empty if there is none.

    Cold is compared with cold, and features from the cache with the same; on one machine. A
    training that needs no converted network goes with those that had to convert theirs and
    with those that did not; these two do not go together.
    """
    best: list[str] = []
    machines = list(dict.fromkeys(_place(info.machine) for info in infos.values()))
    for machine in machines:
        here = {name: info for name, info in infos.items() if _place(info.machine) == machine}
        for cached, converted in ((False, True), (False, False), (True, False), (True, True)):
            alike = [name for name, info in here.items() if _goes(info, cached, converted)]
            if len(alike) > max(1, len(best)):
                best = alike
    return tuple(best)


def _goes(info: RunInfo, cached: bool, converted: bool) -> bool:
    """Whether a run had its features, and its converted network, from the cache or not."""
    found = info.from_cache
    if found is None or found.get("features", False) != cached:
        return False
    return found.get("network", converted) == converted


def _place(machine: Machine) -> tuple[str, int, str, str]:
    return machine.processor, machine.cores, machine.device, machine.device_name
