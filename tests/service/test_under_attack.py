"""The attacks of ``benchmarks/reliability/service.py`` at small counts, on a real process."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "reliability"))

from trained import quick_run

import service as attacks
from tellapart.run import Run

pytestmark = pytest.mark.slow


def test_malformed_requests_are_answered_4xx_and_disturb_nobody(run: Run, photos: Path) -> None:
    files = attacks.pictures(photos, most=5)
    verdict = attacks.malformed(run.path, files, 100)
    assert not verdict.faults
    assert sum(verdict.facts["statuses"].values()) == 100


def test_a_signal_to_stop_loses_no_request_that_was_taken(run: Run, photos: Path) -> None:
    verdict = attacks.stop(run.path, attacks.pictures(photos, most=5), seconds=3)
    assert not verdict.faults, verdict.to_json()
    assert verdict.facts["answered"] > 20


def test_a_run_exchanged_under_load_gives_answers_of_the_one_or_of_the_other(
    run: Run, photos: Path
) -> None:
    other = quick_run(photos, photos.parent / "other", epochs=1, seed=1)
    files = attacks.pictures(photos, most=5)
    verdict = attacks.replace(run.path, other.path, files, seconds=8)
    assert not verdict.faults, verdict.to_json()
    assert len(verdict.facts["by_run"]) == 2


def test_several_workers_answer_as_one_and_add_up_what_they_count(run: Run, photos: Path) -> None:
    files = attacks.pictures(photos, most=5)
    right = attacks.expected(run.path, files)
    served = attacks.serve([run.path], "--workers", "2")
    address = f"http://127.0.0.1:{served.port}"
    for number in range(20):
        file = files[number % len(files)]
        told = httpx.post(f"{address}/v1/predict", content=file.read_bytes(),
                          headers={"content-type": "image/jpeg"}, timeout=60)  # fmt: skip
        if told.status_code == 503:  # the second worker still opens its models
            time.sleep(0.5)
            continue
        assert attacks.said(told.content) == right[number % len(files)]
    counted = [
        float(line.rsplit(" ", 1)[1])
        for line in httpx.get(f"{address}/metrics", timeout=60).text.splitlines()
        if line.startswith('tellapart_requests_total{path="/v1/predict"')
    ]
    assert sum(counted) == 20
    out = served.stop()
    assert served.process.returncode == 0
    assert json.loads(out)["requests"] is None


def test_a_run_that_cannot_be_served_ends_with_a_sentence(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="ended with 2"):
        attacks.serve([tmp_path / "empty"])
    assert "Traceback" not in capfd.readouterr().err
