"""The page of the service without a browser: what is sent, and what it may load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

import tellapart.service.page as page_module
from tellapart.service.models import Models
from tellapart.service.page import add_page, page, page_file
from tellapart.service.settings import ServiceSettings, served_runs

STATIC = Path(page_module.__file__).parent / "static"
FILES = ["report.css", "report.js", *sorted(file.name for file in STATIC.iterdir())]


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    app = FastAPI()
    add_page(app, Models(ServiceSettings(served_runs([tmp_path]))), [])
    return TestClient(app)


def test_the_page_loads_its_own_files_and_no_others(client: TestClient) -> None:
    told = client.get("/")
    assert told.status_code == 200 and told.headers["content-type"].startswith("text/html")
    loaded = re.findall(r'<(?:script|link|img|video)[^>]* (?:src|href)="([^"]+)"', told.text)
    assert {address for address in loaded if address != "data:,"} == {
        "page/report.css",
        "page/page.css",
        "page/report.js",
        "page/page.js",
    }
    imported: set[str] = set()
    for name in FILES:
        text = client.get(f"/page/{name}").text
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name
        imported |= set(re.findall(r'from "\./([\w.]+)"', text))
    assert imported <= set(FILES)


def test_a_policy_forbids_other_hosts_and_being_framed(client: TestClient) -> None:
    for address in ("/", "/page/page.js", "/page/report.css"):
        headers = client.get(address).headers
        policy = dict(
            part.strip().partition(" ")[::2]
            for part in headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_sent_and_only_once(client: TestClient, name: str) -> None:
    told = client.get(f"/page/{name}")
    assert told.status_code == 200 and told.content
    kind = {".js": "text/javascript", ".css": "text/css"}[Path(name).suffix]
    assert told.headers["content-type"] == f"{kind}; charset=utf-8"
    again = client.get(f"/page/{name}", headers={"if-none-match": told.headers["etag"]})
    assert again.status_code == 304 and not again.content


@pytest.mark.parametrize("name", ["page.py", "..%2Fpage.py", "report.css%00", "style.css", ""])
def test_no_other_file_can_be_had(name: str) -> None:
    assert page_file(name) is None


def test_the_page_says_whether_it_must_ask_for_a_token() -> None:
    assert 'data-asked="true"' in page(asks_token=True)
    assert 'data-asked="false"' in page()


def test_before_the_models_are_there_the_page_is(client: TestClient) -> None:
    assert client.get("/page/models").json() == []
