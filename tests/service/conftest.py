"""A small run, and a service of it, for all tests of the service."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "verbs"))

from trained import quick_run

from tellapart.run import Run
from tellapart.service.app import create_app
from tellapart.service.settings import Limits, ServiceSettings, served_runs

Service = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture(scope="session")
def photos(image_folder: Callable[..., Path]) -> Path:
    """Two classes of 20 pictures."""
    return image_folder(per_class=20)


@pytest.fixture(scope="session")
def run(photos: Path) -> Run:
    return quick_run(photos, photos.parent / "pets", epochs=1)


@pytest.fixture(scope="session")
def service() -> Service:
    """``with service(run.path, limits={...}, token=...) as client``: one that is ready."""

    @contextmanager
    def opened(*runs: Any, limits: Any = None, **options: Any) -> Iterator[TestClient]:
        settings = ServiceSettings(
            served_runs(runs), limits=replace(Limits(), **(limits or {})),
            **{"check_seconds": 0.05, **options},
        )  # fmt: skip
        with TestClient(create_app(settings)) as client:
            until = monotonic() + 120
            while client.get("/ready").status_code != 200:
                assert monotonic() < until
                sleep(0.02)
            yield client

    return opened


@pytest.fixture(scope="session")
def client(
    run: Run, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """A service of one run that takes corrections."""
    with service(run.path, feedback=tmp_path_factory.mktemp("inbox")) as opened:
        yield opened
