"""The process around the service."""

from __future__ import annotations

import gc
from pathlib import Path
from weakref import ref

from tellapart.run import Run
from tellapart.service.models import Models
from tellapart.service.server import _settle
from tellapart.service.settings import ServiceSettings, served_runs


class Ring:
    """Refers to itself, so that only the collector of cycles frees it."""

    def __init__(self) -> None:
        self.ring = self


def test_what_stays_is_left_alone_by_the_collector_and_what_goes_is_freed() -> None:
    kept, gone = Ring(), ref(Ring())
    try:
        _settle()
        assert gone() is None
        assert gc.get_freeze_count() > 1000  # the libraries, at least
        assert not any(found is kept for found in gc.get_objects())  # not looked through
        passing, kept = ref(kept), Ring()
        _settle()
        assert passing() is None
    finally:
        gc.unfreeze()


def test_models_say_when_they_are_open_and_when_one_was_exchanged(run: Run, tmp_path: Path) -> None:
    changes: list[int] = []
    place = tmp_path / "live"
    place.symlink_to(run.path)
    settings = ServiceSettings(served_runs([place]), check_seconds=1000)
    models = Models(settings, on_change=lambda: changes.append(len(list(models))))
    models.open()
    assert changes == [1]
    models.reload()
    assert changes == [1]
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in run.path.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    place.unlink()
    place.symlink_to(copy)
    models.reload()
    assert changes == [1, 1]
    models.close()
