"""The service: pictures in, the answers of `tellapart predict` out, whatever way they are sent."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[1] / "verbs"))

from trained import quick_run

from tellapart.run import Run
from tellapart.service.app import create_app
from tellapart.service.settings import ServiceSettings, served_runs


@pytest.fixture(scope="module")
def photos(image_folder: Callable[..., Path]) -> Path:
    return image_folder(per_class=20)


@pytest.fixture(scope="module")
def run(photos: Path) -> Run:
    return quick_run(photos, photos.parent / "run", epochs=1)


@pytest.fixture(scope="module")
def client(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    inbox = tmp_path_factory.mktemp("inbox")
    settings = ServiceSettings(served_runs([run.path]), feedback=inbox)
    with TestClient(create_app(settings)) as opened:
        for _ in range(600):
            if opened.get("/ready").status_code == 200:
                break
            sleep(0.05)
        yield opened


def said(response: Any) -> list[tuple[str, dict[str, float]]]:
    assert response.status_code == 200, response.text
    return [(a["prediction"], a["probabilities"]) for a in response.json()["answers"]]


def test_every_way_of_sending_gets_the_answers_of_predict(
    client: TestClient, run: Run, photos: Path
) -> None:
    files = sorted(photos.rglob("*.jpg"))[:3]
    expected = [(a.prediction, a.probabilities) for a in run.predict(files)]
    contents = [file.read_bytes() for file in files]
    named = zip(files, contents, strict=True)
    parts = [("images", (file.name, content)) for file, content in named]
    sent = client.post("/v1/predict", files=parts)
    assert said(sent) == expected
    assert [a["name"] for a in sent.json()["answers"]] == [file.name for file in files]
    texts = [{"content": b64encode(content).decode()} for content in contents]
    assert said(client.post("/v1/predict", json={"images": texts})) == expected
    for content, answer in zip(contents, expected, strict=True):
        for kind in ("image/jpeg", "application/octet-stream"):
            raw = client.post("/v1/predict", content=content, headers={"content-type": kind})
            assert said(raw) == [answer]
