"""docs/serve.md: its commands, the requests and responses that it shows, its limits."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import serving
from pages import commands_of, exit_code
from tellapart.run import Run
from tellapart.service import schema
from tellapart.service.settings import Limits, ServiceSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text("utf-8")


def test_the_commands_of_the_page_end_as_it_says(
    run: Run, image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but answering and training, which have tests of their own."""
    photos = shutil.copytree(image_folder(per_class=20), tmp_path / "photos")
    for name in ("pets", "2025-pets"):
        shutil.copytree(run.path, tmp_path / "runs" / name)
    (tmp_path / "token.txt").write_text("0123456789abcdef\n")
    for number, file in enumerate(sorted(photos.rglob("*.jpg"))[::10]):
        (tmp_path / "inbox" / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "inbox" / file.parent.name / f"{number}.jpg")
    told: list[tuple[ServiceSettings, dict[str, Any]]] = []

    def answer(settings: ServiceSettings, **given: Any) -> int:
        told.append((settings, given))
        return 3

    monkeypatch.setattr("tellapart.service.server.run_server", answer)
    monkeypatch.chdir(tmp_path)
    commands = commands_of(PAGE)
    assert len(commands) >= 7
    for command in commands:
        if command.words[0] == "train":  # tests/verbs/test_feedback.py
            assert command.words[2:] == ["--feedback", "inbox/"]
            continue
        assert exit_code(command.words) == command.code, command.text
    names = [[served.name for served in settings.runs] for settings, _ in told]
    assert names == [["pets"], ["pets", "old"], ["pets"], ["pets"], ["pets"]]
    assert told[0][1]["host"] == "127.0.0.1" and not told[0][0].token
    assert told[2][0].feedback == tmp_path / "inbox"
    assert (told[3][0].token, told[3][1]["host"]) == ("0123456789abcdef", "0.0.0.0")
    limits = told[4][0].limits
    assert (limits.images, limits.seconds, told[4][1]["workers"]) == (16, 10.0, 2)


def test_the_responses_of_the_page_are_of_the_schema() -> None:
    blocks = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    models = blocks[-1]
    kinds = (schema.Predicted, schema.Explained, schema.Models)
    for kind, block in zip(kinds, blocks, strict=True):
        kind.model_validate(block)
        assert set(kind.model_fields) == set(block)
    assert set(schema.ModelAbout.model_fields) == set(models["models"][0])


def test_the_limits_of_the_page_are_those_that_hold() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", PAGE, re.MULTILINE)
    assert {key: float(value) for key, value in rows} == asdict(Limits())


def test_the_figures_of_the_page_are_those_measured() -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "serving.json").read_text("utf-8"))
    assert serving.BEGIN + serving.section(results) + serving.END in PAGE
    for result in results.values():
        assert not result["faults"]
        for clients, cell in result["tellapart"].items():
            assert f"| {clients} | {cell['processor_ms_a_request']:.1f} |" in PAGE
    litserve = json.loads(
        (ROOT / "benchmarks" / "results" / "serving_litserve.json").read_text("utf-8")
    )
    costs = [round(litserve[service][clients]["processor_ms_a_request"])
             for service in ("litserve", "tellapart") for clients in ("1", "64")]  # fmt: skip
    told = re.search(
        r"(\d+) ms of processor time a request from one client, (\d+) from 64, where\s+"
        r"the service then took (\d+) and (\d+)", PAGE,
    )  # fmt: skip
    assert told is not None and [int(number) for number in told.groups()] == costs
